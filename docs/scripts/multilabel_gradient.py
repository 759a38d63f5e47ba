"""Draw how the multi-label loss and binary cross-entropy pull at few and at many scores."""

import keras
import numpy as np
import tensorflow as tf
from pictures import BLUE, GREY, ORANGE, save, subplots

from keras_mlc.losses import MultilabelCategoricalCrossentropy

LOSSES = {
    "multi-label cross-entropy": (MultilabelCategoricalCrossentropy(), BLUE),
    "binary cross-entropy": (keras.losses.BinaryCrossentropy(from_logits=True), ORANGE),
}

CHINESE = {
    "multi-label cross-entropy": "多标签分类交叉熵",
    "binary cross-entropy": "二元交叉熵",
    "labels, one of them the target, all scores 0": "标签数，其中一个是目标类，所有得分为 0",
    "the target's share of the gradient": "目标类占梯度的份额",
    "score of a label that is not a target": "非目标类的得分",
    "gradient, of the largest": "梯度，相对于最大者",
}


def gradient(loss, scores):
    """Return the gradient of a loss by the scores of one text, whose first label is the target."""
    scores = tf.constant(scores[None], "float32")
    target = tf.one_hot([0], scores.shape[1])
    with tf.GradientTape() as tape:
        tape.watch(scores)
        value = loss(target, scores)
    return tape.gradient(value, scores).numpy()[0]


def main():
    """Draw the pull at all scores 0, and the push on negatives of different scores."""
    figure, (left, right) = subplots(2, 5.2)
    counts = np.unique(np.logspace(np.log10(2), 4, 30).astype(int))
    for name, (loss, colour) in LOSSES.items():
        gradients = [gradient(loss, np.zeros(count)) for count in counts]
        shares = [-g[0] / (-g[0] + g[1:].sum()) for g in gradients]
        left.plot(counts, shares, color=colour, label=name)
    left.set_xscale("log")
    left.set_ylim(0, 0.6)
    left.set_xlabel("labels, one of them the target, all scores 0")
    left.set_ylabel("the target's share of the gradient")
    left.legend(loc="upper right", bbox_to_anchor=(1, 0.8))

    negatives = np.linspace(-8, 2, 200)
    scores = np.concatenate([[1.0], negatives])
    for name, (loss, colour) in LOSSES.items():
        push = gradient(loss, scores)[1:]
        right.plot(negatives, push / push.max(), color=colour, label=name)
    right.axvline(0, color=GREY, linewidth=1, linestyle="--")
    right.set_xlabel("score of a label that is not a target")
    right.set_ylabel("gradient, of the largest")
    save(figure, "multilabel_gradient", CHINESE)


if __name__ == "__main__":
    main()
