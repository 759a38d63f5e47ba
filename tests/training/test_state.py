"""What a plain Keras step updates is updated once, and in the same way, in a trainer's step."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_mlc.training import (
    FGMTrainer,
    FreeLBTrainer,
    GradientPenaltyTrainer,
    PGDTrainer,
    VATTrainer,
)

BACKEND = keras.backend.backend()
TOKENS = np.random.default_rng(0).integers(0, 20, (4, 5))
LABELS = np.random.default_rng(1).integers(0, 2, (4, 3)).astype("float32")
TRAINERS = {
    "FGM": lambda model: FGMTrainer(model, "tokens", epsilon=0.0),
    "FGM, clean_weight": lambda model: FGMTrainer(model, "tokens", epsilon=0.0, clean_weight=1.0),
    "PGD": lambda model: PGDTrainer(model, "tokens", epsilon=0.0, steps=2),
    "FreeLB": lambda model: FreeLBTrainer(model, "tokens", epsilon=0.0, steps=2),
    "VAT": lambda model: VATTrainer(model, "tokens", epsilon=0.0),
    "penalty": lambda model: GradientPenaltyTrainer(model, "tokens", epsilon=0.0),
}


class Counter(layers.Layer):
    """Assigns a weight, a variable that no layer lists, a metric, and what is not Keras's."""

    def __init__(self):
        super().__init__()
        self.calls = self.add_weight(shape=(), trainable=False, initializer="zeros")
        unlisted, self.mean = keras.Variable(1.0, trainable=False), keras.metrics.Mean()
        self.unlisted = lambda: unlisted
        if BACKEND == "tensorflow":
            import tensorflow as tf

            self.foreign = tf.Variable(0.0, trainable=False)

    def call(self, inputs):
        mean = ops.cast(ops.mean(inputs), "float32")
        self.calls.assign_add(1.0)
        self.unlisted().assign(self.unlisted() * 2.0 + mean)
        self.mean.update_state(mean)
        if BACKEND == "tensorflow":
            self.foreign.assign(self.foreign * 2.0 + 1.0)
        return inputs


def model_with_states(quantize=True):
    """Return a model with all kinds of states, and a function that reads them."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    tokens = keras.Input(batch_shape=TOKENS.shape, dtype="int32")
    # Keras's own step on torch cannot differentiate a stateful layer.
    recurrent = layers.LSTM(6, stateful=BACKEND != "torch")
    counter, quantized = Counter(), layers.Dense(8)
    x = quantized(recurrent(layers.Embedding(20, 8, name="tokens")(tokens)))
    if BACKEND == "torch":
        import torch

        x = layers.TorchModuleWrapper(torch.nn.BatchNorm1d(8), output_shape=(4, 8))(x)
    x = layers.Dropout(0.3)(layers.BatchNormalization()(x))
    model = keras.Model(tokens, layers.Dense(3)(counter(x)))
    if quantize:
        quantized.quantize("float8")

    def states():
        found = [*model.variables, *(recurrent.states or []), counter.unlisted()]
        found += list(model.buffers()) if BACKEND == "torch" else []
        found += [counter.foreign] if BACKEND == "tensorflow" else []
        return [np.array(ops.convert_to_numpy(each)) for each in found]

    return model, states


def states_after(make, learning_rate=0.1, quantize=True):
    model, states = model_with_states(quantize)
    trainer = make(model)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    trainer.compile(keras.optimizers.SGD(learning_rate), loss, jit_compile=BACKEND == "jax")
    for _ in range(3):
        trainer.train_on_batch(TOKENS, LABELS)
    return states()


@pytest.fixture(scope="module")
def expected():
    return states_after(lambda model: model)


@pytest.mark.parametrize("name", TRAINERS)
def test_a_step_without_a_perturbation_is_a_plain_step(name, expected):
    # With a clean weight of 1 the gradient counts twice.
    learning_rate = 0.05 if name == "FGM, clean_weight" else 0.1
    quantize = name != "penalty" or BACKEND != "jax"
    expected = expected if quantize else states_after(lambda model: model, quantize=False)
    found = states_after(TRAINERS[name], learning_rate, quantize)
    for value, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-4, atol=1e-5)


def test_states_have_moved(expected):
    _, states = model_with_states()
    moved = [not np.array_equal(*pair) for pair in zip(expected, states(), strict=True)]
    # JAX keeps no variable that is not listed, also in Keras's own step: here, three.
    assert sum(moved) >= len(moved) - (4 if BACKEND == "jax" else 2), moved


@pytest.mark.skipif(BACKEND != "jax", reason="the other backends have this derivative")
def test_a_penalty_on_float8_is_refused_on_jax():
    trainer = GradientPenaltyTrainer(model_with_states()[0], "tokens")
    trainer.compile("sgd", "mse")
    with pytest.raises(ValueError, match="float8"):
        trainer.train_on_batch(TOKENS, LABELS)


def test_scales_of_float8_stay_what_they_are():
    states = states_after(lambda model: FGMTrainer(model, "tokens", clean_weight=1.0))
    assert max(np.abs(state).max() for state in states if state.dtype.kind == "f") < 100
