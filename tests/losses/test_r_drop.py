import functools
from typing import ClassVar

import keras
import numpy as np
import pytest
from keras import ops

import reference
from backends import (
    BACKEND,
    FASTEST_MODE,
    close,
    exact_jax,
    gradients,
    needs_xla,
    raises_before_the_update,
    to_numpy,
    value_and_gradient,
)
from keras_mlc.losses import (
    GradientPenaltyLoss,
    MultilabelCategoricalCrossentropy,
    RDropLoss,
    SparseMultilabelCategoricalCrossentropy,
    multilabel_categorical_crossentropy,
    sparse_multilabel_categorical_crossentropy,
)
from losses.loss_checks import LossChecks, sigmoid, softmax

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 2, (6, 4))
LABELS = RNG.integers(0, 2, (3, 4)).repeat(2, axis=0).astype("float64")
ONE_HOT = np.eye(4)[[1, 1, 3, 3, 0, 0]]


class TestRDrop(LossChecks):
    """Of two Bernoulli distributions for each label, given by scores."""

    loss_class = RDropLoss
    arguments: ClassVar = {"alpha": 2.5, "from_logits": True}
    every_argument: ClassVar = {
        "loss": "categorical_crossentropy",
        "alpha": 1.5,
        "divergence": "categorical",
        "from_logits": True,
        "divergence_reduction": "sum",
    }
    labels: ClassVar = [LABELS[:4]]
    hard: ClassVar = [LABELS[:4]]
    shapes: ClassVar = [(2, 4), (4, 3, 4), (2, 1, 2, 4)]

    def reference(self, labels, outputs):
        p = sigmoid(outputs) if self.activation is None else outputs
        rows = -np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p), axis=-1)
        return reference.r_drop(rows, p, 2.5, "bernoulli")

    def largest(self, dtype):
        return min(super().largest(dtype), 1e10)  # on torch Keras computes in float32

    def some_labels(self, shape):
        return np.eye(4, dtype="int32")[RNG.integers(0, 4, (shape[0] // 2, *shape[1:-1]))].repeat(
            2, axis=0
        )


class TestProbabilities(TestRDrop):
    is_variant = True
    arguments: ClassVar = {"alpha": 2.5}
    activation = "sigmoid"
    outputs = sigmoid(LOGITS[:4])


class TestCategorical(TestRDrop):
    arguments: ClassVar = {
        "loss": "categorical_crossentropy",
        "alpha": 2.5,
        "divergence": "categorical",
        "from_logits": True,
    }
    labels: ClassVar = [ONE_HOT[:4]]
    hard: ClassVar = [ONE_HOT[:4]]

    def reference(self, labels, outputs):
        p = softmax(outputs) if self.activation is None else outputs
        # Keras brings the sum of what it is told are probabilities to 1.
        rows = -np.sum(labels * np.log(p / p.sum(axis=-1, keepdims=True)), axis=-1)
        return reference.r_drop(rows, p, 2.5, "categorical")


class TestCategoricalProbabilities(TestCategorical):
    is_variant = True
    arguments: ClassVar = {
        "loss": "categorical_crossentropy",
        "alpha": 2.5,
        "divergence": "categorical",
    }
    activation = "softmax"
    outputs = softmax(LOGITS[:4])


def mean_over_labels(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


@exact_jax()
def test_second_derivative_where_the_pair_agrees():
    loss = RDropLoss(alpha=4.0, from_logits=True, reduction="sum", dtype="float64")
    labels, logits = np.ones((2, 1)), ops.convert_to_tensor([[0.7], [0.7]], "float64")

    def gradient(logits):
        return gradients(lambda logits: loss(labels, logits), [logits])[0]

    rows = [gradients(lambda x, i=i: gradient(x)[i], [logits])[0] for i in range(2)]
    slope = sigmoid(0.7) * (1 - sigmoid(0.7))
    # Both rows carry the divergence slope * (a - b)**2.
    expected = slope * np.eye(2) + 4 * slope * np.array([[1, -1], [-1, 1]])
    close(ops.squeeze(ops.stack(rows)), expected)


def test_a_pair_that_agrees_costs_exactly_the_base_loss():
    logits = RNG.normal(0, 3, (3, 77)).repeat(2, axis=0).astype("float32")
    labels = np.eye(77, dtype="float32")[[1, 1, 2, 2, 3, 3]]
    for divergence, activation in (("bernoulli", sigmoid), ("categorical", softmax)):
        name = "binary_crossentropy" if divergence == "bernoulli" else "categorical_crossentropy"
        for outputs, from_logits in ((logits, True), (activation(logits), False)):
            base = getattr(keras.losses, name)(labels, outputs, from_logits=from_logits)
            for divergence_reduction in ("mean", "sum"):
                loss = RDropLoss(name, 9.0, divergence, from_logits, divergence_reduction, None)
                np.testing.assert_array_equal(to_numpy(loss(labels, outputs)), to_numpy(base))


def test_extreme_scores_have_the_right_value():
    scores = ops.convert_to_tensor([[1e4, -1e4, 0, 5], [-1e4, 1e4, 1e4, 0]], "bfloat16")
    labels = np.array([[1.0, 0, 0, 0]] * 2, "float32")
    close(RDropLoss(from_logits=True)(labels, scores), 3e4 / 8 + 4.5e4, 1e-2)


def test_a_shift_of_all_logits_is_no_categorical_divergence():
    first = RNG.integers(-128, 128, 50) / 64
    second = first + RNG.integers(-2, 3, 50) / 64
    p, q = softmax(first), softmax(second)
    divergence = reference.kullback_leibler(p, q) + reference.kullback_leibler(q, p)
    loss = RDropLoss(mean_over_labels, 4e6, "categorical", from_logits=True, reduction=None)
    outputs = np.stack([first, second + 8192]).astype("float32")
    base = to_numpy(mean_over_labels(outputs * 0, outputs))
    rows = to_numpy(loss(outputs * 0, outputs)) - base
    close(rows[0], 1e6 * divergence, 1e-2)


def test_probabilities_of_0_and_1_stay_finite():
    outputs = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]], "float32")
    labels = np.array([[1.0, 0.0]] * 4, "float32")
    for kind in ("bernoulli", "categorical"):
        name = "binary_crossentropy" if kind == "bernoulli" else "categorical_crossentropy"
        loss = RDropLoss(name, divergence=kind, reduction=None).call
        rows, gradient = value_and_gradient(
            lambda x, loss=loss: loss(labels, x), outputs, FASTEST_MODE
        )
        rows = to_numpy(rows)
        assert np.isfinite(rows).all() and np.isfinite(to_numpy(gradient)).all()
        assert rows[0] > 10 and rows[2] < 1e-5


