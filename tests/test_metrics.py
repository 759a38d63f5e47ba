import warnings

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.metrics import f1_score

import reference
from backends import (
    BACKEND,
    EXACT_FLOAT64,
    MODES,
    compiled,
    dtype_of,
    exact_jax,
    tensorflow_only,
    to_numpy,
)
from keras_mlc.metrics import MultilabelF1Score

AVERAGES = ["micro", "macro", "weighted", "samples", None]
LABELS = 5


def batches(sizes=(4, 1, 7, 3), seed=0):
    """Return batches of labels, scores and weights; a label and a sample have no positives."""
    generator = np.random.default_rng(seed)
    for size in sizes:
        y_true = generator.random((size, LABELS)) < 0.4
        y_pred = generator.normal(size=(size, LABELS))
        y_true[:, 2], y_pred[:, 2] = False, -1.0
        y_true[0], y_pred[0] = False, -1.0
        yield y_true, y_pred, generator.uniform(0.1, 3, size)


def counted(metric, weighted=False, **arguments):
    for y_true, y_pred, weights in batches(**arguments):
        metric.update_state(y_true, y_pred, weights if weighted else None)
    return to_numpy(metric.result())


def expected_score(average, threshold=0.0, weighted=False):
    y_true, y_pred, weights = (np.concatenate(part) for part in zip(*batches(), strict=True))
    return f1_score(
        y_true,
        y_pred > threshold,
        average=average,
        zero_division=0,
        sample_weight=weights if weighted else None,
    )


def counts(metric):
    return to_numpy(metric.totals).astype("float64") + to_numpy(metric.remainders)


def updater(metric, mode, shapes=None, times=1):
    """Return a function that counts a batch, several times, in one of `MODES`."""
    if BACKEND != "jax" or mode == "eager":

        def repeated(*batch):
            for _ in range(times):
                metric.update_state(*batch)

        return compiled(repeated, mode, shapes)
    import jax

    def count(variables, *batch):
        def once(_, variables):
            return metric.stateless_update_state(variables, *batch)

        return jax.lax.fori_loop(0, times, once, variables)

    def update(*batch):
        counted = jax.jit(count)([variable.value for variable in metric.variables], *batch)
        for variable, value in zip(metric.variables, counted, strict=True):
            variable.assign(value)

    return update


@pytest.mark.parametrize("average", AVERAGES)
def test_agrees_with_scikit_learn(average):
    for threshold, weighted in ((0.0, False), (0.0, True), (0.7, True), (-1.5, True)):
        metric = MultilabelF1Score(average, threshold)
        expected = expected_score(average, threshold, weighted)
        np.testing.assert_allclose(counted(metric, weighted), expected, rtol=1e-6)
        metric.reset_state()
        np.testing.assert_allclose(counted(metric, weighted), expected, rtol=1e-6)


def test_agrees_with_the_naive_form():
    y_true, y_pred, weights = (np.concatenate(part) for part in zip(*batches(), strict=True))
    expected = reference.f1_scores(y_true, y_pred > 0, weights)
    np.testing.assert_allclose(counted(MultilabelF1Score(None), True), expected, rtol=1e-6)


@pytest.mark.parametrize("average", AVERAGES)
def test_nothing_counted_is_0(average):
    metric = MultilabelF1Score(average)
    assert float(metric.result()) == 0
    metric.update_state(np.zeros((2, 3)), -np.ones((2, 3)))
    assert (to_numpy(metric.result()) == 0).all()
    metric.update_state(np.ones((2, 3)), np.ones((2, 3)), np.zeros(2))
    assert (to_numpy(metric.result()) == 0).all()


