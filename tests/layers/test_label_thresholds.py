import itertools
from typing import ClassVar

import keras
import numpy as np
import pytest
from sklearn.metrics import f1_score

from backends import BACKEND, to_numpy
from keras_mlc.layers import LabelThresholds
from layers.decision_checks import LABELS, DecisionChecks, around, rows


def thresholds_of(scores, labels, weights=None, missing=None, **arguments):
    layer = LabelThresholds(**arguments)
    layer.adapt(scores, labels, weights, missing)
    return layer.thresholds


def f1(labels, predicted, weights=None):
    """Return F1 of all cells together."""
    weights = np.ones(len(labels)) if weights is None else weights
    hits = 2 * np.sum(weights[:, None] * (labels * predicted))
    total = np.sum(weights[:, None] * (labels + predicted.astype(float)))
    return hits / total if total else 0.0


def candidates(scores):
    """Return a threshold for every way in which one can part scores."""
    values = np.unique(scores)
    return [values[0] - 1, *((values[1:] + values[:-1]) / 2), values[-1] + 1]


class TestLabelThresholds(DecisionChecks):
    layer_class = LabelThresholds
    every_argument: ClassVar = {
        "thresholds": [0.5, -1.0],
        "average": "micro",
        "min_positives": 9,
        "shrinkage": 2.5,
    }


def problems(count, number, num_labels):
    """Yield scores, labels and every other time weights of so many random problems."""
    for seed in range(count):
        scores, labels = rows(number, seed, num_labels)
        labels[0] = 1
        weights = np.random.default_rng(seed).uniform(0.1, 3, number) if seed % 2 else None
        yield scores, labels, weights


def test_macro_is_the_best_of_all_thresholds():
    for number in (2, 5, 17, 29):
        for scores, labels, weights in problems(10, number, 2):
            found = thresholds_of(scores, labels, weights, min_positives=1)
            for label in range(2):
                column = scores[:, label : label + 1], labels[:, label : label + 1]
                every = (f1(column[1], column[0] > each, weights) for each in candidates(column[0]))
                actual = f1(column[1], column[0] > found[label], weights)
                assert actual == pytest.approx(max(every), abs=1e-12)


def test_micro_is_the_best_of_all_combinations():
    for scores, labels, weights in problems(10, 7, 3):
        found = thresholds_of(scores, labels, weights, average="micro", min_positives=1)
        every = itertools.product(*(candidates(column) for column in scores.T))
        best = max(f1(labels, scores > np.array(each), weights) for each in every)
        assert f1(labels, scores > found, weights) == pytest.approx(best, abs=1e-12)


def test_one_for_all_is_the_best_of_all_thresholds():
    for scores, labels, weights in problems(15, 9, LABELS):
        found = thresholds_of(scores, labels, weights, average=None)
        assert len(found) == LABELS and len(set(found)) == 1
        best = max(f1(labels, scores > each, weights) for each in candidates(scores))
        assert f1(labels, scores > found, weights) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("average", ["macro", "micro"])
def test_rare_labels_take_the_threshold_of_all(average):
    scores, labels = rows(200)
    labels[:, 1] = 0
    labels[:4, 1] = 1
    labels[:, 3] = 0
    (common, *_) = thresholds_of(scores, labels, average=None)
    found = thresholds_of(scores, labels, average=average, min_positives=5)
    assert found[1] == found[3] == common != found[0]
    assert thresholds_of(scores, labels, average=average, min_positives=4)[1] != common
    assert thresholds_of(scores, labels, average=average, min_positives=0)[3] == common
    weights = np.ones(200)
    weights[:2] = 0  # Rows that do not count are no positives either.
    assert (
        thresholds_of(scores, labels, weights, average=average, min_positives=3)[1]
        == (thresholds_of(scores, labels, weights, average=None)[1])
    )


