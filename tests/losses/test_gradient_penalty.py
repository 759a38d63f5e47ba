import functools
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

import reference
from backends import BACKEND, tensorflow_only, to_numpy
from keras_mlc.losses import (
    GradientPenaltyLoss,
    MultilabelCategoricalCrossentropy,
    RDropLoss,
    SparseMultilabelCategoricalCrossentropy,
    multilabel_categorical_crossentropy,
)

REPEATED = np.array([[1, 2, 1], [3, 1, 3], [0, 2, 2], [1, 1, 1]], "int32")
DISTINCT = np.array([[0, 1, 2], [6, 4, 3]], "int32")
LABELS = np.array([[1, 0, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 0, 0]], "float64")
INDICES = np.array([[0, 2, -1], [3, 2, 2], [1, 0, -1], [1, -1, -1]])
WEIGHTS = np.array([1.0, 0.0, 2.5, 0.5])
EPSILON = 20.0
pytestmark = pytest.mark.skipif(BACKEND == "jax", reason="on JAX there is the trainer")
# Off TensorFlow, Keras takes means in float32.
EXACT = 1e-9 if BACKEND == "tensorflow" else 1e-6
Float64Loss = functools.partial(GradientPenaltyLoss, epsilon=EPSILON, dtype="float64")


def close(actual, expected, tolerance=1e-6):
    expected = to_numpy(expected)
    atol = tolerance * np.abs(expected).max()
    np.testing.assert_allclose(to_numpy(actual), expected, rtol=0, atol=atol)


def equal(weights, others):
    for weight, other in zip(weights, others, strict=True):
        np.testing.assert_array_equal(weight, other)


def embedding_layer(dtype="float64", **arguments):
    normal = keras.initializers.RandomNormal(stddev=1.0, seed=1)
    return keras.layers.Embedding(7, 2, normal, name="tokens", dtype=dtype, **arguments)


def head(dtype="float64", activation="sigmoid", name="labels"):
    normal = keras.initializers.RandomNormal(stddev=0.5, seed=2)
    return keras.layers.Dense(4, activation, True, normal, name=name, dtype=dtype)


def small_model(dtype="float64", activation="sigmoid", **arguments):
    tokens, embedding = keras.Input((3,), dtype="int32"), embedding_layer(dtype, **arguments)
    vectors = keras.layers.Flatten(dtype=dtype)(embedding(tokens))
    return keras.Model(tokens, head(dtype, activation)(vectors)), embedding


def nested_model():
    tokens, embedding = keras.Input((3,), dtype="int32"), embedding_layer()
    vectors = keras.layers.Flatten(dtype="float64")(embedding(tokens))
    encoder = keras.Sequential([keras.Model(tokens, vectors, name="inner")], name="encoder")
    return keras.Model(tokens, head()(encoder(tokens))), embedding


def naive_base(vectors, kernel, bias, labels=LABELS, weights=1.0):
    p = 1 / (1 + np.exp(-(vectors.reshape(len(vectors), -1) @ kernel + bias)))
    rows = -np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p), axis=-1)
    return np.mean(weights * rows)


def naive(matrix, kernel, bias, tokens=REPEATED, merge_repeats=True, **arguments):
    """Return the whole loss; the squares are those of the matrix, or of each vector looked up."""
    if merge_repeats:
        return reference.gradient_penalty(
            lambda e: naive_base(e[tokens], kernel, bias, **arguments), matrix, EPSILON
        )
    return reference.gradient_penalty(
        lambda v: naive_base(v, kernel, bias, **arguments), matrix[tokens], EPSILON
    )


def value(model, loss, x=REPEATED, labels=LABELS):
    return float(in_graph(lambda: loss(labels, model(x)))())


def in_graph(function, mode="graph"):
    """Return the function as the loss needs it: compiled on TensorFlow."""
    if BACKEND != "tensorflow":
        return function
    import tensorflow as tf

    return tf.function(function, jit_compile=mode == "xla", autograph=False)


