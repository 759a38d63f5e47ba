"""scikit-learn's scores of predicted labels, also where there is but one label.

A single column would be taken for two classes: micro F1 would be the accuracy.
"""

import numpy as np
from sklearn.metrics import accuracy_score, classification_report, f1_score, hamming_loss


def columns(labels, predicted):
    """Both with at least two columns, and the numbers of the columns that count."""
    count = labels.shape[1]
    if count == 1:
        labels, predicted = (np.pad(array, ((0, 0), (0, 1))) for array in (labels, predicted))
    return labels, predicted, range(count)


def micro_f1(labels, predicted):
    labels, predicted, counted = columns(labels, predicted)
    score = f1_score(labels, predicted, labels=counted, average="micro", zero_division=0)
    return float(score)


def scores(labels, predicted, names):
    """The report, subset accuracy and hamming loss, as plain numbers."""
    *both, counted = columns(labels, predicted)
    report = classification_report(
        *both, labels=counted, target_names=names, output_dict=True, zero_division=0
    )
    return {
        "averages": {a: report.pop(f"{a} avg") for a in ("micro", "macro", "weighted", "samples")},
        "labels": report,
        "subset_accuracy": float(accuracy_score(labels, predicted)),
        "hamming_loss": float(hamming_loss(labels, predicted)),
    }
