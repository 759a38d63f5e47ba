import keras
import ml_dtypes
import numpy as np
import pytest
from keras import ops

import reference
from backends import (
    EXACT_FLOAT64,
    FASTEST_MODE,
    MODES,
    compiled,
    dtype_of,
    exact_jax,
    gradients,
    to_numpy,
    value_and_gradient,
)
from keras_mlc.losses import AsymmetricLoss, RDropLoss, asymmetric_loss

RNG = np.random.default_rng(0)
SCORES = RNG.normal(0, 3, (4, 6))
LABELS = RNG.integers(0, 2, (4, 6))
SOFT = np.round(RNG.random((4, 6)), 1)
UNKNOWN = np.where(RNG.random((4, 6)) < 0.4, -1, LABELS)
UNKNOWN[2] = -1
SETTINGS = [(4.0, 1.0, 0.05), (2.5, 0.5, 0.2), (1.0, 0.0, 0.0), (0.0, 2.0, 0.1), (0.5, 0.5, 1e-4)]
# Off TensorFlow, some functions of Keras compute in float32 what comes in float64.
EXACT = 1e-9 if EXACT_FLOAT64 else 1e-6


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def close(actual, expected, tolerance=EXACT):
    np.testing.assert_allclose(to_numpy(actual), expected, rtol=tolerance, atol=1e-12)


def naive(labels, scores, settings=(), **arguments):
    return reference.asymmetric_loss(labels, sigmoid(scores), *settings, **arguments)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("settings", SETTINGS)
