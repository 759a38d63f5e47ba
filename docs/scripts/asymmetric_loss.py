"""Draw the pull of the asymmetric loss, and the probability at which it rests."""

import keras
import numpy as np
import tensorflow as tf
from pictures import BLUE, GREEN, GREY, ORANGE, save, subplots

from keras_mlc.losses import asymmetric_loss

SETTINGS = {
    "binary cross-entropy": ((0, 0, 0), GREY),
    "γ 2 and 0, no clip": ((2, 0, 0), GREEN),
    "γ 4 and 0, clip 0.05": ((4, 0, 0.05), ORANGE),
    "γ 4 and 1, clip 0.05": ((4, 1, 0.05), BLUE),
}
CHINESE = {
    "binary cross-entropy": "二元交叉熵",
    "γ {} and {}, no clip": "γ 为 {} 和 {}，不截断",
    "γ {} and {}, clip 0.05": "γ 为 {} 和 {}，截断 0.05",
    "a label that is no target": "非目标类",
    "a target": "目标类",
    "where the loss is lowest": "损失最低的位置",
    "σ(score)": "σ(得分)",
    "pull on the score": "对得分的作用力",
    "share of such texts that have the label": "这类文本中带该标签的比例",
}
SCORES = np.linspace(-10, 10, 4001)
PROBABILITIES = 1 / (1 + np.exp(-SCORES))


def values(setting, target):
    """Return the loss of one label at every score, and its derivative."""
    scores = tf.constant(SCORES[:, None])
    targets = tf.fill(scores.shape, target)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        loss = asymmetric_loss(targets, scores, *setting, from_logits=True)
    return loss.numpy(), tape.gradient(loss, scores).numpy()[:, 0]


def main():
    """Draw the gradients of a label that is no target and of a target, and the optimum."""
    keras.config.set_floatx("float64")
    figure, (left, middle, right) = subplots(3, 7.4)
    truth = np.linspace(0.005, 0.995, 199)
    for name, (setting, colour) in SETTINGS.items():
        (no, push), (yes, pull) = values(setting, 0), values(setting, 1)
        left.plot(PROBABILITIES, push, color=colour, label=name)
        middle.plot(PROBABILITIES, -pull, color=colour)
        expected = truth[:, None] * yes + (1 - truth[:, None]) * no
        rests = PROBABILITIES[expected.argmin(axis=1)]
        right.plot(truth, rests, color=colour)
        print(name, {each: f"{rests[np.abs(truth - each).argmin()]:.2f}" for each in (0.05, 0.2)})
        print("  0.5 from a true probability of", f"{truth[(rests >= 0.5).argmax()]:.2f}")
    left.set_title("a label that is no target")
    middle.set_title("a target")
    right.set_title("where the loss is lowest")
    for axis in (left, middle):
        axis.set_xlabel("σ(score)")
        axis.set_ylim(0, 1.3)
        axis.set_ylabel("pull on the score")
    left.legend(loc="upper left", fontsize=8)
    right.axhline(0.5, color=GREY, linestyle="--", linewidth=1)
    right.set_xlabel("share of such texts that have the label")
    right.set_ylabel("σ(score)")
    save(figure, "asymmetric_loss", CHINESE)


if __name__ == "__main__":
    main()
