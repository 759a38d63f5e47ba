from typing import ClassVar

import keras
import ml_dtypes
import numpy as np
import pytest
from keras import ops

import reference
from backends import (
    BACKEND,
    COMPILED_MODES,
    FASTEST_MODE,
    MODES,
    close,
    compiled,
    gradients,
    raises_before_the_update,
    tensorflow_only,
    to_numpy,
    value_and_gradient,
)
from keras_mlc.losses import (
    AsymmetricLoss,
    MultilabelCategoricalCrossentropy,
    RDropLoss,
    SparseMultilabelCategoricalCrossentropy,
    asymmetric_loss,
    multilabel_categorical_crossentropy,
    sparse_multilabel_categorical_crossentropy,
)
from losses.loss_checks import SCORES, LossChecks

LABELS = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0]])
INDICES = np.array([[2, 0, -1, 0, 2], [-1] * 5, [3, 2, 1, 0, -1], [-1, 1, -1, 1, 1]])
SOFT = np.array([[0.9, 0.1, 0.5, 0.0], [0.2, 1.0, 0.0, 0.7], [0.05] * 4, [1.0] * 4])
UNKNOWN = np.where(np.arange(16).reshape(4, 4) % 3 == 1, -1, LABELS)
UNKNOWN[1] = -1
LABEL_WEIGHTS = [0.5, 3.0, 0.01, 100.0]


class TestMultilabel(LossChecks):
    loss_class = MultilabelCategoricalCrossentropy
    every_argument: ClassVar = {"missing_label": -1, "label_weights": LABEL_WEIGHTS}
    labels: ClassVar = [LABELS, SOFT, LABELS == 1]
    hard: ClassVar = [LABELS, LABELS.astype("float32")]  # integers are computed otherwise

    def dense(self, labels, num_labels):
        return labels * 1.0

    def reference(self, labels, outputs):
        return reference.multilabel_categorical_crossentropy(
            self.dense(labels, outputs.shape[-1]),
            outputs,
            self.arguments.get("label_weights"),
            self.arguments.get("missing_label"),
        )

    def largest(self, dtype):
        return float(ml_dtypes.finfo(dtype).max) / (1 if dtype == "float16" else 4)

    def at_extremes(self, labels, scores):
        labels = self.dense(labels, 4)
        offsets = np.log(self.arguments.get("label_weights", np.ones(4)))
        values = []
        for sign, wanted in ((1, 0), (-1, 1)):
            terms = np.where(labels == wanted, sign * scores + offsets, -np.inf)
            values.append(np.logaddexp.reduce([np.zeros(4), *terms.T]))
        return sum(values)

    def test_the_largest_bfloat16_is_finite(self):
        top = float(ml_dtypes.finfo("bfloat16").max)
        scores = ops.convert_to_tensor([[top, -top, top, -top]] * 4, "bfloat16")
        for labels in self.hard:
            value, gradient = value_and_gradient(
                lambda x, labels=labels: self.make().call(labels, x), scores, FASTEST_MODE
            )
            assert np.isfinite(to_numpy(value)).all() and np.isfinite(to_numpy(gradient)).all()


class TestUnknownAndWeighted(TestMultilabel):
    arguments: ClassVar = {"missing_label": -1, "label_weights": LABEL_WEIGHTS}
    labels: ClassVar = [UNKNOWN, np.where(UNKNOWN == -1, -1, SOFT)]
    hard: ClassVar = [UNKNOWN, UNKNOWN.astype("float32")]

    def test_unknown_labels_have_no_gradient(self):
        for labels in self.hard:
            _, gradient = value_and_gradient(
                lambda x, labels=labels: self.make().call(labels, x), SCORES, FASTEST_MODE
            )
            assert not to_numpy(gradient)[UNKNOWN == -1].any()


class TestSparse(TestMultilabel):
    loss_class = SparseMultilabelCategoricalCrossentropy
    every_argument: ClassVar = {"label_weights": LABEL_WEIGHTS}
    labels: ClassVar = [INDICES]
    hard: ClassVar = [INDICES]

    def dense(self, labels, num_labels):
        return reference.multi_hot(labels, num_labels)

    def some_labels(self, shape):
        rng = np.random.default_rng(1)
        return rng.integers(-1, shape[-1], (*shape[:-1], 3)).astype("int32")


class TestWeightedSparse(TestSparse):
    is_variant = True
    arguments: ClassVar = {"label_weights": LABEL_WEIGHTS}