def value_and_gradients(model, loss, x, labels, mode):
    def compute():
        if BACKEND == "torch":
            import torch

            value = loss(labels, model(x))
            sources = [v.value for v in model.trainable_variables]
            return value, torch.autograd.grad(value, sources)
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = loss(labels, model(x))
        return value, tape.gradient(value, [v.value for v in model.trainable_variables])

    value, gradients = in_graph(compute, mode)()
    return float(value), [to_numpy(ops.convert_to_tensor(gradient)) for gradient in gradients]


@pytest.mark.parametrize(
    ("tokens", "merge_repeats", "mode"),
    [
        (REPEATED, True, "graph"),
        pytest.param(REPEATED, True, "xla", marks=tensorflow_only),
        (REPEATED, False, "graph"),
        pytest.param(REPEATED, False, "xla", marks=tensorflow_only),
        (DISTINCT, True, "graph"),
        (DISTINCT, False, "graph"),
    ],
)
def test_value_and_gradient_agree_with_finite_differences(tokens, merge_repeats, mode):
    model, embedding = small_model()
    loss = Float64Loss("binary_crossentropy", embedding, merge_repeats=merge_repeats)
    labels, weights = LABELS[: len(tokens)], model.get_weights()

    def whole(*weights, merge_repeats=merge_repeats):
        return naive(*weights, tokens, merge_repeats, labels=labels)

    value, gradients = value_and_gradients(model, loss, tokens, labels, mode)
    close(value, whole(*weights), EXACT)
    assert value > 1.05 * naive_base(weights[0][tokens], *weights[1:], labels)
    other = whole(*weights, merge_repeats=not merge_repeats)
    assert (abs(value - other) > 1e-4) == (tokens is REPEATED)
    for actual, expected in zip(
        gradients, reference.all_finite_differences(whole, weights), strict=True
    ):
        close(actual, expected, 1e-5)


@pytest.mark.parametrize(
    ("options", "merge_repeats"),
    [
        pytest.param({"jit_compile": True}, False, marks=tensorflow_only),
        pytest.param({"jit_compile": False, "steps_per_execution": 2}, True, marks=tensorflow_only),
        ({}, True),
        ({}, False),
    ],
)
def test_a_step_of_fit_moves_the_weights_as_finite_differences_say(options, merge_repeats):
    model, embedding = small_model()
    loss = Float64Loss("bce", embedding, merge_repeats=merge_repeats)
    model.compile(keras.optimizers.SGD(0.5), loss, **options)

    def whole(*weights):
        return naive(*weights, merge_repeats=merge_repeats, weights=WEIGHTS)

    before = model.get_weights()
    reported = model.evaluate(REPEATED, LABELS, 4, sample_weight=WEIGHTS, verbose=0)
    history = model.fit(REPEATED, LABELS, 4, sample_weight=WEIGHTS, verbose=0).history
    close(history["loss"][0], whole(*before))
    base = naive_base(before[0][REPEATED], *before[1:], weights=WEIGHTS)
    close(reported, whole(*before) if BACKEND == "tensorflow" else base)
    gradients = reference.all_finite_differences(whole, before)
    for old, new, gradient in zip(before, model.get_weights(), gradients, strict=True):
        close((old - new) / 0.5, gradient, 1e-5)


@pytest.mark.parametrize(
    ("dtype", "certainty"),
    [*(("mixed_float16", certainty) for certainty in (0, 10, 18, 24)), ("mixed_bfloat16", 18)],
)
def test_a_tiny_gradient_neither_underflows_nor_overflows(dtype, certainty):
    labels = np.tile(LABELS[0], (4, 1))
    penalties = []
    for policy in ("float32", dtype):
        model, embedding = small_model(policy, activation=None)
        model.layers[-1].bias.assign(certainty * (2 * labels[0] - 1))
        base = keras.losses.BinaryCrossentropy(from_logits=True)
        # The penalty shrinks with the square of the base loss.
        loss = GradientPenaltyLoss(base, embedding, epsilon=np.exp(2 * certainty))
        penalties.append(value(model, loss, labels=labels) - value(model, base, labels=labels))
    assert penalties[0] > 1e-3
    close(penalties[1], penalties[0], 0.2 if dtype == "mixed_bfloat16" else 0.05)


