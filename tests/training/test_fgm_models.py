"""What `FGMTrainer` does with the models, optimizers and options that Keras allows."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from backends import BACKEND
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

WEIGHTS = np.linspace(0, 2, len(LABELS))


def check_like_plain(build, *data, fit=None, embedding="tokens", **compiled):
    """Train a model alone, and in a trainer that does not perturb, eagerly; both ways agree."""
    compiled = {"run_eagerly": True, **compiled}
    plain, model = build(), build()
    expected = train(plain, *data, fit=fit, **compiled)
    trainer = trainer_of(model, epsilon=0, embedding=embedding)
    if isinstance(compiled.get("optimizer"), keras.optimizers.Optimizer):
        compiled["optimizer"] = compiled["optimizer"].from_config(
            compiled["optimizer"].get_config()
        )
    same(train(trainer, *data, fit=fit, **compiled), expected)
    same(values(model.variables), values(plain.variables))
    x, y = data[:2] or (TOKENS, LABELS)
    logs = plain.evaluate(x, y, verbose=0, return_dict=True)
    same(trainer.evaluate(x, y, verbose=0, return_dict=True), logs)
    outputs = keras.tree.flatten(plain.predict(x, verbose=0))
    same(keras.tree.flatten(trainer.predict(x, verbose=0)), outputs)
    model.run_eagerly = True
    same(keras.tree.flatten(model.predict(x, verbose=0)), outputs)
    return trainer


def two_ends():
    """Return a model with inputs and outputs by name; one input may be missing."""
    keras.utils.set_random_seed(1)
    text = keras.Input((4,), dtype="int32", name="text")
    numbers = keras.Input((2,), name="numbers")
    vectors = layers.Flatten()(layers.Embedding(7, 3, name="tokens")(text))
    features = layers.Concatenate()([vectors, numbers])
    outputs = {
        "labels": layers.Dense(2, "sigmoid", name="labels")(features),
        "size": layers.Dense(1, name="size")(features),
    }
    return keras.Model({"text": text, "numbers": numbers}, outputs)


X = {"text": TOKENS, "numbers": np.random.default_rng(3).normal(size=(12, 2)).astype("float32")}
Y = {"labels": LABELS, "size": np.ones((12, 1), "float32")}


def test_inputs_and_outputs_by_name():
    check_like_plain(
        two_ends,
        X,
        Y,
        loss={"labels": "binary_crossentropy", "size": "mse"},
        loss_weights={"labels": 2.0, "size": 0.5},
        metrics={"labels": ["binary_accuracy"], "size": ["mae"]},
        fit={"sample_weight": {"labels": WEIGHTS, "size": WEIGHTS[::-1]}},
    )


def test_the_losses_of_several_outputs_are_reported_for_each_batch():
    logs = []
    for model in (two_ends(), trainer_of(two_ends())):
        model.compile("sgd", {"labels": "binary_crossentropy", "size": "mse"}, run_eagerly=True)
        logs.append(model.train_on_batch(X, Y, return_dict=True))
    assert logs[1]["size_loss"] > 0
    same(logs[1], logs[0])


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize("clean_weight", [0, 0.5])
def test_an_output_without_a_loss_is_left_alone(clean_weight):
    model = two_ends()
    before = values(model.get_layer("size").weights)
    trainer = trainer_of(model, clean_weight=clean_weight)
    train(trainer, X, LABELS, loss={"labels": "mse", "size": None}, run_eagerly=True)
    same(values(model.get_layer("size").weights), before)


class Classifier(keras.Model):
    """Embeds, pools and scores; has no weights before its first call."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        keras.utils.set_random_seed(1)
        self.tokens = layers.Embedding(7, 3, name="tokens")
        self.dropout = layers.Dropout(0.4, seed=1)
        self.scores = layers.Dense(2, "sigmoid")

    def call(self, inputs, training=False):
        return self.scores(self.dropout(ops.mean(self.tokens(inputs), axis=1), training=training))


