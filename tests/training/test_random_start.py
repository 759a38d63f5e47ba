"""What virtual adversarial training compares, and where random perturbations fall."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

from backends import BACKEND, MODES, to_numpy
from keras_mlc._labels import concrete_value
from keras_mlc.training import FreeLBTrainer, VATTrainer

TOKENS = np.random.default_rng(0).integers(1, 20, (4, 5))
LABELS = np.random.default_rng(1).integers(0, 2, (4, 3)).astype("float32")


def outputs_model(*activations):
    """Return a model with an output for each activation, whose scores are far from 0."""
    keras.utils.set_random_seed(0)
    tokens = keras.Input((5,), dtype="int32")
    text = layers.GlobalAveragePooling1D()(layers.Embedding(20, 4, name="tokens")(tokens))
    wide = keras.initializers.RandomNormal(stddev=50.0, seed=0)
    outputs = [
        layers.Dense(3, activation=each, kernel_initializer=wide, name=f"output_{number}")(text)
        for number, each in enumerate(activations)
    ]
    return keras.Model(tokens, outputs if len(outputs) > 1 else outputs[0])


def compiled(model, mode=MODES[-1], loss="mse", **arguments):
    trainer = VATTrainer(model, "tokens", seed=0, **arguments)
    trainer.compile(
        keras.optimizers.SGD(0.1), loss, run_eagerly=mode == "eager", jit_compile=mode == "xla"
    )
    return trainer


@pytest.mark.parametrize("mode", MODES)
def test_scores_taken_for_probabilities_are_refused_or_nan(mode):
    model = outputs_model(None)
    trainer = compiled(model, mode, from_logits=False)
    if mode == "xla":
        assert np.isnan(trainer.train_on_batch(TOKENS, LABELS))
        assert all(np.isfinite(to_numpy(v)).all() for v in model.variables)
    else:
        with pytest.raises(Exception, match="must hold probabilities"):
            trainer.train_on_batch(TOKENS, LABELS)


@pytest.mark.skipif(BACKEND == "jax", reason="JAX does not tell what made a tensor")
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_probabilities_taken_for_scores_are_warned_of_once(activation):
    trainer = compiled(outputs_model(activation), "graph" if "graph" in MODES else "eager")
    with pytest.warns(UserWarning, match="`VATTrainer` takes unactivated scores"):
        trainer.train_on_batch(TOKENS, LABELS)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        trainer.train_on_batch(TOKENS, LABELS)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_an_output_without_a_loss_is_not_compared():
    expected = compiled(outputs_model(None)).train_on_batch(TOKENS, LABELS)
    for loss in (["mse", None], {"output_0": "mse", "output_1": None}):
        found = compiled(outputs_model(None, "tanh"), loss=loss).train_on_batch(
            TOKENS, [LABELS, LABELS]
        )
        np.testing.assert_allclose(np.ravel(found)[0], expected, rtol=1e-5)


class Spy(keras.Model):
    """Averages the tokens that are not 0, which no Keras mask tells, and keeps its vectors."""

    def __init__(self):
        super().__init__()
        keras.utils.set_random_seed(0)
        self.tokens = layers.Embedding(20, 4, name="tokens")
        self.scores = layers.Dense(3)
        self.seen = []

    def call(self, inputs):
        vectors = self.tokens(inputs)
        if (found := concrete_value(ops.stop_gradient(vectors))) is not None:
            self.seen.append(np.array(found))
        weights = ops.cast(ops.expand_dims(ops.not_equal(inputs, 0), -1), vectors.dtype)
        return self.scores(ops.sum(vectors * weights, 1) / ops.sum(weights, 1))


@pytest.mark.skipif(BACKEND == "jax", reason="the passes of JAX have no values to look at")
@pytest.mark.parametrize("norm", ["sample", "batch"])
@pytest.mark.parametrize("trainer_class", [FreeLBTrainer, VATTrainer])
def test_no_perturbation_falls_on_padding_without_a_mask(trainer_class, norm):
    lengths = []
    for padded in (5, 20):
        tokens = np.zeros((4, padded), "int32")
        tokens[:, :5] = TOKENS
        model = Spy()
        model(tokens)
        arguments = {"initial_norm": 0.1} if trainer_class is FreeLBTrainer else {}
        trainer = trainer_class(model, "tokens", seed=0, norm=norm, **arguments)
        trainer.compile("sgd", "mse", run_eagerly=True)
        del model.seen[:]
        trainer.train_on_batch(tokens, LABELS, sample_weight=np.array([1.0, 1.0, 1.0, 1.0]))
        clean, *moved = model.seen[-3:] if trainer_class is VATTrainer else model.seen[-4:]
        noise = [each - clean for each in moved]
        assert all(np.abs(each[:, 5:]).max(initial=0) == 0 for each in noise)
        assert all(np.abs(each[:, :5]).max() > 0 for each in noise)
        axes = (1, 2) if norm == "sample" else None
        lengths.append(np.sqrt(np.sum(noise[0][:, :5] ** 2, axis=axes)))
    np.testing.assert_allclose(lengths[0], 0.1, rtol=1e-4 if norm == "sample" else 1)
    if norm == "sample":
        np.testing.assert_allclose(*lengths, rtol=1e-4)


def test_texts_without_labels_are_still_moved():
    """Their loss has no gradient anywhere: all of their steps take part."""
    losses = []
    for epsilon in (0.0, 1.0):
        trainer = VATTrainer(outputs_model(None), "tokens", epsilon=epsilon, seed=0)
        trainer.compile("sgd", "mse", jit_compile=BACKEND == "jax")
        losses.append(trainer.train_on_batch(TOKENS, LABELS, sample_weight=np.zeros(4)))
    assert losses[0] == 0 and losses[1] > 1e-3