@pytest.fixture
def reset_policy():
    yield
    keras.config.set_dtype_policy("float32")


@functools.cache
def change_of_weights(policy, loss_dtype=None):
    keras.config.set_dtype_policy(policy)
    model, embedding = small_model(policy)
    loss = GradientPenaltyLoss("binary_crossentropy", embedding, EPSILON, dtype=loss_dtype)
    optimizer = keras.optimizers.SGD(1.0)
    if loss_dtype == "float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=64.0)
    model.compile(optimizer, loss)
    before = model.get_weights()
    model.fit(REPEATED, LABELS, verbose=0)
    return [new - old for old, new in zip(before, model.get_weights(), strict=True)]


@pytest.mark.parametrize(
    "arguments", [("mixed_float16",), ("mixed_float16", "float16"), ("mixed_bfloat16",)]
)
def test_half_precision_trains_like_float32(arguments, reset_policy):
    expected = change_of_weights("float32")
    for actual, change in zip(change_of_weights(*arguments), expected, strict=True):
        close(actual, change, 0.02)


@tensorflow_only
def test_eager_execution_raises_before_the_update():
    model, embedding = small_model()
    model.compile("sgd", GradientPenaltyLoss("mse", embedding), run_eagerly=True)
    before = model.get_weights()
    with pytest.raises(RuntimeError, match=r"compiled code on TensorFlow.*`run_eagerly=False`"):
        model.fit(REPEATED, LABELS, verbose=0)
    equal(before, model.get_weights())


def test_with_an_epsilon_of_0_it_is_the_base_loss_also_eagerly():
    model, embedding = small_model()
    loss = GradientPenaltyLoss("binary_crossentropy", embedding, 0, dtype="float64")
    matrix, kernel, bias = model.get_weights()
    close(loss(LABELS, model(REPEATED)), naive_base(matrix[REPEATED], kernel, bias))
    close(ops.mean(loss.call(LABELS, model(REPEATED))), loss(LABELS, model(REPEATED)))


class TiedModel(keras.Model):
    def __init__(self):
        super().__init__(dtype="float64")
        self.tokens = embedding_layer()

    def call(self, tokens):
        vectors = ops.mean(ops.tanh(self.tokens(tokens)), axis=1)
        return ops.matmul(vectors, ops.transpose(self.tokens.embeddings))


@pytest.mark.parametrize(
    ("merge_repeats", "mode"),
    [(True, "graph"), pytest.param(False, "xla", marks=tensorflow_only), (False, "graph")],
)
def test_an_embedding_that_is_also_the_output_projection(merge_repeats, mode):
    model, labels = TiedModel(), np.eye(7)[REPEATED].max(axis=1)
    model(REPEATED)
    base = MultilabelCategoricalCrossentropy(reduction="sum", dtype="float64")
    loss = Float64Loss(base, model.tokens, merge_repeats=merge_repeats)

    def whole(matrix):
        def plain(matrix):
            scores = np.tanh(matrix[REPEATED]).mean(axis=1) @ matrix.T
            return reference.multilabel_categorical_crossentropy(labels, scores).sum()

        return reference.gradient_penalty(plain, matrix, EPSILON)

    (matrix,) = model.get_weights()
    actual, (gradient,) = value_and_gradients(model, loss, REPEATED, labels, mode)
    close(actual, whole(matrix))
    close(gradient, *reference.all_finite_differences(whole, [matrix]), 1e-5)


