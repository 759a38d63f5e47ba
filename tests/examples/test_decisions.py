"""What a trained model is served with, learned from held-out rows."""

from support.decisions import SHRINKAGE, learn

import numpy as np
import pytest

from keras_mlc.layers import LabelThresholds, ScoreCalibration

POSITIVES = 60, 5, 4, 0


@pytest.fixture
def held_out():
    rng = np.random.default_rng(0)
    labels = np.zeros((100, 4), "uint8")
    for label, positives in enumerate(POSITIVES):
        labels[:positives, label] = 1
    scores = rng.normal(3.0 * labels - [1, 6, 4, 5], 1).astype("float32")
    return scores, labels


def test_thresholds_and_probabilities_are_those_of_the_layers(held_out):
    scores, labels = held_out
    decisions = learn(scores, labels, tune=True)
    thresholds, calibration = LabelThresholds(shrinkage=SHRINKAGE), ScoreCalibration()
    thresholds.adapt(scores, labels)
    calibration.adapt(scores, labels)
    outputs = {name: np.asarray(value) for name, value in decisions.outputs(scores).items()}
    assert sorted(outputs) == ["labels", "probabilities", "scores"]
    np.testing.assert_array_equal(outputs["labels"], scores > thresholds.thresholds)
    np.testing.assert_array_equal(outputs["labels"], decisions.labels(scores))
    np.testing.assert_array_equal(outputs["probabilities"], np.asarray(calibration(scores)))
    np.testing.assert_array_equal(outputs["scores"], scores)
    assert len(set(thresholds.thresholds)) == 3  # two labels have too few positives
    assert decisions.note == (
        "thresholds and probabilities fitted to 100 validation rows; 2 of 4 labels have fewer than "
        "5 positives there and share one threshold"
    )


def test_thresholds_stay_0_where_they_are_not_asked_for(held_out):
    scores, labels = held_out
    decisions = learn(scores, labels, tune=False)
    np.testing.assert_array_equal(decisions.labels(scores), scores > 0)
    assert decisions.calibration.scale != 1
    assert decisions.note == "probabilities fitted to 100 validation rows"


@pytest.mark.parametrize("tune", [True, False])
@pytest.mark.parametrize(
    ("value", "score", "told"),
    [
        (0, 1.0, "as no label is given in any of 3 validation rows"),
        (1, 1.0, "as every label is given in each of 3 validation rows"),
        (None, np.nan, "as a score is not finite in one of 3 validation rows"),
        (None, np.inf, "as a score is not finite in one of 3 validation rows"),
    ],
)
def test_what_cannot_be_learned_is_left_out(value, score, told, tune):
    labels = np.eye(3, 2, dtype="uint8") if value is None else np.full((3, 2), value, "uint8")
    scores = np.array([[1, -1], [-1, 1], [2, score]], "float32")
    decisions = learn(scores, labels, tune)
    assert told in decisions.note and ("thresholds" in decisions.note) == tune
    assert sorted(decisions.outputs(scores)) == ["labels", "scores"]
    np.testing.assert_array_equal(decisions.labels(scores), scores > 0)


def test_one_row_is_enough():
    decisions = learn(np.array([[1.0, -1.0]], "float32"), np.array([[1, 0]], "uint8"), tune=True)
    assert decisions.note.startswith("thresholds and probabilities fitted to 1 validation row;")
