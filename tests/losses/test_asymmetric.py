from typing import ClassVar

import keras
import numpy as np
import pytest

import reference
from backends import BACKEND, FASTEST_MODE, close, exact_jax, to_numpy, value_and_gradient
from keras_mlc.losses import AsymmetricLoss, RDropLoss, asymmetric_loss
from losses.loss_checks import SCORES, LossChecks, sigmoid

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, (2, 4)).repeat(2, axis=0)
SOFT = np.round(RNG.random((4, 4)), 1)
UNKNOWN = np.where(RNG.random((4, 4)) < 0.4, -1, LABELS)
UNKNOWN[2] = -1


class TestAsymmetric(LossChecks):
    """Of scores, with the published settings."""

    loss_class = AsymmetricLoss
    arguments: ClassVar = {"from_logits": True}
    every_argument: ClassVar = {
        "gamma_negative": 3.0,
        "gamma_positive": 0.5,
        "clip": 0.1,
        "from_logits": True,
        "missing_label": -1,
    }
    labels: ClassVar = [LABELS, SOFT]
    hard: ClassVar = [LABELS]

    def settings(self):
        defaults = {"gamma_negative": 4.0, "gamma_positive": 1.0, "clip": 0.05}
        return [self.arguments.get(name, default) for name, default in defaults.items()]

    def reference(self, labels, outputs):
        p = sigmoid(outputs) if self.activation is None else outputs
        return reference.asymmetric_loss(
            labels, p, *self.settings(), self.arguments.get("missing_label")
        )

    def at_extremes(self, labels, scores):
        gamma_negative, gamma_positive, clip = self.settings()
        log_p, log_not_p = -np.logaddexp(0, -scores), -np.logaddexp(0, scores)
        target = np.exp(gamma_positive * log_not_p) * -log_p
        lowered = np.maximum(np.exp(log_p) - clip, 0)
        cost = -np.log(np.exp(log_not_p) + clip) if clip else -log_not_p
        other = np.where(lowered > 0, lowered**gamma_negative * cost, 0)
        return np.sum(np.where(labels == 1, target, other), axis=-1)


class TestWithoutFocusingOnTargets(TestAsymmetric):
    is_variant = True
    arguments: ClassVar = {
        "from_logits": True,
        "gamma_negative": 1.0,
        "gamma_positive": 0.0,
        "clip": 0.0,
    }


class TestATinyClip(TestAsymmetric):
    is_variant = True
    arguments: ClassVar = {
        "from_logits": True,
        "gamma_negative": 0.5,
        "gamma_positive": 0.5,
        "clip": 1e-4,
    }


class TestProbabilities(TestAsymmetric):
    is_variant = True
    activation = "sigmoid"
    arguments: ClassVar = {"gamma_negative": 2.5, "gamma_positive": 0.5, "clip": 0.2}
    outputs = sigmoid(SCORES)


class TestUnknown(TestProbabilities):
    is_variant = False
    arguments: ClassVar = {"gamma_negative": 0.0, "gamma_positive": 2.0, "missing_label": -1}
    labels: ClassVar = [UNKNOWN, np.where(UNKNOWN == -1, -1, SOFT)]

    def test_unknown_labels_have_no_gradient(self):
        _, gradient = value_and_gradient(
            lambda p: self.make().call(UNKNOWN, p), self.outputs, FASTEST_MODE
        )
        assert not to_numpy(gradient)[UNKNOWN == -1].any()


def test_the_function_is_the_classs_arithmetic():
    for arguments in ({"from_logits": True}, {"clip": 0.2, "missing_label": -1}):
        outputs = SCORES if "from_logits" in arguments else sigmoid(SCORES)
        expected = AsymmetricLoss(**arguments, reduction=None)(LABELS, outputs)
        close(asymmetric_loss(LABELS, outputs, **arguments), expected, 1e-5)


def test_float32_loses_no_digits_where_a_label_is_all_wrong():
    scores = np.arange(2.0, 40.0, 0.5)
    p_of_none = np.exp(-np.logaddexp(0, scores))
    for clip in (0.05, 1e-4):
        rows = asymmetric_loss(
            np.zeros((len(scores), 1)), scores[:, None].astype("float32"), 0, 0, clip, True
        )
        np.testing.assert_allclose(to_numpy(rows), -np.log(p_of_none + clip), rtol=2e-6)


