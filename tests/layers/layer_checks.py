"""The checks that every layer passes: inherit from `LayerChecks` and fill in the attributes."""

import inspect
import json
from typing import Any, ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf

POLICIES = ["float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16"]
BATCH, STEPS, FEATURES = 3, 6, 4
MASK = np.array([[1, 1, 1, 0, 0, 0], [0, 1, 0, 0, 1, 1], [1, 1, 1, 1, 1, 1]], bool)


def sequences(scale=1.0, steps=STEPS):
    return scale * np.random.default_rng(0).normal(size=(BATCH, steps, FEATURES))


def randomize(layer):
    """Give every weight a value that could not be another's, and none a value of 0."""
    generator = np.random.default_rng(1)
    for weight in layer.weights:
        weight.assign(generator.normal(size=weight.shape) / np.sqrt(FEATURES))
    return layer


def value_and_gradients(layer, inputs, mask=None, jit_compile=None):
    """Return the outputs, and the gradients of a random combination by inputs and weights."""
    inputs = tf.convert_to_tensor(inputs, layer.compute_dtype)

    def compute(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs) if mask is None else layer(inputs, mask=mask)
            generator = np.random.default_rng(2)
            direction = generator.normal(size=(*outputs.shape,))
            # In float32, as in a loss: what is checked is the layer's arithmetic.
            wide = tf.cast(outputs, tf.float64 if outputs.dtype == tf.float64 else tf.float32)
            combination = tf.reduce_sum(wide * direction.astype(wide.dtype.as_numpy_dtype))
        sources = [inputs, *(weight.value for weight in layer.trainable_weights)]
        return outputs, tape.gradient(combination, sources), combination

    if jit_compile is not None:
        compute = tf.function(compute, jit_compile=jit_compile)
    outputs, gradients, combination = compute(inputs)
    return to_numpy(outputs), [to_numpy(each) for each in gradients], float(combination)


def to_numpy(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor), "float64")