@pytest.mark.parametrize("merge_repeats", [True, False])
def test_several_inputs_share_an_embedding(merge_repeats):
    embedding = embedding_layer()
    inputs = {name: keras.Input((3,), dtype="int32", name=name) for name in ("a", "b")}
    both = keras.layers.Concatenate(axis=1, dtype="float64")(list(map(embedding, inputs.values())))
    model = keras.Model(inputs, head()(keras.layers.Flatten(dtype="float64")(both)))
    loss = Float64Loss("bce", embedding, merge_repeats=merge_repeats)
    x = {"a": REPEATED, "b": REPEATED[::-1]}
    tokens = np.concatenate(list(x.values()), axis=1)
    close(value(model, loss, x), naive(*model.get_weights(), tokens, merge_repeats))


def test_each_output_has_its_penalty_and_other_losses_have_none():
    model, embedding = small_model("float32", embeddings_regularizer=keras.regularizers.L2(0.1))
    vectors = keras.layers.ActivityRegularization(l2=0.2)(model.layers[2].output)
    second = head("float32", name="second")(vectors)
    model = keras.Model(model.input, [model.output, second])
    model.layers[-1].bias.assign([1, 2, 3, 4])
    shared = {"loss": "binary_crossentropy", "embedding": embedding, "epsilon": EPSILON}
    losses = [GradientPenaltyLoss(merge_repeats=m, **shared) for m in (True, False)]
    model.compile("sgd", losses)
    matrix, *weights = [weight.astype("float64") for weight in model.get_weights()]
    model(REPEATED)
    others = float(sum(model.losses))
    assert others > 0.1 * np.sum(matrix**2)
    first = naive(matrix, *weights[:2])
    second = naive(matrix, *weights[2:], merge_repeats=False, labels=1 - LABELS)
    history = model.fit(REPEATED, [LABELS, 1 - LABELS], verbose=0).history
    actual = [history[name][0] for name in ("loss", "labels_loss", "second_loss")]
    close(actual, [first + second + others, first, second])


def test_masked_steps_count_neither_in_the_loss_nor_in_the_penalty():
    tokens, embedding = keras.Input((3,), dtype="int32"), embedding_layer(mask_zero=True)
    model = keras.Model(tokens, head()(embedding(tokens)))
    x, labels = np.array([[1, 2, 0], [1, 0, 0]], "int32"), np.tile(LABELS[:3], (2, 1, 1))
    expected = naive(*model.get_weights(), np.array([1, 2, 1]), labels=LABELS[[0, 1, 0]])
    close(value(model, Float64Loss("bce", embedding), x, labels), expected)


SCRIPT = """
import json, sys
import keras, numpy as np, tensorflow as tf
from keras_mlc.losses import GradientPenaltyLoss
devices = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
x, y, weights = json.loads(sys.argv[1])
for merge_repeats in (True, False):
    with strategy.scope():
        layers = [keras.layers.Embedding(7, 2), keras.layers.Flatten()]
        layers = [keras.Input((3,), dtype="int32"), *layers, keras.layers.Dense(4, "sigmoid")]
        model = keras.Sequential(layers)
        loss = GradientPenaltyLoss("binary_crossentropy", layers[1], 20.0, merge_repeats)
        model.compile(keras.optimizers.SGD(0.5), loss)
    model.set_weights(list(map(np.array, weights)))
    loss = model.fit(np.array(x), np.array(y), verbose=0).history["loss"][0]
    print(json.dumps([loss, *(weight.tolist() for weight in model.get_weights())]))
"""