def seed_loss(labels, p, alpha=2):
    def divergence(p, q):
        return np.sum(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))

    both = divergence(p[::2], p[1::2]) + divergence(p[1::2], p[::2])
    cross_entropy = -np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p))
    return cross_entropy + alpha * both / 4


@exact_jax()
def test_the_sum_over_the_batch_gives_the_published_number():
    expected = seed_loss(LABELS, sigmoid(LOGITS))
    for outputs, from_logits in ((sigmoid(LOGITS), False), (LOGITS, True)):
        loss = RDropLoss(
            alpha=2, divergence_reduction="sum", from_logits=from_logits, dtype="float64"
        )
        close(loss(LABELS, outputs), expected)


def test_the_default_is_the_mean_over_pairs():
    p = sigmoid(LOGITS)
    base = -np.mean(LABELS * np.log(p) + (1 - LABELS) * np.log(1 - p), axis=-1)
    divergence = (reference.r_drop(base, p, 4.0, "bernoulli") - base)[::2]
    close(RDropLoss(from_logits=True)(LABELS, LOGITS), base.mean() + divergence.mean(), 1e-5)
    loss = RDropLoss(from_logits=True, reduction="sum")
    close(loss(LABELS, LOGITS), base.sum() + 2 * divergence.sum(), 1e-5)


@pytest.mark.parametrize(
    ("loss", "labels"),
    [
        (multilabel_categorical_crossentropy, LABELS),
        (MultilabelCategoricalCrossentropy(reduction="sum", dtype="float16"), LABELS),
        (keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.2), LABELS),
        (keras.losses.BinaryCrossentropy, LABELS),
        ("BinaryCrossentropy", LABELS),
        (keras.losses.binary_crossentropy, LABELS),
        ("binary_focal_crossentropy", LABELS),
        ({"class_name": "BinaryCrossentropy", "config": {"from_logits": True}}, LABELS),
        (sparse_multilabel_categorical_crossentropy, np.array([[0, 2], [-1, 3], [1, 1]])),
        (SparseMultilabelCategoricalCrossentropy(), np.array([[0, 2], [-1, 3], [1, 1]])),
        (mean_over_labels, LABELS),
        (keras.losses.MeanSquaredError(reduction="sum"), LABELS),
        ("MeanSquaredError", LABELS),
    ],
)
@exact_jax()
def test_every_kind_of_base_loss(loss, labels):
    labels = labels if len(labels) == 6 else labels.repeat(2, axis=0)
    r_drop = RDropLoss(loss, from_logits=True, alpha=0.0, reduction=None)
    base = keras.losses.get(loss)
    if isinstance(base, keras.losses.Loss) and hasattr(base, "from_logits"):
        base.from_logits = True
        base = type(base).from_config({**base.get_config(), "reduction": None})
        expected = base(labels, LOGITS)
    elif isinstance(base, keras.losses.Loss):
        expected = base.call(labels, LOGITS)
    elif loss in ("binary_focal_crossentropy", keras.losses.binary_crossentropy):
        expected = base(labels, LOGITS, from_logits=True)
    else:
        expected = base(labels, LOGITS)
    close(r_drop(labels, LOGITS), expected, 1e-5)
    again = keras.losses.deserialize(
        keras.losses.serialize(r_drop), custom_objects={"mean_over_labels": mean_over_labels}
    )
    close(again(labels, LOGITS), r_drop(labels, LOGITS))


