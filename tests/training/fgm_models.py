"""Models, data and comparisons that the tests of `FGMTrainer` share."""

import keras
import numpy as np
from keras import layers

from keras_mlc.training import FGMTrainer

RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, 7, (12, 4))
LABELS = RNG.integers(0, 2, (12, 2)).astype("float32")


def text_model(*between, dtype=None, embedding=None, activation="sigmoid"):
    """Return the same small classifier at every call, with `between` before its last layer."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,), dtype="int32", name="text")
    embedding = embedding or layers.Embedding(7, 3, name="tokens", dtype=dtype)
    outputs = layers.GlobalAveragePooling1D(dtype=dtype)(embedding(inputs))
    for layer in between:
        outputs = layer(outputs)
    outputs = layers.Dense(2, dtype=dtype, name="scores")(outputs)
    policy = "float64" if dtype == "float64" else "float32"
    return keras.Model(inputs, layers.Activation(activation, dtype=policy)(outputs))


def noisy_model(dtype=None):
    """Return a classifier with state: batch norm statistics and a seed."""
    return text_model(
        layers.BatchNormalization(dtype=dtype),
        layers.Dropout(0.4, seed=2, dtype=dtype),
        dtype=dtype,
    )


class Idle(keras.Model):
    """Has an embedding that it does not use."""

    def __init__(self):
        super().__init__()
        self.idle = layers.Embedding(7, 3, name="idle")
        self.inner = text_model()
        self.idle.build()

    def call(self, inputs):
        return self.inner(inputs)


def trainer_of(model, *, epsilon=1.0, clean_weight=0.0, embedding="tokens"):
    return FGMTrainer(model, embedding, epsilon=epsilon, clean_weight=clean_weight)


def train(model, x=TOKENS, y=LABELS, *, fit=None, **compiled):
    """Compile and fit for three steps, and return the history."""
    compiled = {"optimizer": keras.optimizers.SGD(0.5), "loss": "binary_crossentropy", **compiled}
    model.compile(**compiled)
    fit = {"batch_size": 4, "shuffle": False, "verbose": 0, **(fit or {})}
    return model.fit(x, y, **fit).history


def values(variables):
    return [np.array(keras.ops.convert_to_numpy(v)) for v in variables]


def same(actual, expected, tolerance=0.0):
    """Compare lists of arrays, or dicts of them; bit for bit without a tolerance."""
    if isinstance(expected, dict):
        assert list(actual) == list(expected)
        actual, expected = actual.values(), expected.values()
    for one, other in zip(actual, expected, strict=True):
        if tolerance:
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
        else:
            np.testing.assert_array_equal(one, other, strict=True)


def differ(actual, expected):
    return all(np.any(one != other) for one, other in zip(actual, expected, strict=True))
