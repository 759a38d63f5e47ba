import keras
import numpy as np
import pytest

import reference
from backends import BACKEND
from keras_mlc.losses import GradientPenaltyLoss
from keras_mlc.training import GradientPenaltyTrainer
from training.fgm_models import (
    LABELS,
    TOKENS,
    Idle,
    noisy_model,
    same,
    text_model,
    train,
    values,
)
from training.test_fgm import EAGER, GRAPH, SAMPLE_WEIGHTS, XLA, Problem, float64  # noqa: F401


def penalized(objective, epsilon):
    def whole(*weights):
        slope = reference.finite_differences(
            lambda delta: objective(*weights, delta=delta), np.zeros(weights[0].shape)
        )
        return objective(*weights) + epsilon / 2 * np.sum(slope**2)

    return whole


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("kind", "mode"),
    [*((kind, EAGER) for kind in ("plain", "tied", "lora")), ("tied", GRAPH), ("penalized", XLA)],
    ids=["plain", "tied", "lora", "graph", "xla"],
)
def test_a_step_agrees_with_finite_differences(kind, mode):
    problem = Problem(np.array([[0, 1, 1], [4, 1, 0], [2, 2, 2]]), kind)
    before = [weight.astype("float64") for weight in values(problem.variables)]
    trainer = GradientPenaltyTrainer(problem.model, "tokens", epsilon=3.0)
    trainer.compile(keras.optimizers.SGD(0.25), "mse", **mode)
    data = problem.tokens, problem.labels, SAMPLE_WEIGHTS
    reported = float(trainer.train_on_batch(*data))
    whole = penalized(problem.objective, 3.0)
    assert reported == pytest.approx(whole(*before), rel=1e-6)
    assert reported > 1.01 * problem.objective(*before)
    found = reference.all_finite_differences(whole, before)
    expected = [weight - 0.25 * g for weight, g in zip(before, found, strict=True)]
    if kind == "lora":
        expected[0] = before[0]
    same(values(problem.variables), expected, 2e-6)


@pytest.mark.skipif(BACKEND == "jax", reason="on JAX there is no such loss")
def test_it_trains_as_the_loss_does():
    plain, model = noisy_model(), noisy_model()
    expected = train(plain, loss=GradientPenaltyLoss("mse", plain.get_layer("tokens")))
    trainer = GradientPenaltyTrainer(model, "tokens")
    history = train(trainer, loss="mse")
    same(history, expected, 1e-5)
    same(values(model.variables), values(plain.variables), 1e-5)


def test_without_a_penalty_training_is_plain():
    plain, model = noisy_model(), noisy_model()
    expected = train(plain, metrics=["binary_accuracy"], **EAGER)
    trainer = GradientPenaltyTrainer(model, "tokens", epsilon=0)
    same(train(trainer, metrics=["binary_accuracy"], **EAGER), expected, 1e-6)
    same(values(model.variables), values(plain.variables), 1e-6)


def test_half_precision_trains_like_float32():
    after = []
    for dtype in ("float32", "mixed_float16", "mixed_bfloat16"):
        model = text_model(dtype=dtype)
        trainer = GradientPenaltyTrainer(model, "tokens", epsilon=10.0)
        train(trainer, loss="mse", **EAGER)
        after.append(values(model.variables))
    same(after[1], after[0], 5e-3)
    same(after[2], after[0], 5e-2)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"`epsilon` must be a finite number.*-1"):
        GradientPenaltyTrainer(text_model(), "tokens", epsilon=-1)
    with pytest.raises(ValueError, match="names no layer"):
        GradientPenaltyTrainer(text_model(), "words")

    class Own(keras.Model):
        def train_step(self, data):
            return {}

    with pytest.raises(ValueError, match="`GradientPenaltyTrainer` replaces `train_step`"):
        GradientPenaltyTrainer(Own(), "tokens")


def test_an_embedding_that_takes_no_part_raises_before_the_update():
    model = Idle()
    trainer = GradientPenaltyTrainer(model, "idle")
    trainer.compile("sgd", "mse", **EAGER)
    before = values(model.variables)
    with pytest.raises(ValueError, match="'idle/embeddings' takes no part in the loss"):
        trainer.fit(TOKENS, LABELS, verbose=0)
    same(values(model.variables), before)


@pytest.mark.skipif(BACKEND != "jax", reason="elsewhere there is the loss")
def test_on_jax_the_loss_names_the_trainer():
    with pytest.raises(NotImplementedError, match=r"GradientPenaltyTrainer\(model, embedding\)"):
        GradientPenaltyLoss("mse", "tokens")


def test_attention_is_derived_twice():
    tokens = keras.Input((4,), dtype="int32")
    vectors = keras.layers.Embedding(7, 4, name="tokens")(tokens)
    outputs = keras.layers.MultiHeadAttention(2, 2)(vectors, vectors)
    outputs = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling1D()(outputs))
    trainer = GradientPenaltyTrainer(keras.Model(tokens, outputs), "tokens")
    before = values(trainer.trainable_variables)
    history = train(trainer, loss="mse")
    assert np.isfinite(history["loss"]).all()
    assert any(
        np.any(a != b) for a, b in zip(values(trainer.trainable_variables), before, strict=True)
    )
