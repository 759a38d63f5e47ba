"""Pieces on top of each other, against the same steps put together by hand."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from backends import BACKEND, gradients, tensorflow_only, to_numpy
from keras_mlc.data import repeat_pairs
from keras_mlc.layers import AttentionPooling
from keras_mlc.losses import (
    GradientPenaltyLoss,
    MultilabelCategoricalCrossentropy,
    RDropLoss,
    SparseMultilabelCategoricalCrossentropy,
    multilabel_categorical_crossentropy,
)
from keras_mlc.training import FGMTrainer, GradientPenaltyTrainer
from training.fgm_models import LABELS, TOKENS, differ, same, values

PAIRS, PAIR_LABELS = repeat_pairs((TOKENS[:4], LABELS[:4]))
INDICES = np.where(PAIR_LABELS > 0, np.arange(2), -1)
RATE = 0.5
LOSSES = {
    "multi-label": (MultilabelCategoricalCrossentropy(), PAIR_LABELS),
    "sparse": (SparseMultilabelCategoricalCrossentropy(), INDICES),
    "R-Drop": (RDropLoss("binary_crossentropy", from_logits=True), PAIR_LABELS),
    "R-Drop of multi-label": (
        RDropLoss(multilabel_categorical_crossentropy, from_logits=True),
        PAIR_LABELS,
    ),
}


def build(*between, dropout=0.3):
    """Return a model in which every weight is trained, with dropout that repeats its draws.

    `between` makes layers, here, since a layer draws the seed of its weights when it is made.
    """
    keras.utils.set_random_seed(1)
    tokens = keras.Input((4,), dtype="int32")
    outputs = AttentionPooling()(layers.Embedding(7, 3, name="tokens")(tokens))
    for layer in [layers.Dropout(dropout, seed=3), *(make() for make in between)]:
        outputs = layer(outputs)
    return keras.Model(tokens, layers.Dense(2)(outputs))


def objective_of(model, loss, labels, draws):
    """Return the loss as a function of the weights' values, with the same draws every time."""

    def objective(*weights):
        state = [*zip(model.trainable_variables, weights, strict=True), *draws]
        with keras.StatelessScope(state, collect_losses=True) as scope:
            outputs = model(PAIRS, training=True)
        return loss(labels, outputs) + sum(scope.losses, 0.0)

    return objective


def draws_of(model):
    return [(v, ops.copy(v.value)) for v in model.non_trainable_variables]


def step_by_hand(model, loss, labels, epsilon=0.0, clean_weight=1.0, penalty=0.0):
    """Return the weights after a step of FGM, or of a penalized loss, of gradients alone."""
    objective = objective_of(model, loss, labels, draws_of(model))
    weights = [ops.copy(v.value) for v in model.trainable_variables]
    if penalty:
        found = gradients(penalized(objective, penalty), weights)
        return [to_numpy(w) - RATE * to_numpy(g) for w, g in zip(weights, found, strict=True)]
    return fgm_by_hand(objective, weights, epsilon, clean_weight)


def fgm_by_hand(objective, weights, epsilon, clean_weight):
    """Return the weights after a step of FGM on an objective."""
    clean = [to_numpy(g) for g in gradients(objective, weights)]
    delta = epsilon * clean[0] / np.sqrt(np.sum(clean[0] ** 2))
    moved = [weights[0] + ops.convert_to_tensor(delta.astype("float32")), *weights[1:]]
    found = [to_numpy(g) for g in gradients(objective, moved)]
    return [
        to_numpy(w) - RATE * (a + clean_weight * c)
        for w, a, c in zip(weights, found, clean, strict=True)
    ]


def penalized(objective, epsilon):
    """Return the objective with the gradient penalty."""

    def whole(*weights):
        slope = gradients(lambda e: objective(e, *weights[1:]), [weights[0]])[0]
        return objective(*weights) + 0.5 * epsilon * ops.sum(ops.square(slope))

    return whole


def fitted(trainer, loss, labels, **options):
    trainer.compile(keras.optimizers.SGD(RATE), loss, **options)
    trainer.fit(PAIRS, labels, batch_size=8, shuffle=False, verbose=0)
    return values(trainer.trainable_variables)