def test_sparse_labels_of_a_softmax():
    labels = np.array([1, 1, 3, 3, 0, 0])
    loss = RDropLoss("sparse_categorical_crossentropy", divergence="categorical", from_logits=True)
    dense = RDropLoss("categorical_crossentropy", divergence="categorical", from_logits=True)
    close(loss(labels, LOGITS), dense(ONE_HOT, LOGITS), 1e-5)


def test_labels_of_one_column_may_be_flat():
    outputs, labels = sigmoid(LOGITS[:, :1]), LABELS[:, 0]
    close(RDropLoss()(labels, outputs), RDropLoss()(labels[:, None], outputs))


def small_model(loss, jit_compile="auto", policy="float32", run_eagerly=False):
    layers = [
        keras.Input((8,)),
        keras.layers.Dropout(0.3, seed=1),
        keras.layers.Dense(4, dtype=policy),
    ]
    model = keras.Sequential(layers)
    optimizer = keras.optimizers.SGD(0.01)
    model.compile(optimizer, loss, jit_compile=jit_compile, run_eagerly=run_eagerly)
    return model


X = RNG.normal(size=(3, 8)).repeat(2, axis=0)


def test_evaluation_costs_the_base_loss_alone():
    loss = RDropLoss(multilabel_categorical_crossentropy, from_logits=True)
    model = small_model(loss)
    base = MultilabelCategoricalCrossentropy()(LABELS, model.predict(X, verbose=0))
    close(model.evaluate(X, LABELS, verbose=0), base, 1e-5)


TORN = np.concatenate([LABELS[:1], 1 - LABELS[1:2], LABELS[2:]])


@pytest.mark.parametrize("run_eagerly", [True, False])
@pytest.mark.parametrize(
    ("labels", "message"), [(TORN, "differ: pass `shuffle=False`"), (LABELS[:5], "even batch")]
)
def test_torn_pairs_and_odd_batches_raise_before_the_update(labels, message, run_eagerly):
    error = ValueError
    if BACKEND == "jax" and labels is TORN and not run_eagerly:
        pytest.skip("JAX cannot raise from compiled code")
    if BACKEND == "tensorflow" and not run_eagerly:
        import tensorflow as tf

        error = tf.errors.InvalidArgumentError
    model = small_model(RDropLoss(from_logits=True), run_eagerly=run_eagerly)
    with raises_before_the_update(model, error, message):
        model.fit(X[: len(labels)], labels, batch_size=6, shuffle=False, verbose=0)


@needs_xla
def test_with_xla_a_torn_pair_makes_the_loss_nan_and_moves_no_weight():
    model = small_model(RDropLoss(from_logits=True), jit_compile=True)
    before = model.get_weights()
    history = model.fit(X, TORN, batch_size=6, shuffle=False, verbose=0).history
    assert np.isnan(history["loss"][0])
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@needs_xla
def test_with_xla_an_odd_batch_raises():
    model = small_model(RDropLoss(from_logits=True), jit_compile=True)
    with pytest.raises(ValueError, match=r"even batch.*\(3, 4\)"):
        model.fit(X[:3], LABELS[:3], batch_size=3, shuffle=False, verbose=0)
    error, message = ValueError, r"even batch.*\(1, 4\)"
    if BACKEND == "tensorflow":  # Where the batch size is unknown to the graph.
        import tensorflow as tf

        error, message = tf.errors.InvalidArgumentError, None
    model = small_model(RDropLoss(from_logits=True), jit_compile=True)
    with pytest.raises(error, match=message):
        model.fit(X[:5], LABELS[:5], batch_size=4, shuffle=False, verbose=0)


def test_symbolic_scores():
    outputs = RDropLoss(from_logits=True).call(keras.Input((4,)), keras.Input((4,)))
    assert outputs.shape == (None,)


def scalar_loss(y_true, y_pred):
    return ops.mean(y_pred)