@exact_jax()
def test_agrees_with_the_naive_form(settings, mode):
    for labels, missing in ((LABELS, None), (SOFT, None), (UNKNOWN, -1)):
        expected = naive(labels, SCORES, settings, missing_label=missing)
        for outputs, from_logits in ((SCORES, True), (sigmoid(SCORES), False)):

            def loss(labels, outputs, from_logits=from_logits, missing=missing):
                return asymmetric_loss(labels, outputs, *settings, from_logits, missing)

            close(compiled(loss, mode)(labels, outputs), expected)
            single = labels.astype("float32"), outputs.astype("float32")
            close(compiled(loss, mode)(*single), expected, 2e-4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("from_logits", [True, False])
@exact_jax()
def test_first_and_second_derivatives(settings, from_logits, mode):
    labels = np.where(UNKNOWN == -1, -1, SOFT)
    outputs = SCORES if from_logits else sigmoid(SCORES)

    def loss(outputs):
        rows = asymmetric_loss(labels, outputs, *settings, from_logits, -1)
        return rows * ops.cast(ops.arange(1, 5), rows.dtype)

    def gradient(outputs):
        return gradients(loss, [outputs])[0]

    def square(outputs):
        return ops.sum(ops.square(gradient(outputs)))

    def by_hand(outputs):
        p = sigmoid(outputs) if from_logits else outputs
        return np.arange(1, 5) @ reference.asymmetric_loss(labels, p, *settings, -1)

    actual = to_numpy(compiled(gradient, mode)(outputs))
    expected = reference.finite_differences(by_hand, outputs, 1e-6)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    assert not actual[labels == -1].any() and actual[labels != -1].any()
    second = to_numpy(compiled(lambda x: gradients(square, [x])[0], mode)(outputs))
    again = compiled(gradient, FASTEST_MODE)
    expected = reference.finite_differences(
        lambda x: np.sum(to_numpy(again(x)) ** 2), outputs, 1e-5
    )
    np.testing.assert_allclose(second, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@exact_jax()
def test_extreme_scores_have_the_right_value_and_a_finite_gradient(dtype, settings, mode):
    scores = [1e4, -1e4, 30.0, -30.0, 0.0, float(ml_dtypes.finfo(dtype).max) ** 0.5]
    scores = ops.convert_to_tensor([scores, scores], dtype)
    labels = np.array([[1] * 6, [0] * 6])
    exact = to_numpy(scores).astype("float64")
    value, gradient = value_and_gradient(
        lambda x: asymmetric_loss(labels, x, *settings, from_logits=True), scores, mode
    )
    assert dtype_of(value) == ("float64" if dtype == "float64" else "float32")
    assert np.isfinite(to_numpy(gradient)).all()
    gamma_negative, gamma_positive, clip = settings
    log_p, log_not_p = -np.logaddexp(0, -exact), -np.logaddexp(0, exact)
    target = np.sum(np.exp(gamma_positive * log_not_p[0]) * -log_p[0])
    lowered = np.maximum(np.exp(log_p[1]) - clip, 0)
    cost = -np.log(np.exp(log_not_p[1]) + clip) if clip else -log_not_p[1]
    other = np.sum(np.where(lowered > 0, lowered**gamma_negative * cost, 0))
    close(value, [target, other], 1e-5)


@pytest.mark.parametrize("clip", [0.05, 1e-4])
def test_float32_loses_no_digits_where_a_label_is_all_wrong(clip):
    scores = np.arange(2.0, 40.0, 0.5)
    p_of_none = np.exp(-np.logaddexp(0, scores))
    expected = -np.log(p_of_none + clip)
    rows = asymmetric_loss(
        np.zeros((len(scores), 1)), scores[:, None].astype("float32"), 0, 0, clip, True
    )
    np.testing.assert_allclose(to_numpy(rows), expected, rtol=2e-6)


@pytest.mark.parametrize("from_logits", [True, False])
def test_without_focusing_it_is_the_sum_of_the_binary_crossentropies(from_logits):
    outputs = (SCORES if from_logits else sigmoid(SCORES)).astype("float32")
    for labels in (LABELS.astype("float32"), SOFT.astype("float32")):
        expected = 6 * to_numpy(keras.losses.binary_crossentropy(labels, outputs, from_logits))
        close(asymmetric_loss(labels, outputs, 0, 0, 0, from_logits), expected, 1e-5)
    edge = np.array([[0.0, 1.0, 0.0, 1.0]], "float32")
    labels = np.array([[0.0, 1.0, 1.0, 0.0]], "float32")
    expected = 4 * to_numpy(keras.losses.binary_crossentropy(labels, edge))
    close(asymmetric_loss(labels, edge, 0, 0, 0), expected, 1e-4)


def test_a_label_below_the_clip_costs_nothing_and_is_left_alone():
    p = np.array([[0.01, 0.05, 0.06]], "float32")
    value, gradient = value_and_gradient(
        lambda p: asymmetric_loss(np.zeros((1, 3)), p, gamma_negative=0.5), p, FASTEST_MODE
    )
    gradient = to_numpy(gradient)
    assert float(to_numpy(value)[0]) > 0 and not gradient[0, :2].any() and gradient[0, 2] > 0
    close(value, reference.asymmetric_loss(np.zeros((1, 3)), p, gamma_negative=0.5), 1e-4)


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4), (0, 4), (3, 1)])
def test_any_rank(shape):
    scores, labels = RNG.normal(size=shape), RNG.integers(0, 2, shape)
    rows = asymmetric_loss(labels, scores.astype("float32"), from_logits=True)
    assert rows.shape == shape[:-1]
    close(rows, naive(labels, scores), 1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_dynamic_shapes(mode):
    function = compiled(lambda t, p: asymmetric_loss(t, p), mode, [(None, None)] * 2)
    for shape in ((2, 5), (3, 1)):
        p, labels = RNG.random(shape).astype("float32"), np.ones(shape, "float32")
        close(function(labels, p), reference.asymmetric_loss(labels, p), 1e-5)


def test_the_class_weighs_reduces_and_keeps_every_argument():
    loss = AsymmetricLoss(3.0, 0.5, 0.1, True, -1, reduction="sum", name="asl", dtype="float16")
    weights = np.array([1.0, 0.0, 2.0, 0.5])
    rows = naive(UNKNOWN, SCORES, (3.0, 0.5, 0.1), missing_label=-1)
    close(loss(UNKNOWN, SCORES, weights), np.sum(rows * weights), 1e-4)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is AsymmetricLoss and again.get_config() == loss.get_config()
    assert dtype_of(again(UNKNOWN, SCORES)) == "float32"
    defaults = AsymmetricLoss()(LABELS, sigmoid(SCORES))
    close(defaults, reference.asymmetric_loss(LABELS, sigmoid(SCORES)).mean(), 1e-4)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_training_saving_and_training_on(policy, tmp_path):
    activation = keras.layers.Activation("sigmoid", dtype="float32")
    x = RNG.normal(size=(4, 3))
    for loss, last in ((AsymmetricLoss(0.0), [activation]), (asymmetric_loss, [activation])):
        layers = [keras.Input((3,)), keras.layers.Dense(6, dtype=policy), *last]
        model = keras.Sequential(layers)
        model.compile(keras.optimizers.SGD(0.05), loss)
        losses = model.fit(x, LABELS, epochs=3, verbose=0).history["loss"]
        assert losses[-1] < losses[0]
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
        close(again.evaluate(x, LABELS, verbose=0), model.evaluate(x, LABELS, verbose=0), 1e-4)


@pytest.mark.parametrize("from_logits", [True, False])
@exact_jax()
def test_under_r_drop(from_logits):
    scores = RNG.normal(size=(6, 4))
    labels = RNG.integers(-1, 2, (3, 4)).repeat(2, axis=0)
    outputs = scores if from_logits else sigmoid(scores)
    base = AsymmetricLoss(from_logits=from_logits, missing_label=-1)
    rows = reference.asymmetric_loss(labels, sigmoid(scores), missing_label=-1)
    expected = reference.r_drop(rows, sigmoid(scores), 4.0, "bernoulli")
    shared = {"from_logits": from_logits, "reduction": None, "dtype": "float64"}
    close(RDropLoss(base, **shared)(labels, outputs), expected, 1e-6)
    known = np.maximum(labels, 0)
    plain = RDropLoss(AsymmetricLoss(from_logits=from_logits), **shared)(known, outputs)
    for loss in (asymmetric_loss, AsymmetricLoss):
        close(RDropLoss(loss, **shared)(known, outputs), to_numpy(plain), 1e-6)
    with pytest.raises(ValueError, match="base loss has `from_logits="):
        RDropLoss(base, from_logits=not from_logits)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gamma_negative": -1}, "`gamma_negative` must be a finite number, 0 or more.*-1"),
        ({"gamma_positive": float("nan")}, "`gamma_positive`.*nan"),
        ({"clip": 1.0}, r"`clip` must be a number in \[0, 1\).*1\.0"),
        ({"clip": -0.1}, "`clip`.*-0.1"),
        ({"missing_label": 0.5}, r"`missing_label`.*outside \[0, 1\].*0\.5"),
        ({"missing_label": float("nan")}, "`missing_label`.*nan"),
    ],
)
def test_bad_arguments(arguments, message):
    for loss in (AsymmetricLoss, lambda **each: asymmetric_loss(LABELS, SCORES, **each)):
        with pytest.raises(ValueError, match=message):
            loss(**arguments)


@pytest.mark.parametrize(
    ("labels", "outputs", "message"),
    [
        (LABELS, SCORES, "`y_pred` must hold probabilities.*from_logits=True"),
        (2 * LABELS, sigmoid(SCORES), "`y_true` must lie between 0 and 1.*to 2"),
        (LABELS[:, :5], sigmoid(SCORES), "shape of `y_pred`"),
        (LABELS, LABELS, "floating point"),
        (LABELS[:, :0], SCORES[:, :0], "at least one"),
    ],
)
def test_bad_calls(labels, outputs, message):
    with pytest.raises(ValueError, match=message):
        asymmetric_loss(labels, outputs)


def test_a_diverged_model_has_a_loss_of_nan():
    nan = np.full((4, 6), np.nan, "float32")
    assert np.isnan(to_numpy(asymmetric_loss(LABELS, nan))).all()
