import warnings

import keras
import numpy as np
import pytest

from backends import (
    BACKEND,
)
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
@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "relu"])
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_an_activation_under_a_loss_of_scores_warns_once(activation, policy):
    for loss in (
        MultilabelCategoricalCrossentropy(),
        AsymmetricLoss(from_logits=True),
        RDropLoss(from_logits=True),
    ):
        last = keras.layers.Activation("linear", dtype="float32")
        layers = [keras.Input((3,)), keras.layers.Dense(5, activation, dtype=policy), last]
        model = keras.Sequential(layers)
        model.compile("sgd", loss)
        found = warnings_of(lambda m=model: m.fit(X, LABELS, 4, 2, 0, shuffle=False))
        assert len(found) == 1 and type(loss).__name__ in found[0]
    model = model_of_scores(multilabel_categorical_crossentropy, activation)
    assert warnings_of(lambda: model.fit(X, LABELS, verbose=0))
    model = model_of_scores(SparseMultilabelCategoricalCrossentropy(), activation)
    assert len(warnings_of(lambda: model.fit(X, INDICES, verbose=0))) == 1


@pytest.mark.parametrize("loss", [AsymmetricLoss(), RDropLoss()])
def test_where_an_activation_belongs_there_is_no_warning(loss):
    model = model_of_scores(loss, "sigmoid")
    assert not warnings_of(lambda: model.fit(X, LABELS, shuffle=False, verbose=0))
    model = model_of_scores(MultilabelCategoricalCrossentropy())
    assert not warnings_of(lambda: model.fit(X, LABELS, verbose=0))
