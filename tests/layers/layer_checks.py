"""The checks that every layer passes: inherit from `LayerChecks` and fill in the attributes."""

import inspect
import json
from typing import Any, ClassVar

import keras
import numpy as np
import pytest
from keras import ops

import backends
from backends import (
    BACKEND,
    COMPILED_MODES,
    EXACT_FLOAT64,
    FASTEST_MODE,
    MODES,
    compiled,
    exact_jax,
    gradients,
)

POLICIES = ["float16", "bfloat16", "float32", "mixed_float16", "mixed_bfloat16"]
POLICIES += ["float64"] * EXACT_FLOAT64
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


def call_with(layer, weights, *inputs, **arguments):
    """Return the outputs for other values of the trainable weights.

    Unlike `stateless_call`, this casts as a layer's call does.
    """
    mapping = list(zip(layer.trainable_weights, weights, strict=True))
    with keras.StatelessScope(state_mapping=mapping):
        return layer(*inputs, **arguments)


def value_and_gradients(layer, inputs, mask=None, mode=FASTEST_MODE):
    """Return the outputs, and the gradients of a random combination by inputs and weights."""
    arguments = {} if mask is None else {"mask": mask}

    def call(inputs, *weights):
        return call_with(layer, weights, inputs, **arguments)

    def combine(*tensors):
        outputs = call(*tensors)
        direction = np.random.default_rng(2).normal(size=tuple(outputs.shape))
        # In float32, as in a loss: what is checked is the layer's arithmetic.
        dtype = "float64" if backends.dtype_of(outputs) == "float64" else "float32"
        return ops.sum(ops.cast(outputs, dtype) * ops.cast(direction, dtype))

    def compute(*tensors):
        return call(*tensors), gradients(combine, tensors), combine(*tensors)

    inputs = ops.convert_to_tensor(inputs, layer.compute_dtype)
    weights = [weight.value for weight in layer.trainable_weights]
    outputs, slopes, combination = compiled(compute, mode)(inputs, *weights)
    return to_numpy(outputs), [to_numpy(each) for each in slopes], to_numpy(combination)


