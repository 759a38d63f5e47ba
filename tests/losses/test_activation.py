import logging
import warnings

import keras
import numpy as np
import pytest
from keras import ops

from backends import BACKEND, MODES, compiled, tensorflow_only, to_numpy
from keras_mlc.data import repeat_pairs
from keras_mlc.layers import (
    AttentionPooling,
    FineGrainedSoftmaxHead,
    LabelThresholds,
    ScoreCalibration,
    TextCNNHead,
)
from keras_mlc.losses import (
    AsymmetricLoss,
    MultilabelCategoricalCrossentropy,
    RDropLoss,
    SparseMultilabelCategoricalCrossentropy,
    asymmetric_loss,
    multilabel_categorical_crossentropy,
    sparse_multilabel_categorical_crossentropy,
)
from keras_mlc.losses._activation import warn_of_activation
from keras_mlc.metrics import MultilabelF1Score

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


class Messages(logging.Handler):
    def __init__(self):
        super().__init__()
        self.found = []

    def emit(self, record):
        self.found.append(record.getMessage())


def user_functions():
    """Yield functions of labels, indices, scores and steps, the first one of little code."""
    yield lambda y, i, s, steps: s if warn_of_activation(s, "loss") else -s
    yield lambda y, i, s, steps: MultilabelCategoricalCrossentropy()(y, s)
    yield lambda y, i, s, steps: multilabel_categorical_crossentropy(y, s, -1, [1, 2, 3, 4, 5])
    yield lambda y, i, s, steps: sparse_multilabel_categorical_crossentropy(i, s)
    yield lambda y, i, s, steps: SparseMultilabelCategoricalCrossentropy()(i, s, s[:, 0])
    yield lambda y, i, s, steps: asymmetric_loss(y, s, from_logits=True)
    yield lambda y, i, s, steps: AsymmetricLoss(from_logits=True)(y, s)
    yield lambda y, i, s, steps: RDropLoss(from_logits=True)(y, s)
    r_drop = RDropLoss(SparseMultilabelCategoricalCrossentropy(), from_logits=True)
    yield lambda y, i, s, steps: r_drop(i, s)
    yield lambda y, i, s, steps: repeat_pairs({"scores": s})["scores"]
    metric = MultilabelF1Score("samples", missing_label=-1)
    yield lambda y, i, s, steps: metric(y, s)
    for layer in (AttentionPooling(), TextCNNHead(3), FineGrainedSoftmaxHead(2, (2, 3))):
        layer.build((None, None, 5))
        yield lambda y, i, s, steps, layer=layer: layer(steps)
    for layer in (LabelThresholds(), ScoreCalibration()):
        layer.build((None, 5))
        yield lambda y, i, s, steps, layer=layer: layer(s)


@tensorflow_only
@pytest.mark.parametrize("several", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_autograph_reads_everything_in_a_function_of_the_users(several):
    """What it cannot convert, TensorFlow warns of where the user sees it."""
    import tensorflow as tf

    shapes = [(None, 5), (None, 2), (None, 5), (None, None, 5)]
    dtypes = ["int32", "int32", "float32", "float32"]
    signature = [tf.TensorSpec(*each) for each in zip(shapes, dtypes, strict=True)]
    data = LABELS, INDICES, RNG.normal(size=(4, 5)), RNG.normal(size=(4, 3, 5))
    data = [tf.cast(each, dtype) for each, dtype in zip(data, dtypes, strict=True)]
    handler = Messages()
    tf.get_logger().addHandler(handler)
    try:
        for function in list(user_functions())[: None if several else 1]:
            found = tf.function(function, input_signature=signature)(*data)
            expected = to_numpy(function(*data))
            np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-4, atol=1e-6)
    finally:
        tf.get_logger().removeHandler(handler)
    assert not [message for message in handler.found if "AutoGraph" in message]
