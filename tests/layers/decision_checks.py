"""What both layers that turn scores into decisions are checked for."""

import json

import keras
import ml_dtypes  # noqa: F401, so that NumPy knows bfloat16
import numpy as np
import pytest
from keras import ops

from backends import (
    BACKEND,
    MODES,
    compiled,
    dtype_of,
    to_numpy,
)

LABELS = 4


def rows(number=60, seed=0, num_labels=LABELS):
    """Return scores with ties, and labels that they tell something about."""
    rng = np.random.default_rng(seed)
    scores = np.round(rng.normal(size=(number, num_labels)), 1).astype("float32")
    return scores, (scores + rng.normal(size=scores.shape) > 0.7).astype("int32")


def around(layer, num_labels=LABELS):
    scores = keras.Input((num_labels,), name="scores")
    return keras.Model(scores, layer(scores))


class DecisionChecks:
    layer_class: type

    def adapted(self, **arguments):
        layer = self.layer_class(**arguments)
        layer.adapt(*rows())
        return layer

    def state(self, layer):
        return [to_numpy(weight) for weight in layer.weights]

    def same_state(self, layer, other):
        for one, two in zip(self.state(layer), self.state(other), strict=True):
            np.testing.assert_array_equal(one, two)

    @pytest.mark.parametrize("mode", MODES)
    def test_in_every_mode(self, mode):
        layer = self.adapted()
        scores, _ = rows()
        outputs = compiled(layer, mode, [(None, LABELS)])(scores)
        np.testing.assert_allclose(to_numpy(outputs), to_numpy(layer(scores)), rtol=1e-6)

    def test_no_weight_trains(self):
        layer = self.adapted()
        assert not layer.trainable_weights and layer.non_trainable_weights
        model = around(layer)
        model.compile("sgd", "mse", run_eagerly=BACKEND == "tensorflow")
        before = self.state(layer)
        model.fit(*rows(), verbose=0)
        for old, new in zip(before, self.state(layer), strict=True):
            np.testing.assert_array_equal(old, new)

    def test_survives_a_file(self, tmp_path):
        scores, _ = rows()
        model = around(self.adapted())
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
        np.testing.assert_array_equal(to_numpy(loaded(scores)), to_numpy(model(scores)))
        self.same_state(loaded.layers[-1], model.layers[-1])

    def test_weights_survive_a_file(self, tmp_path):
        model, other = around(self.adapted()), around(self.layer_class())
        model.save_weights(tmp_path / "some.weights.h5")
        other.load_weights(tmp_path / "some.weights.h5")
        self.same_state(other.layers[-1], model.layers[-1])

    def test_leading_axes_and_a_mask(self):
        layer = self.adapted()
        scores, labels = rows()
        expected = to_numpy(layer(scores)).reshape(4, 15, LABELS)
        stacked = scores.reshape(4, 15, LABELS)
        np.testing.assert_array_equal(to_numpy(layer(stacked)), expected)
        again = self.layer_class()
        again.adapt(stacked, labels.reshape(4, 15, LABELS), np.ones((4, 15)))
        self.same_state(again, layer)
        x = keras.Input((None, LABELS))
        masked = layer(keras.layers.Masking()(x))
        assert getattr(masked, "_keras_mask", None) is not None
        assert tuple(masked.shape) == (None, None, LABELS)

    def test_degenerate_sizes(self):
        for shape in ((0, 3), (2, 1), (0, 1), (1, 1)):
            layer = self.layer_class()
            assert tuple(layer(np.zeros(shape, "float32")).shape) == shape
            assert tuple(layer(np.zeros((2, 0, shape[1]), "float32")).shape)[1] == 0

    def test_one_label_and_two_rows(self):
        layer = self.layer_class()
        layer.adapt(np.array([[1.0], [0.0]]), np.array([[1], [0]]))
        first, second = to_numpy(layer(np.array([[1.0], [0.0]], "float32"))).ravel()
        assert first > second

    def test_policies(self):
        scores, _ = rows()
        for policy in ("float16", "mixed_float16", "mixed_bfloat16", "float32"):
            layer = self.adapted(dtype=policy)
            assert all(dtype_of(weight) == "float32" for weight in layer.weights)
            self.same_state(layer, self.adapted())
            for dtype in ("float16", "bfloat16", "float32"):
                outputs = layer(ops.cast(scores, dtype))
                assert dtype_of(outputs) == layer.compute_dtype
            spec = layer.compute_output_spec(keras.KerasTensor((None, LABELS), "float32"))
            assert spec.dtype == layer.compute_dtype and tuple(spec.shape) == (None, LABELS)

    def test_adapts_again_after_it_was_used(self):
        scores, labels = rows()
        model = around(self.layer_class())
        before = model.predict(scores, verbose=0)
        model.layers[-1].adapt(scores, labels)
        after = model.predict(scores, verbose=0)
        assert (before != after).any()
        np.testing.assert_allclose(after, to_numpy(self.adapted()(scores)), rtol=1e-6)

    @pytest.fixture(params=["tensorflow", "torch", "jax.numpy"])
    def package(self, request):
        return pytest.importorskip(request.param)

    def test_tensors_of_any_backend(self, package):
        scores, labels = rows()
        as_tensor = getattr(package, "convert_to_tensor", None) or package.asarray
        for dtype in ("float32", "bfloat16"):
            layer, expected = self.layer_class(), self.layer_class()
            layer.adapt(as_tensor(scores, dtype=getattr(package, dtype)), as_tensor(labels))
            expected.adapt(scores.astype(dtype).astype("float32"), labels)
            self.same_state(layer, expected)

    def test_sparse_labels(self):
        sparse = pytest.importorskip("scipy.sparse")
        scores, labels = rows()
        layer = self.layer_class()
        layer.adapt(scores, sparse.csr_matrix(labels))
        self.same_state(layer, self.adapted())

    def test_a_weight_is_a_number_of_rows(self):
        scores, labels = rows()
        weights = np.random.default_rng(1).integers(0, 4, len(scores))
        weighted, repeated = self.layer_class(), self.layer_class()
        weighted.adapt(scores, labels, weights)
        repeated.adapt(np.repeat(scores, weights, axis=0), np.repeat(labels, weights, axis=0))
        for one, two in zip(self.state(weighted), self.state(repeated), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)

    def test_missing_labels_do_not_count(self):
        scores, labels = rows(400)
        labels[::3, 1] = -1
        labels[1::4] = -1
        layer = self.layer_class()
        layer.adapt(scores, labels, missing_label=-1)
        other = scores.copy()
        other[labels == -1] = 50.0
        again = self.layer_class()
        again.adapt(other, labels, missing_label=-1)
        self.same_state(layer, again)
        plain = self.layer_class()
        plain.adapt(scores, np.maximum(labels, 0))
        states = zip(self.state(plain), self.state(layer), strict=True)
        assert any((one != two).any() for one, two in states)

    def test_config_holds_every_argument(self):
        layer = self.layer_class(**self.every_argument, name="mine", dtype="float16")
        config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
        again = keras.saving.deserialize_keras_object(config)
        assert type(again) is self.layer_class and again.get_config() == layer.get_config()
        for name, value in self.every_argument.items():
            assert again.get_config()[name] == value != self.layer_class().get_config()[name]

    def test_refuses_scores_that_are_not_finite(self):
        scores, labels = rows()
        for value in (np.nan, np.inf, -np.inf):
            scores[7, 2] = value
            with pytest.raises(ValueError, match=rf"`scores` must be finite.*{value} in row 7, la"):
                self.layer_class().adapt(scores, labels)

    def test_refuses_what_does_not_fit(self):
        scores, labels = rows()
        with pytest.raises(ValueError, match="`scores` and `y_true` must have the same shape"):
            self.layer_class().adapt(scores, labels[:, :1])
        with pytest.raises(ValueError, match="at least one row"):
            self.layer_class().adapt(scores[:0], labels[:0])
        with pytest.raises(ValueError, match=r"`scores` must hold.*swapped"):
            self.layer_class().adapt(labels, scores)
        with pytest.raises(ValueError, match=r"`y_true` must lie between 0 and 1.*`missing_label`"):
            self.layer_class().adapt(scores, labels - 1)
        with pytest.raises(ValueError, match="`y_true` must lie between 0 and 1"):
            self.layer_class().adapt(scores, labels * 2, missing_label=-1)
        with pytest.raises(ValueError, match=r"`missing_label` must lie outside \[0, 1\]"):
            self.layer_class().adapt(scores, labels, missing_label=0)
        with pytest.raises(ValueError, match="`y_true` must have"):
            self.layer_class().adapt(scores, labels * 0)
        with pytest.raises(TypeError, match=r"`scores` must be an array.*model.predict"):
            self.layer_class().adapt(zip(scores, labels, strict=True), labels)
        for weights in (np.ones(3), np.ones((60, 4)), -np.ones(60), np.full(60, np.nan)):
            with pytest.raises(ValueError, match="`sample_weight` must h"):
                self.layer_class().adapt(scores, labels, weights)
        with pytest.raises(ValueError, match="`sample_weight` must not be 0"):
            self.layer_class().adapt(scores, labels, np.zeros(60))
        with pytest.raises(ValueError, match="`scores` must have the 4 labels of the layer"):
            self.adapted().adapt(*rows(num_labels=3))

    def test_refuses_other_inputs(self):
        layer = self.adapted()
        with pytest.raises(ValueError, match="expected axis -1"):
            layer(np.ones((2, 3), "float32"))
        with pytest.raises(ValueError, match="`scores` must be floating point"):
            layer(np.ones((2, LABELS), "int32"))
        with pytest.raises(ValueError, match=r"`scores` must have shape \(\.\.\., num_labels\)"):
            self.layer_class().build((3,))
