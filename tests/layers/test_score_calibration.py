import time
from typing import ClassVar

import keras
import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from backends import BACKEND, to_numpy
from keras_mlc.layers import ScoreCalibration
from layers.decision_checks import DecisionChecks, around, rows


def fitted(*arguments, per_label=False, **options):
    layer = ScoreCalibration(per_label)
    layer.adapt(*arguments, **options)
    return layer.scale.astype("float64"), layer.offset.astype("float64")


def cost(pair, scores, labels, weights=1.0):
    """Return the cross-entropy with Platt's targets of one pair."""
    weights = weights * np.ones(len(scores))
    true = np.sum(weights * labels)
    high = (true + 1) / (true + 2)
    low = 1 / (np.sum(weights) - true + 2)
    logits = pair[0] * scores.astype("float64") + pair[1]
    targets = labels * high + (1 - labels) * low
    return np.sum(weights * (np.logaddexp(0, logits) - targets * logits))


def slowly(scores, labels, weights=1.0):
    """Return the pair that a general optimizer finds."""
    options = {"xatol": 1e-10, "fatol": 1e-13, "maxiter": 4000}
    arguments = scores, labels, weights
    return minimize(cost, [1.0, 0.0], arguments, method="Nelder-Mead", options=options).x


class TestScoreCalibration(DecisionChecks):
    layer_class = ScoreCalibration
    every_argument: ClassVar = {"per_label": True}


@pytest.mark.parametrize("seed", range(2))
def test_is_the_best_pair(seed):
    scores, labels = rows(80, seed)
    weights = np.random.default_rng(seed).uniform(0.1, 3, len(scores)) if seed else None
    flat = 1.0 if weights is None else np.repeat(weights, scores.shape[1])
    expected = slowly(scores.ravel(), labels.ravel(), flat)
    [scale], [offset] = fitted(scores, labels, weights)
    np.testing.assert_allclose([scale, offset], expected, rtol=1e-4, atol=1e-5)
    scale, offset = fitted(scores, labels, weights, per_label=True)
    for label, column in enumerate(scores.T):
        expected = slowly(column, labels[:, label], 1.0 if weights is None else weights)
        found = scale[label], offset[label]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_agrees_with_a_logistic_regression_of_many_rows():
    scores, labels = rows(20_000)
    expected = LogisticRegression(C=1e9, tol=1e-9).fit(scores.reshape(-1, 1), labels.ravel())
    [scale], [offset] = fitted(scores, labels)
    assert scale == pytest.approx(expected.coef_[0, 0], rel=2e-3)
    assert offset == pytest.approx(expected.intercept_[0], rel=2e-3)


def test_outputs():
    scores, labels = rows()
    layer = ScoreCalibration(per_label=True)
    expected = 1 / (1 + np.exp(-scores))
    np.testing.assert_allclose(to_numpy(layer(scores)), expected, rtol=1e-5)
    layer.adapt(scores, labels)
    expected = 1 / (1 + np.exp(-(layer.scale * scores + layer.offset)))
    np.testing.assert_allclose(to_numpy(layer(scores)), expected, rtol=1e-5)


@pytest.mark.parametrize("per_label", [False, True])
def test_finite_where_scores_part_the_labels(per_label):
    for gap in (1e-3, 1.0, 1e4):
        scores = gap * np.array([[1.0, 2.0], [0.5, 1.0], [-0.5, -1.0], [-1.0, -0.1]])
        layer = ScoreCalibration(per_label)
        layer.adapt(scores, scores > 0)
        assert np.isfinite(layer.scale).all() and np.isfinite(layer.offset).all()
        assert (layer.scale > 0).all()
        probabilities = to_numpy(layer(scores.astype("float32")))
        assert ((probabilities > 0.5) == (scores > 0)).all()
        assert probabilities.min() > 0.01 and probabilities.max() < 0.99  # Four rows prove little.


