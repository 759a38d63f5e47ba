import keras
import numpy as np
import pytest
from keras import layers, ops

import reference
from backends import BACKEND, exact_jax, tensorflow_only
from keras_mlc._labels import concrete_value
from keras_mlc.losses import RDropLoss
from training.fgm_models import (
    LABELS,
    TOKENS,
    differ,
    noisy_model,
    same,
    text_model,
    train,
    trainer_of,
    values,
)

EAGER, GRAPH = {"run_eagerly": True}, {}
SEVERAL_STEPS = {} if BACKEND == "torch" else {"steps_per_execution": 3}
XLA = {"jit_compile": BACKEND != "torch", **SEVERAL_STEPS}
sees_values = pytest.mark.skipif(BACKEND == "jax", reason="JAX traces gradients also eagerly")
SAMPLE_WEIGHTS = np.array([1.0, 0.5, 2.0])
REPEATED = np.array([[0, 1, 1], [4, 1, 0], [2, 2, 2]])
DISTINCT = np.arange(9).reshape(3, 3)


@pytest.fixture
def float64():
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    with exact_jax():
        yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


class TokenScores(layers.Layer):
    """Scores tokens by the vectors that they are looked up in."""

    def __init__(self, embedding):
        super().__init__()
        self.embedding = embedding

    def call(self, inputs):
        return ops.matmul(inputs, ops.transpose(self.embedding.embeddings))


class AddedLoss(layers.Layer):
    def call(self, inputs):
        self.add_loss(0.3 * ops.mean(ops.square(inputs)))
        return inputs


class Problem:
    """A model in float64, and the same objective in NumPy as a function of its weights."""

    def __init__(self, tokens, kind):
        keras.utils.set_random_seed(1)
        rng = np.random.default_rng(2)
        self.tokens, self.kind = tokens, kind
        # Exact in float32, to which some backends cast labels.
        self.labels = rng.integers(-8, 8, (3, 9 if kind == "tied" else 2)) / 8
        regularizer = keras.regularizers.L2(0.2) if kind == "penalized" else None
        embedding = layers.Embedding(9, 2, embeddings_regularizer=regularizer, name="tokens")
        inputs = keras.Input((3,), dtype="int32")
        outputs = layers.GlobalAveragePooling1D()(embedding(inputs))
        if kind == "penalized":
            outputs = AddedLoss()(outputs)
        head = TokenScores(embedding) if kind == "tied" else layers.Dense(2)
        self.model = keras.Model(inputs, ops.tanh(head(outputs)))
        self.variables = self.model.trainable_variables
        if kind == "lora":
            embedding.enable_lora(2)
            self.variables = [self.variables[0], *self.model.trainable_variables]
        for variable in self.variables:
            variable.assign(rng.normal(0, 0.5, variable.shape))

    def objective(self, matrix, *rest, delta=0):
        if self.kind == "lora":
            matrix = matrix + rest[0] @ rest[1]
        pooled = (matrix + delta)[self.tokens].mean(axis=1)
        scores = pooled @ matrix.T if self.kind == "tied" else pooled @ rest[-2] + rest[-1]
        rows = np.mean((np.tanh(scores) - self.labels) ** 2, axis=-1)
        loss = np.mean(SAMPLE_WEIGHTS * rows)
        if self.kind == "penalized":
            loss += 0.3 * np.mean(pooled**2) + 0.2 * np.sum(matrix**2)
        return loss

    def check_step(self, clean_weight, mode):
        before = [weight.astype("float64") for weight in values(self.variables)]
        trainer = trainer_of(self.model, epsilon=0.7, clean_weight=clean_weight)
        trainer.compile(keras.optimizers.SGD(0.25), "mse", **mode)
        trainer.train_on_batch(self.tokens, self.labels, SAMPLE_WEIGHTS)
        found = reference.fgm_gradients(self.objective, before, 0.7, clean_weight)
        expected = [weight - 0.25 * g for weight, g in zip(before, found, strict=True)]
        if self.kind == "lora":
            expected[0] = before[0]
        # Keras keeps the factors of LoRA in float32, and off TensorFlow takes means in float32.
        is_exact = self.kind != "lora" and BACKEND == "tensorflow"
        same(values(self.variables), expected, 1e-8 if is_exact else 1e-6)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", ["plain", "penalized", "tied", "lora"])
def test_a_step_agrees_with_the_naive_form(kind):
    for tokens, clean_weight in ((REPEATED, 0), (REPEATED, 0.5), (DISTINCT, 0.5)):
        Problem(tokens, kind).check_step(clean_weight, EAGER)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("mode", [GRAPH, XLA], ids=["graph", "xla"])
def test_a_compiled_step_agrees_with_the_naive_form(mode):
    Problem(REPEATED, "penalized").check_step(0.5, mode)