def test_the_functions_are_the_classes_arithmetic():
    for function, labels in (
        (multilabel_categorical_crossentropy, LABELS),
        (sparse_multilabel_categorical_crossentropy, INDICES),
    ):
        expected = reference.multilabel_categorical_crossentropy(LABELS, SCORES)
        close(function(labels, SCORES), expected, 1e-5)
        weighted = reference.multilabel_categorical_crossentropy(LABELS, SCORES, LABEL_WEIGHTS)
        close(function(labels, SCORES, label_weights=LABEL_WEIGHTS), weighted, 1e-5)


def test_labels_of_any_dtype():
    expected = reference.multilabel_categorical_crossentropy(LABELS, SCORES)
    for dtype in ("bool", "int8", "uint8", "int64", "float16", "float64"):
        close(multilabel_categorical_crossentropy(LABELS.astype(dtype), SCORES), expected, 1e-5)


def test_one_label_and_no_index():
    for indices, num_labels in ((np.array([[0, -1], [-1, -1]]), 1), (np.zeros((2, 0), "int32"), 4)):
        scores = np.random.default_rng(1).normal(size=(2, num_labels)).astype("float32")
        labels = reference.multi_hot(indices, num_labels)
        expected = reference.multilabel_categorical_crossentropy(labels, scores)
        close(sparse_multilabel_categorical_crossentropy(indices, scores), expected, 1e-5)
        close(multilabel_categorical_crossentropy(labels, scores), expected, 1e-5)


def test_a_huge_target_does_not_hide_the_other_labels():
    scores, total = np.array([[1e4, 3.0, 2.0]], "float32"), np.exp(3) + np.exp(2)
    for dtype in ("int32", "float32"):
        value, gradient = value_and_gradient(
            lambda s, dtype=dtype: multilabel_categorical_crossentropy(
                np.array([[1, 0, 0]], dtype), s
            ),
            scores,
            "eager",
        )
        close(value, [np.log1p(total)])
        close(gradient, [[0, np.exp(3) / (1 + total), np.exp(2) / (1 + total)]])


@pytest.mark.parametrize("mode", MODES)
def test_a_tiny_loss_keeps_its_digits(mode):
    scores = np.where(LABELS == 1, 50, -50).astype("float32")

    def compute(scores):
        found = []
        for labels in (LABELS, LABELS.astype("float32"), INDICES):
            loss = (
                sparse_multilabel_categorical_crossentropy
                if labels is INDICES
                else multilabel_categorical_crossentropy
            )
            slope = gradients(lambda x, loss=loss, y=labels: loss(y, x), [scores])[0]
            found.append((loss(labels, scores), slope))
        return found

    for value, gradient in compiled(compute, mode)(scores):
        close(to_numpy(value) / (4 * np.exp(-50.0)), np.ones(4), 1e-5)
        close(to_numpy(gradient) / np.exp(-50.0), np.where(LABELS == 1, -1.0, 1.0), 1e-5)


@tensorflow_only
def test_labels_of_a_dynamic_shape_do_not_broadcast():
    import tensorflow as tf

    shapes = [(None, None), (None, 4)]
    function = compiled(multilabel_categorical_crossentropy, "graph", shapes)
    with pytest.raises(tf.errors.InvalidArgumentError):
        function(LABELS[:, :1].astype("float32"), SCORES.astype("float32"))


@tensorflow_only
def test_the_sparse_form_builds_no_dense_labels():
    import tensorflow as tf

    batch, num_labels = 3, 1009
    function = tf.function(sparse_multilabel_categorical_crossentropy)
    graph = function.get_concrete_function(
        tf.TensorSpec([batch, 7], "int32"), tf.TensorSpec([batch, num_labels])
    ).graph
    outputs = [out for op in graph.get_operations() for out in op.outputs]
    large = [out for out in outputs if out.shape.rank and num_labels in out.shape]
    assert {out.dtype for out in large} == {tf.float32}
    changed = [
        out.op.type
        for out in large
        if out.op.type not in ("Placeholder", "Reshape", "Identity", "IdentityN")
    ]
    assert sorted(changed) == ["Exp", "Sub", "TensorScatterUpdate"]


@pytest.mark.skipif(BACKEND == "tensorflow", reason="the graph shows the arrays there")
def test_the_sparse_form_needs_three_arrays_of_scores():
    scores = np.random.default_rng(0).normal(size=(8, 5000)).astype("float32")
    indices = np.arange(24, dtype="int32").reshape(8, 3)

    def loss(scores):
        return sparse_multilabel_categorical_crossentropy(indices, scores)

    assert 2.5 < peak_memory(loss, scores) / scores.nbytes < 3.1


