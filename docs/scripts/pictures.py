"""Draw the pictures of the guides into docs/images, the same on every run, in both languages.

    python docs/scripts/pictures.py

Chinese texts are in the free font WenQuanYi Micro Hei.
"""

import sys
from pathlib import Path

import keras
import matplotlib
import numpy as np
import tensorflow as tf

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib import font_manager

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from calibration import calibration_error, network_scores
from corpora import BUNDLED, corpus, generated, linear_scores

from keras_mlc.layers import LabelThresholds, ScoreCalibration
from keras_mlc.losses import MultilabelCategoricalCrossentropy, asymmetric_loss

IMAGES = Path(__file__).resolve().parents[1] / "images"
BLUE, ORANGE, GREY, GREEN = "#2b6cb0", "#c05621", "#718096", "#2f855a"
WIDTH = 5.2  # inches: at this width letters are legible on a phone
STYLE = {
    "font.size": 9,
    "font.family": ["DejaVu Sans"],
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def subplots(parts, height, **kwargs):
    """Return a figure and its axes, below each other: a phone has no room beside."""
    return plt.subplots(parts, 1, figsize=(WIDTH, height), layout="constrained", **kwargs)


def gradient(loss, scores):
    """Return a loss's values at scores, and its gradient."""
    scores = tf.constant(scores)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        value = loss(scores)
    return value.numpy(), tape.gradient(value, scores).numpy()


def draw_asymmetric_loss(_):
    """Draw the pull of the asymmetric loss, and the probability at which it rests."""
    settings = {
        _("binary cross-entropy", "二元交叉熵"): ((0, 0, 0), GREY),
        _("γ 2 and 0, no clip", "γ 为 2 和 0，不截断"): ((2, 0, 0), GREEN),
        _("γ 4 and 0, clip 0.05", "γ 为 4 和 0，截断 0.05"): ((4, 0, 0.05), ORANGE),
        _("γ 4 and 1, clip 0.05", "γ 为 4 和 1，截断 0.05"): ((4, 1, 0.05), BLUE),
    }
    scores = np.linspace(-10, 10, 4001)[:, None]
    probabilities = 1 / (1 + np.exp(-scores[:, 0]))
    truth = np.linspace(0.005, 0.995, 199)
    figure, (left, middle, right) = subplots(3, 7.4)
    for name, (setting, colour) in settings.items():
        (no, push), (yes, pull) = (
            gradient(
                lambda s, y=y, how=setting: asymmetric_loss(
                    tf.fill(s.shape, y), s, *how, from_logits=True
                ),
                scores.astype("float32"),
            )
            for y in (0.0, 1.0)
        )
        left.plot(probabilities, push, color=colour, label=name)
        middle.plot(probabilities, -pull, color=colour)
        expected = truth[:, None] * yes + (1 - truth[:, None]) * no
        right.plot(truth, probabilities[expected.argmin(axis=1)], color=colour)
    left.set_title(_("a label that is no target", "非目标类"))
    middle.set_title(_("a target", "目标类"))
    right.set_title(_("where the loss is lowest", "损失最低的位置"))
    for axis in (left, middle):
        axis.set(xlabel=_("σ(score)", "σ(得分)"), ylim=(0, 1.3))
        axis.set_ylabel(_("pull on the score", "对得分的作用力"))
    left.legend(loc="upper left", fontsize=8)
    right.axhline(0.5, color=GREY, linestyle="--", linewidth=1)
    right.set_xlabel(_("share of such texts that have the label", "这类文本中带该标签的比例"))
    right.set_ylabel(_("σ(score)", "σ(得分)"))
    return figure


def draw_multilabel_gradient(_):
    """Draw how the multi-label loss and binary cross-entropy pull at few and at many scores."""
    losses = {
        _("multi-label cross-entropy", "多标签分类交叉熵"): (
            MultilabelCategoricalCrossentropy(),
            BLUE,
        ),
        _("binary cross-entropy", "二元交叉熵"): (
            keras.losses.BinaryCrossentropy(from_logits=True),
            ORANGE,
        ),
    }

    def of_one_target(loss, scores):
        target = tf.one_hot([0], len(scores))
        return gradient(lambda s: loss(target, s), scores[None].astype("float32"))[1][0]

    counts = np.unique(np.logspace(np.log10(2), 4, 30).astype(int))
    negatives = np.linspace(-8, 2, 200)
    figure, (left, right) = subplots(2, 5.2)
    for name, (loss, colour) in losses.items():
        gradients = [of_one_target(loss, np.zeros(count)) for count in counts]
        shares = [-g[0] / (-g[0] + g[1:].sum()) for g in gradients]
        left.plot(counts, shares, color=colour, label=name)
        push = of_one_target(loss, np.concatenate([[1.0], negatives]))[1:]
        right.plot(negatives, push / push.max(), color=colour)
    left.set(xscale="log", ylim=(0, 0.6))
    left.set_xlabel(
        _(
            "labels, one of them the target, all scores 0",
            "标签数，其中一个是目标类，所有得分为 0",
        )
    )
    left.set_ylabel(_("the target's share of the gradient", "目标类占梯度的份额"))
    left.legend(loc="upper right", bbox_to_anchor=(1, 0.8))
    right.axvline(0, color=GREY, linewidth=1, linestyle="--")
    right.set_xlabel(_("score of a label that is not a target", "非目标类的得分"))
    right.set_ylabel(_("gradient, of the largest", "梯度，相对于最大者"))
    return figure


def draw_label_thresholds(_):
    """Draw F1 of single labels against their threshold, on held-out and on test texts."""
    adapt, test = linear_scores(corpus(BUNDLED))
    layer, common = LabelThresholds(), LabelThresholds(average=None)
    layer.adapt(*adapt)
    common.adapt(*adapt)
    kinds = {
        _("a frequent label: {} of {:,}", "常见标签：{1:,} 条中有 {0} 条"): 3,
        _("a label in the middle: {} of {:,}", "居中的标签：{1:,} 条中有 {0} 条"): 25,
        _("a rare label: {} of {:,}", "少见标签：{1:,} 条中有 {0} 条"): -3,
    }
    order = np.argsort(-adapt[1].sum(axis=0))
    grid = np.linspace(-1.5, 1.5, 301)
    figure, axes = subplots(3, 6.6, sharex=True, sharey=True)
    for axis, (title, place) in zip(axes, kinds.items(), strict=True):
        label = order[place]
        texts = _("held-out texts", "留出的文本"), _("test texts", "测试文本")
        for name, part, colour in zip(texts, (adapt, test), (BLUE, ORANGE), strict=True):
            scores, labels = (array[:, label] for array in part)
            given = scores[:, None] > grid
            f1 = 2 * (labels @ given) / np.maximum(given.sum(axis=0) + labels.sum(), 1)
            axis.plot(grid, f1, color=colour, label=name)
        axis.axvline(layer.thresholds[label], color=BLUE, linestyle="--", linewidth=1)
        axis.axvline(common.thresholds[label], color=GREY, linestyle=":", linewidth=1)
        axis.set_title(title.format(adapt[1][:, label].sum(), len(adapt[1])))
        axis.set_ylabel("F1")
    axes[0].set_ylim(0, 1)
    axes[1].legend(loc="upper right")
    axes[2].set_xlabel(_("threshold", "阈值"))
    return figure


def draw_reliability(_, bins=15):
    """Draw how often labels are true against their probability, before and after calibration."""
    adapt, (scores, labels) = network_scores(generated(), MultilabelCategoricalCrossentropy())
    layer = ScoreCalibration()
    layer.adapt(*adapt)
    scale, offset = float(layer.scale[0]), float(layer.offset[0])
    lines = {
        "σ(s)": ((1, 0), ORANGE),
        "σ(2s)": ((2, 0), GREEN),
        _("σ({:.2f}·s {:+.2f}), fitted", "σ({:.2f}·s {:+.2f})，拟合").format(scale, offset): (
            (scale, offset),
            BLUE,
        ),
    }
    figure, axis = subplots(1, 4.8)
    axis.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
    for name, ((a, b), colour) in lines.items():
        probabilities = 1 / (1 + np.exp(-(a * scores + b)))
        places = np.minimum((probabilities * bins).astype(int), bins - 1)
        kept = [places == each for each in range(bins) if (places == each).sum() > 30]
        points = np.array([(probabilities[each].mean(), labels[each].mean()) for each in kept]).T
        error = calibration_error(probabilities, labels)
        line = _("{}: error {:.3f}", "{}：误差 {:.3f}").format(name, error)
        axis.plot(*points, "o-", color=colour, markersize=4, label=line)
    axis.set_xlabel(_("probability", "概率"))
    axis.set_ylabel(_("share of true labels", "标签为真的比例"))
    axis.set_aspect("equal")
    axis.legend(loc="upper left")
    return figure


def main():
    """Draw each picture in English, and once more in Chinese."""
    # one thread adds in one order: the same numbers on every run
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    plt.rcParams.update(STYLE)
    draws = draw_asymmetric_loss, draw_multilabel_gradient, draw_label_thresholds, draw_reliability
    for is_chinese, ending in enumerate(("", ".zh")):
        if is_chinese:
            font_manager.findfont("WenQuanYi Micro Hei", fallback_to_default=False)  # or raise
            plt.rcParams["font.family"] = ["DejaVu Sans", "WenQuanYi Micro Hei"]
        for draw in draws:
            figure = draw(lambda english, chinese, chosen=is_chinese: (english, chinese)[chosen])
            path = IMAGES / f"{draw.__name__.removeprefix('draw_')}{ending}.png"
            # without the date and the versions, which would change it
            figure.savefig(path, dpi=260, metadata={"Software": None})
            print(path.name)


if __name__ == "__main__":
    main()