@pytest.mark.parametrize(
    ("name", "clean_weight"), list(zip(LOSSES, [0.0, 1.0, 0.5, 0.0], strict=True)), ids=str
)
def test_fgm_with_every_loss(name, clean_weight):
    loss, labels = LOSSES[name]
    expected = step_by_hand(build(), loss, labels, 0.7, clean_weight)
    trainer = FGMTrainer(build(), "tokens", epsilon=0.7, clean_weight=clean_weight)
    same(fitted(trainer, loss, labels), expected, 1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_the_penalty_with_every_loss(name):
    loss, labels = LOSSES[name]
    expected = step_by_hand(build(), loss, labels, penalty=2.0)
    trainer = GradientPenaltyTrainer(build(), "tokens", epsilon=2.0)
    same(fitted(trainer, loss, labels, run_eagerly=True), expected, 1e-5)
    if BACKEND == "jax":  # There the loss does not exist.
        return
    model = build()
    around = GradientPenaltyLoss(loss, model.get_layer("tokens"), epsilon=2.0)
    same(fitted(model, around, labels), expected, 1e-5)


@pytest.mark.skipif(BACKEND == "jax", reason="on JAX there is no such loss")
def test_fgm_of_a_penalized_loss():
    """Both derive the loss by the embedding, FGM that of the penalized loss."""
    loss, labels = LOSSES["multi-label"]
    naive = build()
    objective = penalized(objective_of(naive, loss, labels, draws_of(naive)), 2.0)
    weights = [ops.copy(v.value) for v in naive.trainable_variables]
    expected = fgm_by_hand(objective, weights, 0.7, 0.0)
    model = build()
    trainer = FGMTrainer(model, "tokens", epsilon=0.7)
    around = GradientPenaltyLoss(loss, model.get_layer("tokens"), epsilon=2.0)
    same(fitted(trainer, around, labels), expected, 1e-4)


class Penalized(layers.Layer):
    def call(self, inputs):
        self.add_loss(0.3 * ops.mean(ops.square(inputs)))
        return inputs


BETWEEN = {
    "batch norm": lambda: layers.BatchNormalization(),
    "added loss": Penalized,
    "activity": lambda: layers.Dense(3, activity_regularizer="l2"),
}


@pytest.mark.parametrize("kind", BETWEEN)
def test_what_stands_between(kind):
    loss, labels = LOSSES["R-Drop"]
    expected = step_by_hand(build(BETWEEN[kind]), loss, labels, 0.7, 0.5)
    trainer = FGMTrainer(build(BETWEEN[kind]), "tokens", epsilon=0.7, clean_weight=0.5)
    same(fitted(trainer, loss, labels), expected, 1e-5)


def test_regularizers_of_other_weights_count():
    loss, labels = LOSSES["R-Drop"]
    plain, model = (build(lambda: layers.Dense(3, kernel_regularizer="l2")) for _ in range(2))
    found = fitted(FGMTrainer(model, "tokens", epsilon=0), loss, labels, run_eagerly=True)
    same(found, fitted(plain, loss, labels, run_eagerly=True))


def test_a_frozen_encoder_under_a_trainable_embedding():
    loss, labels = LOSSES["R-Drop"]
    after = []
    for freeze in (False, True):
        model = build()
        model.get_layer(index=2).trainable = not freeze
        after.append(fitted(FGMTrainer(model, "tokens"), loss, labels, run_eagerly=True))
    assert len(after[1]) == len(after[0]) - 3
    assert differ(after[1][:1], [build().get_layer("tokens").get_weights()[0]])


@tensorflow_only
@pytest.mark.slow
def test_xla_composes_too():
    loss, labels = LOSSES["R-Drop of multi-label"]
    # XLA draws other numbers.
    expected = step_by_hand(build(dropout=0.0), loss, labels, 0.7, 0.5)
    trainer = FGMTrainer(build(dropout=0.0), "tokens", epsilon=0.7, clean_weight=0.5)
    same(fitted(trainer, loss, labels, jit_compile=True), expected, 1e-5)
