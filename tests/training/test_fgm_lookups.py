"""On TensorFlow a step costs what the batch's tokens cost, whatever the vocabulary."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from backends import BACKEND
from training.fgm_models import LABELS, TOKENS, same, train, trainer_of, values

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="gradients are dense elsewhere")

WORDS, FEATURES = 50_021, 7


class OwnEmbedding(layers.Embedding):
    """Uses its inputs beyond looking vectors up, so it gets the whole matrix."""

    def call(self, inputs):
        return super().call(inputs) * ops.cast(inputs + 1, self.compute_dtype)[..., None]


def model_with(embedding_class=layers.Embedding, words=WORDS, jit_compile=False):
    keras.utils.set_random_seed(1)
    tokens = keras.Input((4,), dtype="int32")
    embedding = embedding_class(words, FEATURES, name="tokens")
    outputs = layers.Dense(2)(layers.GlobalAveragePooling1D()(embedding(tokens)))
    return keras.Model(tokens, outputs)


@pytest.mark.parametrize("clean_weight", [0, 0.5])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_perturbed_matrix_is_never_built(clean_weight, jit_compile):
    import tensorflow as tf

    trainer = trainer_of(model_with(), clean_weight=clean_weight)
    trainer.compile("sgd", "mse")
    trainer.train_on_batch(TOKENS, LABELS)

    def step(x, y):
        return trainer.train_step((x, y))

    graph = (
        tf.function(step, jit_compile=jit_compile)
        .get_concrete_function(tf.constant(TOKENS), tf.constant(LABELS))
        .graph
    )
    large = [
        operation.type
        for operation in graph.get_operations()
        for output in operation.outputs
        if output.shape.rank == 2 and output.shape[0] == WORDS
    ]
    assert set(large) <= {"ReadVariableOp", "Identity"}
    # In a variable whose rows are updated each read of the whole is a copy; a gather of rows would
    # make it one where they are not.
    assert large.count("ReadVariableOp") == 1
    assert not any("ResourceGather" in operation.type for operation in graph.get_operations())


def dense(trainer):
    """Let the trainer build the whole matrix."""
    trainer._embedding_layer = lambda: None
    return trainer


@pytest.mark.parametrize("options", [{"run_eagerly": True}, {}, {"jit_compile": True}])
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_both_ways_train_alike(policy, options):
    after = []
    keras.config.set_dtype_policy(policy)
    try:
        for way in (dense, lambda trainer: trainer):
            model = model_with(words=7)
            train(way(trainer_of(model, epsilon=2.0, clean_weight=0.5)), loss="mse", **options)
            after.append(values(model.variables))
    finally:
        keras.config.set_dtype_policy("float32")
    same(after[1], after[0], 2e-6 if policy == "float32" else 1e-3)


class TwoViews(keras.Model):
    """Looks up in one matrix twice, once without a gradient."""

    def __init__(self):
        super().__init__()
        keras.utils.set_random_seed(1)
        self.tokens = layers.Embedding(7, 3, name="tokens")
        self.scores = layers.Dense(2)

    def call(self, inputs):
        seen = ops.mean(self.tokens(inputs % 3 + 4), axis=1)
        frozen = ops.stop_gradient(ops.mean(self.tokens(inputs), axis=1))
        return self.scores(seen * (1 + frozen))


@pytest.mark.parametrize(
    "build", [TwoViews, lambda: model_with(OwnEmbedding, 7)], ids=["two views", "own embedding"]
)
def test_layers_that_do_more_than_one_lookup_train_like_the_whole_matrix(build):
    after = []
    for way in (dense, lambda trainer: trainer):
        model = build()
        train(way(trainer_of(model, epsilon=2.0)), loss="mse", run_eagerly=True)
        after.append(values(model.variables))
    same(after[1], after[0], 2e-6)


def test_the_layer_is_itself_again_also_after_an_error():
    model = model_with(words=7)
    layer = model.get_layer("tokens")

    def loss(y_true, y_pred):
        if "call" in vars(layer):
            raise ArithmeticError("in the second pass")
        return ops.mean(ops.square(y_true - y_pred), axis=-1)

    trainer = trainer_of(model)
    trainer.compile("sgd", loss, run_eagerly=True)
    before = values(model.variables)
    with pytest.raises(ArithmeticError, match="in the second pass"):
        trainer.train_on_batch(TOKENS, LABELS)
    assert "call" not in vars(layer)
    same(values(model.variables), before)


def test_another_thread_may_predict_in_the_middle_of_a_step():
    import threading

    model = model_with(words=7)
    expected, found = np.array(model(TOKENS)), []

    def loss(y_true, y_pred):
        thread = threading.Thread(target=lambda: found.append(np.array(model(TOKENS))))
        if not keras.backend.is_keras_tensor(y_pred) and hasattr(y_pred, "numpy"):
            thread.start()
            thread.join()
        return ops.mean(ops.square(y_true - y_pred), axis=-1)

    trainer = trainer_of(model, epsilon=10.0)
    trainer.compile(keras.optimizers.SGD(0.0), loss, run_eagerly=True)
    trainer.train_on_batch(TOKENS, LABELS)
    assert len(found) == 2
    same(found, [expected, expected])