@pytest.mark.parametrize("mode", [EAGER, SEVERAL_STEPS], ids=["eager", "several steps"])
def test_without_a_perturbation_training_is_plain(mode):
    models, trained = [noisy_model(), noisy_model()], []
    for model in (models[0], trainer_of(models[1], epsilon=0)):
        optimizer = keras.optimizers.SGD(0.5, momentum=0.9, clipnorm=0.1)
        logs = train(model, optimizer=optimizer, metrics=["binary_accuracy"], **mode)
        trained.append((logs, values(optimizer.variables)))
    for actual, expected in zip(trained[1], trained[0], strict=True):
        same(actual, expected)
    same(values(models[1].variables), values(models[0].variables))


def test_both_passes_see_the_same_dropout_draws():
    plain, model = noisy_model(), noisy_model()
    train(plain, optimizer=keras.optimizers.SGD(0.5), **EAGER)
    trainer = trainer_of(model, epsilon=0, clean_weight=1)
    train(trainer, optimizer=keras.optimizers.SGD(0.25), **EAGER)
    same(values(model.variables), values(plain.variables), 1e-5)


def test_what_a_step_reports_and_its_state_are_those_of_the_clean_pass():
    plain, model = noisy_model(), noisy_model()
    trainer, logs = trainer_of(model), []
    for each in (plain, trainer):
        each.compile("sgd", "binary_crossentropy", metrics=["binary_accuracy"], **EAGER)
        logs.append(each.train_on_batch(TOKENS, LABELS, return_dict=True))
    same(logs[1], logs[0])
    same(values(model.non_trainable_variables), values(plain.non_trainable_variables))
    assert differ(values(model.trainable_variables)[:1], values(plain.trainable_variables)[:1])


@pytest.mark.parametrize(
    ("policy", "mode"),
    [
        ("float64", EAGER),
        ("bfloat16", EAGER),
        ("mixed_bfloat16", EAGER),
        ("mixed_float16", EAGER),
        ("mixed_float16", XLA),
    ],
)
def test_the_perturbation_leaves_no_trace(policy, mode):
    model = noisy_model(policy)
    before = values(model.trainable_variables)
    history = train(trainer_of(model), optimizer=keras.optimizers.SGD(0.0), **mode)
    same(values(model.trainable_variables), before)
    assert np.isfinite(history["loss"]).all()


class Dead(layers.Layer):
    """Returns zeros whose gradient is zero, NaN, or too large for its norm."""

    def __init__(self, gradient, **kwargs):
        super().__init__(**kwargs)
        self.gradient = gradient

    def call(self, inputs):
        if self.gradient == "nan":
            return ops.sqrt(0 * inputs)
        zeros = inputs - ops.stop_gradient(inputs)
        return zeros * (1e25 if self.gradient == "overflow" else 0)


@pytest.mark.parametrize("gradient", ["zero", "nan", "overflow"])
def test_without_a_usable_gradient_the_step_is_plain(gradient):
    plain, model = text_model(Dead(gradient)), text_model(Dead(gradient))
    for each in (plain, trainer_of(model)):
        each.compile(keras.optimizers.SGD(1e-20), "binary_crossentropy", **EAGER)
        each.train_on_batch(TOKENS, LABELS)
    same(values(model.variables), values(plain.variables))
    assert np.isnan(values(model.variables)[0]).any() == (gradient == "nan")


def scaled(scale, **options):
    inner = keras.optimizers.SGD(0.5, **options)
    return keras.optimizers.LossScaleOptimizer(inner, initial_scale=scale)


def test_the_perturbation_does_not_depend_on_the_loss_scale():
    after = []
    for dtype, scale in (("float32", 1.0), ("mixed_float16", 2.0**4), ("mixed_float16", 2.0**11)):
        model = text_model(dtype=dtype)
        trainer = trainer_of(model)
        trainer.compile(scaled(scale), "binary_crossentropy", run_eagerly=True)
        trainer.train_on_batch(TOKENS, LABELS)
        after.append(values(model.variables))
    same(after[1], after[2])
    same(after[1], after[0], 1e-3)


def small_loss(y_true, y_pred):
    return 2.0**-26 * ops.mean(ops.square(y_true - y_pred), axis=-1)


def test_a_fixed_loss_scale_does_not_move_the_small_constant_of_the_norm():
    after = []
    for scale in (None, 1024.0):
        keras.utils.set_random_seed(1)
        # Keras cannot scale sparse gradients back; a regularizer makes them dense.
        regularizer = keras.regularizers.L2(0.0)
        embedding = layers.Embedding(7, 3, embeddings_regularizer=regularizer, name="tokens")
        model = text_model(embedding=embedding)
        trainer = trainer_of(model, clean_weight=0.5)
        optimizer = keras.optimizers.SGD(2.0**26, loss_scale_factor=scale)
        trainer.compile(optimizer, small_loss, **EAGER)
        trainer.train_on_batch(TOKENS, LABELS)
        after.append(values(model.variables))
    same(after[0], after[1])


def test_half_precision_gradients_are_squared_in_float32():
    weights, after = text_model().get_weights(), []
    for dtype in ("float32", "float16"):
        model = text_model(dtype=dtype)
        model.set_weights(weights)
        trainer = trainer_of(model)
        trainer.compile(
            keras.optimizers.SGD(2.0**10),
            lambda y_true, y_pred: 2.0**16 * small_loss(y_true, y_pred),
            **EAGER,
        )
        trainer.train_on_batch(TOKENS, LABELS)
        after.append(values(model.variables))
    same(after[1], after[0], 0.01)


