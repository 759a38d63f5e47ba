import functools

import keras
import numpy as np
import pytest
import scipy.sparse

import reference
from backends import (
    BACKEND,
    COMPILED_MODES,
    MODES,
    close,
    compiled,
    gradients,
    needs_xla,
    tensorflow_only,
    to_numpy,
)
from keras_mlc.layers import LabelThresholds, ScoreCalibration
from keras_mlc.losses import (
    AsymmetricLoss,
    GradientPenaltyLoss,
    MultilabelCategoricalCrossentropy,
    RDropLoss,
    SparseMultilabelCategoricalCrossentropy,
    asymmetric_loss,
    multilabel_categorical_crossentropy,
    sparse_multilabel_categorical_crossentropy,
)
from keras_mlc.metrics import MultilabelF1Score
from losses.loss_checks import sigmoid

RNG = np.random.default_rng(0)
SCORES = RNG.normal(0, 2, (4, 5))
LABELS = RNG.integers(0, 2, (2, 5)).repeat(2, axis=0)
INDICES = np.array([[0, 3], [0, 3], [2, -1], [2, -1]])
UNKNOWN = np.where(RNG.random((4, 5)) < 0.4, -1, LABELS)
UNKNOWN[3] = -1
WEIGHTS = np.array([0.5, 1.0, 3.0, 0.01, 100.0])


def model_of_scores(loss, activation=None, **options):
    layers = [keras.Input((3,)), keras.layers.Dense(5, activation)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(0.1), loss, **options)
    return model


X = RNG.normal(size=(4, 3))
OUT_OF_RANGE = [
    np.where(UNKNOWN == -1, -1, LABELS).astype("int32"),
    np.where(UNKNOWN == -1, -1, LABELS).astype("float32"),
    np.where(LABELS, 255, 0).astype("uint8"),
    LABELS + 1,
    np.where(UNKNOWN == -1, np.nan, LABELS),
    np.where(np.arange(20).reshape(4, 5) == 7, 1.0001, LABELS),
]
DENSE_LOSSES = [
    MultilabelCategoricalCrossentropy(),
    multilabel_categorical_crossentropy,
    MultilabelCategoricalCrossentropy(missing_label=-2, label_weights=WEIGHTS),
    AsymmetricLoss(from_logits=True),
    AsymmetricLoss(from_logits=True, missing_label=-2),
]
NO_INDICES = [INDICES + 3, INDICES - 1, INDICES + 0.5, np.eye(5)[:4].astype(int), INDICES * np.nan]
SPARSE_LOSSES = [
    SparseMultilabelCategoricalCrossentropy(),
    sparse_multilabel_categorical_crossentropy,
]
R_DROP_LOSSES = [
    RDropLoss(from_logits=True),
    RDropLoss("binary_focal_crossentropy", from_logits=True),
    RDropLoss("categorical_crossentropy", divergence="categorical", from_logits=True),
    RDropLoss(multilabel_categorical_crossentropy, from_logits=True),
    RDropLoss(AsymmetricLoss(from_logits=True), from_logits=True),
]
CASES = [
    *((DENSE_LOSSES[0], labels) for labels in OUT_OF_RANGE),
    *((loss, OUT_OF_RANGE[number]) for number, loss in enumerate(DENSE_LOSSES[1:])),
    *((SPARSE_LOSSES[0], labels) for labels in NO_INDICES),
    (SPARSE_LOSSES[1], NO_INDICES[0]),
    *((loss, np.where(LABELS, 1.0, -0.5)) for loss in R_DROP_LOSSES),
    (RDropLoss(SparseMultilabelCategoricalCrossentropy(), from_logits=True), INDICES + 3),
    (RDropLoss("sparse_categorical_crossentropy", 1.0, "categorical", True), np.full(4, 5)),
]


