"""What the scripts of the pictures share: the bundled corpus, a small model, and how to save.

Every script writes into docs/images, the same on every run, and once more with Chinese labels:

    python docs/scripts/attention_weights.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

from support.data import load_corpus
from support.fine_grained import load_fine_grained
from support.settings import BUNDLED_ENCODER
from support.tokenizer import encode, load_tokenizer

import keras
import matplotlib
import tensorflow as tf

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from chinese import translate

IMAGES = Path(__file__).resolve().parents[1] / "images"
BLUE, ORANGE, GREY, GREEN = "#2b6cb0", "#c05621", "#718096", "#2f855a"
WIDTH = 5.2  # inches: at this width letters are legible on a phone
LENGTH = 48
TOKENIZER = load_tokenizer(BUNDLED_ENCODER / "vocab.txt")

# One thread adds in one order: the same numbers on every run.
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
keras.utils.set_random_seed(0)


def load_tokens(rows=None, test_rows=None, length=LENGTH):
    """Return token ids and labels of training and test rows, and the labels' names."""
    train, test = load_corpus(rows=rows, test_rows=test_rows)
    tokens = [encode(TOKENIZER, part.texts, length)["token_ids"] for part in (train, test)]
    return (tokens[0], train.labels), (tokens[1], test.labels), train.label_names


def load_levels():
    """Return training and test rows with levels of aspects, each with its token ids."""
    train, test = load_fine_grained()
    tokens = [encode(TOKENIZER, part.texts, LENGTH)["token_ids"] for part in (train, test)]
    return (tokens[0], train), (tokens[1], test)


def pretrained_vectors():
    """Return an embedding layer named "tokens" with the vectors of the bundled encoder."""
    variables = tf.train.load_checkpoint(str(BUNDLED_ENCODER / "albert_model.ckpt"))
    matrix = variables.get_tensor("bert/embeddings/word_embeddings").astype("float32")
    initializer = keras.initializers.Constant(matrix)
    return keras.layers.Embedding(*matrix.shape, initializer, mask_zero=True, name="tokens")


def pieces_of(token_ids):
    """Return the word pieces of a row of token ids."""
    return [TOKENIZER.id_to_token(int(token)) for token in token_ids]


def subplots(parts, height, beside=False, **kwargs):
    """Return a figure on white, which is legible on light and dark pages, and its axes.

    Parts stand below each other, as there is no room beside each other on a phone.
    """
    plt.rcParams.update(
        {
            "font.size": 9,
            "axes.titlesize": 9,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "legend.frameon": False,
        }
    )
    shape = (1, parts) if beside else (parts, 1)
    return plt.subplots(*shape, figsize=(WIDTH, height), layout="constrained", **kwargs)


def save(figure, name, chinese=None, **metadata):
    """Write docs/images/<name>.png, without the date and the versions that would change it.

    Args:
        figure: The picture, in English.
        name: The file's name.
        chinese: What its texts are in Chinese, for <name>.zh.png; `{}` stands for any part.
        metadata: What else the file carries.
    """
    IMAGES.mkdir(exist_ok=True)
    for ending in ("", ".zh") if chinese else ("",):
        if ending:
            translate(figure, chinese)
        path = IMAGES / f"{name}{ending}.png"
        figure.savefig(path, dpi=260, metadata={"Software": None, **metadata})
        print(path)