def test_the_order_never_changes():
    scores, labels = rows(500)
    labels[:, 1] = 1 - labels[:, 1]  # The scores say the opposite.
    labels[:, 2] = 0  # The label never occurs,
    labels[:, 3] = 1  # or always.
    layer = ScoreCalibration(per_label=True)
    layer.adapt(scores, labels)
    assert np.isfinite(layer.scale).all() and (layer.scale > 0).all()
    assert layer.scale[1] == pytest.approx(0.01 / scores[:, 1].std(), rel=1e-5)
    grid = np.repeat(np.linspace(-4, 4, 201)[:, None], 4, axis=1).astype("float32")
    probabilities = to_numpy(layer(grid))
    assert (np.diff(probabilities, axis=0) > 0).all()
    means = to_numpy(layer(scores)).mean(axis=0)
    np.testing.assert_allclose(means, labels.mean(axis=0), atol=3e-3)
    assert 0 < means[2] < 3e-3 and 0.997 < means[3] < 1


def test_equal_scores_give_the_frequency():
    labels = np.arange(100)[:, None] < 30
    layer = ScoreCalibration()
    layer.adapt(np.full((100, 1), 7.0), labels)
    assert to_numpy(layer(np.full((1, 1), 7.0, "float32"))) == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_scores_of_any_size(scale):
    scores, labels = rows(2000)
    (expected,), (offset,) = fitted(scores, labels)
    (found,), (other,) = fitted(scale * scores.astype("float64") + 0.0, labels)
    assert found * scale == pytest.approx(expected, rel=1e-4)
    assert other == pytest.approx(offset, rel=1e-4)


def test_the_same_on_every_run():
    first, second = fitted(*rows()), fitted(*rows())
    assert first[0].tolist() == second[0].tolist() and first[1].tolist() == second[1].tolist()


