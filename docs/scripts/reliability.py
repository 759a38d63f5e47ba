"""Draw how often labels are true against their probability, before and after calibration."""

import keras
import numpy as np
from pictures import (
    BLUE,
    GREEN,
    GREY,
    LENGTH,
    ORANGE,
    load_tokens,
    pretrained_vectors,
    save,
    subplots,
)

from keras_mlc.layers import AttentionPooling, ScoreCalibration
from keras_mlc.losses import MultilabelCategoricalCrossentropy

HELD_OUT, BINS = 2000, 15
CHINESE = {
    "{}, fitted: error {}": "{}，拟合：误差 {}",
    "{}: error {}": "{}：误差 {}",
    "probability": "概率",
    "share of true labels": "标签为真的比例",
}


def bins_of(probabilities, labels):
    """Return mean probability and share of true labels, in bins of equal width."""
    edges = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    kept = [edges == each for each in range(BINS) if (edges == each).sum() > 30]
    return np.array([(probabilities[bin].mean(), labels[bin].mean()) for bin in kept]).T


def expected_calibration_error(probabilities, labels):
    """Return the error over bins of equal mass."""
    order = np.argsort(probabilities, axis=None, kind="stable")
    parts = [np.array_split(array.ravel()[order], BINS) for array in (probabilities, labels)]
    cells = zip(*parts, strict=True)
    return sum(len(p) * abs(p.mean() - y.mean()) for p, y in cells) / labels.size


def main():
    """Train a model with the multi-label loss, calibrate it on held-out texts, draw the test."""
    (tokens, labels), (test_tokens, test_labels), _ = load_tokens()
    inputs = keras.Input((LENGTH,), dtype="int32")
    pooled = AttentionPooling()(pretrained_vectors()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(labels.shape[1])(pooled))
    model.compile(keras.optimizers.Adam(5e-3), MultilabelCategoricalCrossentropy())
    model.fit(tokens[HELD_OUT:], labels[HELD_OUT:], batch_size=64, epochs=6, verbose=0)
    held_out = model.predict(tokens[:HELD_OUT], verbose=0)
    scores = model.predict(test_tokens, verbose=0)

    layer = ScoreCalibration()
    layer.adapt(held_out, labels[:HELD_OUT])
    after = keras.ops.convert_to_numpy(layer(scores))
    titles = {
        "σ(s)": (1 / (1 + np.exp(-scores)), ORANGE),
        "σ(2s)": (1 / (1 + np.exp(-2 * scores)), GREEN),
        f"σ({layer.scale[0]:.2f}·s − {-layer.offset[0]:.2f}), fitted": (after, BLUE),
    }
    figure, axis = subplots(1, 4.8)
    axis.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
    for title, (probabilities, colour) in titles.items():
        error = expected_calibration_error(probabilities, test_labels)
        line = f"{title}: error {error:.3f}"
        points = bins_of(probabilities, test_labels)
        axis.plot(*points, "o-", color=colour, markersize=4, label=line)
        print(title, f"{error:.4f}")
    axis.set_xlabel("probability")
    axis.set_ylabel("share of true labels")
    axis.set_aspect("equal")
    axis.legend(loc="upper left")
    save(figure, "reliability", CHINESE)


if __name__ == "__main__":
    main()
