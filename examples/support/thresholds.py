"""A threshold for each label, tuned on the validation rows.

A label is given where its score is above its threshold. One threshold for all labels comes first,
that of the best micro F1; a label with many positives among the validation rows then gets one of
its own, that of its best F1. A rare label keeps the common one: its own would follow from a handful
of texts and mean little for others.
"""

import numpy as np
from sklearn.metrics import precision_recall_curve

DEFAULT = 0.0
FEWEST_POSITIVES = 20


def tune_thresholds(labels, scores):
    """Return a threshold for each of C labels.

    Args:
        labels: (N, C) array of 0 and 1.
        scores: (N, C) array of scores.
    """
    common = best_threshold(labels.ravel(), scores.ravel())
    return [
        best_threshold(labels[:, label], scores[:, label])
        if positives >= FEWEST_POSITIVES
        else common
        for label, positives in enumerate(labels.sum(axis=0, dtype="int64"))
    ]


def best_threshold(labels, scores):
    """The threshold of the best F1; of several the nearest to the default one.

    Unless it is the default one, it lies in the middle between two scores that occur.
    """
    if not labels.any():
        return DEFAULT
    precision, recall, lowest_given = precision_recall_curve(labels, scores)
    f1 = (2 * precision * recall / np.maximum(precision + recall, 1e-9))[:-1]
    given = scores > DEFAULT
    f1_at_default = 2 * (given & (labels == 1)).sum() / (given.sum() + labels.sum(dtype="int64"))
    if f1_at_default >= f1.max() - 1e-9:
        return DEFAULT
    below = np.concatenate([lowest_given[:1] - 1, lowest_given[:-1]])
    middles = (below + lowest_given) / 2
    return float(min(middles[f1 >= f1.max() - 1e-9], key=abs))
