"""Draw F1 against the threshold, on scores and on probabilities."""

import warnings

import keras
import numpy as np
from pictures import BLUE, GREY, LENGTH, ORANGE, load_tokens, pretrained_vectors, save, subplots

from keras_mlc.layers import AttentionPooling
from keras_mlc.losses import MultilabelCategoricalCrossentropy
from keras_mlc.metrics import MultilabelF1Score

CHINESE = {
    "scores of the multi-label cross-entropy": "多标签分类交叉熵的得分",
    "probabilities of a sigmoid": "sigmoid 的概率",
    "micro F1 on the test texts": "测试集上的 micro F1",
    "threshold": "阈值",
    "{}: F1 {}": "{}：F1 {}",
}


def f1_scores(labels, outputs, thresholds):
    """Return micro F1 at every threshold."""
    scores = []
    warnings.simplefilter("ignore")  # The metric says that 0 is no threshold for probabilities.
    for threshold in thresholds:
        metric = MultilabelF1Score("micro", threshold=float(threshold))
        metric.update_state(labels, outputs)
        scores.append(float(metric.result()))
    return scores


def main():
    """Train a model with each loss and draw its F1 on the test texts."""
    (tokens, labels), (test_tokens, test_labels), _ = load_tokens()
    figure, axes = subplots(2, 5)
    settings = (
        (None, MultilabelCategoricalCrossentropy(), np.linspace(-6, 6, 121), BLUE),
        ("sigmoid", keras.losses.BinaryCrossentropy(), np.linspace(1e-6, 0.995, 100), ORANGE),
    )
    for axis, (activation, loss, thresholds, colour) in zip(axes, settings, strict=True):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((LENGTH,), dtype="int32")
        pooled = AttentionPooling()(pretrained_vectors()(inputs))
        outputs = keras.layers.Dense(labels.shape[1], activation)(pooled)
        model = keras.Model(inputs, outputs)
        model.compile(keras.optimizers.Adam(5e-3), loss)
        model.fit(tokens, labels, batch_size=64, epochs=6, verbose=0)
        outputs = model.predict(test_tokens, verbose=0)
        axis.plot(thresholds, f1_scores(test_labels, outputs, thresholds), color=colour)
        for threshold in (0.0, 0.5):
            f1 = f1_scores(test_labels, outputs, [threshold])[0]
            print(f"{loss.name}, threshold {threshold}: {f1:.3f}")
            axis.axvline(threshold, color=GREY, linestyle="--", linewidth=1)
            axis.plot(threshold, f1, "o", color=colour, clip_on=False)
            axis.annotate(
                f"{threshold:g}: F1 {f1:.3f}",
                (threshold, f1),
                xytext=(8, 4) if threshold or activation else (-8, 4),
                textcoords="offset points",
                ha="left" if threshold or activation else "right",
            )
    axes[0].set_title("scores of the multi-label cross-entropy")
    axes[1].set_title("probabilities of a sigmoid")
    for axis in axes:
        axis.set_xlabel("threshold")
        axis.set_ylabel("micro F1 on the test texts")
        axis.set_ylim(0, 1)
    save(figure, "f1_threshold", CHINESE)


if __name__ == "__main__":
    main()
