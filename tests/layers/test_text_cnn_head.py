from typing import ClassVar

import keras
import numpy as np
import pytest

import reference
from keras_mlc.layers import TextCNNHead
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
from layers.quantized_checks import check_quantized, model_around


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def features(layer, inputs, mask, activation):
    kernels = [to_numpy(convolution.kernel) for convolution in layer.convolutions]
    biases = [to_numpy(convolution.bias) for convolution in layer.convolutions]
    return reference.text_cnn_features(inputs, kernels, biases, activation, mask)


class TestTextCNNHead(LayerChecks):
    layer_class = TextCNNHead
    arguments: ClassVar = {"num_labels": 5, "filters": 3, "dropout": 0.0}
    every_argument: ClassVar = {
        "num_labels": 2,
        "filters": 6,
        "kernel_sizes": (2, 7),
        "conv_activation": "gelu",
        "dropout": 0.5,
        "activation": "sigmoid",
        "kernel_initializer": "ones",
        "bias_initializer": "ones",
        "output_bias_initializer": "ones",
        "kernel_regularizer": "l2",
        "bias_regularizer": "l2",
        "kernel_constraint": "non_neg",
        "bias_constraint": "non_neg",
    }

    def reference(self, layer, inputs, mask):
        found = features(layer, inputs, mask, lambda x: np.maximum(x, 0))
        return found @ to_numpy(layer.classifier.kernel) + to_numpy(layer.classifier.bias)


class TestFeaturesOfTextCNNHead(TestTextCNNHead):
    # The activation is not 0 at 0: masked steps would show in the maximum.
    arguments: ClassVar = {"kernel_sizes": 2, "conv_activation": "sigmoid", "dropout": 0.0}

    def reference(self, layer, inputs, mask):
        return features(layer, inputs, mask, sigmoid)


def built(**arguments):
    layer = TextCNNHead(**arguments)
    layer.build((None, None, FEATURES))
    return randomize(layer)


def test_number_of_parameters():
    layer = TextCNNHead(55)
    layer.build((None, 1, 312))
    convolutions = [convolution.count_params() for convolution in layer.convolutions]
    assert convolutions == [292_344, 389_688, 487_032]
    assert layer.classifier.count_params() == 51_535
    assert layer.count_params() == sum(convolutions) + 51_535


@pytest.mark.parametrize(
    ("activation", "garbage"),
    [("relu", np.nan), ("sigmoid", -np.inf), ("gelu", 1e30), ("tanh", 0.0), (None, np.nan)],
)
def test_padding_does_not_matter(activation, garbage):
    layer = built(conv_activation=activation)
    for convolution in layer.convolutions:  # Most maxima are below 0, where that can be.
        convolution.bias.assign(convolution.bias - 3.0)
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
def test_a_sample_without_steps_has_zero_features(policy):
    layer = built(conv_activation="sigmoid", dtype=policy)
    inputs = sequences()
    inputs[0] = np.nan
    outputs, gradients, _ = value_and_gradients(layer, inputs, MASK * [[0], [1], [0]])
    assert (outputs[[0, 2]] == 0).all() and (outputs[1] != 0).all()
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert (gradients[0][[0, 2]] == 0).all()


def test_a_sequence_shorter_than_the_kernels():
    layer = built(kernel_sizes=(5, 8), conv_activation=None)
    inputs = sequences(steps=2)
    expected = features(layer, inputs, None, lambda x: x)
    np.testing.assert_allclose(to_numpy(layer(inputs)), expected, rtol=1e-5, atol=1e-6)


def test_dropout_in_training_only():
    layer = TextCNNHead(filters=50, conv_activation="sigmoid", dropout=0.5)
    trained, inferred = layer(sequences(), training=True), layer(sequences(), training=False)
    assert 0.3 < np.mean(to_numpy(trained) == 0) < 0.7
    assert (to_numpy(inferred) > 0).all()


def test_activation_of_the_scores():
    layer = TextCNNHead(num_labels=4, activation="sigmoid", output_bias_initializer="ones")
    scores = to_numpy(layer(np.zeros((1, 3, 2))))
    np.testing.assert_allclose(scores, np.full((1, 4), sigmoid(1)), rtol=1e-6)


def test_kernels_of_one_size_differ():
    layer = TextCNNHead(kernel_sizes=(3, 3), kernel_initializer=keras.initializers.GlorotUniform())
    layer.build((None, None, FEATURES))
    first, second = (to_numpy(convolution.kernel) for convolution in layer.convolutions)
    assert not np.isclose(first, second).any()


def test_a_function_initializes():
    layer = built(kernel_initializer=lambda shape, dtype=None: np.ones(shape))
    assert len(layer.weights) == 6


def test_image_data_format_does_not_matter():
    expected = TextCNNHead(kernel_initializer="ones")(sequences())
    keras.config.set_image_data_format("channels_first")
    try:
        outputs = TextCNNHead(kernel_initializer="ones")(sequences())
    finally:
        keras.config.set_image_data_format("channels_last")
    np.testing.assert_array_equal(to_numpy(outputs), to_numpy(expected))


def test_refuses_bad_arguments():
    for name in ("num_labels", "filters"):
        for value in (0, -3, 1.0, "4", False):
            message = rf"`{name}` must be a positive int.*{name}={value!r}"
            with pytest.raises(ValueError, match=message):
                TextCNNHead(**{name: value})
    for sizes in (0, (), [], (3, 0), (3, 4.0), "345", None, (3, (4,)), True):
        with pytest.raises(ValueError, match=r"`kernel_sizes` must be .* Received: kernel_sizes="):
            TextCNNHead(kernel_sizes=sizes)
    for rate in (1.0, -0.1, np.nan, "0.2", None, True):
        with pytest.raises(ValueError, match=r"`dropout` must be a number in \[0, 1\).*dropout="):
            TextCNNHead(dropout=rate)


def test_refuses_inputs_of_another_rank():
    with pytest.raises(ValueError, match=r"`inputs` must have shape .*inputs\.shape=\(3, 4\)"):
        TextCNNHead()(np.ones((3, 4)))


def test_refuses_masks_of_another_shape():
    with pytest.raises(ValueError, match=r"`mask` must have .* \(3, 6\).*mask\.shape=\(3, 5\)"):
        TextCNNHead()(sequences(), mask=np.ones((3, 5)))


def test_a_seed_generator_gives_every_kernel_numbers_of_its_own():
    initializer = keras.initializers.GlorotUniform(seed=keras.random.SeedGenerator(1))
    layer = TextCNNHead(filters=4, kernel_sizes=(3, 3), kernel_initializer=initializer)
    layer.build((None, 5, 6))
    first, second = (to_numpy(convolution.kernel) for convolution in layer.convolutions)
    assert np.abs(first - second).max() > 0.1


def test_kernel_sizes_from_numpy():
    assert TextCNNHead(kernel_sizes=np.array(2)).kernel_sizes == 2
    assert TextCNNHead(kernel_sizes=np.array([2, 3])).kernel_sizes == (2, 3)
    assert TextCNNHead(kernel_sizes=range(2, 4)).kernel_sizes == (2, 3)


def test_quantized(tmp_path):
    check_quantized(TextCNNHead(5, filters=4), "classifier", tmp_path)


def test_features_stay_in_float(tmp_path):
    model = model_around(TextCNNHead(filters=4))
    expected = to_numpy(model(sequences()))
    model.quantize("int8")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(to_numpy(loaded(sequences())), expected)
