import keras
import numpy as np
import pytest
from keras import ops

import reference
from backends import (
    FASTEST_MODE,
    MODES,
    compiled,
    exact_jax,
    gradients,
    to_numpy,
    value_and_gradient,
)
from keras_mlc.losses import (
    MultilabelCategoricalCrossentropy,
    RDropLoss,
    SparseMultilabelCategoricalCrossentropy,
    multilabel_categorical_crossentropy,
    sparse_multilabel_categorical_crossentropy,
)

RNG = np.random.default_rng(0)
SCORES = RNG.normal(0, 2, (4, 5))
LABELS = RNG.integers(0, 2, (2, 5)).repeat(2, axis=0)
SOFT = np.round(RNG.random((2, 5)), 1).repeat(2, axis=0)
INDICES = np.array([[0, 3], [0, 3], [2, -1], [2, -1]])
UNKNOWN = np.where(RNG.random((4, 5)) < 0.4, -1, LABELS)
UNKNOWN[3] = -1
WEIGHTS = np.array([0.5, 1.0, 3.0, 0.01, 100.0])


def close(actual, expected, tolerance=1e-6):
    np.testing.assert_allclose(to_numpy(actual), to_numpy(expected), rtol=tolerance, atol=1e-12)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("missing", [-1, 2, 255, -0.5])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@exact_jax()
def test_unknown_and_weighted_labels_agree_with_the_naive_form(weights, missing, mode):
    for known in (LABELS, SOFT, LABELS.astype("float32")):
        labels = np.where(UNKNOWN == -1, missing, known)
        labels = labels.astype(known.dtype) if missing == int(missing) else labels

        def loss(labels, scores):
            return multilabel_categorical_crossentropy(labels, scores, missing, weights)

        expected = reference.multilabel_categorical_crossentropy(labels, SCORES, weights, missing)
        close(compiled(loss, mode)(labels, SCORES), expected, 1e-12)
        assert expected[3] == 0
        single = SCORES.astype("float32")
        close(compiled(loss, mode)(labels, single), expected, 1e-5)