@pytest.mark.parametrize("case", [0, 6, 10, 16, 19], ids=lambda case: f"{case} of CASES")
def test_in_fit_they_raise_before_the_update_or_where_none_can_the_loss_is_nan(case):
    loss, labels = CASES[case]
    model = model_of_scores(loss)
    before = model.get_weights()
    if BACKEND == "jax":
        assert np.isnan(model.fit(X, labels, shuffle=False, verbose=0).history["loss"][0])
    else:
        with pytest.raises(invalid_argument(), match="`y_true` must"):
            model.fit(X, labels, shuffle=False, verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def invalid_argument():
    """Return what compiled code raises: on torch there is none."""
    if BACKEND != "tensorflow":
        return ValueError
    import tensorflow as tf

    return tf.errors.InvalidArgumentError


@tensorflow_only
def test_in_graphs_they_raise():
    for loss, labels in CASES:
        with pytest.raises(invalid_argument(), match="`y_true` must"):
            compiled(loss, "graph")(labels, SCORES.astype("float32"))


SOME = (0, 1, 8, 10, 11, 17, 20, 22)  # a kind of labels, or of losses, each


@needs_xla
@pytest.mark.parametrize(
    "case", [pytest.param(n, marks=[pytest.mark.slow] * (n not in SOME)) for n in range(len(CASES))]
)
def test_under_xla_the_loss_is_nan_and_its_gradient_0(case):
    loss, labels = CASES[case]

    def compute(labels, scores):  # of labels that compiled code does not see
        return loss(labels, scores), gradients(lambda x: loss(labels, x), [scores])[0]

    value, gradient = compiled(compute, "xla")(labels, SCORES.astype("float32"))
    assert np.isnan(to_numpy(value)).all()
    np.testing.assert_array_equal(to_numpy(gradient), 0)


@pytest.mark.parametrize("mode", COMPILED_MODES)
def test_scores_in_place_of_probabilities_never_train(mode):
    labels, scores = LABELS.astype("float32"), SCORES.astype("float32")
    for loss in (RDropLoss(), AsymmetricLoss(), asymmetric_loss, RDropLoss(AsymmetricLoss())):
        function = compiled(loss, mode)
        assert np.isfinite(to_numpy(function(labels, sigmoid(scores)))).all()
        if mode == "xla":
            assert np.isnan(to_numpy(function(labels, scores))).all()
            continue
        with pytest.raises(invalid_argument(), match=r"probabilities.*from_logits=True"):
            function(labels, scores)


@needs_xla
def test_one_bad_batch_spoils_no_weight():
    model = model_of_scores(MultilabelCategoricalCrossentropy(), jit_compile=True)
    x, labels = np.tile(X, (2, 1)), np.concatenate([LABELS, 2 * LABELS])
    before = model.get_weights()
    model.fit(x[:4], labels[:4], batch_size=4, shuffle=False, verbose=0)
    after_the_good_batch = model.get_weights()
    model.set_weights(before)
    assert np.isnan(model.fit(x, labels, 4, shuffle=False, verbose=0).history["loss"][0])
    for one, other in zip(model.get_weights(), after_the_good_batch, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("mode", MODES)
def test_small_dtypes_hold_indices_of_many_labels(mode):
    scores = RNG.normal(size=(2, 1000)).astype("float32")
    indices = np.array([[0, 100], [7, 7]])
    expected = reference.multilabel_categorical_crossentropy(
        reference.multi_hot(indices, 1000), scores
    )
    kinds = [
        indices.astype(dtype)
        for dtype in ("int8", "uint8", "int16", "int64", "uint32", "float64")
        if mode == "eager" or dtype in ("int8", "uint8", "uint32")
    ]
    loss = sparse_multilabel_categorical_crossentropy
    for found in compiled(lambda x, *all: [loss(each, x) for each in all], mode)(scores, *kinds):
        close(found, expected, 1e-5)


def test_as_many_indices_as_labels_are_fine():
    indices = np.array([[0, 1, 2], [1, 0, -1], [0, 0, 1]])[[0, 1]]
    expected = reference.multilabel_categorical_crossentropy(
        reference.multi_hot(indices, 3), SCORES[:2, :3]
    )
    close(sparse_multilabel_categorical_crossentropy(indices, SCORES[:2, :3]), expected, 1e-5)
    pair = np.array([[0, 1], [1, 1]])
    expected = reference.multilabel_categorical_crossentropy(
        reference.multi_hot(pair, 2), SCORES[:2, :2]
    )
    close(sparse_multilabel_categorical_crossentropy(pair, SCORES[:2, :2]), expected, 1e-5)


def test_sparse_matrices_of_labels():
    for loss in (
        MultilabelCategoricalCrossentropy(),
        multilabel_categorical_crossentropy,
        AsymmetricLoss(from_logits=True),
        RDropLoss(from_logits=True),
        RDropLoss(multilabel_categorical_crossentropy, from_logits=True),
    ):
        for kind in ("csr_matrix", "coo_array", "csc_matrix"):
            sparse = getattr(scipy.sparse, kind)(LABELS.astype("float32"))
            close(loss(sparse, SCORES), loss(LABELS, SCORES))
    same_in_fit(MultilabelCategoricalCrossentropy(), scipy.sparse.csr_matrix(LABELS * 1.0), LABELS)


def same_in_fit(loss, labels, dense):
    """Check that `fit` takes labels in a container of their own."""
    models = [model_of_scores(loss) for _ in range(2)]
    models[1].set_weights(models[0].get_weights())
    for model, each in zip(models, (labels, dense), strict=True):
        model.fit(X, each, 2, shuffle=False, verbose=0)
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        close(one, other, 1e-5)


def test_a_sparse_matrix_is_no_list_of_indices():
    for loss in SPARSE_LOSSES:
        with pytest.raises(ValueError, match=r"sparse matrix.*multilabel_categorical_crossentropy"):
            loss(scipy.sparse.csr_matrix(LABELS), SCORES)


@tensorflow_only
def test_ragged_indices():
    import tensorflow as tf

    rows = tf.ragged.constant([[0, 3, 1], [], [2], [4, 4]], dtype="int64")
    padded = np.array([[0, 3, 1], [-1, -1, -1], [2, -1, -1], [4, 4, -1]])
    for dtype in ("int32", "int64", "uint8", "float32"):
        for loss in SPARSE_LOSSES:
            close(loss(tf.cast(rows, dtype), SCORES), loss(padded, SCORES))
    same_in_fit(SPARSE_LOSSES[0], tf.cast(rows, "int32"), padded)
    pairs = tf.ragged.constant([[0, 3], [0, 3], [2], [2]], dtype="int64")
    loss = RDropLoss(SparseMultilabelCategoricalCrossentropy(), from_logits=True)
    close(loss(pairs, SCORES), loss(INDICES, SCORES))
    with pytest.raises(ValueError, match=r"RaggedTensor.*SparseMultilabelCategoricalCrossentropy"):
        MultilabelCategoricalCrossentropy(missing_label=-1)(rows, SCORES)


def test_as_many_indices_as_labels_are_no_dense_labels_where_shapes_are_inferred():
    # On torch Keras calls the loss with ones then.
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile(
        "sgd",
        SparseMultilabelCategoricalCrossentropy(),
        metrics=[lambda t, p: p[:, 0]],
    )
    indices = np.array([[0, 2, -1], [2, -1, -1], [1, 0, 2], [-1, -1, -1]])
    model.fit(np.ones((4, 4), "float32"), indices, verbose=0)


NO_NUMBERS = {
    "strings": np.full((4, 5), "home"),
    "lists of strings": [["home"] * 5] * 4,
    "names": [["home"], ["home"], ["sport", "home"], ["sport", "home"]],
    "lists of indices": [[0, 3], [0, 3], [2], [2]],
    "objects": LABELS.astype(object),
    "objects that are None": np.where(LABELS, 1, None),
    "None": None,
    "dates": np.full((4, 5), "2020-01-01", "datetime64[D]"),
    "times": np.ones((4, 5), "timedelta64[D]"),
    "complex": LABELS.astype("complex64"),
    "sets": [{0}, {0}, {1}, {1}],
}


@pytest.mark.parametrize("kind", NO_NUMBERS)
def test_labels_that_are_no_numbers_are_refused_by_name(kind):
    labels = NO_NUMBERS[kind]
    classes = RDropLoss("sparse_categorical_crossentropy", 1.0, "categorical", True)
    losses = [*DENSE_LOSSES, *SPARSE_LOSSES, *R_DROP_LOSSES, classes]
    if BACKEND != "jax":
        embedding = keras.layers.Embedding(3, 2)
        embedding.build()
        penalty = GradientPenaltyLoss("binary_crossentropy", embedding, epsilon=0.0)
        losses.append(lambda labels, scores: penalty(labels, sigmoid(scores)))
    metrics = [MultilabelF1Score(), MultilabelF1Score(missing_label=-1)]
    for function in [*losses, *(metric.update_state for metric in metrics)]:
        with pytest.raises(ValueError, match=r"`y_true` must hold numbers, in an array.*Received"):
            function(labels, SCORES)
    for layer in (LabelThresholds(), ScoreCalibration()):
        with pytest.raises(TypeError, match=r"`y_true` must be an array of numbers\. Received"):
            layer.adapt(SCORES, labels)
    weights = np.full(4, "home")
    for function in (DENSE_LOSSES[0], MultilabelF1Score().update_state):
        with pytest.raises(ValueError, match="`sample_weight` must hold numbers"):
            function(LABELS, SCORES, weights)


@tensorflow_only
def test_strings_in_fit():
    import tensorflow as tf

    model = model_of_scores(MultilabelCategoricalCrossentropy())
    data = tf.data.Dataset.from_tensor_slices((X, NO_NUMBERS["strings"])).batch(4)
    with pytest.raises(ValueError, match=r"`y_true` must hold numbers.*MultiLabelBinarizer"):
        model.fit(data, verbose=0)


def test_dense_labels_are_no_indices():
    """What is wrong with values from 0 to 1 is said."""
    for loss in SPARSE_LOSSES:
        with pytest.raises(ValueError, match=r"label indices from 0 to 4.*no dense labels.*0 to 1"):
            loss(LABELS, SCORES)


@pytest.mark.parametrize("base", [multilabel_categorical_crossentropy, asymmetric_loss])
def test_labels_that_are_nan_are_no_torn_pair(base):
    with pytest.raises(ValueError, match=r"`y_true` must lie between 0 and 1.*nan"):
        RDropLoss(base, from_logits=True)(np.where(LABELS, np.nan, 0.0), SCORES)
    loss = RDropLoss("mse", from_logits=True)
    assert np.isnan(to_numpy(loss(np.where(LABELS, np.nan, 0.0), SCORES)))


@pytest.mark.skipif(BACKEND == "jax", reason="there is no gradient penalty on JAX")
@pytest.mark.parametrize(
    ("base", "labels", "outputs", "message"),
    [
        ("binary_crossentropy", 2 * LABELS, sigmoid(SCORES), "`y_true` must lie between 0 and 1"),
        (keras.losses.BinaryCrossentropy(), 2 * LABELS, sigmoid(SCORES), "`y_true` must lie"),
        ("binary_crossentropy", LABELS, SCORES, "`y_pred` must hold probabilities"),
        ("sparse_categorical_crossentropy", np.full(4, 5), sigmoid(SCORES), "class indices from 0"),
    ],
)
def test_a_gradient_penalty_looks_at_what_its_base_is_made_for(base, labels, outputs, message):
    """As `RDropLoss` does; Keras takes both on trust."""
    embedding = keras.layers.Embedding(3, 2)
    embedding.build()
    loss = GradientPenaltyLoss(base, embedding, epsilon=0.0)
    with pytest.raises(ValueError, match=message):
        loss(labels, outputs.astype("float32"))
    of_scores = keras.losses.BinaryCrossentropy(from_logits=True)
    by_function = functools.partial(keras.losses.binary_crossentropy, from_logits=True)
    for base in (of_scores, by_function):
        penalty = GradientPenaltyLoss(base, embedding, epsilon=0.0)
        close(penalty(LABELS, SCORES), of_scores(LABELS, SCORES), 1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda value: RDropLoss(from_logits=value),
        lambda value: AsymmetricLoss(from_logits=value),
        lambda value: asymmetric_loss(LABELS, SCORES, from_logits=value),
    ],
)
def test_from_logits_is_a_boolean(make):
    for value in ("False", "no", None, 2):
        with pytest.raises(ValueError, match="`from_logits` must be True or False"):
            make(value)
