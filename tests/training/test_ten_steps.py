"""Ten steps of every trainer with all that a step may contain, against steps written by hand.

The model looks tokens up in two embeddings, one of them with a mask, and has dropout and batch
normalization; the optimizer is AdamW with clipping. By hand means one function of weights and of
what is added to the vectors, which the backend differentiates.
"""

import keras
import numpy as np
import pytest
from keras import layers, ops

from backends import BACKEND, gradients, to_numpy
from keras_mlc.training import (
    FGMTrainer,
    FreeLBTrainer,
    GradientPenaltyTrainer,
    PGDTrainer,
    VATTrainer,
)
from keras_mlc.training.vat import PROBE
from training.fgm_models import same, values

WORDS, FEATURES, BATCH, TIME, STEPS = 7, 3, 4, 5, 10
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(1, WORDS, (STEPS, BATCH, TIME)) * (np.arange(TIME) < [[5], [3], [4], [1]])
LABELS = RNG.integers(0, 2, (STEPS, BATCH, 2)).astype("float32")
NOISE = RNG.normal(size=(2, BATCH, TIME, FEATURES)).astype("float32")
NAMES = ["masked", "whole"]
MASKS = [lambda tokens: (tokens != 0)[..., None], lambda tokens: np.ones((*tokens.shape, 1))]


class Rest(keras.Model):
    """What comes after the look-ups."""

    def __init__(self):
        super().__init__()
        self.supports_masking = True
        self.pooling = layers.GlobalAveragePooling1D()
        self.hidden = layers.Dense(6)
        self.norm, self.dropout = layers.BatchNormalization(), layers.Dropout(0.4, seed=3)
        self.scores = layers.Dense(2)
        self.call(ops.zeros((BATCH, TIME, FEATURES)), ops.zeros((BATCH, TIME, FEATURES)), None)

    def compute_mask(self, *args, **kwargs):
        return None

    def call(self, masked, whole, mask, training=False):
        pooled = self.pooling(masked, mask=mask), self.pooling(whole)
        outputs = self.norm(self.hidden(ops.concatenate(pooled, axis=-1)), training=training)
        return self.scores(self.dropout(ops.tanh(outputs), training=training))


class Classifier(keras.Model):
    """Looks up, with `mask` and `training` of its own."""

    def __init__(self):
        super().__init__()
        keras.utils.set_random_seed(1)
        self.masked = layers.Embedding(WORDS, FEATURES, mask_zero=True, name="masked")
        self.whole = layers.Embedding(WORDS, FEATURES, name="whole")
        self.rest = Rest()
        self(TOKENS[0])

    def call(self, inputs, training=False, mask=None):
        vectors, mask = self.masked(inputs), self.masked.compute_mask(inputs)
        return self.rest(vectors, self.whole(inputs), mask, training=training)