def test_soft_labels_are_rows_of_both_kinds():
    scores, labels = rows(50)
    soft = 0.25 + 0.5 * labels
    twice = np.concatenate([scores, scores])
    weights = np.concatenate([np.full(50, 0.75), np.full(50, 0.25)])
    both = np.concatenate([labels, 1 - labels])
    for one, other in zip(fitted(scores, soft), fitted(twice, both, weights), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_a_label_that_nobody_checked_takes_what_fits_all():
    scores, labels = rows(200)
    labels[:, 2] = -1
    scale, offset = fitted(scores, labels, per_label=True, missing_label=-1)
    [all_scale], [all_offset] = fitted(scores, labels, missing_label=-1)
    assert (scale[2], offset[2]) == (all_scale, all_offset)
    assert scale[1] != all_scale


def test_blocks_add_up(monkeypatch):
    expected = fitted(*rows(), per_label=True)
    monkeypatch.setattr("keras_mlc.layers._platt_scaling.ELEMENTS_AT_ONCE", 9)
    for one, other in zip(fitted(*rows(), per_label=True), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_half_precision_scores_are_scaled_in_float32():
    scores, labels = rows()
    layer = ScoreCalibration(dtype="mixed_float16")
    layer.adapt(scores, labels)
    fine = np.array([[1.0001, 1.0, 0.9999, 0.0]], "float32")
    expected = 1 / (1 + np.exp(-(layer.scale * fine + layer.offset)))
    np.testing.assert_allclose(to_numpy(layer(fine)), expected, atol=3e-4)


def test_warns_of_probabilities():
    scores, labels = rows()
    with pytest.warns(UserWarning, match=r"All `scores` lie in \[0, 1\]"):
        ScoreCalibration().adapt(1 / (1 + np.exp(-scores)), labels)


def test_parameters_before_there_are_any():
    with pytest.raises(ValueError, match="no parameters yet"):
        _ = ScoreCalibration().scale


def test_refuses_what_has_one_kind_of_labels():
    scores, labels = rows()
    with pytest.raises(ValueError, match=r"`y_true` must have labels of both kinds.*240 true"):
        ScoreCalibration().adapt(scores, np.ones_like(labels))


@pytest.mark.parametrize("value", [1, None, "yes"])
def test_refuses_bad_per_label(value):
    with pytest.raises(ValueError, match="`per_label` must be True or False"):
        ScoreCalibration(per_label=value)


@pytest.mark.parametrize("per_label", [False, True])
@pytest.mark.parametrize("dtype", ["float32"] + ["float64"] * (BACKEND != "jax"))
def test_finite_for_scores_of_any_size(dtype, per_label, tmp_path):
    limits = np.finfo(dtype)
    plain, labels = rows(100)
    for fill, others in ((limits.min, 1.0), (limits.max, 1.0), (0.0, limits.smallest_subnormal)):
        scores = (plain * others).astype(dtype)
        scores[::3, :2] = fill
        scores[:, 2] = fill
        layer = ScoreCalibration(per_label, dtype=dtype)
        layer.adapt(scores, labels)
        assert np.isfinite(layer.scale).all() and np.isfinite(layer.offset).all()
        assert (layer.scale >= 0).all()
        probabilities = to_numpy(layer(np.append(scores, [[limits.max] * 4, [limits.min] * 4], 0)))
        assert (probabilities >= 0).all() and (probabilities <= 1).all()
    model = around(layer)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras").layers[-1]
    np.testing.assert_array_equal(loaded.scale, layer.scale)


def test_a_label_whose_scores_are_a_fill_has_its_frequency():
    scores, labels = rows(100)
    scores[:, 1], labels[:, 1] = np.finfo("float32").min, np.arange(100) < 30
    layer = ScoreCalibration(per_label=True)
    layer.adapt(scores, labels)
    np.testing.assert_allclose(to_numpy(layer(scores))[:, 1], 0.3, atol=0.02)


@pytest.mark.parametrize("per_label", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_many_rows_start_from_a_part_of_them(monkeypatch, per_label, weighted):
    scores, labels = rows(2000)
    scores[16::160] -= 30.0  # The part has other outliers.
    labels[::5, 1] = -1
    weights = np.random.default_rng(0).uniform(0.1, 3, 2000) if weighted else None
    expected = fitted(scores, labels, weights, missing_label=-1, per_label=per_label)
    monkeypatch.setattr("keras_mlc.layers._platt_scaling.ELEMENTS_WITHOUT_A_START", 100)
    found = fitted(scores, labels, weights, missing_label=-1, per_label=per_label)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_where_the_cost_is_lowest_its_slope_is_zero():
    scores = np.random.default_rng(0).normal(-3, 2, (500, 40))
    labels = np.random.default_rng(1).random(scores.shape) < 1 / (1 + np.exp(2 - 1.4 * scores))
    layer = ScoreCalibration(dtype="float64")
    layer.adapt(scores, labels)
    [a], [b] = layer.scale, layer.offset
    true = labels.sum()
    high, low = (true + 1) / (true + 2), 1 / (labels.size - true + 2)
    p = 1 / (1 + np.exp(-a * scores - b))
    errors = p - np.where(labels, high, low)
    second = np.array([[scores**2, scores], [scores, np.ones_like(scores)]]) * p * (1 - p)
    step = np.linalg.solve(second.sum((-2, -1)), [(errors * scores).sum(), errors.sum()])
    assert np.abs(step).max() < (1e-6 if BACKEND == "jax" else 1e-11)


def test_unknown_labels_of_a_dtype_that_rounds():
    scores, labels = rows(100)
    unknown = np.arange(400).reshape(100, 4) % 3 == 0
    expected = fitted(scores, np.where(unknown, -1, labels), missing_label=-1)
    rounded = np.where(unknown, -0.1, labels).astype("float32")
    np.testing.assert_array_equal(fitted(scores, rounded, missing_label=-0.1), expected)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="NumPy, whatever the backend")
def test_many_labels_take_seconds():
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((200, 29_000), dtype="float32") - 6
    labels = rng.random(scores.shape, dtype="float32") < 1 / (1 + np.exp(2 - 1.3 * scores))
    layer = ScoreCalibration()
    began = time.process_time()
    layer.adapt(scores, labels)
    assert time.process_time() - began < 1  # A tenth of what may take 10 seconds.
