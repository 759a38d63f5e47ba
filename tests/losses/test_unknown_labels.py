"""Unknown labels and weights of labels; `test_multilabel.py` checks the numbers."""

import keras
import numpy as np
import pytest
from keras import ops

import reference
from backends import MODES, close, compiled, exact_jax, to_numpy
from keras_mlc.losses import (
    MultilabelCategoricalCrossentropy,
    RDropLoss,
    SparseMultilabelCategoricalCrossentropy,
    multilabel_categorical_crossentropy,
    sparse_multilabel_categorical_crossentropy,
)
from losses.loss_checks import sigmoid

RNG = np.random.default_rng(0)
SCORES = RNG.normal(0, 2, (4, 5))
LABELS = RNG.integers(0, 2, (2, 5)).repeat(2, axis=0)
SOFT = np.round(RNG.random((2, 5)), 1).repeat(2, axis=0)
INDICES = np.array([[0, 3], [0, 3], [2, -1], [2, -1]])
UNKNOWN = np.where(RNG.random((4, 5)) < 0.4, -1, LABELS)
UNKNOWN[3] = -1
WEIGHTS = np.array([0.5, 1.0, 3.0, 0.01, 100.0])


def test_any_number_may_stand_for_an_unknown_label():
    for missing in (-1, 2, 255, -0.5):
        for known in (LABELS, SOFT, LABELS.astype("float32")):
            labels = np.where(UNKNOWN == -1, missing, known)
            expected = reference.multilabel_categorical_crossentropy(
                labels, SCORES, WEIGHTS, missing
            )
            found = multilabel_categorical_crossentropy(labels, SCORES, missing, WEIGHTS)
            close(found, expected, 1e-5)
            assert expected[3] == 0


def test_weights_of_one_and_labels_all_known_are_the_plain_loss_bit_for_bit():
    scores, ones = SCORES.astype("float32"), np.ones(5)
    for labels in (LABELS, SOFT, LABELS == 1):
        plain = to_numpy(multilabel_categorical_crossentropy(labels, scores))
        for arguments in ((None, ones), (-1, None), (-1, ones)):
            other = multilabel_categorical_crossentropy(labels, scores, *arguments)
            np.testing.assert_array_equal(to_numpy(other), plain)
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


def test_weights_may_be_a_tensor():
    loss = SparseMultilabelCategoricalCrossentropy(label_weights=ops.ones(5) * 2)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    np.testing.assert_array_equal(again.label_weights, np.full(5, 2))


def test_bad_arguments():
    for arguments, message in (
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
    ):
        with pytest.raises(ValueError, match=message):
            MultilabelCategoricalCrossentropy(**arguments)
        with pytest.raises(ValueError, match=message):
            multilabel_categorical_crossentropy(LABELS, SCORES, **arguments)


@pytest.mark.parametrize("mode", MODES)
def test_weights_for_another_number_of_labels_are_refused(mode):
    for count in (1, 4):

        def loss(labels, scores, count=count):
            return multilabel_categorical_crossentropy(labels, scores, None, np.full(count, 2.0))

        function = compiled(loss, mode, [(None, None), (None, None)])
        with pytest.raises(Exception, match=r"label_weights|shape"):
            function(LABELS.astype("float32"), SCORES.astype("float32"))
