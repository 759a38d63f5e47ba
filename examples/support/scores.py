"""Scores of predicted labels, by scikit-learn."""

import numpy as np
from sklearn.metrics import accuracy_score, classification_report, f1_score


def scores(labels, predicted, names):
    """scikit-learn's report, subset accuracy and hamming loss, as plain numbers."""
    report = classification_report(
        two_columns(labels),
        two_columns(predicted),
        labels=range(len(names)),
        target_names=names,
        output_dict=True,
        zero_division=0,
    )
    return {
        "averages": {a: report.pop(f"{a} avg") for a in ("micro", "macro", "weighted", "samples")},
        "labels": report,
        "subset_accuracy": float(accuracy_score(labels, predicted)),
        "hamming_loss": float(np.mean(labels != predicted)),
    }


def micro_f1(labels, predicted):
    labels, predicted = two_columns(labels), two_columns(predicted)
    return float(f1_score(labels, predicted, average="micro", zero_division=0))


def two_columns(labels):
    """A single label's column beside an empty one: alone it would be two classes to scikit-learn.

    The empty one adds nothing to micro averages, and `labels=` leaves it out of reports.
    """
    return np.pad(labels, ((0, 0), (0, 1))) if labels.shape[1] == 1 else labels
