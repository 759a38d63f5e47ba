import warnings

import keras
import numpy as np
import pytest
from keras import ops

from backends import BACKEND, MODES, compiled
from keras_mlc.losses import (
    AsymmetricLoss,
    MultilabelCategoricalCrossentropy,
    RDropLoss,
    SparseMultilabelCategoricalCrossentropy,
    multilabel_categorical_crossentropy,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 3))
LABELS = RNG.integers(0, 2, (2, 5)).repeat(2, axis=0)
INDICES = np.array([[0, 3], [0, 3], [2, -1], [2, -1]])


def model_of_scores(loss, activation=None, **options):
    layers = [keras.Input((3,)), keras.layers.Dense(5, activation)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(0.1), loss, **options)
    return model


def warnings_of(function):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    return [str(each.message) for each in caught if "unactivated" in str(each.message)]


@pytest.mark.skipif(BACKEND == "jax", reason="JAX does not tell what made a tensor")
def test_an_activation_under_a_loss_of_scores_warns_once():
    cases = [
        (MultilabelCategoricalCrossentropy(), "sigmoid", "float32"),
        (AsymmetricLoss(from_logits=True), "softmax", "mixed_float16"),
        (RDropLoss(from_logits=True), "relu", "mixed_float16"),
        (SparseMultilabelCategoricalCrossentropy(), "relu", "float32"),
    ]
    for loss, activation, policy in cases:
        last = keras.layers.Activation("linear", dtype="float32")
        layers = [keras.Input((3,)), keras.layers.Dense(5, activation, dtype=policy), last]
        model = keras.Sequential(layers)
        model.compile("sgd", loss)
        labels = INDICES if "Sparse" in type(loss).__name__ else LABELS
        found = warnings_of(lambda m=model, y=labels: m.fit(X, y, 4, 2, 0, shuffle=False))
        assert len(found) == 1 and type(loss).__name__ in found[0]


@pytest.mark.skipif(BACKEND == "jax", reason="JAX does not tell what made a tensor")
def test_every_activation_is_seen():
    for activation in ("sigmoid", "softmax", "relu"):
        for policy in ("float32", "mixed_float16"):
            layer = keras.layers.Dense(5, activation, dtype=policy)
            layer.build((None, 3))
            for loss, labels in (
                (multilabel_categorical_crossentropy, LABELS),
                (RDropLoss(from_logits=True), LABELS),
                (SparseMultilabelCategoricalCrossentropy(), INDICES),
            ):
                function = compiled(
                    lambda x, f=loss, y=labels, layer=layer: f(y, ops.cast(layer(x), "float32")),
                    MODES[:2][-1],  # a graph where there is one
                )
                assert warnings_of(lambda f=function: f(X))


def test_where_an_activation_belongs_there_is_no_warning():
    for loss in (AsymmetricLoss(), RDropLoss()):
        assert not warnings_of(lambda f=loss: f(LABELS, ops.sigmoid(X @ np.ones((3, 5)))))
    model = model_of_scores(MultilabelCategoricalCrossentropy())
    assert not warnings_of(lambda: model.fit(X, LABELS, verbose=0))