def peak_memory(function, array):
    """Return the bytes held at once by a function's argument, value, gradient and the way there."""
    if BACKEND == "jax":
        import jax

        compute = jax.jit(jax.value_and_grad(lambda x: ops.sum(function(x))))
        memory = compute.lower(array).compile().memory_analysis()
        return (
            memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
        )
    import torch

    with torch.profiler.profile(profile_memory=True) as profile:
        tensor = torch.tensor(array, requires_grad=True)
        torch.sum(function(tensor)).backward()
    events = profile.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    return max(np.cumsum([change for _, change in changes]))


def test_the_sparse_class_keeps_large_indices_exact():
    scores = np.random.default_rng(3).normal(size=(1, 5000)).astype("float32")
    for dtype in ("float16", "mixed_float16", "mixed_bfloat16", "float32"):
        loss = SparseMultilabelCategoricalCrossentropy(dtype=dtype)
        for indices in (np.array([[4095, 2049, -1]]), np.array([[4095.0, 2049.0, -1.0]])):
            labels = reference.multi_hot(indices.astype(int), 5000)
            expected = reference.multilabel_categorical_crossentropy(labels, scores)[0]
            close(loss(indices, scores), expected, 1e-5)
        neighbour = float(loss(np.array([[4096, 2048, -1]]), scores))
        assert abs(neighbour - expected) > 1e-2