def test_micro_is_the_best_around_rare_labels():
    scores, labels = rows(8, 3, 3)
    labels[:, 0], labels[0, 1:] = 0, 1
    labels[2, 0] = 1
    common = thresholds_of(scores, labels, average=None)[0]
    found = thresholds_of(scores, labels, average="micro", min_positives=2)
    every = itertools.product([common], *(candidates(column) for column in scores[:, 1:].T))
    best = max(f1(labels, scores > np.array(each)) for each in every)
    assert found[0] == common
    assert f1(labels, scores > found) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("average", ["micro", None])
def test_shrinkage(average):
    scores, labels = rows(100)
    common = thresholds_of(scores, labels, average=None)
    best = thresholds_of(scores, labels, average=average)
    positives = labels.sum(axis=0)
    expected = (positives * best + 7 * common) / (positives + 7)
    found = thresholds_of(scores, labels, average=average, shrinkage=7)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_macro_shrinks_towards_the_best_macro_f1_of_one_threshold(seed):
    scores, labels = rows(30, seed)
    labels[:, 2] = 0
    labels[:2, :2] = 1
    weights = np.random.default_rng(seed).uniform(0.1, 3, len(scores)) if seed % 2 else None

    def macro(threshold):
        each = zip(labels.T, scores.T, strict=True)
        return np.mean([f1(y[:, None], s[:, None] > threshold, weights) for y, s in each])

    best = max(map(macro, candidates(scores)))
    common = thresholds_of(scores, labels, weights, min_positives=31, shrinkage=1)
    assert len(set(common)) == 1 and macro(common[0]) == pytest.approx(best, abs=1e-12)

    own = np.array(thresholds_of(scores, labels, weights, min_positives=3))
    positives = labels.sum(axis=0)
    positives[positives < 3] = 0  # rare labels take the one for all
    expected = (positives * own + 7 * common[0]) / (positives + 7)
    found = thresholds_of(scores, labels, weights, min_positives=3, shrinkage=7)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_threshold_lies_midway():
    scores = np.array([[3.0], [1.0], [0.0], [-5.0]])
    assert thresholds_of(scores, [[1], [1], [0], [0]], min_positives=1) == [0.5]
    assert thresholds_of(scores, [[1], [1], [1], [1]], min_positives=1) == [-6]
    assert thresholds_of(scores, [[1], [0], [0], [0]], min_positives=1) == [2]


def test_rows_with_equal_scores_stay_together():
    scores = np.array([[2.0], [1.0], [1.0], [1.0], [0.0]])
    labels = np.array([[1], [1], [1], [0], [0]])
    assert thresholds_of(scores, labels, min_positives=1) == [0.5]


def test_neighbours_in_float32_are_told_apart():
    for value in (1.0, -1e4, 0.0, 3e38, 1e-30):
        upper = np.float32(value)
        lower = np.nextafter(upper, np.float32(-np.inf))
        if abs(lower) < np.finfo("float32").tiny:
            lower = -np.finfo("float32").tiny
        scores = np.array([[upper], [lower], [lower]], "float32")
        layer = LabelThresholds(min_positives=1)
        layer.adapt(scores, [[1], [0], [0]])
        assert to_numpy(layer(scores)).ravel().tolist() == [1, 0, 0]


def test_of_several_the_nearest_to_the_common_one():
    # Taking in the second positive, and two others, leaves F1 at 2 / 3.
    column = [9.0, 8.0, 7.0, 6.0, 0.0], [1, 0, 0, 1, 0]
    for other in (8.5, 5.0):
        scores = np.array([column[0], [other + 0.1, other + 0.2, other - 0.1, -9, -8]]).T
        labels = np.array([column[1], [1, 1, 0, 0, 0]]).T
        weights = None
        common = thresholds_of(scores, labels, weights, average=None)[0]
        found = thresholds_of(scores, labels, weights, min_positives=1)[0]
        best = max(candidates(scores[:, 0]), key=lambda t: f1(labels[:, :1], scores[:, :1] > t))
        equal = [
            each
            for each in candidates(scores[:, 0])
            if f1(labels[:, :1], scores[:, :1] > each) == f1(labels[:, :1], scores[:, :1] > best)
        ]
        assert len(equal) == 2 and found == min(equal, key=lambda each: abs(each - common))