@pytest.mark.parametrize("mode", MODES)
@exact_jax()
def test_the_sparse_form_weighs_alike(mode):
    indices = np.array([[0, 3, 0], [-1, 4, 4], [-1, -1, -1], [0, 1, 4]])
    labels = reference.multi_hot(indices, 5)

    def loss(scores):
        return sparse_multilabel_categorical_crossentropy(indices, scores, WEIGHTS)

    expected = reference.multilabel_categorical_crossentropy(labels, SCORES, WEIGHTS)
    value, gradient = value_and_gradient(loss, SCORES, mode)
    close(value, expected, 1e-12)
    by_hand = reference.finite_differences(
        lambda x: reference.multilabel_categorical_crossentropy(labels, x, WEIGHTS).sum(), SCORES
    )
    np.testing.assert_allclose(to_numpy(gradient), by_hand, rtol=1e-6, atol=1e-8)
    loss = SparseMultilabelCategoricalCrossentropy(label_weights=WEIGHTS, dtype="float64")
    close(loss(indices, SCORES), expected.mean(), 1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("labels", [UNKNOWN, np.where(UNKNOWN == -1, -1, SOFT)])
@exact_jax()
def test_derivatives_with_unknown_and_weighted_labels(labels, mode):
    def loss(scores):
        return multilabel_categorical_crossentropy(labels, scores, -1, WEIGHTS)

    def naive(scores):
        return reference.multilabel_categorical_crossentropy(labels, scores, WEIGHTS, -1).sum()

    def gradient(scores):
        return gradients(loss, [scores])[0]

    def square(scores):
        return ops.sum(ops.square(gradient(scores)))

    actual = to_numpy(compiled(gradient, mode)(SCORES))
    expected = reference.finite_differences(naive, SCORES)
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-8)
    assert not actual[labels == -1].any()
    again = compiled(gradient, FASTEST_MODE)
    squares = reference.finite_differences(lambda x: np.sum(to_numpy(again(x)) ** 2), SCORES)
    second = compiled(lambda scores: gradients(square, [scores])[0], mode)(SCORES)
    np.testing.assert_allclose(to_numpy(second), squares, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("mode", MODES)
def test_extreme_scores_with_unknown_and_weighted_labels(dtype, mode):
    scores = ops.convert_to_tensor([[1e4, -1e4, 1e4, -1e4, 1e4, 0]] * 2, dtype)
    labels = np.array([[0, 1, -1, -1, 1, 0], [-1, -1, -1, -1, -1, 1]])
    weights = np.array([1e3, 1e-3, 1, 1, 1, 2])
    for labels_of_a_kind in (labels, labels.astype("float32")):
        value, gradient = value_and_gradient(
            lambda x, labels=labels_of_a_kind: multilabel_categorical_crossentropy(
                labels, x, -1, weights
            ),
            scores,
            mode,
        )
        close(value, [2e4, np.log(3)], 1e-2)
        assert np.isfinite(to_numpy(gradient)).all()
        assert not to_numpy(gradient)[labels == -1].any()
    indices = np.array([[1, 4], [5, -1]])
    value, gradient = value_and_gradient(
        lambda x: sparse_multilabel_categorical_crossentropy(indices, x, weights), scores, mode
    )
    assert np.isfinite(to_numpy(value)).all() and np.isfinite(to_numpy(gradient)).all()


def loss_with(arguments):
    return lambda labels, scores: multilabel_categorical_crossentropy(labels, scores, *arguments)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("labels", [LABELS, SOFT, LABELS == 1], ids=["int", "float", "bool"])
def test_weights_of_one_and_labels_all_known_are_the_plain_loss_bit_for_bit(labels, mode):
    scores = SCORES.astype("float32")
    plain = compiled(multilabel_categorical_crossentropy, mode)(labels, scores)
    ones = np.ones(5)
    for arguments in ((None, ones), (-1, None), (-1, ones)):
        other = compiled(loss_with(arguments), mode)(labels, scores)
        np.testing.assert_array_equal(to_numpy(other), to_numpy(plain))
    sparse = sparse_multilabel_categorical_crossentropy(INDICES, scores)
    other = sparse_multilabel_categorical_crossentropy(INDICES, scores, ones)
    np.testing.assert_array_equal(to_numpy(other), to_numpy(sparse))


@exact_jax()
def test_under_r_drop_the_divergence_is_over_all_labels():
    labels = UNKNOWN[::2].repeat(2, axis=0)
    rows = reference.multilabel_categorical_crossentropy(labels, SCORES, missing_label=-1)
    expected = reference.r_drop(rows, sigmoid(SCORES), 4.0, "bernoulli")
    base = MultilabelCategoricalCrossentropy(missing_label=-1)
    loss = RDropLoss(base, from_logits=True, reduction=None, dtype="float64")
    close(loss(labels, SCORES), expected)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.loss.missing_label == -1
    close(again(labels, SCORES), expected)


def test_the_classes_keep_their_arguments():
    loss = MultilabelCategoricalCrossentropy(missing_label=-1.0, label_weights=WEIGHTS)
    config = keras.losses.serialize(loss)
    assert config["config"]["missing_label"] == -1
    again = keras.losses.deserialize(config)
    np.testing.assert_array_equal(again.label_weights, WEIGHTS)
    close(again(UNKNOWN, SCORES), loss(UNKNOWN, SCORES))
    loss = SparseMultilabelCategoricalCrossentropy(label_weights=ops.ones(5) * 2)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    np.testing.assert_array_equal(again.label_weights, np.full(5, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"missing_label": 0}, r"outside \[0, 1\].*missing_label=0"),
        ({"missing_label": 0.5}, r"outside \[0, 1\].*0\.5"),
        ({"missing_label": True}, "missing_label=True"),
        ({"missing_label": float("nan")}, "finite.*nan"),
        ({"missing_label": "-1"}, "missing_label='-1'"),
        ({"label_weights": [1, 0]}, r"positive finite.*\[1, 0\]"),
        ({"label_weights": [1, -1]}, "positive finite"),
        ({"label_weights": [1, float("inf")]}, "positive finite"),
        ({"label_weights": [[1, 2]]}, "one a label"),
        ({"label_weights": 2.0}, "one a label"),
        ({"label_weights": []}, "one a label"),
        ({"label_weights": {0: 1.0}}, "one a label"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        MultilabelCategoricalCrossentropy(**arguments)
    with pytest.raises(ValueError, match=message):
        multilabel_categorical_crossentropy(LABELS, SCORES, **arguments)


@pytest.mark.parametrize("mode", MODES)
def test_weights_for_another_number_of_labels_are_refused(mode):
    shapes = [(None, None), (None, None)]
    for count in (1, 4):

        def loss(labels, scores, count=count):
            return multilabel_categorical_crossentropy(labels, scores, None, np.full(count, 2.0))

        function = compiled(loss, mode, shapes)
        with pytest.raises(Exception, match=r"label_weights|shape"):
            function(LABELS.astype("float32"), SCORES.astype("float32"))