class ByHand:
    """Takes steps on the same model, one method a trainer; shifts are NumPy arrays."""

    def __init__(self, norm, optimizer):
        self.norm, self.optimizer = norm, optimizer
        self.model = Classifier()
        self.weights = self.model.trainable_variables
        self.state = self.model.non_trainable_variables
        optimizer.build(self.weights)

    def scores(self, weights, shifts, with_state=False):
        """Return scores with these values of the weights, and the state after."""
        mapping = [*zip(self.weights, weights, strict=True)]
        mapping += [(v, ops.copy(v.value)) for v in self.state]
        tokens = ops.convert_to_tensor(self.tokens)
        with keras.StatelessScope(mapping) as scope:
            model = self.model
            vectors = [ops.take(each.embeddings, tokens, axis=0) for each in self.lookups]
            moved = [a + ops.convert_to_tensor(b) for a, b in zip(vectors, shifts, strict=True)]
            scores = model.rest(*moved, ops.not_equal(tokens, 0), training=True)
            state = [to_numpy(scope.get_current_value(v)) for v in self.state if with_state]
        return (scores, state) if with_state else scores

    @property
    def lookups(self):
        return self.model.masked, self.model.whole

    def objective(self, weights, shifts):
        return ops.mean(ops.square(self.labels - self.scores(weights, shifts)))

    def slopes(self, shifts, objective=None):
        """Return the rows of the gradients by the shifts."""
        weights = [v.value for v in self.weights]

        def moved(*shifts):
            return (objective or self.objective)(weights, shifts)

        found = gradients(moved, [ops.convert_to_tensor(each) for each in shifts])
        return self.rows([to_numpy(each) for each in found])

    def by_weights(self, objective):
        found = gradients(lambda *weights: objective(weights), [ops.copy(v) for v in self.weights])
        return [to_numpy(each) for each in found]

    def at(self, shifts):
        return self.by_weights(lambda weights: self.objective(weights, shifts))

    def rows(self, slopes):
        rows = [each * mask(self.tokens) for each, mask in zip(slopes, MASKS, strict=True)]
        if self.norm == "sample":
            return rows
        tables = [np.zeros((WORDS, FEATURES), "float32") for _ in rows]
        for table, each in zip(tables, rows, strict=True):
            np.add.at(table, self.tokens, each)
        return tables

    def shifts(self, rows):
        if self.norm == "batch":
            rows = [each[self.tokens] for each in rows]
        pairs = zip(rows, MASKS, strict=True)
        return [(each * mask(self.tokens)).astype("float32") for each, mask in pairs]

    def length(self, rows):
        axis = (1, 2) if self.norm == "sample" else None
        return np.sqrt(sum(np.sum(each**2, axis=axis, keepdims=True) for each in rows))

    def scaled(self, rows, length):
        factor = length / self.length(rows)
        return [each * factor for each in rows]

    def projected(self, rows, radius):
        factor = np.minimum(1, radius / self.length(rows))
        return [each * factor for each in rows]

    def zeros(self):
        return np.zeros((2, BATCH, TIME, FEATURES), "float32")

    def pgd(self, epsilon, step_size, steps, clean_weight):
        rows, shifts = [0.0, 0.0], self.zeros()
        for _ in range(steps):
            step = self.scaled(self.slopes(shifts), step_size)
            rows = self.projected([a + b for a, b in zip(rows, step, strict=True)], epsilon)
            shifts = self.shifts(rows)
        pairs = zip(self.at(shifts), self.at(self.zeros()), strict=True)
        return [a + clean_weight * b for a, b in pairs]

    def fgm(self, epsilon, clean_weight):
        return self.pgd(epsilon, epsilon, 1, clean_weight)

    def free_lb(self, epsilon, step_size, steps, initial_norm):
        rows, found = self.scaled(self.rows(NOISE), initial_norm), []
        for _ in range(steps):
            shifts = self.shifts(rows)
            found.append(self.at(shifts))
            step = self.scaled(self.slopes(shifts), step_size)
            rows = self.projected([a + b for a, b in zip(rows, step, strict=True)], epsilon)
        return [sum(each) / steps for each in zip(*found, strict=True)]

    def vat(self, epsilon, weight):
        target = self.scores([v.value for v in self.weights], self.zeros())
        target = ops.convert_to_tensor(to_numpy(target))

        def divergence(weights, shifts):
            moved = self.scores(weights, shifts)
            terms = (
                ops.sigmoid(target) * (target - moved) + ops.softplus(moved) - ops.softplus(target)
            )
            return ops.mean(ops.sum(terms, axis=-1))

        probe = self.shifts(self.scaled(self.rows(NOISE), PROBE * epsilon))
        shifts = self.shifts(self.scaled(self.slopes(probe, divergence), epsilon))
        added = self.by_weights(lambda weights: divergence(weights, shifts))
        pairs = zip(self.at(self.zeros()), added, strict=True)
        return [a + weight * b for a, b in pairs]

    def penalty(self, epsilon):
        """Return the gradients of the loss + half the squared gradients by the matrices."""

        def objective(weights):
            def by_matrices(*matrices):
                return self.objective([*matrices, *weights[2:]], self.zeros())

            slopes = gradients(by_matrices, list(weights[:2]))
            squares = sum(ops.sum(ops.square(each)) for each in slopes)
            return self.objective(weights, self.zeros()) + 0.5 * epsilon * squares

        return self.by_weights(objective)

    def step(self, tokens, labels, method, options):
        self.tokens, self.labels = tokens, ops.convert_to_tensor(labels)
        found = getattr(self, method)(**options)
        _, state = self.scores([v.value for v in self.weights], self.zeros(), with_state=True)
        for variable, value in zip(self.state, state, strict=True):
            variable.assign(value)
        self.optimizer.apply([ops.convert_to_tensor(each) for each in found], self.weights)


def optimizer_for(name):
    if name == "penalty" and BACKEND == "tensorflow":
        # There Keras clips and squares the slices of a sparse gradient one by one, where a token
        # repeats, as in a plain step. Those of two passes are merged.
        return keras.optimizers.SGD(0.01, momentum=0.9, weight_decay=0.1)
    # A large epsilon, for Adam would blow up what is no more than rounding.
    return keras.optimizers.AdamW(0.05, weight_decay=0.1, epsilon=1e-2, global_clipnorm=0.3)


TRAINERS = {
    "FGM": (FGMTrainer, "fgm", {"epsilon": 0.7, "clean_weight": 0.5}),
    "PGD": (
        PGDTrainer,
        "pgd",
        {"epsilon": 0.5, "step_size": 0.3, "steps": 3, "clean_weight": 0.5},
    ),
    "FreeLB": (
        FreeLBTrainer,
        "free_lb",
        {"epsilon": 0.5, "step_size": 0.3, "steps": 3, "initial_norm": 0.2},
    ),
    "VAT": (VATTrainer, "vat", {"epsilon": 0.6, "weight": 2.0}),
    "penalty": (GradientPenaltyTrainer, "penalty", {"epsilon": 2.0}),
}
CASES = [(name, norm) for name in TRAINERS for norm in ("batch", "sample")][:-1]
pytestmark = pytest.mark.slow


def with_fixed_noise(trainer):
    """Let a trainer start from the same direction on every backend."""

    def draw(norm, values, length, takes_part):
        return norm.scaled(norm.rows(list(map(ops.convert_to_tensor, NOISE))), length), {}

    vars(trainer)["_noise"] = draw


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_ten_steps(name, norm):
    trainer_class, method, options = TRAINERS[name]
    by_hand, model = ByHand(norm, optimizer_for(name)), Classifier()
    own = {} if name == "penalty" else {"norm": norm}
    trainer = trainer_class(model, NAMES, **options, **own)
    if name in ("FreeLB", "VAT"):
        with_fixed_noise(trainer)
    trainer.compile(optimizer_for(name), "mse")
    start = values(model.variables)
    for tokens, labels in zip(TOKENS, LABELS, strict=True):
        by_hand.step(tokens, labels, method, options)
        trainer.train_on_batch(tokens, labels)
        same(values(model.variables), values(by_hand.model.variables), 2e-4)
    for before, after in zip(start, values(model.variables), strict=True):
        assert np.any(before != after)
