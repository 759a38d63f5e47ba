from typing import ClassVar

import keras
import numpy as np
import pytest
from keras import ops

import reference
from backends import gradients
from keras_mlc.layers import FineGrainedSoftmaxHead
from layers.layer_checks import (
    BATCH,
    FEATURES,
    MASK,
    POLICIES,
    STEPS,
    LayerChecks,
    call_with,
    randomize,
    sequences,
    to_numpy,
    value_and_gradients,
)
from layers.quantized_checks import check_quantized

LEVELS = (4, 1, 3)
MISSING = np.arange(4) >= np.array(LEVELS)[:, None]


class TestFineGrainedSoftmaxHead(LayerChecks):
    layer_class = FineGrainedSoftmaxHead
    takes_mask = False
    arguments: ClassVar = {"num_aspects": 3, "num_levels": LEVELS}
    every_argument: ClassVar = {
        "num_aspects": 2,
        "num_levels": [5, 2],
        "activation": "log_softmax",
        "kernel_initializer": "ones",
        "bias_initializer": "ones",
        "kernel_regularizer": "l2",
        "bias_regularizer": "l2",
        "kernel_constraint": "non_neg",
        "bias_constraint": "non_neg",
    }

    def reference(self, layer, inputs, mask):
        levels = layer.num_levels
        levels = (levels,) * layer.num_aspects if isinstance(levels, int) else levels
        return reference.fine_grained_softmax(
            inputs, to_numpy(layer.projection.kernel), to_numpy(layer.projection.bias), levels
        )


class TestEqualLevels(TestFineGrainedSoftmaxHead):
    arguments: ClassVar = {"num_aspects": 6, "num_levels": 4}


class TestOneLevel(TestFineGrainedSoftmaxHead):
    arguments: ClassVar = {"num_aspects": 1, "num_levels": 1, "activation": "sigmoid"}

    def reference(self, layer, inputs, mask):
        logits = inputs @ to_numpy(layer.projection.kernel) + to_numpy(layer.projection.bias)
        return 1 / (1 + np.exp(-logits[..., None]))


def built(**arguments):
    layer = FineGrainedSoftmaxHead(3, LEVELS, **arguments)
    layer.build((None, FEATURES))
    return randomize(layer)


def test_number_of_parameters():
    for levels, parameters in ((4, 6 * 4 * 313), ([4, 2, 2, 3, 1, 4], 16 * 313)):
        layer = FineGrainedSoftmaxHead(6, levels)
        layer.build((None, 312))
        assert layer.count_params() == parameters


@pytest.mark.parametrize("policy", POLICIES)
def test_missing_levels_have_probability_0(policy):
    layer = built(dtype=policy)
    outputs, gradients, _ = value_and_gradients(layer, sequences(1e3))
    assert (outputs[..., MISSING] == 0).all()
    np.testing.assert_allclose(outputs.sum(axis=-1), 1, atol=1e-2)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("policy", POLICIES)
def test_logits_of_missing_levels(policy):
    logits = built(activation=None, dtype=policy)(sequences(100.0))
    assert np.isfinite(to_numpy(logits)).all()
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        probabilities = ops.softmax(ops.cast(logits, dtype))
        assert (to_numpy(probabilities)[..., MISSING] == 0).all()


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize(("from_logits", "sparse"), [(True, True), (True, False), (False, True)])
def test_losses_and_metrics_of_keras_apply(policy, from_logits, sparse):
    layer = built(activation=None if from_logits else "softmax", dtype=policy)
    levels = np.random.default_rng(3).integers(0, LEVELS, (BATCH, 3))
    one_hot, inputs = np.eye(4)[levels], sequences()[:, 0]
    weights = [to_numpy(weight) for weight in layer.weights]
    probabilities = reference.fine_grained_softmax(inputs, *weights, LEVELS)
    costs = -np.log(np.sum(probabilities * one_hot, axis=-1))
    tolerance = 5e-2 if "16" in policy else 1e-5

    if sparse:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits)
        metric, targets = keras.metrics.SparseCategoricalAccuracy(), levels
    else:
        loss = keras.losses.CategoricalCrossentropy(from_logits)
        metric, targets = keras.metrics.CategoricalAccuracy(), one_hot
    for shape in ((BATCH, 1), (BATCH, 3)):
        sample_weight = np.random.default_rng(4).uniform(size=shape)

        def cost(*weights, sample_weight=sample_weight):
            return loss(targets, call_with(layer, weights, inputs), sample_weight)

        values = [weight.value for weight in layer.weights]
        assert float(cost(*values)) == pytest.approx((sample_weight * costs).mean(), rel=tolerance)
        for gradient in gradients(cost, values):
            assert np.isfinite(to_numpy(gradient)).all() and (to_numpy(gradient) != 0).any()
    metric.update_state(targets, layer(inputs))
    expected = (probabilities.argmax(axis=-1) == levels).mean()
    assert float(metric.result()) == pytest.approx(expected)


def test_masked_steps_cost_nothing():
    levels = np.random.default_rng(3).integers(0, LEVELS, (BATCH, STEPS, 3))
    layer, x = built(), keras.Input((None, FEATURES))
    model = keras.Model(x, layer(keras.layers.Masking()(x)))
    model.compile(loss="sparse_categorical_crossentropy")
    loss = model.evaluate(sequences() * MASK[:, :, None], levels, verbose=0)
    expected = keras.losses.sparse_categorical_crossentropy(levels, layer(sequences()))
    assert loss == pytest.approx(to_numpy(expected)[MASK].mean(), rel=1e-5)


def test_any_rank():
    layer = built()
    inputs = sequences()
    expected = to_numpy(layer(inputs))
    np.testing.assert_allclose(to_numpy(layer(inputs[:, 0])), expected[:, 0], rtol=1e-5)
    stacked = to_numpy(layer(inputs.reshape(BATCH, 2, STEPS // 2, FEATURES)))
    np.testing.assert_allclose(stacked, np.reshape(expected, stacked.shape), rtol=1e-5)


def test_refuses_bad_arguments():
    for aspects in (0, -1, 2.0, "3", None, True):
        with pytest.raises(ValueError, match=rf"`num_aspects` must be .*num_aspects={aspects!r}"):
            FineGrainedSoftmaxHead(aspects, 4)
    for levels in (0, -1, 2.0, "4", None, True, [], [4, 0], [4, 2.5], [[4, 2]]):
        with pytest.raises(ValueError, match=r"`num_levels` must be .* Received: num_levels="):
            FineGrainedSoftmaxHead(2, levels)
    for levels in ([4], [4, 2, 3]):
        with pytest.raises(ValueError, match=r"`num_levels` must .*one per aspect.*num_aspects=2"):
            FineGrainedSoftmaxHead(2, levels)
    for shape in ((3,), (3, None)):
        with pytest.raises(ValueError, match=r"`inputs` must have shape \(\.\.\., features\)"):
            FineGrainedSoftmaxHead(2, 4).build(shape)


def test_quantized(tmp_path):
    check_quantized(FineGrainedSoftmaxHead(3, LEVELS), "projection", tmp_path)
