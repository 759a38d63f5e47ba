from typing import ClassVar

import keras
import numpy as np
import pytest
from keras import ops

import reference
from backends import dtype_of
from keras_mlc.layers import AttentionPooling
from layers.layer_checks import (
    BATCH,
    FEATURES,
    MASK,
    POLICIES,
    STEPS,
    LayerChecks,
    randomize,
    sequences,
    to_numpy,
    value_and_gradients,
)
from layers.quantized_checks import check_quantized


class TestAttentionPooling(LayerChecks):
    layer_class = AttentionPooling
    every_argument: ClassVar = {
        "units": 7,
        "kernel_initializer": "ones",
        "bias_initializer": "ones",
        "query_initializer": "ones",
        "kernel_regularizer": "l2",
        "bias_regularizer": "l2",
        "query_regularizer": "l2",
        "kernel_constraint": "non_neg",
        "bias_constraint": "non_neg",
        "query_constraint": "non_neg",
    }

    def reference(self, layer, inputs, mask):
        return reference.attention_pooling(inputs, *weights_of(layer), mask)[0]


def weights_of(layer):
    weights = layer.projection.kernel, layer.projection.bias, layer.query
    return [to_numpy(weight) for weight in weights]


def built(**arguments):
    layer = AttentionPooling(**arguments)
    layer.build((None, None, FEATURES))
    return randomize(layer)


@pytest.mark.parametrize(("units", "parameters"), [(None, 66_048), (100, 25_800)])
def test_number_of_parameters(units, parameters):
    layer = AttentionPooling(units)
    layer.build((None, 1, 256))
    assert layer.count_params() == parameters


@pytest.mark.parametrize("policy", POLICIES)
def test_scores(policy):
    layer = built(units=5, dtype=policy)
    outputs, scores = layer(sequences(), mask=MASK, return_attention_scores=True)
    expected = reference.attention_pooling(sequences(), *weights_of(layer), MASK)[1]
    assert dtype_of(scores) == dtype_of(outputs) == layer.compute_dtype
    assert (to_numpy(scores)[~MASK] == 0).all()
    tolerance = 1e-2 if "16" in policy else 1e-6
    np.testing.assert_allclose(to_numpy(scores), expected, atol=tolerance)
    np.testing.assert_allclose(to_numpy(scores).sum(axis=1), 1, atol=tolerance)


def test_scores_have_an_output_spec():
    x = keras.Input((None, FEATURES))
    outputs, scores = AttentionPooling(dtype="mixed_float16")(x, return_attention_scores=True)
    assert outputs.shape == (None, FEATURES) and scores.shape == (None, None)
    assert outputs.dtype == scores.dtype == "float16"
    model = keras.Model(x, [outputs, scores])
    pooled, scores = model(sequences())
    assert pooled.shape == (BATCH, FEATURES) and scores.shape == (BATCH, STEPS)


@pytest.mark.parametrize("garbage", [1.0, 1e30, -1e30])
def test_padding_does_not_matter(garbage):
    layer = built()
    alone, [alone_gradient, *alone_weights], _ = value_and_gradients(layer, sequences())
    for before, after in ((0, 9), (3, 2)):
        widths = ((0, 0), (before, after), (0, 0))
        padded = np.pad(sequences(), widths, constant_values=garbage)
        mask = np.pad(np.ones((BATCH, STEPS)), widths[:2])
        outputs, [gradient, *weights], _ = value_and_gradients(layer, padded, mask)
        np.testing.assert_allclose(outputs, alone, rtol=1e-5, atol=1e-6)
        assert (gradient[mask == 0] == 0).all()
        np.testing.assert_allclose(gradient[:, before : before + STEPS], alone_gradient, atol=1e-5)
        for actual, expected in zip(weights, alone_weights, strict=True):
            np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_sample_without_steps_pools_to_zeros(policy):
    layer = built(dtype=policy)
    mask = MASK * [[0], [1], [0]]
    inputs = sequences()
    inputs[0] = 6e4
    outputs, gradients, _ = value_and_gradients(layer, inputs, mask)
    assert (outputs[[0, 2]] == 0).all() and (outputs[1] != 0).any()
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert (gradients[0][[0, 2]] == 0).all()
    _, scores = layer(inputs, mask=mask, return_attention_scores=True)
    assert (to_numpy(scores)[[0, 2]] == 0).all()


@pytest.mark.parametrize("policy", ["float16", "bfloat16"])
def test_many_steps_are_summed_in_float32(policy):
    layer = built(dtype=policy)
    layer.query.assign(np.zeros(FEATURES))
    _, scores = layer(np.ones((1, 700, FEATURES)), return_attention_scores=True)
    np.testing.assert_allclose(to_numpy(scores), 1 / 700, rtol=4e-3)  # as far as they are rounded


def test_extreme_scores():
    layer = built()
    layer.query.assign(1e30 * np.ones(FEATURES))
    outputs, gradients, _ = value_and_gradients(layer, sequences(), MASK)
    assert np.isfinite(outputs).all() and np.isfinite(gradients[0]).all()
    _, scores = layer(sequences(), mask=MASK, return_attention_scores=True)
    assert (to_numpy(scores)[~MASK] == 0).all()


def test_one_step_is_returned_as_it_is():
    inputs = sequences(steps=1)
    np.testing.assert_allclose(to_numpy(built()(inputs)), inputs[:, 0], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["bool", "int32", "float32"])
def test_masks_of_any_dtype(dtype):
    layer = built()
    expected = to_numpy(layer(sequences(), mask=MASK))
    for mask in (MASK.astype(dtype), MASK.tolist()):
        np.testing.assert_array_equal(to_numpy(layer(sequences(), mask=mask)), expected)


def test_mask_of_the_inputs_is_found():
    tokens = np.array([[1, 2, 0, 0], [3, 0, 0, 0]])
    embedding, layer = keras.layers.Embedding(5, FEATURES, mask_zero=True), built()
    explicit = to_numpy(layer(ops.copy(embedding(tokens)), mask=tokens))
    np.testing.assert_array_equal(to_numpy(layer(embedding(tokens))), explicit)


@pytest.mark.parametrize("units", [0, -1, 2.5, "8", True])
def test_refuses_bad_units(units):
    with pytest.raises(ValueError, match=rf"`units` must be a positive integer.*units={units!r}"):
        AttentionPooling(units=units)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4, 5), (2, 3, None)])
def test_refuses_inputs_of_another_rank(shape):
    with pytest.raises(ValueError, match=r"`inputs` must have shape \(batch, steps, features\)"):
        AttentionPooling()(keras.KerasTensor(shape))


@pytest.mark.parametrize("shape", [(3,), (3, 5), (2, 6), (3, 6, 1)])
def test_refuses_masks_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"`mask` must have .* \(3, 6\).* Received: mask\.shape"):
        AttentionPooling()(sequences(), mask=np.ones(shape))
    with pytest.raises(ValueError, match=r"`mask` must have .* \(3, 6\).* Received: mask\.shape"):
        AttentionPooling()(
            keras.KerasTensor((3, 6, FEATURES)), mask=keras.KerasTensor(shape, "bool")
        )


def test_quantized(tmp_path):
    check_quantized(AttentionPooling(5), "projection", tmp_path)