def test_a_label_without_hope_is_never_given_for_micro():
    scores, labels = rows(300)
    labels[:, 2] = np.random.default_rng(5).random(300) < 0.02
    scores[:, 2] -= 5 * labels[:, 2]
    found = thresholds_of(scores, labels, average="micro", min_positives=1)
    assert found[2] > scores[:, 2].max()


def test_soft_labels_are_positive_above_one_half():
    scores, labels = rows()
    soft = np.where(labels == 1, 0.51, 0.5)
    np.testing.assert_array_equal(thresholds_of(scores, soft), thresholds_of(scores, labels))


def test_gains_what_scikit_learn_counts():
    scores, labels = rows(500)
    for average in ("macro", "micro"):
        found = thresholds_of(scores, labels, average=average)
        before = f1_score(labels, scores > 0, average=average)
        assert f1_score(labels, scores > found, average=average) > before + 0.01


def test_given_thresholds():
    scores = np.array([[0.4, 0.6], [0.6, 0.4]], "float32")
    assert to_numpy(LabelThresholds()(scores)).tolist() == [[1, 1], [1, 1]]
    assert to_numpy(LabelThresholds(0.5)(scores)).tolist() == [[0, 1], [1, 0]]
    layer = LabelThresholds(np.array([0.5, 0.7]))
    assert to_numpy(layer(scores)).tolist() == [[0, 0], [1, 0]]
    np.testing.assert_allclose(layer.thresholds, [0.5, 0.7], rtol=1e-7)
    assert to_numpy(layer(np.full((1, 2), np.nan, "float32"))).tolist() == [[0, 0]]
    with pytest.raises(ValueError, match=r"`thresholds` has 2 numbers, and there are 3 labels"):
        LabelThresholds([0.5, 0.7])(np.ones((1, 3), "float32"))


def test_a_copy_by_its_config_decides_alike():
    scores, labels = rows()
    layer = LabelThresholds([1.0, 2.0, 3.0, 4.0])
    layer.adapt(scores, labels)
    copy = LabelThresholds.from_config(layer.get_config())
    np.testing.assert_array_equal(to_numpy(copy(scores)), to_numpy(layer(scores)))
    np.testing.assert_array_equal(copy.thresholds, layer.thresholds)
    clone = keras.models.clone_model(around(layer))
    np.testing.assert_array_equal(to_numpy(clone(scores)), to_numpy(layer(scores)))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_does_not_move_scores_over_a_threshold(policy):
    keras.config.set_dtype_policy(policy)
    try:
        layer = LabelThresholds(1.0)
        scores = np.array([[1.0001, 1.0, 0.9999]], "float32")  # all 1 in half precision
        model = around(layer, 3)
        assert to_numpy(model(scores)).tolist() == [[1, 0, 0]]
    finally:
        keras.config.set_dtype_policy("float32")


def test_thresholds_before_there_are_any():
    with pytest.raises(ValueError, match="no thresholds yet"):
        _ = LabelThresholds().thresholds


def test_refuses_bad_thresholds():
    for value in (np.nan, np.inf, "0.5", True, [], [0.5, None], [[0.5]]):
        with pytest.raises(ValueError, match=r"`thresholds` must be a finite number, or a list"):
            LabelThresholds(value)


def test_refuses_other_arguments():
    with pytest.raises(ValueError, match=r"`average` must be one of 'macro', 'micro', None"):
        LabelThresholds(average="samples")
    for value in (-1, 2.0, True, None):
        with pytest.raises(ValueError, match=r"`min_positives` must be an integer, 0 or more"):
            LabelThresholds(min_positives=value)
    for value in (-1, np.inf, "2"):
        with pytest.raises(ValueError, match=r"`shrinkage` must be a finite number, 0 or more"):
            LabelThresholds(shrinkage=value)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="NumPy, whatever the backend")
