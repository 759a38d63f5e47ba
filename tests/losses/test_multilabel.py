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
    compiled,
    dtype_of,
    exact_jax,
    gradients,
    needs_xla,
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

LABELS = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0]])
INDICES = np.array([[2, 0, -1, 0, 2], [-1] * 5, [3, 2, 1, 0, -1], [-1, 1, -1, 1, 1]])
SOFT = np.array([[0.9, 0.1, 0.5, 0.0], [0.2, 1.0, 0.0, 0.7], [0.05] * 4, [1.0] * 4])
SCORES = np.random.default_rng(0).normal(0, 3, (4, 4))


def derivatives(loss, mode):
    """Return a function of scores to the value, its gradient, and that of the gradient's square."""

    def weighted(scores):
        return ops.arange(1, 5, dtype=scores.dtype) * loss(scores)

    def gradient(scores):
        return gradients(weighted, [scores])[0]

    def square(scores):
        return ops.sum(ops.square(gradient(scores)))

    def compute(scores):
        return ops.sum(weighted(scores)), gradient(scores), gradients(square, [scores])[0]

    return compiled(compute, mode)


def close(actual, expected, tolerance=1e-6):
    np.testing.assert_allclose(to_numpy(actual), expected, rtol=tolerance, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("labels", [LABELS, SOFT], ids=["hard", "soft"])
@exact_jax()
def test_agrees_with_the_naive_form(labels, mode):
    function = compiled(multilabel_categorical_crossentropy, mode)
    expected = reference.multilabel_categorical_crossentropy(labels, SCORES)
    close(function(labels, SCORES), expected, 1e-12)
    close(function(labels.astype("float32"), SCORES.astype("float32")), expected, 1e-5)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int64", "float16", "float64"])
@exact_jax()
def test_labels_of_any_dtype(dtype):
    loss = multilabel_categorical_crossentropy(LABELS.astype(dtype), SCORES)
    close(loss, reference.multilabel_categorical_crossentropy(LABELS, SCORES))


@pytest.mark.parametrize("shape", [(4,), (2, 4), (2, 3, 4), (1, 2, 2, 4), (0, 4), (3, 1)])
@exact_jax()
def test_any_rank(shape):
    rng = np.random.default_rng(1)
    scores, indices = rng.normal(size=shape), rng.integers(-1, shape[-1], (*shape[:-1], 3))
    labels = reference.multi_hot(indices, shape[-1])
    expected = reference.multilabel_categorical_crossentropy(labels, scores)
    for loss in (
        multilabel_categorical_crossentropy(labels, scores),
        sparse_multilabel_categorical_crossentropy(indices, scores),
    ):
        assert loss.shape == shape[:-1]
        close(loss, expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", ["hard", "soft", "sparse"])
@exact_jax()
def test_first_and_second_derivatives(form, mode):
    labels = SOFT if form == "soft" else LABELS

    def loss(scores):
        if form == "sparse":
            return sparse_multilabel_categorical_crossentropy(INDICES, scores)
        return multilabel_categorical_crossentropy(labels, scores)

    def naive(scores):
        return np.arange(1, 5) @ reference.multilabel_categorical_crossentropy(labels, scores)

    compute = derivatives(loss, mode)
    value, gradient, second = compute(SCORES)
    close(value, naive(SCORES), 1e-12)
    expected = reference.finite_differences(naive, SCORES)
    np.testing.assert_allclose(to_numpy(gradient), expected, rtol=1e-6, atol=1e-8)
    again = derivatives(loss, MODES[-1])  # The one that is fastest in many calls.
    squares = reference.finite_differences(
        lambda scores: np.sum(to_numpy(again(scores)[1]) ** 2), SCORES
    )
    np.testing.assert_allclose(to_numpy(second), squares, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@exact_jax()
def test_the_largest_scores_have_finite_value_and_gradient(dtype, sparse, mode):
    fraction = 1 if dtype in ("float16", "bfloat16") else 4
    top = float(ml_dtypes.finfo(dtype).max) / fraction
    scores = ops.convert_to_tensor(
        [[top, -top, 0, 1], [top, -top, top, -top], [-top, top, -top, 2], [-top, -top, 3, top]],
        dtype,
    )
    for labels, indices in ((LABELS, INDICES), (LABELS.astype("float32"), INDICES)):

        def loss(scores, labels=labels, indices=indices):
            if sparse:
                return sparse_multilabel_categorical_crossentropy(indices, scores)
            return multilabel_categorical_crossentropy(labels, scores)

        value, gradient = value_and_gradient(loss, scores, mode)
        assert dtype_of(value) == ("float64" if dtype == "float64" else "float32")
        assert dtype_of(gradient) == dtype
        assert np.isfinite(to_numpy(value)).all() and np.isfinite(to_numpy(gradient)).all()
        assert np.abs(to_numpy(gradient)).max() <= 1
        if dtype == "float16":
            close(value, [np.log1p(np.e) + np.log(2), top, top, 2 * top], 1e-3)


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_a_huge_target_does_not_hide_the_other_labels(dtype):
    scores = np.array([[1e4, 3.0, 2.0]], "float32")
    value, gradient = value_and_gradient(
        lambda s: multilabel_categorical_crossentropy(np.array([[1, 0, 0]], dtype), s),
        scores,
        "eager",
    )
    total = np.exp(3) + np.exp(2)
    close(value, [np.log1p(total)])
    close(gradient, [[0, np.exp(3) / (1 + total), np.exp(2) / (1 + total)]])


@pytest.mark.parametrize("mode", MODES)
def test_a_tiny_loss_keeps_its_digits(mode):
    scores = np.where(LABELS == 1, 50, -50).astype("float32")
    expected = np.full(4, 4 * np.exp(-50.0))
    for labels in (LABELS, LABELS.astype("float32")):
        value, gradient = value_and_gradient(
            lambda s, labels=labels: multilabel_categorical_crossentropy(labels, s), scores, mode
        )
        close(value / expected, 1, 1e-5)
        close(gradient / np.exp(-50.0), np.where(LABELS == 1, -1, 1), 1e-5)
    value, gradient = value_and_gradient(
        lambda s: sparse_multilabel_categorical_crossentropy(INDICES, s), scores, mode
    )
    close(value / expected, 1, 1e-5)
    close(gradient / np.exp(-50.0), np.where(LABELS == 1, -1, 1), 1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_dynamic_shapes(mode):
    shape = (None, None)
    dense = compiled(multilabel_categorical_crossentropy, mode, [shape, shape])
    sparse = compiled(sparse_multilabel_categorical_crossentropy, mode, [(shape, "int32"), shape])
    rng = np.random.default_rng(2)
    for batch, num_labels, max_targets in ((2, 5, 3), (3, 1, 4), (2, 4, 0)):
        indices = rng.integers(-1, num_labels, (batch, max_targets)).astype("int32")
        labels = reference.multi_hot(indices, num_labels).astype("float32")
        scores = rng.normal(size=labels.shape).astype("float32")
        expected = reference.multilabel_categorical_crossentropy(labels, scores)
        close(dense(labels, scores), expected, 1e-5)
        close(sparse(indices, scores), expected, 1e-5)


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


@pytest.mark.parametrize("dtype", ["float16", "mixed_float16", "mixed_bfloat16", "float32"])
def test_the_sparse_class_keeps_large_indices_exact(dtype):
    scores = np.random.default_rng(3).normal(size=(1, 5000)).astype("float32")
    loss = SparseMultilabelCategoricalCrossentropy(dtype=dtype)
    for indices in (np.array([[4095, 2049, -1]]), np.array([[4095.0, 2049.0, -1.0]])):
        labels = reference.multi_hot(indices.astype(int), 5000)
        expected = reference.multilabel_categorical_crossentropy(labels, scores)[0]
        close(loss(indices, scores), expected, 1e-5)
    neighbour = float(loss(np.array([[4096, 2048, -1]]), scores))
    assert abs(neighbour - expected) > 1e-2


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_the_classes_compute_and_return_at_least_float32(dtype):
    scores = np.array([[6e4, -6e4]] * 3, "float32")
    for loss, labels in (
        (MultilabelCategoricalCrossentropy(dtype=dtype), np.array([[0, 1]] * 3)),
        (SparseMultilabelCategoricalCrossentropy(dtype=dtype), np.array([[1]] * 3)),
    ):
        assert dtype_of(loss(labels, scores)) == "float32"
        close(loss(labels, scores), 12e4)


@pytest.mark.parametrize(
    ("cls", "labels"),
    [
        (MultilabelCategoricalCrossentropy, LABELS),
        (SparseMultilabelCategoricalCrossentropy, INDICES),
    ],
)
class TestClasses:
    @exact_jax()
    def test_reductions_and_sample_weights(self, cls, labels):
        rows = reference.multilabel_categorical_crossentropy(LABELS, SCORES)
        weights = np.array([1.0, 0.0, 2.0, 0.5])
        close(cls()(labels, SCORES), rows.mean(), 1e-5)
        close(cls(reduction="sum")(labels, SCORES), rows.sum(), 1e-5)
        close(cls(reduction=None, dtype="float64")(labels, SCORES), rows)
        close(cls(reduction=None)(labels, SCORES, weights), rows * weights, 1e-5)
        close(cls()(labels, SCORES, weights), np.mean(rows * weights), 1e-5)
        close(cls()(labels, SCORES, weights[:, None]), np.mean(rows * weights), 1e-5)

    def test_a_mask_of_the_scores_counts(self, cls, labels):
        rows = reference.multilabel_categorical_crossentropy(LABELS, SCORES)
        masking = keras.layers.Masking(mask_value=0.0)
        scores = masking(np.stack([SCORES, np.zeros_like(SCORES)], axis=1))
        close(cls()(np.stack([labels, labels], axis=1), scores), rows.mean(), 1e-5)

    @pytest.mark.parametrize("dtype", ["float16", "mixed_bfloat16", "float64"])
    @exact_jax()
    def test_config_keeps_every_argument(self, cls, labels, dtype):
        loss = cls(reduction="sum", name="ranking", dtype=dtype)
        again = keras.losses.deserialize(keras.losses.serialize(loss))
        assert type(again) is cls
        assert (again.reduction, again.name, again.dtype) == ("sum", "ranking", loss.dtype)
        close(again(labels, SCORES), loss(labels, SCORES))

    @pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
    @exact_jax()
    def test_training_saving_and_training_on(self, cls, labels, policy, tmp_path):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, dtype=policy)])
        x = np.random.default_rng(4).normal(size=(4, 3))
        model.compile(keras.optimizers.SGD(0.1), cls(dtype="float64"), jit_compile=False)
        losses = model.fit(x, labels, epochs=5, verbose=0, sample_weight=np.ones(4)).history["loss"]
        assert losses[-1] < losses[0]
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
        assert again.loss.dtype == "float64"
        close(again.evaluate(x, labels, verbose=0), model.evaluate(x, labels, verbose=0), 1e-4)
        assert again.fit(x, labels, verbose=0).history["loss"][0] < losses[-1]

    @needs_xla
    def test_training_with_xla(self, cls, labels):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
        model.compile(keras.optimizers.SGD(0.1), cls(), jit_compile=True)
        x = np.random.default_rng(4).normal(size=(4, 3))
        losses = model.fit(x, labels, epochs=3, verbose=0).history["loss"]
        assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("function", "labels"),
    [
        (multilabel_categorical_crossentropy, LABELS),
        (sparse_multilabel_categorical_crossentropy, INDICES),
    ],
)
def test_the_functions_compile_save_and_load(function, labels, tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    model.compile("sgd", function)
    x = np.random.default_rng(5).normal(size=(4, 3))
    model.fit(x, labels, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert again.loss is function
    close(again.evaluate(x, labels, verbose=0), model.evaluate(x, labels, verbose=0), 1e-5)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
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
    ],
)
def test_bad_dense_input(labels, scores, message):
    with pytest.raises(ValueError, match=message):
        multilabel_categorical_crossentropy(labels, scores)


@pytest.mark.parametrize(
    ("indices", "scores", "message"),
    [
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
    ],
)
def test_bad_sparse_input(indices, scores, message):
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
