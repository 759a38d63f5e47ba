"""The checks that every loss of rows passes: inherit from `LossChecks`, fill in the attributes."""

import inspect
import json
from typing import Any, ClassVar

import keras
import ml_dtypes
import numpy as np
import pytest
from keras import ops

import reference
from backends import (
    BACKEND,
    COMPILED_MODES,
    EXACT_FLOAT64,
    MODES,
    close,
    compiled,
    dtype_of,
    exact_jax,
    gradients,
    needs_xla,
    to_numpy,
)
from keras_mlc._keras_internals import with_mask

SCORES = np.random.default_rng(0).normal(0, 3, (4, 4))
DTYPES = ["float16", "bfloat16", "float32", "float64"]
WEIGHTS = np.array([1.0, 0.0, 2.0, 0.5])
# Off TensorFlow, some functions of Keras compute in float32 what comes in float64.
EXACT = 1e-9 if EXACT_FLOAT64 else 1e-6


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


class LossChecks:
    loss_class: type
    arguments: ClassVar[dict[str, Any]] = {}
    every_argument: ClassVar[dict[str, Any]] = {}  # but for reduction, name and dtype
    labels: ClassVar[list[np.ndarray]]  # four rows of each kind that the loss takes
    hard: ClassVar[list[np.ndarray]]  # the same of labels that are 0 or 1
    outputs = SCORES
    shapes: ClassVar = [(4,), (2, 4), (2, 3, 4), (1, 2, 2, 4), (0, 4)]  # of other outputs
    activation: str | None = None  # of a model's last layer
    is_variant = False  # of another class, which shows what XLA does

    def reference(self, labels, outputs):
        """Return the values of the rows in NumPy."""
        raise NotImplementedError

    def at_extremes(self, labels, scores):
        """Return the values of the rows in NumPy, or None, for scores of any size."""
        return None

    def largest(self, dtype):
        """Return the largest score that must do no harm."""
        return float(ml_dtypes.finfo(dtype).max) ** 0.5

    def some_labels(self, shape):
        return np.random.default_rng(1).integers(0, 2, shape).astype("int32")

    def some_outputs(self, shape):
        scores = np.random.default_rng(2).normal(size=shape).astype("float32")
        return {None: lambda x: x, "sigmoid": sigmoid, "softmax": softmax}[self.activation](scores)

    def make(self, **arguments):
        return self.loss_class(**{"reduction": None, **self.arguments, **arguments})

    def skip_variant_under_xla(self, mode):
        if self.is_variant and mode == "xla" and BACKEND == "tensorflow":
            pytest.skip("its compilation takes long and shows nothing new")

    @pytest.mark.parametrize("mode", MODES)
    @exact_jax()
    def test_values_and_derivatives(self, mode):
        """Compiles once for all kinds of labels: values, gradients, and gradients of those."""
        self.skip_variant_under_xla(mode)
        loss, rows = self.make(dtype="float64"), np.arange(1.0, 5)

        def slope(labels, outputs):
            factors = ops.convert_to_tensor(rows, outputs.dtype)
            return gradients(lambda x: loss.call(labels, x) * factors, [outputs])[0]

        def second(labels, outputs):
            return gradients(lambda x: ops.sum(ops.square(slope(labels, x))), [outputs])[0]

        def compute(outputs, *kinds):
            return [(loss.call(k, outputs), slope(k, outputs), second(k, outputs)) for k in kinds]

        compute, direction = compiled(compute, mode), np.random.default_rng(3).normal(size=(4, 4))
        found = compute(self.outputs, *self.labels)
        ends = [compute(self.outputs + s * direction, *self.labels) for s in (1e-6, -1e-6)]
        for number, (labels, parts) in enumerate(zip(self.labels, found, strict=True)):
            value, gradient, curvature = map(to_numpy, parts)
            close(value, self.reference(labels, self.outputs), EXACT)
            expected = reference.finite_differences(
                lambda x, labels=labels: rows @ self.reference(labels, x), self.outputs, 1e-6
            )
            tolerance = 1e-7 if EXACT_FLOAT64 else 1e-4
            atol = tolerance * np.abs(expected).max()
            np.testing.assert_allclose(gradient, expected, rtol=10 * tolerance, atol=atol)
            squares = [np.sum(to_numpy(end[number][1]) ** 2) for end in ends]
            change = (squares[0] - squares[1]) / 2e-6
            tolerance = 1e-4 if EXACT_FLOAT64 else 0.1
            scale = np.abs(curvature).sum() * 1e-2
            assert np.sum(curvature * direction) == pytest.approx(change, tolerance, scale * 1e-3)

    @pytest.mark.parametrize("mode", sorted({MODES[0], MODES[-1]}))
    @exact_jax()
    def test_extreme_scores(self, mode):
        self.skip_variant_under_xla(mode)
        if self.activation:
            pytest.skip("probabilities are none")
        dtypes = DTYPES if mode == "eager" else ["bfloat16", "float32"]  # what people compile
        scores = [
            ops.convert_to_tensor(
                [[top, -top, 0, 1], [top, -top, top, -top], [-top, 30, -30, 2], [-top, 1e4, 3, top]]
                if self.shapes[0] != (2, 4)  # of pairs both must agree in float16
                else [[1e4, -1e4, 0, 5], [-1e4, 1e4, 1e4, 0], [top**0.5, 1, 2, 3], [0, 30, -30, 2]],
                dtype,
            )
            for dtype, top in zip(dtypes, map(self.largest, dtypes), strict=True)
        ]

        def compute(*scores):
            return [
                [
                    (loss(k, each), gradients(lambda x, k=k: loss(k, x), [each])[0])
                    for each in scores
                ]
                for k in self.hard
            ]

        loss = self.make().call
        for labels, found in zip(self.hard, compiled(compute, mode)(*scores), strict=True):
            for dtype, each, (value, gradient) in zip(dtypes, scores, found, strict=True):
                assert dtype_of(value) == ("float64" if dtype == "float64" else "float32")
                assert dtype_of(gradient) == dtype
                assert np.isfinite(to_numpy(value)).all() and np.isfinite(to_numpy(gradient)).all()
                expected = self.at_extremes(labels, to_numpy(each).astype("float64"))
                if expected is not None:
                    close(value, expected, 1e-5)

    def test_any_rank(self):
        for shape in self.shapes:
            labels, outputs = self.some_labels(shape), self.some_outputs(shape)
            rows = self.make().call(labels, outputs)
            assert tuple(rows.shape) == shape[:-1]
            close(rows, self.reference(labels, outputs.astype("float64")), 1e-4)

    @pytest.mark.parametrize("mode", COMPILED_MODES)
    def test_dynamic_shapes(self, mode):
        self.skip_variant_under_xla(mode)
        unknown = (None, None, None)
        function = compiled(self.make().call, mode, [(unknown, "int32"), unknown])
        for shape in ((2, 3, 4), (4, 1, 4)):
            labels, outputs = self.some_labels(shape), self.some_outputs(shape)
            close(function(labels, outputs), self.reference(labels, outputs), 1e-4)

    def test_reductions_weights_and_masks(self):
        labels = self.labels[0]
        rows = self.reference(labels, self.outputs)
        for weights in (None, WEIGHTS, WEIGHTS[:, None], WEIGHTS.tolist(), 0.5):
            factors = np.ravel(np.ones(1) if weights is None else weights)
            for reduction, expected in (
                (None, rows * factors),
                ("sum", np.sum(rows * factors)),
                ("sum_over_batch_size", np.mean(rows * factors)),
                ("mean_with_sample_weight", np.sum(rows * factors) / np.sum(factors * np.ones(4))),
            ):
                close(self.make(reduction=reduction)(labels, self.outputs, weights), expected, 1e-4)
        twice = np.stack([labels, labels], axis=1)
        outputs = np.stack([self.outputs, self.some_outputs((4, 4))], axis=1)
        mask = ops.convert_to_tensor([[True, False]] * 4)
        masked = with_mask(ops.convert_to_tensor(outputs), mask)
        loss = self.make(reduction="sum_over_batch_size")
        close(loss(twice, masked), rows.mean(), 1e-4)
        close(loss(twice, masked, WEIGHTS), np.mean(rows * WEIGHTS), 1e-4)

    def test_config_holds_every_argument(self):
        shared = {"reduction": "sum", "name": "named", "dtype": "float16"}
        signature = set(inspect.signature(self.loss_class.__init__).parameters)
        assert signature - {"self", *shared} == set(self.every_argument)
        loss, default = self.loss_class(**self.every_argument, **shared), self.loss_class()
        again = keras.losses.deserialize(json.loads(json.dumps(keras.losses.serialize(loss))))
        assert type(again) is self.loss_class and again.get_config() == loss.get_config()
        for name in (*self.every_argument, *shared):
            assert loss.get_config()[name] != default.get_config()[name], name

    def test_half_precision_is_computed_and_returned_in_float32(self):
        for dtype in ("float16", "mixed_bfloat16"):
            value = self.make(dtype=dtype)(self.labels[0], self.outputs)
            assert dtype_of(value) == "float32"
            close(value, self.reference(self.labels[0], self.outputs), 1e-4)

    def model(self, policy="float32", **options):
        keras.utils.set_random_seed(0)
        last = keras.layers.Activation(self.activation, dtype="float32")
        layers = [keras.Input((3,)), keras.layers.Dense(4, dtype=policy), last]
        model = keras.Sequential(layers)
        loss = self.make(reduction="sum_over_batch_size")
        model.compile(keras.optimizers.SGD(0.02), loss, **options)
        return model

    def fit(self, model, epochs=1):
        x = np.random.default_rng(4).normal(size=(2, 3)).repeat(2, axis=0)
        return model.fit(x, self.labels[0], epochs=epochs, shuffle=False, verbose=0).history["loss"]

    def test_trains_saves_and_trains_on(self, tmp_path):
        model = self.model("mixed_float16", run_eagerly=BACKEND == "tensorflow")
        losses = self.fit(model, 4)
        assert losses[-1] < losses[0]
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
        assert again.loss.get_config() == model.loss.get_config()
        close(self.fit(again, 2), self.fit(model, 2), 1e-3)

    @needs_xla
    @pytest.mark.slow
    def test_trains_with_xla(self):
        losses = self.fit(self.model(jit_compile=True), 3)
        assert losses[-1] < losses[0]
