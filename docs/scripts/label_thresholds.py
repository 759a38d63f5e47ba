"""Draw F1 of single labels against their threshold, on held-out and on test texts."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import numpy as np
from corpora_scores import debian, scores_of
from pictures import BLUE, GREY, ORANGE, save, subplots

from keras_mlc.layers import LabelThresholds

CHINESE = {
    "a frequent label: {} of {}": "常见标签：{1} 条中有 {0} 条",
    "a label in the middle: {} of {}": "居中的标签：{1} 条中有 {0} 条",
    "a rare label: {} of {}": "少见标签：{1} 条中有 {0} 条",
    "threshold": "阈值",
    "held-out texts": "留出的文本",
    "test texts": "测试文本",
}
SHOWN = "a frequent label", "a label in the middle", "a rare label"


def f1_scores(scores, labels, thresholds):
    """Return F1 of one label at every threshold."""
    given = scores[:, None] > thresholds
    return 2 * (labels @ given) / np.maximum(given.sum(axis=0) + labels.sum(), 1)


def main():
    """Score the bundled corpus with a linear SVM and draw three of its labels."""
    (scores, labels), _, (test_scores, test_labels) = scores_of(debian(), 0)
    layer = LabelThresholds()
    layer.adapt(scores, labels)
    common = LabelThresholds(average=None)
    common.adapt(scores, labels)
    order = np.argsort(-labels.sum(axis=0))
    grid = np.linspace(-1.5, 1.5, 301)
    figure, axes = subplots(3, 6.6, sharex=True, sharey=True)
    for axis, name, label in zip(axes, SHOWN, order[[3, 25, -3]], strict=True):
        axis.plot(grid, f1_scores(scores[:, label], labels[:, label], grid), color=BLUE)
        on_test = f1_scores(test_scores[:, label], test_labels[:, label], grid)
        axis.plot(grid, on_test, color=ORANGE)
        axis.axvline(layer.thresholds[label], color=BLUE, linestyle="--", linewidth=1)
        axis.axvline(common.thresholds[label], color=GREY, linestyle=":", linewidth=1)
        axis.set_title(f"{name}: {labels[:, label].sum()} of {len(labels):,}")
        axis.set_ylabel("F1")
    axes[2].set_xlabel("threshold")
    axes[1].plot([], [], color=BLUE, label="held-out texts")
    axes[1].plot([], [], color=ORANGE, label="test texts")
    axes[1].legend(loc="upper right")
    axes[0].set_ylim(0, 1)
    for averages, thresholds in (("0", 0.0), ("macro", layer.thresholds)):
        given = test_scores > thresholds
        hits, total = 2 * (test_labels * given).sum(axis=0), (test_labels + given).sum(axis=0)
        print(averages, f"{hits.sum() / total.sum():.3f} {np.mean(hits / total):.3f}")
    save(figure, "label_thresholds", CHINESE)


if __name__ == "__main__":
    main()
