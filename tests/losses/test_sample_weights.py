"""Sample weights and masks, which must not broadcast against the wrong axis, in all losses."""

import keras
import numpy as np
import pytest
from keras import ops

import reference
from backends import BACKEND, MODES, compiled, tensorflow_only, to_numpy
from keras_mlc._keras_internals import with_mask
from keras_mlc.losses import (
    AsymmetricLoss,
    GradientPenaltyLoss,
    MultilabelCategoricalCrossentropy,
    RDropLoss,
    SparseMultilabelCategoricalCrossentropy,
)

RNG = np.random.default_rng(0)
LABELS = np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
SCORES = np.array([[1, -2], [3, 0.5], [-1, 0], [0.5, 2]], "float32")
WEIGHTS = np.array([1.0, 0.0, 2.0, 0.5])
LOSSES = [
    (MultilabelCategoricalCrossentropy, LABELS),
    (SparseMultilabelCategoricalCrossentropy, np.array([[0], [0], [1], [1]])),
    (lambda **arguments: AsymmetricLoss(from_logits=True, **arguments), LABELS),
    (lambda **arguments: RDropLoss(from_logits=True, **arguments), LABELS),
]
REFUSED = r"`sample_weight` must have the shape.*\(4,\).*label_weights.*missing_label.*shape of \("
# of a batch of 4, with steps and aspects in between
STEPS = RNG.normal(size=(4, 4, 3, 2)).astype("float32")
TAGS = RNG.integers(0, 2, STEPS.shape)


def close(actual, expected, tolerance=1e-5):
    np.testing.assert_allclose(to_numpy(actual), to_numpy(expected), rtol=tolerance)


def test_weights_of_another_shape_are_refused():
    for cls, labels in LOSSES:
        for shape in ((4, 2), (1, 4), (2, 2), (1,), (8,), (4, 1, 1), (4, 4), (3,)):
            with pytest.raises(ValueError, match=REFUSED):
                cls()(labels, SCORES, np.ones(shape))


def test_a_weight_for_each_label_of_a_single_text_is_refused():
    loss = MultilabelCategoricalCrossentropy()
    with pytest.raises(ValueError, match=r"the loss's values, \(1,\).*shape of \(1, 2\)"):
        loss(LABELS[:1], SCORES[:1], [[1.0, 0.0]])


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight"])
def test_values_of_several_axes(reduction):
    rows = reference.multilabel_categorical_crossentropy(TAGS, STEPS)
    loss = MultilabelCategoricalCrossentropy(reduction=reduction)
    of_all = RNG.random((4, 4, 3))
    for weights, spread in (
        (WEIGHTS, WEIGHTS[:, None, None]),
        (WEIGHTS[:, None], WEIGHTS[:, None, None]),
        (of_all, of_all),
        (of_all[..., None], of_all),
    ):
        spread = np.broadcast_to(spread, rows.shape)
        mean = np.mean(rows * spread)
        is_mean = reduction == "sum_over_batch_size"
        expected = mean if is_mean else np.average(rows, weights=spread)
        close(loss(TAGS, STEPS, weights), expected)
    for shape in ((4, 4), (4, 3), (3,), (4, 4, 2), (1, 4, 3), (4, 4, 3, 2), (4, 3, 4)):
        with pytest.raises(ValueError, match=r"`sample_weight` must have .*\(4, 4, 3\)"):
            loss(TAGS, STEPS, np.ones(shape))


@pytest.mark.parametrize("weights_of", ["none", "samples", "values"])
def test_a_mask_of_the_first_axes_counts_for_those_behind(weights_of):
    inputs = STEPS.reshape(4, 4, 6).copy()
    inputs[1, 2:] = inputs[3] = 0
    kept = np.any(inputs, axis=-1)
    scores = keras.layers.Masking()(inputs)
    reshaped = keras.layers.Reshape((4, 3, 2))
    reshaped.supports_masking = True
    scores = reshaped(scores)
    rows = reference.multilabel_categorical_crossentropy(TAGS, inputs.reshape(STEPS.shape))
    weights = {"none": None, "samples": WEIGHTS, "values": RNG.random((4, 4, 3))}[weights_of]
    spread = np.ones(rows.shape) if weights is None else weights
    spread = spread[:, None, None] if spread.ndim == 1 else spread
    expected = np.sum((rows * spread)[kept]) / rows[kept].size
    close(MultilabelCategoricalCrossentropy()(TAGS, scores, weights), expected)