class Opinionated(Classifier):
    """Overrides everything that a model may override."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = keras.metrics.Mean("seen")

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        self.seen.update_state(ops.mean(y_pred))
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        return (2.0 if training else 3.0) * loss

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        logs = super().compute_metrics(x, y, y_pred, sample_weight)
        logs = {**logs, "largest": ops.max(y_pred)}
        # While Keras trains on JAX, optimizers have no values.
        return logs if BACKEND == "jax" else {**logs, "rate": self.optimizer.learning_rate}

    def test_step(self, *args):
        if BACKEND == "jax":
            logs, state = super().test_step(*args)
            return {**logs, "tested": 1.0}, state
        return {**super().test_step(*args), "tested": 1.0}

    def predict_step(self, *args):
        if BACKEND == "jax":
            outputs, state = super().predict_step(*args)
            return -outputs, state
        return -super().predict_step(*args)


class OldFashioned(Classifier):
    """Overrides `compute_loss` as it was before Keras 3.3."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return ops.mean(ops.square(y - y_pred))


@pytest.mark.parametrize("model", [Classifier, Opinionated, OldFashioned])
def test_a_subclassed_unbuilt_model_with_steps_of_its_own(model):
    check_like_plain(model, metrics=["binary_accuracy"])


def test_what_a_model_overrides_counts_in_every_step():
    model = Opinionated()
    trainer = trainer_of(model)
    trainer.compile("sgd", "binary_crossentropy", run_eagerly=True)
    logs = trainer.train_on_batch(TOKENS, LABELS, return_dict=True)
    assert set(logs) - {"rate"} == {"loss", "seen", "largest"} and logs["seen"] > 0
    assert trainer.evaluate(TOKENS, LABELS, verbose=0, return_dict=True)["tested"] == 1
    assert not model.compiled and not hasattr(model, "optimizer") and model.metrics == [model.seen]


def unbuilt_sequence():
    keras.utils.set_random_seed(1)
    pooling, scores = layers.GlobalAveragePooling1D(), layers.Dense(2, "sigmoid")
    return keras.Sequential([layers.Embedding(7, 3, name="tokens"), pooling, scores])


def nested():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,), dtype="int32")
    encoder = keras.Model(inputs, layers.Embedding(7, 3, name="tokens")(inputs), name="encoder")
    other = keras.Model(inputs, layers.Embedding(7, 3, name="tokens")(inputs), name="other")
    outputs = layers.GlobalAveragePooling1D()(encoder(inputs) + 2.0 * other(inputs))
    return keras.Model(inputs, layers.Dense(2, "sigmoid")(outputs))


def test_an_unbuilt_sequential_model():
    check_like_plain(unbuilt_sequence)


@pytest.mark.skipif(
    BACKEND == "torch",
    reason="Keras adds up the gradients of all steps for one of two variables of one path",
)
def test_a_nested_model():
    check_like_plain(nested, embedding="encoder/tokens")


def test_one_embedding_by_layer_variable_name_and_path():
    after = []
    for select in (
        lambda model: model.get_layer("encoder").get_layer("tokens"),
        lambda model: model.get_layer("encoder").get_layer("tokens").embeddings,
        lambda model: "encoder/tokens",
        lambda model: "/encoder/tokens",
    ):
        model = nested()
        train(trainer_of(model, embedding=select(model)), run_eagerly=True)
        after.append(values(model.variables))
    for each in after[1:]:
        same(each, after[0])
    other = nested()
    train(trainer_of(other, embedding="other/tokens"), run_eagerly=True)
    assert differ(values(other.variables)[:1], after[0][:1])


class Table(layers.Layer):
    """Looks vectors up in a weight that is no embedding layer's, and is not called so."""

    def build(self, input_shape):
        self.table = self.add_weight(shape=(7, 3), name="table")

    def call(self, inputs):
        return ops.take(self.table, inputs, axis=0)


def test_a_variable_of_a_layer_that_is_no_embedding():
    layer = Table()
    model = text_model(embedding=layer)
    by_variable = trainer_of(model, embedding=layer.table)
    assert by_variable.embedding == layer.table.path
    train(by_variable, run_eagerly=True)
    again = text_model(embedding=Table(name=layer.name))
    train(trainer_of(again, embedding=by_variable.embedding), run_eagerly=True)
    same(values(again.variables), values(model.variables))


