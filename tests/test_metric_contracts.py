"""What users of Keras's own metrics rely on, and what stands beside labels: masks, unknown ones."""

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.metrics import f1_score

from backends import BACKEND, MODES, compiled, tensorflow_only, to_numpy
from keras_mlc.layers import LabelThresholds
from keras_mlc.metrics import MultilabelF1Score

AVERAGES = ["micro", "macro", "weighted", "samples", None]
LABELS = 4


def rows(shape=(12,), seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (*shape, LABELS))
    return labels, (rng.normal(size=labels.shape) + labels - 0.5).astype("float32")


def score(labels, scores, weights=None, **arguments):
    metric = MultilabelF1Score(**arguments)
    metric.update_state(labels, scores, weights)
    return to_numpy(metric.result())


def expected(labels, scores, weights=None, average="micro", threshold=0.0):
    predicted = scores > threshold
    return f1_score(labels, predicted, average=average, zero_division=0, sample_weight=weights)


def model_of(metric, weighted=False, **arguments):
    model = keras.Sequential([keras.Input((LABELS,)), keras.layers.Dense(LABELS)])
    model.layers[0].set_weights([np.eye(LABELS), np.zeros(LABELS)])
    kinds = "weighted_metrics" if weighted else "metrics"
    model.compile(keras.optimizers.SGD(0.0), "mse", **{kinds: [metric]}, **arguments)
    return model


