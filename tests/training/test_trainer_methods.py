"""What a trainer does with the methods that a model has of its own, and with the model's files."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from backends import to_numpy
from keras_mlc.training import FGMTrainer, FreeLBTrainer, GradientPenaltyTrainer, VATTrainer
from training.fgm_models import LABELS, TOKENS, differ, same, text_model, train, values

EAGER = {"run_eagerly": True}


@keras.saving.register_keras_serializable("tests")
class Weighted(keras.Model):
    """Takes an argument of its own to `compile`, for its loss, as Keras's guides do."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        keras.utils.set_random_seed(1)
        self.tokens, self.scores = layers.Embedding(7, 3, name="tokens"), layers.Dense(2)

    def build(self, input_shape=None):
        self.tokens.build()
        self.scores.build((None, 3))
        self.built = True

    def call(self, inputs):
        return self.scores(ops.mean(self.tokens(inputs), axis=1))

    def compile(self, *args, alpha=1.0, **kwargs):
        super().compile(*args, **kwargs)
        self.alpha = alpha

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return self.alpha * super().compute_loss(x, y, y_pred, sample_weight, training)


def weighted():
    model = Weighted()
    model.build()
    return model


@pytest.mark.parametrize("options", [EAGER, {}], ids=["eager", "compiled"])
def test_a_compile_with_an_argument_of_its_own(options):
    plain, model = weighted(), weighted()
    trainer = FGMTrainer(model, "tokens", epsilon=0.0)
    histories = [
        train(each, alpha=3.0, metrics=["mae"], optimizer=keras.optimizers.SGD(0.1), **options)
        for each in (plain, trainer)
    ]
    same(histories[1], histories[0], 1e-6)
    same(values(model.variables), values(plain.variables), 1e-6)
    assert trainer.optimizer is model.optimizer
    logs = [each.evaluate(TOKENS, LABELS, verbose=0) for each in (plain, trainer)]
    same(logs[1:], logs[:1], 1e-6)


@pytest.mark.filterwarnings("ignore:`compile\\(\\)` was not called")
def test_a_trainer_of_it_comes_back_from_a_file_and_is_compiled_again(tmp_path):
    trainer = FGMTrainer(weighted(), "tokens")
    train(trainer, alpha=3.0)
    trainer.save(tmp_path / "trainer.keras")
    again = keras.saving.load_model(tmp_path / "trainer.keras")
    assert not hasattr(again, "optimizer")  # Nobody has saved alpha.
    same(values(again.variables), values(trainer.variables))
    train(again, alpha=3.0)


@pytest.mark.parametrize("name", ["fit", "evaluate", "train_on_batch"])
def test_methods_that_would_be_bypassed_are_refused(name):
    own = type("Own", (keras.Model,), {name: lambda self, *args, **kwargs: None})
    with pytest.raises(
        ValueError, match=rf"replaces `{name}`, which `Own` overrides.*keras\.Model"
    ):
        FGMTrainer(own(), "tokens")


def test_the_way_out_has_the_same_weights():
    class Own(keras.Model):
        def fit(self, *args, **kwargs):
            raise AssertionError

    base = text_model()
    model = Own(base.inputs, base.outputs)
    trainer = FGMTrainer(keras.Model(model.inputs, model.outputs), "tokens")
    train(trainer)
    same(values(model.variables), values(trainer.variables))


def test_a_predict_of_its_own_is_used():
    class Named(keras.Model):
        def predict(self, texts, **kwargs):
            return super().predict(np.array([[len(text)] * 4 for text in texts]), **kwargs)

    base = text_model()
    model = Named(base.inputs, base.outputs)
    trainer = FGMTrainer(model, "tokens")
    train(trainer)
    same([trainer.predict(["a", "abc"], verbose=0)], [model.predict(["a", "abc"], verbose=0)], 1e-6)


