"""Train the same small models, one a piece, on the running backend, and write their weights.

KERAS_BACKEND=jax python tests/pieces.py weights.npz
"""

import sys

import keras
import numpy as np
from keras import layers, ops

from keras_mlc.data import repeat_pairs
from keras_mlc.layers import AttentionPooling, FineGrainedSoftmaxHead, TextCNNHead
from keras_mlc.losses import (
    AsymmetricLoss,
    MultilabelCategoricalCrossentropy,
    RDropLoss,
    SparseMultilabelCategoricalCrossentropy,
)
from keras_mlc.training import (
    FGMTrainer,
    FreeLBTrainer,
    GradientPenaltyTrainer,
    PGDTrainer,
    VATTrainer,
)

STEPS, BATCH, TIME, WORDS, LABELS = 20, 8, 6, 30, 5
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, WORDS, (STEPS * BATCH, TIME))
TARGETS = RNG.integers(0, 2, (STEPS * BATCH, LABELS)).astype("float32")
INDICES = np.where(TARGETS, np.arange(LABELS), -1)
UNKNOWN = np.where(np.arange(TARGETS.size).reshape(TARGETS.shape) % 7 == 0, -1, TARGETS)
WEIGHTS = [0.5, 1.0, 2.0, 4.0, 1.0]
LEVELS = RNG.integers(0, 2, (STEPS * BATCH, 3))


def model_with(*head):
    """Return a model whose weights are the same numbers on every backend."""
    tokens = keras.Input((TIME,), dtype="int32")
    outputs = layers.Embedding(WORDS, 8, mask_zero=True, name="tokens")(tokens)
    for layer in head:
        outputs = layer(outputs)
    model = keras.Model(tokens, outputs)
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(0, 0.3, weight.shape) for weight in model.weights])
    return model


def attention(activation=None):
    return model_with(AttentionPooling(), layers.Dense(LABELS, activation))


class FixedVAT(VATTrainer):
    """Looks in a fixed direction first: backends draw other random numbers."""

    def _noise(self, norm, values, length, takes_part):
        # of the features alone, so that it is the same however a batch is split
        shape, count = ops.shape(norm.lookups.shifts[0]), norm.lookups.shifts[0].shape[-1]
        drawn = ops.broadcast_to(ops.sin(ops.arange(count, dtype="float32")), shape)
        return norm.scaled(norm.rows([drawn]), length), {}


def pieces():
    """Yield the name of each piece, the model to compile and fit, its loss, and its targets."""
    multilabel = MultilabelCategoricalCrossentropy()
    yield "multilabel", attention(), multilabel, TARGETS
    yield "sparse", attention(), SparseMultilabelCategoricalCrossentropy(), INDICES
    unknown = MultilabelCategoricalCrossentropy(missing_label=-1, label_weights=WEIGHTS)
    yield "unknown", attention(), unknown, UNKNOWN
    weighted = SparseMultilabelCategoricalCrossentropy(label_weights=WEIGHTS)
    yield "sparse_weighted", attention(), weighted, INDICES
    asymmetric = AsymmetricLoss(from_logits=True, missing_label=-1)
    yield "asymmetric", attention(), asymmetric, UNKNOWN
    text_cnn = TextCNNHead(LABELS, filters=4, dropout=0.0, activation="sigmoid")
    yield "text_cnn", model_with(text_cnn), "binary_crossentropy", TARGETS
    fine_grained = FineGrainedSoftmaxHead(3, (2, 4, 3))
    levels = model_with(AttentionPooling(), fine_grained)
    yield "fine_grained", levels, "sparse_categorical_crossentropy", LEVELS
    yield "r_drop", attention("sigmoid"), RDropLoss(), TARGETS
    yield "fgm", FGMTrainer(attention(), "tokens"), multilabel, TARGETS
    yield "fgm_clean", FGMTrainer(attention(), "tokens", 0.5, 0.5), multilabel, TARGETS
    yield "fgm_samples", FGMTrainer(attention(), "tokens", norm="sample"), multilabel, TARGETS
    yield "pgd", PGDTrainer(attention(), "tokens", steps=2), multilabel, TARGETS
    free_lb = FreeLBTrainer(attention(), "tokens", steps=2, initial_norm=0.0)
    yield "free_lb", free_lb, multilabel, TARGETS
    yield "vat", FixedVAT(attention(), "tokens"), multilabel, TARGETS
    batch_wide = FixedVAT(attention(), "tokens", norm="batch")
    yield "vat_batch", batch_wide, multilabel, TARGETS
    yield "penalty", GradientPenaltyTrainer(attention(), "tokens"), multilabel, TARGETS


def train(name, model, loss, targets, jit_compile=None):
    """Return the model's weights after 20 steps."""
    data = repeat_pairs((TOKENS, targets)) if name == "r_drop" else (TOKENS, targets)
    if jit_compile is None:
        jit_compile = keras.backend.backend() == "tensorflow"
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, jit_compile=jit_compile or "auto")
    model.fit(*data, batch_size=len(data[0]) // STEPS, shuffle=False, verbose=0)
    return {f"{name}/{number}": weight for number, weight in enumerate(model.get_weights())}


def same(actual, expected):
    """Compare weights, to 1e-5 of the largest of each."""
    for name, weight in expected.items():
        # VAT follows the difference between two predictions that are nearly the same.
        tolerance = 5e-5 if name.startswith("vat") else 1e-5
        atol = tolerance * np.abs(weight).max()
        np.testing.assert_allclose(actual[name], weight, rtol=0, atol=atol, err_msg=name)


if __name__ == "__main__":
    if sys.argv[2:] == ["parallel"]:
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    weights = {}
    for piece in pieces():
        weights.update(train(*piece))
    np.savez(sys.argv[1], **weights)
