"""`FGMTrainer` on its way through files."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_mlc.losses import MultilabelCategoricalCrossentropy
from keras_mlc.training import FGMTrainer
from training.fgm_models import (
    LABELS,
    TOKENS,
    differ,
    same,
    text_model,
    trainer_of,
    values,
)

EAGER = {"run_eagerly": True}


def normalized_model(dtype=None):
    """Return a model with batch norm; Keras saves no seeds, so it has no dropout."""
    return text_model(layers.BatchNormalization(dtype=dtype), dtype=dtype)


def compiled(model):
    trainer = trainer_of(model, epsilon=0.5, clean_weight=0.25)
    trainer.compile("adam", "binary_crossentropy", metrics=["binary_accuracy"], **EAGER)
    return trainer


def steps(trainer, count):
    for _ in range(count):
        trainer.train_on_batch(TOKENS, LABELS)
    return values([*trainer.variables, *trainer.optimizer.variables])


def reload(model, path):
    model.save(path)
    return keras.saving.load_model(path, safe_mode=True)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_training_goes_on_from_a_file_as_if_nothing_had_happened(policy, tmp_path):
    trainer = compiled(normalized_model(policy))
    steps(trainer, 2)
    again = reload(trainer, tmp_path / "trainer.keras")
    assert isinstance(again, FGMTrainer) and again.model is not trainer.model
    assert (again.epsilon, again.clean_weight, again.embedding) == (0.5, 0.25, "tokens")
    same(steps(again, 2), steps(trainer, 2))
    same([again.predict(TOKENS, verbose=0)], [trainer.predict(TOKENS, verbose=0)])


@pytest.mark.filterwarnings("ignore:Skipping variable loading")
def test_checkpoints_while_training(tmp_path):
    trainer = compiled(normalized_model())
    trainer.fit(
        TOKENS,
        LABELS,
        epochs=2,
        verbose=0,
        validation_data=(TOKENS, LABELS),
        callbacks=[
            keras.callbacks.ModelCheckpoint(tmp_path / "whole{epoch}.keras"),
            keras.callbacks.ModelCheckpoint(tmp_path / "last.weights.h5", save_weights_only=True),
            keras.callbacks.ModelCheckpoint(
                tmp_path / "best.keras", monitor="val_loss", save_best_only=True
            ),
            keras.callbacks.BackupAndRestore(tmp_path / "backup"),
        ],
    )
    for name in ("whole2.keras", "best.keras"):
        again = keras.saving.load_model(tmp_path / name, safe_mode=True)
        same(values(again.variables), values(trainer.variables))
    again = compiled(normalized_model())
    again.load_weights(tmp_path / "last.weights.h5")
    same(values(again.variables), values(trainer.variables))
    first = keras.saving.load_model(tmp_path / "whole1.keras", safe_mode=True)
    assert differ(values(first.variables)[:1], values(trainer.variables)[:1])


def test_a_model_that_was_compiled_itself(tmp_path):
    model = normalized_model()
    model.compile("sgd", MultilabelCategoricalCrossentropy(), **EAGER)
    steps(model, 1)
    trainer = compiled(model)
    steps(trainer, 1)
    again = reload(trainer, tmp_path / "trainer.keras")
    assert isinstance(again.model.loss, MultilabelCategoricalCrossentropy)
    same(steps(again, 1), steps(trainer, 1))
    same(steps(again.model, 1), steps(trainer.model, 1))


@pytest.mark.parametrize("kind", ["layer", "variable"])
def test_an_embedding_that_was_given_itself_is_found_again(kind, tmp_path):
    model = text_model()
    embedding = model.get_layer("tokens")
    embedding = embedding if kind == "layer" else embedding.embeddings
    trainer = FGMTrainer(model, embedding, name="teacher")
    trainer.compile("sgd", "mse", **EAGER)
    again = reload(trainer, tmp_path / "trainer.keras")
    assert again.name == "teacher" and again.embedding == "tokens"
    same(steps(again, 1), steps(trainer, 1))


def test_a_clone_is_independent():
    trainer = compiled(normalized_model())
    clone = keras.models.clone_model(trainer)
    clone.set_weights(trainer.get_weights())
    before = values(trainer.variables)
    clone.compile("adam", "binary_crossentropy", **EAGER)
    steps(clone, 1)
    same(values(trainer.variables), before)
    assert clone.get_config() == {**trainer.get_config(), "name": clone.name}
    steps(trainer, 1)
    same(values(clone.model.variables), values(trainer.model.variables))


@keras.saving.register_keras_serializable("tests")
class Unbuilt(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.tokens = layers.Embedding(7, 3, name="tokens")
        self.scores = layers.Dense(2)

    def call(self, inputs):
        return self.scores(keras.ops.mean(self.tokens(inputs), axis=1))


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
def test_a_subclassed_model_goes_through_a_file_before_and_after_its_first_step(tmp_path):
    trainer = FGMTrainer(Unbuilt(), "tokens")
    trainer.compile("adam", "mse", **EAGER)
    again = reload(trainer, tmp_path / "before.keras")
    assert not again.built and np.isfinite(again.train_on_batch(TOKENS, LABELS)).all()
    steps(trainer, 1)
    again = reload(trainer, tmp_path / "after.keras")
    same(steps(again, 1), steps(trainer, 1))