@pytest.mark.parametrize(
    ("scale", "epsilon", "mode"),
    [(1e30, 1, GRAPH), (2.0**12, 1e6, EAGER)],
    ids=["clean", "perturbed"],
)
def test_a_step_that_the_loss_scale_skips_changes_nothing(scale, epsilon, mode):
    model = noisy_model("mixed_float16")
    trainer = trainer_of(model, epsilon=epsilon)
    trainer.compile(scaled(scale), "mse", **mode)
    before = values(model.variables)
    logs = trainer.train_on_batch(TOKENS, LABELS, return_dict=True)
    same(values(model.variables), before)
    assert trainer.optimizer.dynamic_scale.numpy() == np.float32(scale) / 2
    assert 0 < logs["loss"] < 2


def test_accumulating_gradients_is_no_skipped_step():
    plain, model = noisy_model("mixed_float16"), noisy_model("mixed_float16")
    for each in (plain, trainer_of(model)):
        each.compile(scaled(16.0, gradient_accumulation_steps=2), "binary_crossentropy", **EAGER)
        each.train_on_batch(TOKENS, LABELS)
    same(values(model.variables), values(plain.variables))


class Limit(layers.Layer):
    """Raises where its inputs are too large, in one of the ways that users do it."""

    def __init__(self, way, **kwargs):
        super().__init__(**kwargs)
        self.way = way

    def call(self, inputs):
        if keras.backend.is_keras_tensor(inputs):
            return inputs
        if self.way == "python":
            largest = concrete_value(ops.max(ops.abs(inputs)))
            if largest is not None and largest > 5:
                raise ArithmeticError("too large")
            return inputs
        import tensorflow as tf

        is_fine = tf.reduce_max(tf.abs(inputs)) < 5
        if self.way == "lookup":
            return inputs + tf.gather([0.0], tf.where(is_fine, 0, 1), name="too_large")
        if self.way == "assertion":
            tf.debugging.Assert(is_fine, ["too large"])
        if self.way == "dependency":
            with tf.control_dependencies([tf.debugging.Assert(is_fine, ["too large"])]):
                return tf.identity(inputs)
        return inputs


@pytest.mark.parametrize(
    ("way", "mode"),
    [
        pytest.param("python", EAGER, marks=sees_values),
        pytest.param("assertion", GRAPH, marks=tensorflow_only),
        pytest.param("dependency", GRAPH, marks=tensorflow_only),
        pytest.param("lookup", GRAPH, marks=tensorflow_only),
    ],
)
def test_a_step_that_raises_in_its_second_pass_changes_nothing(way, mode):
    model = text_model(Limit(way), layers.BatchNormalization(), layers.Dropout(0.4))
    trainer = trainer_of(model, epsilon=100)
    trainer.compile(keras.optimizers.SGD(0.5, momentum=0.9), "binary_crossentropy", **mode)
    trainer.evaluate(TOKENS, LABELS, verbose=0)
    trainer.optimizer.build(trainer.trainable_variables)
    before = values([*model.variables, *trainer.optimizer.variables])
    with pytest.raises(Exception, match=r"too.large"):
        trainer.fit(TOKENS, LABELS, verbose=0)
    same(values([*model.variables, *trainer.optimizer.variables]), before)


def bad_label(y_true, y_pred):
    largest = concrete_value(ops.max(y_true))
    if largest is not None and largest > 1:
        raise ValueError("bad labels")
    return ops.mean(y_pred, axis=-1)


@pytest.mark.parametrize(
    ("cause", "mode"),
    [
        ("torn pairs", EAGER),
        pytest.param("torn pairs", GRAPH, marks=tensorflow_only),
        pytest.param("unknown token", GRAPH, marks=tensorflow_only),
        ("odd batch", GRAPH),
        ("metric", EAGER),
    ],
)
def test_bad_data_changes_nothing(cause, mode):
    model = noisy_model()
    trainer = trainer_of(model)
    tokens, labels = (np.repeat(each[:4], 2, axis=0) for each in (TOKENS, LABELS))
    loss = RDropLoss() if cause in ("torn pairs", "odd batch") else "binary_crossentropy"
    metrics = [bad_label] if cause == "metric" else []
    train(trainer, tokens, labels, loss=loss, metrics=metrics, **mode)
    before = values([*model.variables, *trainer.optimizer.variables])
    if cause == "torn pairs":
        labels[0] = 1 - labels[0]
    elif cause == "unknown token":
        tokens[0, 0] = 99
    elif cause == "odd batch":
        tokens, labels = tokens[:3], labels[:3]
    else:
        labels[0] = 2
    message = r"labels differ|even batch|bad labels|not in \[0, 7\)|between 0 and 1"
    with pytest.raises(Exception, match=message):
        trainer.fit(tokens, labels, batch_size=4, shuffle=False, verbose=0)
    same(values([*model.variables, *trainer.optimizer.variables]), before)
