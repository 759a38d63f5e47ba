"""Draw how much the scores of a text change with the padding that its batch gives it."""

import warnings

import keras
import numpy as np
from keras import layers, ops
from pictures import BLUE, GREY, ORANGE, load_tokens, pretrained_vectors, save, subplots

from keras_mlc.layers import TextCNNHead

warnings.filterwarnings("ignore", "Layer .* was passed an input with a mask")  # Conv1D is.

CHINESE = {
    "Conv1D and GlobalMaxPooling1D": "Conv1D 加 GlobalMaxPooling1D",
    "the same, zeros at the padding": "同上，填充处置零",
    "steps of padding after a text of 24 tokens": "24 个 token 的文本后面填充的步数",
    "largest change of a score,\nin standard deviations of the scores": (
        "得分的最大变化，\n以得分的标准差为单位"
    ),
}
LABELS, SIZES, TEXTS, LENGTH = 55, (3, 4, 5), 64, 24


def stock_head(sequence):
    """Return the scores of the same head, put together from Keras's own layers."""
    features = [
        layers.GlobalMaxPooling1D()(
            layers.Conv1D(sequence.shape[-1], size, padding="same", activation="relu")(sequence)
        )
        for size in SIZES
    ]
    return layers.Dense(LABELS)(layers.Concatenate()(features))


def with_zeros(inputs, vectors):
    """Return the vectors, with zeros at the padding."""
    return vectors * ops.cast(ops.not_equal(inputs, 0), "float32")[:, :, None]


def main():
    """Draw the largest difference between a text's scores with and without padding."""
    (tokens, _), _, _ = load_tokens(rows=TEXTS, test_rows=1, length=LENGTH)
    tokens = tokens[(tokens != 0).all(axis=1)]  # Texts that fill the length: no padding yet.
    inputs = keras.Input((None,), dtype="int32")
    vectors = pretrained_vectors()(inputs)
    heads = {
        "Conv1D and GlobalMaxPooling1D": (stock_head(vectors), ORANGE),
        "the same, zeros at the padding": (stock_head(with_zeros(inputs, vectors)), GREY),
        "TextCNNHead": (TextCNNHead(LABELS, kernel_sizes=SIZES)(vectors), BLUE),
    }
    models = [keras.Model(inputs, scores) for scores, _ in heads.values()]
    weights = models[0].get_weights()
    rng = np.random.default_rng(0)
    for number in (2, 4, 6):  # Training moves the biases, here it is a draw.
        weights[number] = rng.normal(0, 0.1, weights[number].shape)

    paddings = np.arange(0, 25, 2)
    figure, axis = subplots(1, 3.3)
    for model, (name, (_, colour)) in zip(models, heads.items(), strict=True):
        model.set_weights(weights)
        plain = model.predict(tokens, verbose=0)
        padded = [model.predict(np.pad(tokens, ((0, 0), (0, n))), verbose=0) for n in paddings]
        changes = [np.abs(scores - plain).max() / plain.std() for scores in padded]
        print(f"{name}: at most {max(changes):.2g}")
        axis.plot(paddings, changes, color=colour, marker="o", markersize=3, label=name)
    axis.set_xlabel("steps of padding after a text of 24 tokens")
    axis.set_ylabel("largest change of a score,\nin standard deviations of the scores")
    axis.legend()
    save(figure, "padding_invariance", CHINESE)


if __name__ == "__main__":
    main()
