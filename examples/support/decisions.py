"""What a model of labels is served with: layers that decide, and that say how probable it is."""

from dataclasses import dataclass

import keras
import numpy as np

from keras_mlc.layers import LabelThresholds, ScoreCalibration

SHRINKAGE = 20  # what docs/guides/label_thresholds.md advises for few rows


@dataclass
class Decisions:
    """The layers after a model's scores.

    Attributes:
        thresholds: which labels are given, a `LabelThresholds`.
        calibration: how probable they are, a `ScoreCalibration`; None where nothing could show it.
        note: which rows they were adapted on, or why they were not.
    """

    thresholds: LabelThresholds
    calibration: ScoreCalibration | None
    note: str

    def outputs(self, scores):
        """The outputs of a model that is served, by their names."""
        outputs = {"labels": self.thresholds(scores), "scores": scores}
        if self.calibration is not None:
            outputs["probabilities"] = self.calibration(scores)
        return outputs

    def labels(self, scores):
        """0/1 predictions, as NumPy arrays."""
        return keras.ops.convert_to_numpy(self.thresholds(scores)).astype("uint8")


def learn(scores, labels, tune):
    """Return the `Decisions` that held-out rows suggest.

    Args:
        scores: (N, C) scores of rows that the model was not trained on.
        labels: (N, C) array of 0 and 1.
        tune: whether to choose thresholds; otherwise they are 0.
    """
    # computed in float32 in a model of any precision
    thresholds = LabelThresholds(shrinkage=SHRINKAGE, name="labels", dtype="float32")
    calibration = ScoreCalibration(name="probabilities", dtype="float32")
    thresholds.build(scores.shape)
    rows = f"{len(scores):,} validation row{'s' * (len(scores) != 1)}"
    if reason := unfit(scores, labels):
        what = "neither tuned thresholds nor probabilities" if tune else "no probabilities"
        return Decisions(thresholds, None, f"{what}, as {reason} of {rows}")
    calibration.adapt(scores, labels)
    if not tune:
        return Decisions(thresholds, calibration, f"probabilities fitted to {rows}")
    thresholds.adapt(scores, labels)
    few = int((labels.sum(axis=0, dtype="int64") < thresholds.min_positives).sum())
    note = f"thresholds and probabilities fitted to {rows}"
    if few:
        note += (
            f"; {few:,} of {labels.shape[1]:,} labels have fewer than {thresholds.min_positives} "
            "positives there and share one threshold"
        )
    return Decisions(thresholds, calibration, note)


def unfit(scores, labels):
    """Why nothing can be learned from scores and labels; None where it can."""
    if not labels.any():
        return "no label is given in any"
    if labels.all():
        return "every label is given in each"
    if not np.isfinite(scores).all():
        return "a score is not finite in one"
    return None