def to_numpy(tensor):
    return backends.to_numpy(tensor).astype("float64")


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

    @exact_jax()
    def test_gradients_agree_with_finite_differences(self):
        layer, step = self.make(dtype="float64"), 1e-6
        inputs = sequences()
        weights = layer.trainable_weights
        arrays = [inputs, *(to_numpy(weight) for weight in weights)]
        direction = np.random.default_rng(2).normal(size=self.reference(layer, inputs, None).shape)
        tolerance = 1e-5 if EXACT_FLOAT64 else 1e-3
        for mask in self.masks():
            _, slopes, _ = value_and_gradients(layer, inputs, mask)
            for place, (array, slope) in enumerate(zip(arrays, slopes, strict=True)):
                towards = np.random.default_rng(place).normal(size=array.shape)
                ends = []
                for sign in (1, -1):
                    moved = [*arrays]
                    moved[place] = array + sign * step * towards
                    for weight, value in zip(weights, moved[1:], strict=True):
                        weight.assign(value)
                    ends.append(np.sum(direction * self.reference(layer, moved[0], mask)))
                for weight, value in zip(weights, arrays[1:], strict=True):
                    weight.assign(value)
                expected = (ends[0] - ends[1]) / (2 * step)
                approximate = pytest.approx(expected, rel=tolerance, abs=tolerance / 100)
                assert np.sum(slope * towards) == approximate

    @pytest.mark.parametrize("policy", POLICIES)
    def test_finite_in_every_dtype(self, policy):
        tolerances = {"bfloat16": 2e-1, "float16": 3e-2, "float32": 1e-5, "float64": 1e-9}
        layer = self.make(dtype=policy)
        mask, tolerance = self.masks()[-1], tolerances[layer.compute_dtype]
        for scale in (1.0, 100.0):
            outputs, gradients, _ = value_and_gradients(layer, sequences(scale), mask)
            assert np.isfinite(outputs).all()
            assert all(np.isfinite(gradient).all() for gradient in gradients)
            if scale == 1:
                expected = self.reference(layer, sequences(), mask)
                np.testing.assert_allclose(outputs, expected, rtol=tolerance, atol=tolerance)

    @pytest.mark.parametrize("mode", COMPILED_MODES)
    def test_compiled_agrees_with_eager(self, mode):
        layer, mask = self.make(), self.masks()[-1]
        eager, eager_gradients, _ = value_and_gradients(layer, sequences(), mask)
        outputs, gradients, _ = value_and_gradients(layer, sequences(), mask, mode)
        np.testing.assert_allclose(outputs, eager, rtol=1e-5, atol=1e-6)
        for gradient, expected in zip(gradients, eager_gradients, strict=True):
            np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)

    def test_dynamic_batch_and_time(self):
        layer, mode = self.make(), MODES[:2][-1]  # in a graph where there is one
        model = keras.Model(x := keras.Input((None, FEATURES)), layer(x))
        assert model.output.shape[0] is None
        call = compiled(layer, mode, [(None, None, FEATURES)])
        for batch, steps in ((3, 6), (1, 2), (2, 1)):
            inputs = sequences().astype("float32")[:batch, :steps]
            expected = self.reference(layer, inputs, None)
            for outputs in (model(inputs), call(inputs)):
                np.testing.assert_allclose(to_numpy(outputs), expected, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize(
        "mode", [pytest.param(m, marks=[pytest.mark.slow] * (m == "xla")) for m in MODES]
    )
    def test_degenerate_sizes(self, mode):
        layer = self.make()
        for shape in ((0, 3), (2, 0), (0, 0), (1, 1)):
            # TensorFlow's fused convolution of no samples has another shape.
            if (mode, shape[0], self.layer_class.__name__) != ("graph", 0, "TextCNNHead"):
                self.check_degenerate(layer, shape, mode)

    def check_degenerate(self, layer, shape, mode):
        inputs = np.ones((*shape, FEATURES), "float32")
        expected = tuple(layer.compute_output_shape(inputs.shape))
        call = compiled(layer, mode, [(None, None, FEATURES)])
        for outputs in (layer(inputs), call(inputs)):
            assert tuple(outputs.shape) == expected and np.isfinite(to_numpy(outputs)).all()
        if not self.takes_mask:
            return
        mask = np.ones(shape, bool)
        outputs = to_numpy(layer(inputs, mask=mask))
        np.testing.assert_array_equal(outputs, to_numpy(layer(inputs)))
        # A batch without steps is one whose steps are all masked.
        alone = to_numpy(layer(np.ones((shape[0], 2, FEATURES)), mask=np.zeros((shape[0], 2))))
        if shape[1] == 0:
            np.testing.assert_array_equal(outputs, alone)
            np.testing.assert_array_equal(to_numpy(call(inputs)), alone)

    def test_output_spec(self):
        layer = self.make(dtype="mixed_float16")
        outputs = layer(sequences())
        spec = layer.compute_output_spec(keras.KerasTensor((BATCH, STEPS, FEATURES)))
        assert tuple(spec.shape) == tuple(outputs.shape)
        assert spec.dtype == backends.dtype_of(outputs) == "float16"
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
        model.compile(keras.optimizers.Adam(0.1), "mse", run_eagerly=BACKEND == "tensorflow")
        inputs = sequences() * MASK[:, :, None]
        targets = np.ones(model(inputs).shape)
        model.fit(inputs, targets, verbose=0)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
        outputs, expected = to_numpy(loaded(inputs)), to_numpy(model(inputs))
        np.testing.assert_allclose(outputs, expected, rtol=1e-6, atol=1e-7)
        before = [to_numpy(weight) for weight in loaded.trainable_weights]
        for each in (model, loaded):
            keras.utils.set_random_seed(0)
            each.fit(inputs, targets, verbose=0)
        for old, new, other in zip(
            before, loaded.trainable_weights, model.trainable_weights, strict=True
        ):
            assert not np.array_equal(old, to_numpy(new))
            np.testing.assert_allclose(to_numpy(new), to_numpy(other), rtol=1e-5, atol=1e-6)

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