def test_callbacks_know_that_up_is_better(tmp_path):
    labels, scores = rows((40,))
    model = model_of(MultilabelF1Score(name="f1"))
    stopping = keras.callbacks.EarlyStopping("val_f1", patience=1, mode="auto")
    best = keras.callbacks.ModelCheckpoint(
        tmp_path / "best.keras", monitor="val_f1", mode="auto", save_best_only=True
    )
    slower = keras.callbacks.ReduceLROnPlateau("val_f1", patience=1, mode="auto")

    class Worse(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            # Better in the second epoch, and worse from then on.
            shift = [0.0, 1.0, -2.0, -3.0][epoch]
            self.model.layers[0].set_weights([np.eye(LABELS), np.full(LABELS, shift)])

    data = {"validation_data": (scores, labels), "epochs": 4, "verbose": 0}
    history = model.fit(scores, labels, callbacks=[Worse(), stopping, best, slower], **data).history
    values = history["val_f1"]
    assert len(values) == 3 and values[1] > values[0] > values[2]
    if not hasattr(best, "_set_monitor_op"):
        return  # An old Keras: its `ModelCheckpoint` goes by the metric's name.
    kept = keras.saving.load_model(tmp_path / "best.keras")
    np.testing.assert_array_equal(kept.layers[0].get_weights()[1], np.ones(LABELS))
    assert stopping.best == pytest.approx(values[1])


@pytest.mark.parametrize("average", AVERAGES)
def test_a_threshold_for_each_label(average):
    labels, scores = rows()
    thresholds = np.array([0.3, -0.5, 0.0, 1.0])
    found = score(labels, scores, average=average, threshold=thresholds)
    np.testing.assert_allclose(found, expected(labels, scores, None, average, thresholds), 1e-6)


def test_thresholds_of_a_layer():
    labels, scores = rows((50,))
    layer = LabelThresholds(min_positives=1)
    layer.adapt(scores, labels)
    found = score(labels, scores, average="macro", threshold=layer.thresholds)
    decided = score(labels, to_numpy(layer(scores)), average="macro", threshold=0.5)
    assert found == decided > score(labels, scores, average="macro")


@pytest.mark.parametrize("average", AVERAGES)
def test_leading_axes_are_samples(average):
    shape = (2, 3, 2)
    labels, scores = rows(shape)
    flat = labels.reshape(-1, LABELS), scores.reshape(-1, LABELS)
    np.testing.assert_allclose(
        score(labels, scores, average=average), expected(*flat, average=average), rtol=1e-6
    )
    for axes in range(1, len(shape) + 1):
        weights = np.random.default_rng(1).uniform(0.1, 2, shape[:axes])
        each = np.broadcast_to(weights.reshape(weights.shape + (1,) * (len(shape) - axes)), shape)
        right = expected(*flat, each.ravel(), average)
        for form in (weights, weights[..., None]):
            found = score(labels, scores, form, average=average)
            np.testing.assert_allclose(found, right, rtol=1e-6)


def test_refuses_weights_that_would_broadcast():
    labels, scores = rows((3, 4))
    for shape in ((4,), (3, 3), (4, 3), (3, 4, 4), (1,), (1, 4), ()):
        with pytest.raises(ValueError, match=r"`sample_weight` must have the shape of the lead"):
            score(labels, scores, np.ones(shape))


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("mode", MODES)
def test_missing_labels_do_not_count(average, mode):
    labels, scores = rows()
    labels[::2, 1] = labels[3] = -1
    known = labels != -1
    metric = MultilabelF1Score(average, missing_label=-1)
    metric.update_state(labels[:0], scores[:0])
    if BACKEND == "jax":
        from test_metrics import updater

        updater(metric, mode)(labels, scores)
    else:
        compiled(metric.update_state, mode)(labels, scores)
    found = to_numpy(metric.result())
    if average == "samples":
        each = [
            expected(labels[row : row + 1, known[row]], scores[row : row + 1, known[row]])
            for row in range(len(labels))
            if known[row].any()
        ]
        assert found == pytest.approx(np.mean(each), rel=1e-6)
        return
    if average == "micro":
        assert found == pytest.approx(f1_score(labels[known], scores[known] > 0), rel=1e-6)
        return
    columns = [
        f1_score(labels[known[:, c], c], scores[known[:, c], c] > 0, zero_division=0)
        for c in range(LABELS)
    ]
    weights = (labels == 1).sum(axis=0)
    right = {None: columns, "macro": np.mean(columns), "weighted": np.average(columns, 0, weights)}
    np.testing.assert_allclose(found, right[average], rtol=1e-6)


@pytest.mark.parametrize("average", ["macro", "samples"])
def test_a_mask_of_the_scores_is_respected(average):
    labels, scores = rows((6, 3))
    mask = np.random.default_rng(2).random((6, 3)) < 0.6
    labels[~mask] = 9  # Whatever stands there.
    scores[~mask] = np.nan
    weights = np.random.default_rng(3).uniform(0.1, 2, (6, 3))
    x = keras.Input((3, LABELS))
    masked = keras.layers.Masking(9.0)

    class Identity(keras.layers.Layer):
        supports_masking = True

        def call(self, x):
            return ops.where(ops.equal(x, 9.0), float("nan"), x)

    outputs = Identity(dtype="float32")(masked(x))
    model = keras.Model(x, outputs)

    class Nothing(keras.losses.Loss):  # On torch Keras's own would change the weights in place.
        def __call__(self, y_true, y_pred, sample_weight=None):
            return ops.zeros(())

    metric = MultilabelF1Score(average, name="f1")
    model.compile("sgd", Nothing(), weighted_metrics=[metric])
    inputs = np.where(mask[..., None], scores, 9.0)
    found = model.evaluate(
        inputs, labels, sample_weight=weights, batch_size=2, verbose=0, return_dict=True
    )["f1"]
    assert found == pytest.approx(
        expected(labels[mask], scores[mask], weights[mask], average), 1e-5
    )


def test_refuses_a_mask_of_another_shape():
    labels, _ = rows((6,))
    tokens = np.ones((6, 6))
    x = keras.Input((6,), dtype="int32")
    embedded = keras.layers.Embedding(3, LABELS, mask_zero=True)(x)

    class Forgets(keras.layers.Layer):
        supports_masking = True

        def call(self, x):
            return ops.mean(x, axis=1)

    model = keras.Model(x, Forgets()(embedded))
    with pytest.raises(ValueError, match="The mask of `y_pred` must have the shape of its leading"):
        MultilabelF1Score().update_state(labels, model(tokens))


@pytest.mark.parametrize(
    ("value", "average", "integers"), [(-1, "micro", False), (255, "samples", True)]
)
def test_labels_outside_in_compiled_code(value, average, integers):
    labels, scores = rows()
    labels[5, 2] = value
    labels = labels if integers else labels.astype("float32")
    model = model_of(MultilabelF1Score(average, name="f1"))
    refuses = BACKEND == "torch" or (BACKEND == "tensorflow" and not model.jit_compile)
    if refuses:
        with pytest.raises(Exception, match=r"`y_true` must lie between 0 and 1.*missing_label"):
            model.evaluate(scores, labels, verbose=0)
        return
    assert np.isnan(model.evaluate(scores, labels, verbose=0)[1])
    labels[5, 2] = 1
    assert np.isfinite(model.evaluate(scores, labels, verbose=0)[1])


@tensorflow_only
def test_labels_outside_under_xla():
    labels, scores = rows()
    labels[5, 2] = -1
    model = model_of(MultilabelF1Score(name="f1"), jit_compile=True)
    assert np.isnan(model.evaluate(scores, labels, verbose=0)[1])


@pytest.mark.parametrize("weighted", [False, True])
def test_sparse_labels(weighted):
    sparse = pytest.importorskip("scipy.sparse")
    labels, scores = rows((40,))
    matrix = sparse.csr_matrix(labels.astype("float32"))
    assert score(matrix, scores) == score(labels, scores)
    if BACKEND == "torch":
        return  # Keras takes no such targets there.
    model = model_of(MultilabelF1Score(), weighted)
    model.compile(
        loss=lambda y_true, y_pred: ops.mean(y_pred, axis=-1),
        **{"weighted_metrics" if weighted else "metrics": [MultilabelF1Score()]},
    )
    weights = np.random.default_rng(1).uniform(0.1, 2, 40) if weighted else None
    found = model.evaluate(
        scores, matrix, sample_weight=weights, batch_size=16, verbose=0, return_dict=True
    )
    right = expected(labels, scores, weights)
    assert found["multilabel_f1_score"] == pytest.approx(right, rel=1e-5)


@tensorflow_only
def test_refuses_ragged_labels():
    import tensorflow as tf

    with pytest.raises(ValueError, match=r"`y_true` must be multi-hot.*RaggedTensor"):
        MultilabelF1Score().update_state(tf.ragged.constant([[1], [2, 3]]), np.ones((2, 3)))


@pytest.mark.parametrize("average", AVERAGES)
def test_degenerate_sizes(average):
    for shape in ((0,), (2, 0), (0, 3), (1,)):
        metric = MultilabelF1Score(average)
        metric.update_state(np.zeros((*shape, 1)), np.zeros((*shape, 1)), np.ones(shape))
        assert (to_numpy(metric.result()) == 0).all()


def test_stateless_use():
    labels, scores = rows()
    metric = MultilabelF1Score(threshold=[0.0] * LABELS)  # Its number of labels is known.
    state = metric.stateless_reset_state()
    for part in (slice(0, 5), slice(5, None)):
        state = metric.stateless_update_state(state, labels[part], scores[part])
    assert float(metric.stateless_result(state)) == pytest.approx(expected(labels, scores))
    assert float(metric.result()) == 0


def test_the_habits_of_keras_metrics():
    labels, scores = rows()
    metric = MultilabelF1Score()
    assert metric.name == "multilabel_f1_score" and metric.dtype == "float32"
    assert MultilabelF1Score(name=None).name.startswith("multilabel_f1_score")
    metric.reset_state()
    assert float(metric(labels, scores)) == pytest.approx(expected(labels, scores))
    metric.reset_state()
    assert float(metric.result()) == 0
    by_lists = MultilabelF1Score()
    by_lists.update_state(labels.tolist(), scores.tolist(), [1.0] * len(labels))
    assert float(by_lists.result()) == pytest.approx(expected(labels, scores))
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert again.get_config() == metric.get_config()


def test_one_instance_for_each_output():
    labels, scores = rows()
    x = keras.Input((LABELS,))
    outputs = {name: keras.layers.Dense(LABELS, name=name)(x) for name in ("one", "two")}
    model = keras.Model(x, outputs)
    for name, shift in (("one", 0.0), ("two", 0.7)):
        model.get_layer(name).set_weights([np.eye(LABELS), np.full(LABELS, shift)])
    model.compile(
        loss="mse", metrics={name: MultilabelF1Score(name="f1") for name in ("one", "two")}
    )
    targets = {"one": labels, "two": labels}
    logs = model.evaluate(scores, targets, verbose=0, return_dict=True)
    assert logs["one_f1"] == pytest.approx(expected(labels, scores), rel=1e-5)
    assert logs["two_f1"] == pytest.approx(expected(labels, scores + 0.7), rel=1e-5)


def test_refuses_bad_missing_label():
    for value in (0, 1, 0.5, np.nan, np.inf, "-1", True):
        with pytest.raises(ValueError, match="`missing_label` must "):
            MultilabelF1Score(missing_label=value)


def test_refuses_scores_of_another_number_of_labels_than_thresholds():
    with pytest.raises(ValueError, match=r"its number of labels, 2 of which `threshold` has one"):
        MultilabelF1Score(threshold=[0.0, 1.0]).update_state(np.ones((1, 3)), np.ones((1, 3)))