@pytest.mark.parametrize(
    "options",
    [
        {"clipnorm": 0.01, "use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2},
        {"global_clipnorm": 0.01, "gradient_accumulation_steps": 3},
        {"clipvalue": 0.01, "weight_decay": 0.1},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_of_the_optimizer(options):
    check_like_plain(noisy_model, optimizer=keras.optimizers.Adam(0.1, **options))


def test_clipping_holds_for_the_sum_of_both_gradients():
    model = text_model()
    before = values(model.trainable_variables)
    trainer = trainer_of(model, epsilon=0, clean_weight=1)
    trainer.compile(keras.optimizers.SGD(1.0, clipnorm=0.001), "mse", run_eagerly=True)
    trainer.train_on_batch(TOKENS, LABELS)
    for old, new in zip(before, values(model.trainable_variables), strict=True):
        np.testing.assert_allclose(np.linalg.norm(new - old), 0.001, rtol=1e-3)


@pytest.mark.parametrize("fit", [{"class_weight": {0: 1.0, 1: 3.0}}, {"sample_weight": WEIGHTS}])
def test_weights_of_classes_and_samples(fit):
    labels = LABELS[:, 0].astype(int)
    check_like_plain(
        noisy_model,
        TOKENS,
        labels,
        loss="sparse_categorical_crossentropy",
        weighted_metrics=["accuracy"],
        fit=fit,
    )


def test_callbacks_and_validation_data():
    check_like_plain(
        noisy_model,
        fit={
            "epochs": 4,
            "validation_data": (TOKENS[:6], LABELS[:6]),
            "callbacks": [
                keras.callbacks.EarlyStopping(
                    "val_loss", patience=1, min_delta=1e9, restore_best_weights=True
                ),
                keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.5 * rate),
            ],
        },
        metrics=["binary_accuracy"],
    )


def test_r_drop():
    x, y = (np.repeat(each, 2, axis=0) for each in (TOKENS, LABELS))
    check_like_plain(noisy_model, x, y, loss=RDropLoss())


class Counter(layers.Layer):
    """Has state that depends on a weight, and a copy of it as it was before."""

    def build(self, input_shape):
        self.weight = self.add_weight(shape=(), initializer="ones", name="weight")
        self.total = self.add_weight(shape=(), trainable=False, name="total")
        self.before = self.add_weight(shape=(), trainable=False, name="before")

    def call(self, inputs, training=False):
        if training:
            self.before.assign(self.total)
            self.total.assign(self.total + self.weight)
        return self.weight * inputs + self.before


def test_state_that_depends_on_weights_and_other_state():
    check_like_plain(lambda: text_model(Counter()))


def test_a_weight_that_the_model_assigns_is_trained():
    kernels = []
    for learning_rate in (0.0, 0.5):
        keras.utils.set_random_seed(1)
        layer = layers.Dense(3)
        trainer = trainer_of(text_model(layers.SpectralNormalization(layer)))
        trainer.compile(keras.optimizers.SGD(learning_rate), "mse", run_eagerly=True)
        trainer.train_on_batch(TOKENS, LABELS)
        kernels.append(values([layer.kernel]))
    assert differ(*kernels)


def test_the_model_and_its_trainer_train_in_turn():
    model, plain = noisy_model(), noisy_model()
    trainer = trainer_of(model, epsilon=0)
    trainer.compile("sgd", "mse", run_eagerly=True)
    plain.compile("sgd", "mse", run_eagerly=True)
    model.compile("sgd", "binary_crossentropy", metrics=["binary_accuracy"], run_eagerly=True)
    for step in range(3):
        each = model if step == 1 else trainer
        plain.compile("sgd", each.loss, run_eagerly=True)
        logs = each.train_on_batch(TOKENS, LABELS, return_dict=True)
        assert set(logs) == ({"loss", "binary_accuracy"} if step == 1 else {"loss"})
        plain.train_on_batch(TOKENS, LABELS)
    same(values(model.variables), values(plain.variables))
    assert model.loss == "binary_crossentropy"