def test_labels_of_any_dtype():
    for dtype in ("bool", "int8", "int64", "float16", "float32", "float64"):
        metric = MultilabelF1Score("macro")
        for y_true, y_pred, _ in batches():
            metric.update_state(y_true.astype(dtype), y_pred)
        np.testing.assert_allclose(to_numpy(metric.result()), expected_score("macro"), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("average", ["macro", "samples"])
@exact_jax()
def test_every_dtype(dtype, average):
    metric = MultilabelF1Score(average, dtype=dtype)
    for y_true, y_pred, weights in batches():
        metric.update_state(y_true, ops.cast(y_pred, dtype), weights)
    assert dtype_of(metric.result()) == dtype
    assert dtype_of(metric.totals) in ("float32", "float64")
    tolerance = {"float16": 1e-3, "bfloat16": 1e-2, "float32": 1e-6, "float64": 1e-12}[dtype]
    if dtype == "float64" and not EXACT_FLOAT64:
        tolerance = 1e-6
    expected = expected_score(average, weighted=True)
    # float64 weights are cast to the dtype of the state.
    np.testing.assert_allclose(float(metric.result()), expected, rtol=tolerance)


def test_soft_labels_count_above_one_half():
    metric = MultilabelF1Score(None)
    metric.update_state(np.array([[0.5, 0.51, 1.0]]), np.ones((1, 3)) * 2)
    assert to_numpy(metric.result()).tolist() == [0, 1, 1]


def test_a_score_at_the_threshold_is_not_predicted():
    metric = MultilabelF1Score(None)
    metric.update_state(np.ones((1, 4)), np.array([[0.0, -0.0, 1e-30, np.nan]], "float32"))
    assert to_numpy(metric.result()).tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("mode", MODES)
def test_counts_beyond_what_float32_counts(mode):
    metric = MultilabelF1Score(None)
    metric.update_state(np.ones((1, 2)), np.full((1, 2), 3.0), np.zeros(1))
    update = updater(metric, mode)
    y_true, y_pred = np.array([[True, False]]), np.ones((1, 2), "float32")
    many = np.array([2.0**30 - 2**7], "float32")
    update(y_true, y_pred, many)
    for _ in range(35):
        update(y_true, y_pred, np.array([1.0], "float32"))
        update(y_true, y_pred, np.array([2.0**24 - 1], "float32"))
    total = 2**30 - 2**7 + 35 * 2**24
    assert counts(metric).tolist() == [[total, 0], [total, total], [total, 0]]


@pytest.mark.parametrize("average", ["macro", "samples"])
def test_weights_add_up_over_many_batches(average):
    metric = MultilabelF1Score(average)
    metric.update_state(np.ones((1, 1)), np.full((1, 1), 2.0), np.zeros(1))
    rounds = {"tensorflow": 5, "jax": 5, "torch": 2}[BACKEND]
    update = updater(metric, MODES[-1], times=1000)
    if BACKEND == "tensorflow":  # Else the loop would be a thousand updates in the graph.
        import tensorflow as tf

        @tf.function
        def update(*batch):
            for _ in tf.range(1000):
                metric.update_state(*batch)

    batch = np.ones((1, 1)), np.ones((1, 1), "float32"), np.array([0.1], "float32")
    for _ in range(rounds):
        update(*batch)
    # The naive float32 sum of 2,000 is off by 5e-6 here.
    expected = 1000 * rounds * np.float64(np.float32(0.1))
    np.testing.assert_allclose(counts(metric).ravel(), expected, 1e-12)


def test_state_does_not_grow_with_samples():
    for average, size in (("macro", 2 * 3 * LABELS), ("samples", 4)):
        metric = MultilabelF1Score(average)
        counted(metric)
        assert sum(np.size(variable) for variable in metric.variables) == size


def classifier(average="micro", weighted=False, **arguments):
    model = keras.Sequential([keras.Input((LABELS,)), keras.layers.Dense(LABELS)])
    metric = MultilabelF1Score(average, name="f1")
    model.layers[0].set_weights([np.eye(LABELS), np.zeros(LABELS)])
    kinds = "weighted_metrics" if weighted else "metrics"
    model.compile(keras.optimizers.SGD(0.0), "mse", **{kinds: [metric]}, **arguments)
    return model


@pytest.mark.parametrize("average", ["samples", None])
def test_compiled_model(average):
    y_true, y_pred, weights = (np.concatenate(part) for part in zip(*batches(), strict=True))
    model = classifier(average, weighted=True)
    expected = expected_score(average, weighted=True)
    history = model.fit(y_pred, y_true, 4, sample_weight=weights, epochs=2, verbose=0).history
    np.testing.assert_allclose(history["f1"], [expected] * 2, rtol=1e-5)


XLA = {"jit_compile": True} if "xla" in MODES else {}


def test_compiled_model_in_half_precision():
    model = keras.Sequential(
        [keras.Input((LABELS,)), keras.layers.Dense(LABELS, dtype="mixed_float16")]
    )
    model.layers[0].set_weights([np.eye(LABELS), np.zeros(LABELS)])
    model.compile(loss="mse", metrics=[MultilabelF1Score(name="f1")], **XLA)
    y_true, y_pred, _ = (np.concatenate(part) for part in zip(*batches(), strict=True))
    logs = model.evaluate(y_pred, y_true, batch_size=4, verbose=0, return_dict=True)
    assert logs["f1"] == pytest.approx(expected_score("micro"), rel=1e-5)


def test_saves_and_counts_on(tmp_path):
    y_true, y_pred, _ = (np.concatenate(part) for part in zip(*batches(), strict=True))
    model = classifier("macro")
    model.fit(y_pred, y_true, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert loaded.evaluate(y_pred, y_true, verbose=0) == model.evaluate(y_pred, y_true, verbose=0)
    history = loaded.fit(y_pred, y_true, verbose=0).history
    assert history["f1"][0] == pytest.approx(expected_score("macro"), rel=1e-5)


def test_config_holds_every_argument():
    for threshold in (0.3, [0.3, -1.0]):
        arguments = {"average": "samples", "threshold": threshold, "missing_label": -1.0}
        metric = MultilabelF1Score(**arguments, name="mine", dtype="float16")
        config = metric.get_config()
        assert config == {**arguments, "name": "mine", "dtype": "float16"}
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
        assert type(again) is MultilabelF1Score and again.get_config() == config


def test_warns_once_of_probabilities():
    metric, y_true = MultilabelF1Score(), np.ones((1, 2))
    with pytest.warns(UserWarning, match=r"`y_pred` .* lie in \[0, 1\].*`threshold=0.5`") as seen:
        metric.update_state(y_true, np.array([[0.2, 0.9]]))
    [warning] = [each for each in seen if each.category is UserWarning]
    assert warning.filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        metric.update_state(y_true, np.array([[0.2, 0.9]]))
        metric.reset_state()
        metric.update_state(y_true, np.array([[0.2, 0.9]]))


@pytest.mark.parametrize(
    ("threshold", "first"), [(0.5, [[0.2, 0.9]]), (0.0, [[0.2, 1.1]]), (0.0, [[-0.1, 0.9]])]
)
def test_does_not_warn_of_scores(threshold, first):
    metric = MultilabelF1Score(threshold=threshold)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        metric.update_state(np.ones((1, 2)), np.array(first))
        metric.update_state(np.ones((1, 2)), np.array([[0.2, 0.9]]))


def test_an_empty_batch_counts_nothing():
    metric = MultilabelF1Score("macro")
    metric.update_state(np.zeros((0, LABELS)), np.zeros((0, LABELS)))
    np.testing.assert_allclose(counted(metric), expected_score("macro"), rtol=1e-6)


def test_refuses_bad_arguments():
    for average in ("binary", "Micro", 1, True):
        with pytest.raises(ValueError, match=rf"`average` must be one of.*average={average!r}"):
            MultilabelF1Score(average)
    for threshold in (np.nan, np.inf, "0", None, True, [0.0, np.nan], []):
        with pytest.raises(ValueError, match=r"`threshold` must be a finite number.*threshold="):
            MultilabelF1Score(threshold=threshold)


def test_refuses_other_shapes_dtypes_and_values():
    metric = MultilabelF1Score()
    for shape in ((3,), (), (2, 0), (2, 3, 0)):
        with pytest.raises(ValueError, match=r"`y_pred` must have shape .*Received: y_pred.shape="):
            metric.update_state(np.ones(shape), np.ones(shape))
    for shape in ((2, 4), (3, 3), (2,), (2, 3, 1)):
        with pytest.raises(ValueError, match=r"`y_true` must have the shape of `y_pred`.*\(2, 3\)"):
            metric.update_state(np.ones(shape), np.ones((2, 3)))
    for dtype in ("int32", "bool"):
        with pytest.raises(ValueError, match=rf"`y_pred` must .*floating point.*dtype={dtype}"):
            metric.update_state(np.ones((2, 3)), np.ones((2, 3), dtype))
    assert not metric.variables
    for value in (2, -1, np.nan):
        with pytest.raises(ValueError, match=r"`y_true` must lie between 0 and 1. Received: value"):
            metric.update_state(np.array([[0, value]]), np.ones((1, 2)))


def test_refuses_another_number_of_labels():
    metric = MultilabelF1Score()
    counted(metric)
    before = counts(metric)
    with pytest.raises(ValueError, match=rf"`y_pred` must keep .* {LABELS} so far.*\(2, 3\)"):
        metric.update_state(np.ones((2, 3)), np.ones((2, 3)))
    np.testing.assert_array_equal(counts(metric), before)


def test_refuses_weights_of_another_shape():
    labels, message = np.ones((2, 3)), r"`sample_weight` must have the shape .*a shape of "
    for shape in ((), (3,), (2, 3), (1, 2), (2, 1, 1)):
        with pytest.raises(ValueError, match=message):
            MultilabelF1Score().update_state(labels, labels * 2, np.ones(shape))


def test_weights_may_stand_in_a_column():
    column, flat = MultilabelF1Score("macro"), MultilabelF1Score("macro")
    for y_true, y_pred, weights in batches():
        column.update_state(y_true, y_pred, weights[:, None])
        flat.update_state(y_true, y_pred, weights)
    assert float(column.result()) == float(flat.result())


@tensorflow_only
@pytest.mark.parametrize("average", ["micro", "samples"])
def test_labels_that_would_broadcast_are_refused_when_compiled_code_runs(average):
    import tensorflow as tf

    metric = MultilabelF1Score(average)
    update = updater(metric, "graph", [(None, None), (None, 4)])
    with pytest.raises(tf.errors.InvalidArgumentError):
        update(np.ones((5, 1), "float32"), np.ones((5, 4), "float32"))
    assert not counts(metric).any()