@tensorflow_only
@pytest.mark.slow
def test_replicas_train_like_one_device():
    before = small_model()[0].get_weights()
    data = json.dumps([REPEATED.tolist(), LABELS.tolist(), [w.tolist() for w in before]])
    done = subprocess.run([sys.executable, "-c", SCRIPT, data], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for line, merge_repeats in zip(done.stdout.splitlines(), (True, False), strict=True):
        loss, *after = json.loads(line)
        whole = functools.partial(naive, merge_repeats=merge_repeats)
        close(loss, whole(*before), 1e-5)
        for old, new, gradient in zip(
            before, after, reference.all_finite_differences(whole, before), strict=True
        ):
            close((old - new) / 0.5, gradient, 1e-4)


@keras.saving.register_keras_serializable("tests")
def squares(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


BCE_SUM = keras.losses.BinaryCrossentropy(label_smoothing=0.1, reduction="sum", dtype="float64")
MSE, MSE_SUM = (keras.losses.MeanSquaredError(r, dtype="float64") for r in ("mean", "sum"))
MULTILABEL = MultilabelCategoricalCrossentropy("mean_with_sample_weight", dtype="float64")
SPARSE = SparseMultilabelCategoricalCrossentropy(dtype="float64")
R_DROP = RDropLoss(MULTILABEL, from_logits=True, dtype="float64")
MSE_CONFIG = {"class_name": "MeanSquaredError", "config": {"reduction": "sum"}}


@pytest.mark.parametrize(
    ("loss", "reduction", "same_as", "labels"),
    [
        ("mse", "sum", MSE_SUM, LABELS),
        ("MeanSquaredError", "sum", MSE_SUM, LABELS),
        (keras.losses.mean_squared_error, "sum", MSE_SUM, LABELS),
        (squares, "mean_with_sample_weight", MSE, LABELS),
        (keras.losses.MeanSquaredError, "auto", MSE, LABELS),
        (MSE_CONFIG, "sum", MSE_SUM, LABELS),
        (multilabel_categorical_crossentropy, "auto", MULTILABEL, LABELS),
        (BCE_SUM, "auto", BCE_SUM, LABELS),
        (MULTILABEL, "mean_with_sample_weight", MULTILABEL, LABELS),
        (SPARSE, "mean", SPARSE, INDICES),
        (R_DROP, "auto", R_DROP, LABELS[[0, 0, 1, 1]]),
    ],
)
def test_every_kind_of_base_loss_also_from_its_config(loss, reduction, same_as, labels):
    model, embedding = small_model()
    loss = Float64Loss(loss, embedding, reduction=reduction)
    again = keras.losses.deserialize(keras.losses.serialize(loss)).bind(model)
    assert again.get_config() == loss.get_config()
    matrix, kernel, bias = model.get_weights()

    def plain(matrix):
        vectors = matrix[REPEATED].reshape(4, 6)
        return float(same_as(labels, 1 / (1 + np.exp(-(vectors @ kernel + bias)))))

    expected = reference.gradient_penalty(plain, matrix, EPSILON)
    # Keras's own losses forget their dtype, float64 here, when they are saved. Differences of
    # means in float32 are coarse.
    tolerance = 1e-5 if BACKEND == "tensorflow" else 1e-2
    close(value(model, again, labels=labels), expected, tolerance)


@pytest.mark.parametrize(
    ("true_shape", "pred_shape"),
    [((4,), (4, 1)), ((4, 3), (4, 3, 1)), ((4, 1), (4,)), ((4, 3, 1), (4, 3)), ((4, 2), (4, 2))],
)
def test_labels_and_scores_of_one_column_match_as_in_keras(true_shape, pred_shape):
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.normal(size=true_shape), rng.normal(size=pred_shape)
    _, embedding = small_model()
    loss = GradientPenaltyLoss(squares, embedding, 0)
    close(loss(y_true, y_pred), keras.losses.MeanSquaredError()(y_true, y_pred))


@pytest.mark.parametrize("given", ["variable", "inner/tokens"])
def test_saving_loading_binding_and_training_on(given, tmp_path):
    model, layer = nested_model()
    arguments = {"epsilon": EPSILON, "merge_repeats": False, "reduction": "mean", "name": "flat"}
    embedding = layer.embeddings if given == "variable" else given
    loss = GradientPenaltyLoss("bce", embedding, dtype="float64", **arguments)
    if embedding is given:
        assert loss.bind(model) is loss and loss.embedding is layer
    model.compile("adam", loss)
    shared = {"x": REPEATED, "y": LABELS, "verbose": 0}
    history = model.fit(**shared, epochs=2, shuffle=False).history
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert again.loss.get_config() == loss.get_config()
    assert loss.get_config().items() >= {**arguments, "loss": "bce", "dtype": "float64"}.items()
    equal(model.get_weights(), again.get_weights())
    with pytest.raises(ValueError, match=r"only by its name 'tokens.*`model\.loss\.bind\(model\)`"):
        again.fit(**shared)
    again.loss.bind(again)
    reported = value(again, again.loss)
    close(reported, naive(*again.get_weights(), merge_repeats=False))
    assert reported < history["loss"][1] < history["loss"][0]
    for each in (model, again):
        each.fit(**shared, epochs=2, shuffle=False)
    equal(model.get_weights(), again.get_weights())


@tensorflow_only
def test_lora_is_penalized_at_the_effective_matrix_and_moves_the_factors():
    model, embedding = small_model()
    embedding.enable_lora(2)
    embedding.lora_embeddings_b.assign([[0.3, -0.2], [0.1, 0.4]])
    model.compile(keras.optimizers.SGD(0.5), Float64Loss("bce", embedding))
    factors = [v.numpy() for v in (embedding.lora_embeddings_a, embedding.lora_embeddings_b)]
    frozen, head_weights = embedding.get_weights()[0], model.layers[-1].get_weights()

    def whole(a, b):
        return naive(frozen + a @ b, *head_weights)

    reported = model.fit(REPEATED, LABELS, verbose=0).history["loss"][0]
    gradients = reference.all_finite_differences(
        whole, [factor.astype("float64") for factor in factors]
    )
    close(reported, whole(*factors), 1e-5)
    after = [v.numpy() for v in (embedding.lora_embeddings_a, embedding.lora_embeddings_b)]
    for old, new, gradient in zip(factors, after, gradients, strict=True):
        close((old - new) / 0.5, gradient, 1e-4)
    equal([frozen], embedding.get_weights()[:1])
    embedding.trainable = False
    with pytest.raises(ValueError, match="'tokens/embeddings' is not trainable"):
        value(model, model.loss)


def test_an_embedding_that_takes_no_part_raises_before_the_update():
    model, embedding = small_model("float32")
    other = keras.layers.Embedding(7, 4, name="other")
    model = keras.Model(model.input, [model.output, other(model.input)])
    model.compile("sgd", [GradientPenaltyLoss("mse", other), None])
    before = model.get_weights()
    with pytest.raises(ValueError, match="'other/embeddings' takes no part in the loss"):
        model.fit(REPEATED, [LABELS, np.zeros((4, 3, 4))], verbose=0)
    equal(before, model.get_weights())
    y_pred, loss = model(REPEATED)[0], GradientPenaltyLoss("mse", embedding)
    if BACKEND == "tensorflow":
        with pytest.raises(ValueError, match=r"takes no part.*inside one `tf\.function`"):
            in_graph(loss)(LABELS, y_pred)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epsilon": -1}, "`epsilon` must be a finite number, 0 or more.*-1"),
        ({"epsilon": float("nan")}, "epsilon=nan"),
        ({"epsilon": float("inf")}, "epsilon=inf"),
        ({"epsilon": "1"}, "epsilon='1'"),
        ({"embedding": None}, "`embedding` must be a layer, its variable.*None"),
        ({"embedding": ""}, "or the layer's name.*''"),
        ({"embedding": np.zeros(2)}, "`embedding` must be.*ndarray"),
        ({"loss": None}, "`loss` must be a loss.*None"),
        ({"loss": 3}, "loss identifier: 3"),
        ({"loss": "no_such_loss"}, "no_such_loss"),
        ({"reduction": None}, "one number: `reduction` must be one of .*'sum'.*None"),
        ({"reduction": "none"}, "reduction='none'"),
        ({"reduction": "max"}, "reduction='max'"),
        ({"loss": MSE_SUM, "reduction": "mean"}, "'mean'` contradicts .* base loss, 'sum'"),
        ({"loss": MSE, "reduction": None}, "`reduction=None` contradicts"),
        ({"loss": keras.losses.MeanSquaredError(None)}, "one number.*None"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        GradientPenaltyLoss(**{"loss": "mse", "embedding": "tokens", **arguments})