def test_bad_arguments():
    for arguments, message in (
        ({"alpha": -1}, "`alpha` must be a finite number, 0 or more.*-1"),
        ({"alpha": float("nan")}, "alpha=nan"),
        ({"alpha": float("inf")}, "alpha=inf"),
        ({"divergence": "gauss"}, "`divergence` must be one of 'bernoulli', 'categorical'.*gauss"),
        ({"divergence_reduction": "max"}, "`divergence_reduction` must be one of 'mean', 'sum'"),
        ({"loss": None}, "`loss` must be a loss.*None"),
        ({"loss": "no_such_loss"}, "no_such_loss"),
        ({"loss": multilabel_categorical_crossentropy}, "takes scores: pass `from_logits=True`"),
        ({"loss": MultilabelCategoricalCrossentropy()}, "no activation"),
        ({"loss": sparse_multilabel_categorical_crossentropy}, "from_logits=True"),
        ({"loss": SparseMultilabelCategoricalCrossentropy()}, "from_logits=True"),
        ({"loss": "categorical_crossentropy"}, "needs `divergence=.categorical.`"),
        ({"loss": "SparseCategoricalCrossentropy"}, "needs `divergence=.categorical.`"),
        ({"loss": keras.losses.CategoricalCrossentropy()}, "independent labels"),
        ({"loss": "kl_divergence"}, "needs `divergence=.categorical.`"),
        ({"loss": functools.partial(multilabel_categorical_crossentropy)}, "takes scores"),
        ({"loss": RDropLoss()}, "would count twice"),
        (
            {"loss": keras.losses.BinaryCrossentropy(), "from_logits": True},
            "base loss has `from_logits=False`: build it with `from_logits=True`, or pass",
        ),
        (
            {"loss": keras.losses.BinaryCrossentropy(from_logits=True)},
            "base loss has `from_logits=True`",
        ),
        (
            {"loss": functools.partial(keras.losses.binary_crossentropy, from_logits=True)},
            "base loss has `from_logits=True`",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            RDropLoss(**arguments)


@pytest.mark.skipif(BACKEND == "jax", reason="there is no gradient penalty on JAX")
def test_refuses_a_gradient_penalty():
    penalty = GradientPenaltyLoss("mse", keras.layers.Embedding(2, 2))
    with pytest.raises(ValueError, match="Nest them the other way"):
        RDropLoss(penalty)


def test_bad_calls():
    for loss, labels, outputs, message in (
        ("binary_crossentropy", np.zeros(4), np.zeros(4), r"2 \* num_samples.*\(4,\)"),
        (mean_over_labels, np.zeros(()), np.zeros((2, 4)), r"2 \* num_samples"),
        ("binary_crossentropy", np.zeros(()), np.zeros((2, 4)), r"shape of `y_pred`.*\(2, 4\)"),
        ("binary_crossentropy", np.zeros((2, 0)), np.zeros((2, 0)), r"at least one label"),
        ("mse", np.ones((6, 1)), LOGITS, r"shape of `y_pred`.*\(6, 1\).*\(6, 4\)"),
        ("mse", np.ones(6), LOGITS, r"shape of `y_pred`.*\(6,\)"),
        ("binary_crossentropy", 2 * LABELS, LOGITS, r"between 0 and 1.*to 2\.0"),
        ("binary_crossentropy", np.nan * LABELS, LOGITS, "between 0 and 1.*nan"),
        (scalar_loss, LABELS, sigmoid(LOGITS), r"one value a row.*\(6, 4\).*shape \(\)"),
        ("binary_crossentropy", LABELS[:5], LOGITS[:5], r"even batch.*repeat_pairs.*\(5, 4\)"),
        ("binary_crossentropy", TORN, LOGITS, "labels differ.*repeat_pairs"),
        ("binary_crossentropy", LABELS, LOGITS, "must hold probabilities.*from_logits=True"),
        (
            "sparse_categorical_crossentropy",
            np.full(6, 4),
            softmax(LOGITS),
            "class indices from 0 to 3",
        ),
        ("huber", np.ones((6, 1)), LOGITS, r"shape of `y_pred`.*\(6, 1\).*\(6, 4\)"),
    ):
        kind = "categorical" if loss == "sparse_categorical_crossentropy" else "bernoulli"
        with pytest.raises(ValueError, match=message):
            RDropLoss(loss, divergence=kind)(labels, outputs)


def test_a_function_of_ones_own_may_be_called_categorical():
    def multilabel_categorical_crossentropy(y_true, y_pred):
        return mean_over_labels(y_true, y_pred)

    loss = RDropLoss(multilabel_categorical_crossentropy, from_logits=True, alpha=0.0)
    close(loss(LABELS, LOGITS), np.mean(np.square(LABELS - LOGITS)))
