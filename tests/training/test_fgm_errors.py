"""What `FGMTrainer` refuses, before any weight has changed."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from backends import BACKEND
from keras_mlc.training import FGMTrainer
from training.fgm_models import LABELS, TOKENS, Idle, same, text_model, values

gradients_or_none = pytest.mark.skipif(
    BACKEND == "jax", reason="on JAX every gradient exists, zeros at the least"
)


def two_embeddings():
    inputs = keras.Input((4,), dtype="int32")
    vectors = [
        keras.Model(inputs, layers.Embedding(7, 3, name="tokens")(inputs), name=name)(inputs)
        for name in ("first", "second")
    ]
    # Only the first takes part.
    outputs = layers.GlobalAveragePooling1D()(vectors[0] + ops.stop_gradient(vectors[1]))
    return keras.Model(inputs, layers.Dense(2)(outputs), name="pair")


def test_numbers_out_of_range():
    model = text_model()
    for name in ("epsilon", "clean_weight"):
        for value in (-0.1, float("nan"), float("inf"), "1", None, True):
            message = f"`{name}` must be a finite number, 0 or more.*{value!r}"
            with pytest.raises(ValueError, match=message):
                FGMTrainer(model, "tokens", **{name: value})


def test_what_is_no_model():
    for value in (None, "model", layers.Dense(2), 3):
        with pytest.raises(ValueError, match=r"`model` must be a `keras\.Model`\. Received: mod"):
            FGMTrainer(value, "tokens")


def test_a_train_step_of_the_models_own():
    class Own(keras.Model):
        def train_step(self, data):
            return {}

    with pytest.raises(ValueError, match=r"which `Own` overrides\. Move.*`compute_loss`"):
        FGMTrainer(Own(), "tokens")
    with pytest.raises(ValueError, match="which `FGMTrainer` overrides"):
        FGMTrainer(FGMTrainer(text_model(), "tokens"), "tokens")


@pytest.mark.parametrize(
    ("build", "embedding", "message"),
    [
        (text_model, "words", "names no layer.*embedding layers: 'tokens'"),
        (text_model, "oken", "names no layer"),
        (text_model, "scores", r"'scores' \(Dense\) has no embedding matrix of its own"),
        (text_model, layers.Embedding(3, 2, name="strange"), "layer 'strange', which.*not have"),
        (
            text_model,
            keras.Variable(np.zeros((3, 2)), name="odd"),
            "variable 'odd', which.*'tokens'",
        ),
        (text_model, 3, "must be a layer, its variable, or the layer's name.*3"),
        (text_model, "", "must be a layer, its variable"),
        (
            two_embeddings,
            "tokens",
            "several layers.*'pair': '(first|second)/tokens', '(first|second)/tokens'",
        ),
        (
            lambda: keras.Sequential([keras.Input((2,)), layers.Dense(2)]),
            "tokens",
            "has no embedding",
        ),
    ],
)
def test_an_embedding_that_cannot_be_used(build, embedding, message):
    with pytest.raises(ValueError, match=message):
        FGMTrainer(build(), embedding)


def unbuilt():
    return keras.Sequential(
        [layers.Embedding(7, 3, name="tokens"), layers.Flatten(), layers.Dense(2)]
    )


@pytest.mark.parametrize("options", [{"run_eagerly": True}, {}], ids=["eager", "graph"])
@pytest.mark.parametrize(
    ("build", "embedding", "message"),
    [
        (unbuilt, "words", "names no layer"),
        (Idle, "idle", "'idle/embeddings' takes no part in the loss"),
        pytest.param(
            *(two_embeddings, "second/tokens", "takes no part in the loss"), marks=gradients_or_none
        ),
    ],
    ids=["not found", "unused", "without a gradient"],
)
def test_a_first_step_that_cannot_be_taken(build, embedding, message, options):
    model = build()
    trainer = FGMTrainer(model, embedding)
    trainer.compile("sgd", "mse", **options)
    before = values(model.variables)
    with pytest.raises(ValueError, match=message):
        trainer.fit(TOKENS, LABELS, verbose=0)
    same(values(model.variables)[: len(before)], before)


@gradients_or_none
def test_a_step_without_a_loss():
    model = text_model()
    trainer = FGMTrainer(model, "tokens")
    trainer.compile("sgd", run_eagerly=True)
    before = values(model.variables)
    with pytest.raises(ValueError, match="No loss to compute"):
        trainer.fit(TOKENS, LABELS, verbose=0)
    same(values(model.variables), before)
