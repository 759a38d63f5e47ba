"""The data and the model that the scripts of this folder train: hashed words of the corpus."""

import csv
import gzip
import zlib
from pathlib import Path

import keras
import numpy as np

from keras_mlc.layers import AttentionPooling

CORPUS = Path(__file__).parents[1] / "data" / "train.csv.gz"
NUM_WORDS, LENGTH = 20_000, 48


def load(num_rows):
    """Return token ids (rows, 48), 0 for padding, and labels (rows, 55)."""
    with gzip.open(CORPUS, "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    labels = sorted({label for row in rows for label in row["label"].split("|")})
    x = np.zeros((num_rows, LENGTH), "int32")
    y = np.zeros((num_rows, len(labels)), "float32")
    for number, row in enumerate(rows[:num_rows]):
        words = row["content"].lower().split()[:LENGTH]
        x[number, : len(words)] = [1 + zlib.crc32(w.encode()) % (NUM_WORDS - 1) for w in words]
        y[number, [labels.index(label) for label in row["label"].split("|")]] = 1
    return x, y


def classifier(num_labels, dropout):
    """Return a model from token ids to scores, with the same first weights at every call."""
    keras.utils.set_random_seed(0)
    tokens = keras.Input((LENGTH,), dtype="int32")
    vectors = keras.layers.Embedding(NUM_WORDS, 64, mask_zero=True, name="tokens")(tokens)
    vectors = keras.layers.Dropout(dropout, seed=1)(AttentionPooling()(vectors))
    return keras.Model(tokens, keras.layers.Dense(num_labels)(vectors))