def test_a_mask_that_was_left_behind_is_refused():
    class Pool(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.supports_masking = True

        def call(self, inputs, mask=None):
            return ops.mean(inputs, axis=1)

    scores = Pool()(keras.layers.Masking()(np.ones((4, 4, 2))))
    with pytest.raises(ValueError, match=r"mask of `y_pred`.*\(4,\).*a shape of \(4, 4\)"):
        MultilabelCategoricalCrossentropy()(LABELS, scores)


@tensorflow_only
@pytest.mark.parametrize("mode", ["graph", "xla"])
def test_shapes_that_are_unknown_are_compared_when_compiled_code_runs(mode):
    import tensorflow as tf

    loss = MultilabelCategoricalCrossentropy()
    rows = reference.multilabel_categorical_crossentropy(LABELS, SCORES)
    labels = LABELS.astype("float32")
    for shape, good, bad in (
        ((None,), [(4,)], [(1,), (2,), (8,)]),
        ((None, None), [(4, 1)], [(4, 2), (1, 4), (2, 2), (1, 1)]),
        ((None, 1), [(4, 1)], [(1, 1), (8, 1)]),
    ):
        function = compiled(loss, mode, [(None, 2), (None, 2), shape])
        for each in good:
            weights = WEIGHTS.reshape(each).astype("float32")
            close(function(labels, SCORES, weights), np.mean(rows * WEIGHTS))
        for each in bad:
            with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
                function(labels, SCORES, np.ones(each, "float32"))
    rows = reference.multilabel_categorical_crossentropy(TAGS[:, 0], STEPS[:, 0])
    function = compiled(loss, mode, [(None, None, 2), (None, None, 2), (None, None)])
    tags, steps = TAGS[:, 0].astype("float32"), STEPS[:, 0]
    ones = np.ones((4, 3), "float32")
    close(function(tags, steps, ones * 2), 2 * rows.mean())
    weights = WEIGHTS[:, None].astype("float32")
    close(function(tags, steps, weights), np.mean(rows * weights))
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
        function(tags, steps, ones.T)


def test_in_fit_weights_of_another_shape_raise_before_the_update():
    cls, labels = LOSSES[0]
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", cls())
    before = model.get_weights()
    x = np.ones((4, 3))
    model.fit(x, labels, sample_weight=np.zeros((4, 1)), shuffle=False, verbose=0)
    errors = [ValueError]
    if BACKEND == "tensorflow":  # A step for both shapes knows neither.
        import tensorflow as tf

        errors.append(tf.errors.InvalidArgumentError)
    with pytest.raises(tuple(errors), match=r"`sample_weight` must have the shape"):
        model.fit(x, labels, sample_weight=np.ones((4, 2)), shuffle=False, verbose=0)
    if BACKEND == "jax":  # Whatever raises within `fit`, Keras loses the weights there.
        return
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.skipif(BACKEND == "jax", reason="there is no gradient penalty on JAX")
@pytest.mark.parametrize(
    "base",
    [
        MultilabelCategoricalCrossentropy(),
        keras.losses.BinaryCrossentropy(from_logits=True),
        "mean_squared_error",
        keras.losses.MeanSquaredError,
    ],
)
def test_under_a_gradient_penalty(base):
    embedding = keras.layers.Embedding(5, 2)
    embedding.build()
    base = base() if isinstance(base, type) else base
    plain = keras.losses.get(base)
    loss = GradientPenaltyLoss(base, embedding, epsilon=0.0)
    rows = plain.call if isinstance(plain, keras.losses.Loss) else plain
    rows = to_numpy(rows(ops.convert_to_tensor(LABELS.astype("float32")), SCORES))
    for weights in (WEIGHTS, WEIGHTS[:, None]):
        close(loss(LABELS, SCORES, weights), np.mean(rows * WEIGHTS))
    for shape in ((4, 2), (1, 4), (2,)):
        with pytest.raises(ValueError, match="`sample_weight` must have the shape"):
            loss(LABELS, SCORES, np.ones(shape))
    with pytest.raises(ValueError, match="`y_true` must have the shape of `y_pred`"):
        loss(LABELS[:, :1], SCORES)


@pytest.mark.parametrize("mode", MODES)
def test_labels_do_not_broadcast_under_r_drop(mode):
    outputs = np.abs(SCORES)
    for base in ("mse", "huber", "log_cosh", "poisson"):
        loss = compiled(RDropLoss(base, from_logits=True), mode)
        assert np.isfinite(to_numpy(loss(LABELS.astype("float32"), outputs)))
        with pytest.raises(ValueError, match="`y_true` must have the shape of `y_pred`"):
            loss(LABELS[:, :1].astype("float32"), outputs)


def test_weights_stay_as_they_were_beside_a_mask():
    scores = ops.convert_to_tensor(np.zeros((2, 3, 4), "float32"))
    weights = ops.convert_to_tensor(np.full((2, 3), 0.5, "float32"))
    scores = with_mask(scores, ops.convert_to_tensor([[True, False, True], [True, True, False]]))
    MultilabelCategoricalCrossentropy()(np.zeros((2, 3, 4)), scores, weights)
    np.testing.assert_array_equal(ops.convert_to_numpy(weights), 0.5)