def test_without_focusing_it_is_the_sum_of_the_binary_crossentropies():
    edge = np.array([[0.0, 1.0, 0.0, 1.0]], "float32")
    wrong = np.array([[0.0, 1.0, 1.0, 0.0]], "float32")
    for labels, outputs, from_logits in (
        (LABELS, SCORES, True),
        (SOFT, sigmoid(SCORES), False),
        (wrong, edge, False),
    ):
        labels, outputs = labels.astype("float32"), outputs.astype("float32")
        expected = 4 * to_numpy(keras.losses.binary_crossentropy(labels, outputs, from_logits))
        close(asymmetric_loss(labels, outputs, 0, 0, 0, from_logits), expected, 1e-4)


def test_a_label_below_the_clip_costs_nothing_and_is_left_alone():
    p = np.array([[0.01, 0.05, 0.06]], "float32")
    value, gradient = value_and_gradient(
        lambda p: asymmetric_loss(np.zeros((1, 3)), p, gamma_negative=0.5), p, FASTEST_MODE
    )
    gradient = to_numpy(gradient)
    assert float(to_numpy(value)[0]) > 0 and not gradient[0, :2].any() and gradient[0, 2] > 0
    close(value, reference.asymmetric_loss(np.zeros((1, 3)), p, gamma_negative=0.5), 1e-4)


@exact_jax()
def test_under_r_drop():
    labels = np.where(np.arange(4) == 1, -1, LABELS)
    rows = reference.asymmetric_loss(labels, sigmoid(SCORES), missing_label=-1)
    expected = reference.r_drop(rows, sigmoid(SCORES), 4.0, "bernoulli")
    for from_logits, outputs in ((True, SCORES), (False, sigmoid(SCORES))):
        base = AsymmetricLoss(from_logits=from_logits, missing_label=-1)
        shared = {"from_logits": from_logits, "reduction": None, "dtype": "float64"}
        close(RDropLoss(base, **shared)(labels, outputs), expected, 1e-6)
        plain = RDropLoss(AsymmetricLoss(from_logits=from_logits), **shared)(LABELS, outputs)
        for loss in (asymmetric_loss, AsymmetricLoss):
            close(RDropLoss(loss, **shared)(LABELS, outputs), to_numpy(plain), 1e-6)
        with pytest.raises(ValueError, match="base loss has `from_logits="):
            RDropLoss(base, from_logits=not from_logits)


def test_bad_arguments():
    for arguments, message in (
        ({"gamma_negative": -1}, "`gamma_negative` must be a finite number, 0 or more.*-1"),
        ({"gamma_positive": float("nan")}, "`gamma_positive`.*nan"),
        ({"clip": 1.0}, r"`clip` must be a number in \[0, 1\).*1\.0"),
        ({"clip": -0.1}, "`clip`.*-0.1"),
        ({"missing_label": 0.5}, r"`missing_label`.*outside \[0, 1\].*0\.5"),
        ({"missing_label": float("nan")}, "`missing_label`.*nan"),
    ):
        for loss in (AsymmetricLoss, lambda **each: asymmetric_loss(LABELS, SCORES, **each)):
            with pytest.raises(ValueError, match=message):
                loss(**arguments)


def test_bad_calls():
    for labels, outputs, message in (
        (LABELS, SCORES, "`y_pred` must hold probabilities.*from_logits=True"),
        (2 * LABELS, sigmoid(SCORES), "`y_true` must lie between 0 and 1.*to 2"),
        (LABELS[:, :3], sigmoid(SCORES), "shape of `y_pred`"),
        (LABELS, LABELS, "floating point"),
        (LABELS[:, :0], SCORES[:, :0], "at least one"),
    ):
        with pytest.raises(ValueError, match=message):
            asymmetric_loss(labels, outputs)


def test_a_diverged_model_has_a_loss_of_nan():
    nan = np.full((4, 4), np.nan, "float32")
    assert np.isnan(to_numpy(asymmetric_loss(LABELS, nan))).all()


def test_saving_the_function(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "sigmoid")])
    model.compile("sgd", asymmetric_loss, run_eagerly=BACKEND == "tensorflow")
    model.fit(SCORES[:, :3], LABELS, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert again.loss is asymmetric_loss