@pytest.mark.parametrize(
    ("function", "labels"),
    [
        (multilabel_categorical_crossentropy, LABELS),
        (sparse_multilabel_categorical_crossentropy, INDICES),
    ],
)
def test_the_functions_compile_save_and_load(function, labels, tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    model.compile("sgd", function, run_eagerly=BACKEND == "tensorflow")
    x = np.random.default_rng(5).normal(size=(4, 3))
    model.fit(x, labels, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert again.loss is function
    close(again.evaluate(x, labels, verbose=0), model.evaluate(x, labels, verbose=0), 1e-5)


def test_bad_dense_input():
    for labels, scores, message in (
        (np.zeros((2, 3)), np.zeros((2, 4)), r"shape of `y_pred`.*\(2, 3\).*\(2, 4\)"),
        (np.zeros(3), np.zeros((2, 3)), r"shape of `y_pred`.*\(3,\)"),
        (np.zeros((2, 1)), np.zeros((2, 3)), r"`y_true` must have the shape of `y_pred`"),
        (np.zeros((2, 0)), np.zeros((2, 0)), r"at least one.*\(2, 0\)"),
        (np.zeros(()), np.zeros(()), r"last axis of labels.*\(\)"),
        (np.zeros((2, 3)), np.zeros((2, 3), int), r"int\d\d.*swapped"),
        (np.zeros((2, 3)), np.zeros((2, 3), bool), "floating point.*bool"),
        (np.full((1, 3), 2), np.zeros((1, 3)), "between 0 and 1.*2 to 2.*sparse"),
        (np.full((1, 3), -0.1), np.zeros((1, 3)), r"between 0 and 1.*-0\.1"),
        (np.full((1, 3), np.nan), np.zeros((1, 3)), "between 0 and 1.*nan"),
    ):
        with pytest.raises(ValueError, match=message):
            multilabel_categorical_crossentropy(labels, scores)


def test_bad_sparse_input():
    for indices, scores, message in (
        (np.zeros((3, 2), int), np.zeros((2, 4)), r"but for its last axis.*\(3, 2\).*\(2, 4\)"),
        (np.zeros(2, int), np.zeros((2, 4)), r"max_targets.*\(2,\)"),
        (np.zeros((2, 2), int), np.zeros((2, 0)), r"at least one.*\(2, 0\)"),
        (np.zeros((2, 4), bool), np.zeros((2, 4)), "indices.*bool"),
        (np.zeros((2, 2), int), np.zeros((2, 4), int), "floating point"),
        (np.full((1, 2), 4), np.zeros((1, 4)), "from 0 to 3, padded with -1.*4 to 4"),
        (np.full((1, 2), -2), np.zeros((1, 4)), "from 0 to 3.*-2"),
        (np.full((1, 2), 0.5), np.zeros((1, 4)), r"0\.5.*multilabel_categorical_crossentropy"),
        (np.full((1, 2), np.nan), np.zeros((1, 4)), "nan"),
        (np.zeros((1, 2), "float16"), np.zeros((1, 2050)), "exact only up to 2048.*class"),
        (ops.zeros((1, 2), "bfloat16"), np.zeros((1, 258)), "exact only up to 256"),
    ):
        with pytest.raises(ValueError, match=message):
            sparse_multilabel_categorical_crossentropy(indices, scores)


def test_bad_labels_raise_before_any_weight_changes():
    for labels, run_eagerly, message in (
        (LABELS[:, :3], False, "shape of `y_pred`"),
        (2 * LABELS, True, "between 0 and 1"),
    ):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
        model.compile("sgd", MultilabelCategoricalCrossentropy(), run_eagerly=run_eagerly)
        with raises_before_the_update(model, ValueError, message):
            model.fit(np.ones((4, 3)), labels, verbose=0)


@tensorflow_only
@pytest.mark.parametrize("mode", COMPILED_MODES)
def test_labels_of_another_shape_are_refused_when_compiled_code_runs(mode):
    import tensorflow as tf

    shapes = [(None, None, None), (None, 3, 4)]
    loss = compiled(multilabel_categorical_crossentropy, mode, shapes)
    labels, scores = np.zeros((2, 4, 3), "float32"), np.zeros((2, 3, 4), "float32")
    assert loss(np.swapaxes(labels, 1, 2), scores).shape == (2, 3)
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
        loss(labels, scores)


@tensorflow_only
def test_labels_that_would_broadcast_are_refused_when_compiled_code_runs():
    import tensorflow as tf

    loss = compiled(multilabel_categorical_crossentropy, "graph", [(None, None)] * 2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="must have the shape of `y_pred`"):
        loss(np.zeros((3, 1), "float32"), np.zeros((3, 4), "float32"))


def test_labels_that_are_masked_out_cost_nothing():
    """Scores of minus infinity, or of the lowest number, stand for labels that are impossible."""
    labels = np.array([[1, 0, 0, 1], [1, 0, 0, 1], [0, 0, 1, 0], [0, 0, 1, 0]])
    indices, kept = np.array([[0, 3], [0, 3], [2, -1], [2, -1]]), [0, 2, 3]
    unknown = np.where(np.arange(4) == 2, -1, labels)
    r_drop = {"reduction": None, "from_logits": True}

    def losses(columns, sparse):
        y, known = labels[:, columns], unknown[:, columns]
        yield lambda s: multilabel_categorical_crossentropy(y, s)
        yield lambda s: multilabel_categorical_crossentropy(y.astype("float32"), s)
        yield lambda s: multilabel_categorical_crossentropy(y == 1, s)
        yield lambda s: multilabel_categorical_crossentropy(known, s, -1)
        yield lambda s: multilabel_categorical_crossentropy(known.astype("float32"), s, -1)
        yield lambda s: sparse_multilabel_categorical_crossentropy(sparse, s)
        yield lambda s: asymmetric_loss(y, s, from_logits=True)
        yield lambda s: asymmetric_loss(y, s, 0.0, 0.0, 0.0, True)
        yield lambda s: asymmetric_loss(known, s, from_logits=True, missing_label=-1)
        yield lambda s: RDropLoss(multilabel_categorical_crossentropy, **r_drop)(y, s)
        yield lambda s: RDropLoss(AsymmetricLoss(from_logits=True), **r_drop)(y, s)

    def values_and_gradients(columns, sparse):
        each = list(losses(columns, sparse))
        values = compiled(lambda s: ops.stack([loss(s) for loss in each]), FASTEST_MODE)
        slopes = compiled(
            lambda s: ops.stack([gradients(loss, [s])[0] for loss in each]), FASTEST_MODE
        )
        return lambda s: (to_numpy(values(s)), to_numpy(slopes(s)))

    scores, compute = SCORES.astype("float32"), values_and_gradients(range(4), indices)
    fewer = np.where(indices > 1, indices - 1, indices)
    value, gradient = values_and_gradients(kept, fewer)(scores[:, kept])
    for fill in [-np.inf, np.finfo("float32").min, -65504.0]:
        filled = scores.copy()
        filled[:, 1] = fill
        actual, slopes = compute(filled)
        np.testing.assert_allclose(actual, value, rtol=1e-5)
        np.testing.assert_allclose(slopes[..., kept], gradient, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(slopes[..., 1], 0)