class LayerChecks:
    layer_class: type
    arguments: ClassVar[dict[str, Any]] = {}
    every_argument: ClassVar[dict[str, Any]] = {}
    takes_mask = True

    def make(self, **arguments):
        layer = self.layer_class(**{**self.arguments, **arguments})
        layer.build((None, None, FEATURES))
        return randomize(layer)

    def reference(self, layer, inputs, mask):
        """Return the outputs in NumPy."""
        raise NotImplementedError

    def masks(self):
        return [None, MASK] if self.takes_mask else [None]

    def test_values(self):
        layer = self.make()
        for mask in self.masks():
            outputs, _, _ = value_and_gradients(layer, sequences(), mask)
            expected = self.reference(layer, sequences(), mask)
            np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)

    def test_gradients_agree_with_finite_differences(self):
        layer, step = self.make(dtype="float64"), 1e-6
        inputs = sequences()
        arrays = [inputs, *(to_numpy(weight) for weight in layer.trainable_weights)]
        for mask in self.masks():
            _, gradients, _ = value_and_gradients(layer, inputs, mask)
            for place, (array, gradient) in enumerate(zip(arrays, gradients, strict=True)):
                towards = np.random.default_rng(place).normal(size=array.shape)
                ends = []
                for sign in (1, -1):
                    moved = [*arrays]
                    moved[place] = array + sign * step * towards
                    for weight, value in zip(layer.trainable_weights, moved[1:], strict=True):
                        weight.assign(value)
                    ends.append(value_and_gradients(layer, moved[0], mask)[2])
                slope = (ends[0] - ends[1]) / (2 * step)
                assert np.sum(gradient * towards) == pytest.approx(slope, rel=1e-5, abs=1e-7)

    @pytest.mark.parametrize("policy", POLICIES)
    def test_finite_in_every_dtype(self, policy):
        layer = self.make(dtype=policy)
        for mask in self.masks():
            for scale in (1.0, 100.0):
                outputs, gradients, _ = value_and_gradients(layer, sequences(scale), mask)
                assert np.isfinite(outputs).all()
                assert all(np.isfinite(gradient).all() for gradient in gradients)
            expected = self.reference(layer, sequences(), mask)
            outputs = value_and_gradients(layer, sequences(), mask)[0]
            tolerance = {"2": 3e-2, "4": 1e-5, "8": 1e-9}
            size = str(tf.as_dtype(layer.compute_dtype).size)
            tolerance = 2e-1 if "bfloat16" in policy else tolerance[size]
            np.testing.assert_allclose(outputs, expected, rtol=tolerance, atol=tolerance)

    def test_eager_graph_and_xla_agree(self):
        layer, mask = self.make(), self.masks()[-1]
        eager, eager_gradients, _ = value_and_gradients(layer, sequences(), mask)
        for jit_compile in (False, True):
            outputs, gradients, _ = value_and_gradients(layer, sequences(), mask, jit_compile)
            np.testing.assert_allclose(outputs, eager, rtol=1e-5, atol=1e-6)
            for gradient, expected in zip(gradients, eager_gradients, strict=True):
                np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)

    def test_dynamic_batch_and_time(self):
        layer = self.make()
        model = keras.Model(x := keras.Input((None, FEATURES)), layer(x))
        assert model.output.shape[0] is None
        compiled = tf.function(
            layer, input_signature=[tf.TensorSpec((None, None, FEATURES), tf.float32)]
        )
        for batch, steps in ((3, 6), (1, 2), (2, 1)):
            inputs = sequences().astype("float32")[:batch, :steps]
            expected = self.reference(layer, inputs, None)
            for outputs in (model(inputs), compiled(inputs)):
                np.testing.assert_allclose(to_numpy(outputs), expected, rtol=1e-5, atol=1e-6)

    def test_output_spec(self):
        layer = self.make(dtype="mixed_float16")
        outputs = layer(sequences())
        spec = layer.compute_output_spec(keras.KerasTensor((BATCH, STEPS, FEATURES)))
        assert tuple(spec.shape) == tuple(outputs.shape)
        assert spec.dtype == "float16" and outputs.dtype == "float16"
        assert layer.compute_output_shape((None, None, FEATURES))[0] is None

    def test_build_creates_all_weights(self):
        layer = self.layer_class(**self.arguments)
        layer.build((None, None, FEATURES))
        weights = [weight.path for weight in layer.weights]
        assert layer.built and weights
        layer(sequences())
        assert [weight.path for weight in layer.weights] == weights

    def test_refuses_another_number_of_features(self):
        layer = self.make()
        with pytest.raises(ValueError, match=f"expected axis -1.* to have value {FEATURES}"):
            layer(keras.Input((None, FEATURES + 1)))

    def test_mask_of_the_outputs(self):
        x = keras.Input((None, FEATURES))
        outputs = self.make()(keras.layers.Masking()(x))
        passed_on = getattr(outputs, "_keras_mask", None) is not None
        assert passed_on is not self.takes_mask

    def test_saves_and_trains_on(self, tmp_path):
        x = keras.Input((None, FEATURES))
        model = keras.Model(x, self.make()(keras.layers.Masking()(x)))
        model.compile(keras.optimizers.Adam(0.1), "mse", run_eagerly=True)
        inputs = sequences() * MASK[:, :, None]
        targets = np.ones(model(inputs).shape)
        model.fit(inputs, targets, verbose=0)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
        np.testing.assert_allclose(loaded(inputs), model(inputs), rtol=1e-6, atol=1e-7)
        before = [to_numpy(weight) for weight in loaded.trainable_weights]
        for each in (model, loaded):
            keras.utils.set_random_seed(0)
            each.fit(inputs, targets, verbose=0)
        for old, new, other in zip(
            before, loaded.trainable_weights, model.trainable_weights, strict=True
        ):
            assert not np.array_equal(old, new)
            np.testing.assert_allclose(new, other, rtol=1e-5, atol=1e-6)

    def test_config_holds_every_argument(self):
        signature = set(inspect.signature(self.layer_class.__init__).parameters)
        assert signature - {"self", "kwargs"} == set(self.every_argument)
        layer = self.layer_class(**self.every_argument, name="named", dtype="float16")
        config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
        again = keras.saving.deserialize_keras_object(config)
        assert again.get_config() == layer.get_config()
        default = self.layer_class(**self.arguments).get_config()
        for name in self.every_argument:
            assert again.get_config()[name] != default[name], name

    def test_regularizers_and_constraints_reach_the_weights(self):
        layer = self.layer_class(**self.every_argument)
        layer.build((None, None, FEATURES))
        kinds = {weight.name for weight in layer.weights}
        for weight in layer.weights:
            assert weight.regularizer is not None and weight.constraint is not None, weight.path
        assert len(layer.losses) == len(layer.weights) >= len(kinds)