def test_many_rows_take_seconds():
    import time

    rng = np.random.default_rng(0)
    labels = (rng.random((100_000, 20), dtype="float32") < 0.04).astype("uint8")
    scores = rng.standard_normal(labels.shape, dtype="float32") + 2 * labels
    layer = LabelThresholds()
    began = time.process_time()
    layer.adapt(scores, labels)
    assert time.process_time() - began < 2  # A fiftieth of what may take 10 seconds.


@pytest.mark.parametrize("dtype", ["float32"] + ["float64"] * (BACKEND != "jax"))
@pytest.mark.parametrize("average", ["macro", "micro", None])
def test_the_lowest_and_highest_numbers(dtype, average, tmp_path):
    low, high = float(np.finfo(dtype).min), float(np.finfo(dtype).max)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        scores = rng.normal(size=(9, 3)).astype(dtype)
        scores[rng.random(scores.shape) < 0.4] = low
        scores[rng.random(scores.shape) < 0.2] = high
        scores[:, 2] = (scores[:, 2], high, low)[seed % 3]
        labels = (rng.random(scores.shape) < 0.5).astype(int)
        labels[0] = 1
        arguments = {"average": average, "min_positives": 1, "dtype": dtype}
        found = thresholds_of(scores, labels, **arguments)
        assert found.dtype == dtype and np.isfinite(found).all()
        # Whatever a finite threshold can part, and the lowest number is above none.
        finite = [each[each < high] for each in map(np.unique, scores.T)]
        every = [np.append(each, [low, high]) for each in finite]
        if average == "macro":
            for label, column in enumerate(scores.T):
                truth = labels[:, label, None]
                best = max(f1(truth, column[:, None] > each) for each in every[label])
                assert f1(truth, column[:, None] > found[label]) == pytest.approx(best, abs=1e-12)
        else:
            together = [[each] * 3 for each in np.concatenate(every)]
            options = itertools.product(*every) if average == "micro" else together
            best = max(f1(labels, scores > np.array(each)) for each in options)
            assert f1(labels, scores > found) == pytest.approx(best, abs=1e-12)
        for shrinkage in (0.0, 20.0):
            layer = LabelThresholds(shrinkage=shrinkage, **arguments)
            layer.adapt(scores, labels)
            assert np.isfinite(layer.thresholds).all()
    model = keras.Sequential([keras.Input((3,), dtype=dtype), layer])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras").layers[-1]
    np.testing.assert_array_equal(loaded.thresholds, layer.thresholds)
    assert (to_numpy(loaded(np.full((1, 3), low, dtype))) == 0).all()


def test_a_fill_is_no_neighbour():
    scores = np.array([[3.0], [1.0], [np.finfo("float32").min]], "float32")
    assert thresholds_of(scores, [[1], [1], [0]], min_positives=1) == [0]
    assert thresholds_of(scores, [[1], [1], [1]], min_positives=1) == [0]


def test_a_label_that_no_threshold_reaches_takes_the_threshold_of_all():
    scores, labels = rows(100)
    labels[:, 1] = labels[:, 0]
    scores[:, 1] = np.finfo("float32").min
    for average in ("macro", "micro"):
        for shrinkage in (0.0, 20.0):
            found = thresholds_of(scores, labels, average=average, shrinkage=shrinkage)
            common = thresholds_of(
                scores, labels, average=average, shrinkage=shrinkage, min_positives=101
            )
            assert found[1] == common[1] > -10


def test_refuses_thresholds_that_the_dtype_does_not_hold():
    for value in (1e39, [0.0, -1e300]):
        with pytest.raises(ValueError, match=r"`thresholds` must be finite in float32.*Received"):
            LabelThresholds(value)(np.ones((1, 2), "float32"))
    assert LabelThresholds(-1e300, dtype="float64")(np.ones((1, 2))).shape == (1, 2)