@pytest.mark.slow
def test_a_task_of_keras_hub():
    keras_hub = pytest.importorskip("keras_hub")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad"]
    tokenizer = keras_hub.models.BertTokenizer(vocabulary=words)
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=4)
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=7,
        num_layers=1,
        num_heads=2,
        hidden_dim=4,
        intermediate_dim=8,
        max_sequence_length=4,
    )
    task = keras_hub.models.BertTextClassifier(backbone, 2, preprocessor=preprocessor)
    with pytest.raises(ValueError, match=r"preprocesses its data in `fit`.*preprocessor = None"):
        FGMTrainer(task, "token_embedding")
    texts, labels = ["good", "bad bad"], np.array([1, 0])
    x = preprocessor(texts)
    expected = to_numpy(task.predict(texts, verbose=0))
    task.preprocessor = None
    trainer = FGMTrainer(task, "token_embedding")
    same([trainer.predict(x, verbose=0)], [expected], 1e-6)
    trainer.compile()  # with the task's own defaults
    assert trainer.optimizer.learning_rate.numpy() == pytest.approx(5e-5)
    trainer.fit(x, labels, verbose=0)
    trainer.evaluate(x, labels, verbose=0)


TRAINERS = [FGMTrainer, GradientPenaltyTrainer, FreeLBTrainer, VATTrainer]


def trained(trainer_class=FGMTrainer, optimizer="adam", **fit):
    trainer = trainer_class(text_model(layers.BatchNormalization()), "tokens")
    train(trainer, optimizer=optimizer, fit=fit, **EAGER)
    return trainer


@pytest.mark.filterwarnings("ignore:Skipping variable loading")
@pytest.mark.parametrize("trainer_class", TRAINERS)
def test_model_and_trainer_load_each_others_weights(trainer_class, tmp_path):
    path = tmp_path / "all.weights.h5"
    trainer = trained(trainer_class)
    trainer.save_weights(path)
    model = text_model(layers.BatchNormalization())
    model.load_weights(path)
    same(values(model.variables), values(trainer.model.variables))

    trainer.model.save_weights(tmp_path / "model.weights.h5")
    for options in ({}, {"skip_mismatch": True}):
        other = trainer_class(text_model(layers.BatchNormalization()), "tokens")
        assert differ(values(other.model.variables)[:1], values(model.variables)[:1])
        other.load_weights(tmp_path / "model.weights.h5", **options)
        same(values(other.model.variables), values(model.variables))


def test_weights_bring_the_optimizer_with_them(tmp_path):
    """A run that was interrupted goes on as if nothing had happened."""
    path = tmp_path / "all.weights.h5"
    trainer, again = trained(epochs=2), trained()
    trainer.save_weights(path)
    again.load_weights(path)
    same(values(again.optimizer.variables), values(trainer.optimizer.variables))
    for each in (trainer, again):
        each.fit(TOKENS, LABELS, batch_size=4, shuffle=False, verbose=0)
    same(values(again.variables), values(trainer.variables), 1e-6)


def test_weights_that_do_not_match_are_said_to(tmp_path):
    trainer = trained()
    trainer.save_weights(tmp_path / "all.weights.h5")
    other = FGMTrainer(text_model(layers.Dense(5)), "tokens")
    with pytest.raises(ValueError):
        other.load_weights(tmp_path / "all.weights.h5")


def test_exporting_after_fit(tmp_path):
    trainer = trained()
    trainer.predict(TOKENS, verbose=0)
    tf = pytest.importorskip("tensorflow")
    try:
        trainer.model.export(str(tmp_path / "alone"), verbose=False)
    except Exception:
        pytest.skip("this Keras exports no model with named inputs on this backend")
    trainer.export(str(tmp_path / "model"), verbose=False)
    served = tf.saved_model.load(str(tmp_path / "model"))
    scores = served.serve(tf.constant(TOKENS, tf.int32)).numpy()
    same([scores], [trainer.predict(TOKENS, verbose=0)], 1e-5)
