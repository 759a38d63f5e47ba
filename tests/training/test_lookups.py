"""What is moved: what every kind of embedding returns, and nothing else."""

import gc
import inspect
import time

import keras
import numpy as np
import pytest
from keras import layers, ops

from backends import BACKEND, gradients, tensorflow_only, to_numpy
from keras_mlc.training import FGMTrainer, GradientPenaltyTrainer, PGDTrainer
from training.fgm_models import LABELS, TOKENS, same, text_model, values

EAGER = {"run_eagerly": True}
RATE = 0.5


def objective_of(model, x, labels):
    """Return the mean squared error as a function of the weights' values."""

    def objective(*weights):
        mapping = zip(model.trainable_variables, weights, strict=True)
        with keras.StatelessScope([*mapping]):
            return ops.mean(ops.square(ops.convert_to_tensor(labels) - model(x, training=True)))

    return objective


def fgm_of_the_matrix(model, number, x, labels, epsilon):
    """Return the weights after a step at E + delta, E the whole matrix, which is weight `number`.

    For a model in which nothing but the look-ups uses E, this is what a step of FGM does.
    """
    objective = objective_of(model, x, labels)
    weights = [ops.copy(v.value) for v in model.trainable_variables]
    slope = to_numpy(gradients(objective, weights)[number])
    delta = (epsilon * slope / np.sqrt(np.sum(slope**2))).astype("float32")
    moved = [*weights]
    moved[number] = weights[number] + ops.convert_to_tensor(delta)
    found = gradients(objective, moved)
    pairs = zip(weights, found, strict=True)
    return [to_numpy(weight) - RATE * to_numpy(gradient) for weight, gradient in pairs]


def check_like_the_matrix(build, embedding, x, labels, mode=EAGER, tolerance=2e-5):
    """A step of FGM, with what must be found as `embedding`, agrees with one by the matrix."""
    model, by_hand = build(), build()
    trainer = FGMTrainer(model, embedding, epsilon=0.5)
    ((_, matrix),) = trainer._located()
    (number,) = [i for i, v in enumerate(model.trainable_variables) if v is matrix]
    expected = fgm_of_the_matrix(by_hand, number, x, labels, 0.5)
    trainer.compile(keras.optimizers.SGD(RATE), "mse", **mode)
    trainer.train_on_batch(x, labels)
    same(values(model.trainable_variables), expected, tolerance)


class OwnEmbedding(layers.Layer):
    """Looks vectors up, as Keras's own layer does not, by ids modulo 7."""

    def build(self, input_shape):
        self.table = self.add_weight(shape=(7, 3), name="embeddings")

    def call(self, inputs):
        return ops.take(self.table, inputs % 7, axis=0)


class Recursive(layers.Embedding):
    """Calls itself once more for its vectors."""

    def call(self, inputs, again=True):
        return self.call(inputs, again=False) if again else super().call(inputs)


class Twice(keras.Model):
    """Looks up in one matrix twice, once without a gradient."""

    def __init__(self):
        super().__init__()
        keras.utils.set_random_seed(1)
        self.tokens = layers.Embedding(7, 3, name="tokens")
        self.scores = layers.Dense(2)
        self(TOKENS)

    def call(self, inputs):
        seen = ops.mean(self.tokens(inputs % 3 + 4), axis=1)
        frozen = ops.stop_gradient(ops.mean(self.tokens(inputs), axis=1))
        return self.scores(seen * (1 + frozen))


def shared():
    """Return a model that looks two inputs up in one matrix."""
    keras.utils.set_random_seed(1)
    inputs = [keras.Input((4,), dtype="int32", name=name) for name in ("left", "right")]
    tokens = layers.Embedding(7, 3, name="tokens")
    left, right = (layers.GlobalAveragePooling1D()(tokens(each)) for each in inputs)
    return keras.Model(inputs, layers.Dense(2)(left * ops.tanh(right)))


def float_ids():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,))
    vectors = layers.GlobalAveragePooling1D()(layers.Embedding(7, 3, name="tokens")(inputs))
    return keras.Model(inputs, layers.Dense(2)(ops.tanh(vectors)))


MODELS = {
    "plain": (lambda: text_model(activation="tanh"), TOKENS),
    "one id a text": (
        lambda: keras.Sequential(
            [
                keras.Input((), dtype="int32"),
                layers.Embedding(7, 3, embeddings_initializer=initial(), name="tokens"),
                layers.Dense(2, "tanh", kernel_initializer=initial()),
            ]
        ),
        TOKENS[:, 0],
    ),
    "negative ids": (lambda: text_model(activation="tanh"), TOKENS - 7),
    "ids as floats": (float_ids, TOKENS.astype("float32")),
    "twice": (Twice, TOKENS),
    "shared": (shared, [TOKENS, TOKENS[:, ::-1].copy()]),
    "own layer": (lambda: text_model(embedding=OwnEmbedding(name="tokens")), TOKENS),
    "calls itself": (
        lambda: text_model(embedding=Recursive(7, 3, initial(), name="tokens")),
        TOKENS,
    ),
}


def initial():
    return keras.initializers.RandomUniform(seed=1)


@pytest.mark.parametrize("kind", MODELS)
def test_every_way_to_look_up(kind):
    build, x = MODELS[kind]
    if kind == "negative ids" and BACKEND == "tensorflow" and keras.__version__ < "3.9":
        pytest.skip("this Keras knows no negative ids")
    check_like_the_matrix(build, "tokens", x, LABELS)


def test_an_own_layer_may_know_more_ids_than_rows():
    def by_ids(ids):
        model = text_model(embedding=OwnEmbedding(name="tokens"), activation="tanh")
        trainer = FGMTrainer(model, "tokens")
        trainer.compile(keras.optimizers.SGD(RATE), "mse", **EAGER)
        trainer.train_on_batch(ids, LABELS)
        return values(model.trainable_variables)

    same(by_ids(TOKENS + 700), by_ids(TOKENS), 1e-6)


keras_hub = pytest.importorskip("keras_hub") if BACKEND else None


def classifier_on(outputs, inputs, mask=None):
    vectors = layers.GlobalAveragePooling1D()(layers.Activation("tanh")(outputs), mask=mask)
    return keras.Model(inputs, layers.Dense(2)(vectors))


def token_and_position(mask_zero, encoder):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,), dtype="int32")
    both = keras_hub.layers.TokenAndPositionEmbedding(7, 4, 4, mask_zero=mask_zero, name="both")
    outputs = both(inputs)
    if encoder:
        outputs = keras_hub.layers.TransformerEncoder(8, 2)(outputs)
    return classifier_on(outputs, inputs)


@pytest.mark.parametrize(
    ("embedding", "mask_zero", "encoder"),
    [
        ("token_embedding", False, False),
        ("token_embedding", True, True),
        ("position_embedding", False, True),
        ("position_embedding", True, False),
    ],
)
def test_tokens_and_positions(embedding, mask_zero, encoder):
    check_like_the_matrix(lambda: token_and_position(mask_zero, encoder), embedding, TOKENS, LABELS)


def reversible(tie_weights):
    """Return a model that looks tokens up and scores all tokens at each step."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,), dtype="int32")
    tokens = keras_hub.layers.ReversibleEmbedding(7, 3, tie_weights=tie_weights, name="tokens")
    hidden = layers.Dense(3, "tanh")(tokens(inputs))
    return keras.Model(inputs, tokens(hidden, reverse=True))


def by_hand(tie_weights):
    """Return the same model with a layer of its own for each use, and the same weights."""
    weights = reversible(tie_weights).get_weights()
    inputs = keras.Input((4,), dtype="int32")
    hidden = layers.Dense(3, "tanh")(layers.Embedding(7, 3, name="tokens")(inputs))
    model = keras.Model(inputs, layers.Dense(7, use_bias=False)(hidden))
    if tie_weights:
        matrix, *dense = weights
        model.set_weights([matrix, *dense, matrix.T])
    else:
        matrix, scores, *dense = weights
        model.set_weights([matrix, *dense, scores])
    return model


@pytest.mark.parametrize("tie_weights", [False, True])
@pytest.mark.parametrize("mode", [EAGER, {}], ids=["eager", "compiled"])
def test_an_output_projection_is_not_moved(tie_weights, mode):
    after = []
    labels = np.random.default_rng(1).normal(size=(12, 4, 7)).astype("float32")
    for model in (reversible(tie_weights), by_hand(tie_weights)):
        trainer = FGMTrainer(model, "tokens", epsilon=0.5)
        trainer.compile(keras.optimizers.SGD(RATE), "mse", **mode)
        trainer.train_on_batch(TOKENS, labels)
        after.append(values(model.trainable_variables))
    if tie_weights:  # One matrix gets both updates.
        start = values(by_hand(True).trainable_variables)
        matrix, *dense, scores = after[1]
        after[1] = [matrix + (scores - start[-1]).T, *dense]
    else:
        matrix, *dense, scores = after[1]
        after[1] = [matrix, scores, *dense]
    same(after[0], after[1], 1e-5)


FULL = {
    "vocabulary_size": 7,
    "num_layers": 1,
    "num_heads": 2,
    "hidden_dim": 4,
    "intermediate_dim": 8,
    "max_sequence_length": 4,
    "dropout": 0.0,
}
WITHOUT_VOCABULARY = {name: value for name, value in FULL.items() if name != "vocabulary_size"}
BACKBONES = {
    "AlbertBackbone": {**FULL, "embedding_dim": 4},
    "BertBackbone": FULL,
    "DebertaV3Backbone": {**FULL, "bucket_size": 2},
    "DistilBertBackbone": FULL,
    "ElectraBackbone": {**WITHOUT_VOCABULARY, "vocab_size": 7, "embedding_dim": 4},
    "FNetBackbone": {k: v for k, v in FULL.items() if k != "num_heads"},
    "RobertaBackbone": FULL,
    "XLMRobertaBackbone": FULL,
    "GPT2Backbone": FULL,
    "OPTBackbone": FULL,
}


# Those that look up otherwise than BERT does; the others repeat it.
QUICK = ["AlbertBackbone", "BertBackbone", "DebertaV3Backbone", "GPT2Backbone"]


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in BACKBONES]
)
def test_every_text_backbone(name):
    def build():
        keras.utils.set_random_seed(1)
        backbone = getattr(keras_hub.models, name)(**BACKBONES[name])
        outputs = backbone.output
        outputs = outputs["sequence_output"] if isinstance(outputs, dict) else outputs
        return classifier_on(outputs, backbone.input, backbone.input.get("padding_mask"))

    x = {
        "token_ids": TOKENS[:4],
        "segment_ids": TOKENS[:4] % 2,
        "padding_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]]),
    }
    x = {key: x[key] for key in build().input}
    check_like_the_matrix(build, "token_embedding", x, LABELS[:4], tolerance=1e-4)


def frozen(model):
    model.get_layer("tokens").trainable = False


def adapted(model):
    model.get_layer("tokens").enable_lora(2)


def quantized(model):
    gc.freeze()  # Keras collects for every variable that is removed
    model.get_layer("tokens").quantize("int8")
    gc.unfreeze()


@pytest.mark.parametrize(
    ("change", "trainer_class", "mode"),
    [
        (frozen, FGMTrainer, EAGER),
        (frozen, GradientPenaltyTrainer, {}),
        (adapted, PGDTrainer, {}),
        (adapted, GradientPenaltyTrainer, EAGER),
        (quantized, FGMTrainer, {}),
        (quantized, GradientPenaltyTrainer, EAGER),
    ],
)
def test_vectors_from_a_matrix_that_is_not_trained_itself(change, trainer_class, mode):
    """All else of the model trains as if an equal matrix was trained, which itself stays."""
    after = []
    for is_changed in (True, False):
        model = text_model()
        tokens = model.get_layer("tokens")
        rows = tokens(np.arange(7))
        if is_changed:
            change(model)
            rows = tokens(np.arange(7))
        elif change is quantized:
            other = text_model()
            quantized(other)
            tokens.set_weights([to_numpy(other.get_layer("tokens")(np.arange(7)))])
        trainer = trainer_class(model, "tokens", epsilon=2.0)
        trainer.compile(keras.optimizers.SGD(RATE), "mse", **mode)
        trainer.train_on_batch(TOKENS, LABELS)
        after.append(values(model.get_layer("scores").weights))
        if is_changed and change is not adapted:
            same([to_numpy(tokens(np.arange(7)))], [to_numpy(rows)])
    same(after[0], after[1], 1e-5)


def two_embeddings():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,), dtype="int32")
    vectors = [layers.Embedding(7, 3, name=name)(inputs) for name in ("first", "second")]
    vectors = layers.GlobalAveragePooling1D()(ops.tanh(vectors[0] * vectors[1]))
    return keras.Model(inputs, layers.Dense(2)(vectors))


def test_several_embeddings_have_one_norm():
    model, by_hand = two_embeddings(), two_embeddings()
    objective = objective_of(by_hand, TOKENS, LABELS)
    weights = [ops.copy(v.value) for v in by_hand.trainable_variables]
    slopes = [to_numpy(each) for each in gradients(objective, weights)[:2]]
    length = np.sqrt(sum(np.sum(each**2) for each in slopes))
    moved = [
        w + ops.convert_to_tensor(0.5 * s / length)
        for w, s in zip(weights[:2], slopes, strict=True)
    ]
    found = gradients(objective, [*moved, *weights[2:]])
    expected = [to_numpy(w) - RATE * to_numpy(g) for w, g in zip(weights, found, strict=True)]
    trainer = FGMTrainer(model, ["first", model.get_layer("second")], epsilon=0.5)
    assert trainer.embedding == ["first", "second"]
    trainer.compile(keras.optimizers.SGD(RATE), "mse", **EAGER)
    trainer.train_on_batch(TOKENS, LABELS)
    same(values(model.trainable_variables), expected, 1e-5)


def test_bad_lists_of_embeddings():
    for embedding, message in (
        (["first", "first"], "'first' more than once"),
        ([], r"must be a layer.*\[\]"),
        (["first", 3], "must be a layer"),
    ):
        with pytest.raises(ValueError, match=message):
            FGMTrainer(two_embeddings(), embedding)


class Mixed(layers.Layer):
    """Has a weight, and a call without `training`: Keras computes no other again in a graph."""

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(3, 3), name="kernel")

    def call(self, inputs):
        return ops.tanh(ops.matmul(inputs, self.kernel))


def rematerialized(part):
    """Return a model that computes a part of itself again for its gradients."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,), dtype="int32")
    with keras.RematScope(mode="full" if part != "nothing" else None):
        vectors = layers.Embedding(7, 3, name="tokens")(inputs)
        outputs = Mixed(name="mixed")(vectors)
        if part == "a nested model":
            outputs = keras.Model(inputs, outputs)(inputs)
    outputs = layers.GlobalAveragePooling1D()(outputs)
    return keras.Model(inputs, layers.Dense(2)(outputs))


@pytest.mark.skipif(not hasattr(keras, "RematScope"), reason="an old Keras")
@pytest.mark.parametrize("mode", [EAGER, {}], ids=["eager", "compiled"])
@pytest.mark.parametrize("trainer_class", [FGMTrainer, PGDTrainer, GradientPenaltyTrainer])
@pytest.mark.parametrize("part", ["layers", "a nested model"])
def test_rematerialized_layers(part, trainer_class, mode):
    unable = part == "a nested model" or trainer_class is GradientPenaltyTrainer
    if BACKEND == "tensorflow" and unable:
        pytest.skip("TensorFlow computes no model again, and nothing for second derivatives")
    after = []
    for each in ("nothing", part):
        model = rematerialized(each)
        trainer = trainer_class(model, "tokens", epsilon=2.0)
        trainer.compile(keras.optimizers.SGD(RATE), "mse", **mode)
        trainer.train_on_batch(TOKENS, LABELS)
        after.append(values(model.trainable_variables))
    same(after[1], after[0], 1e-6)


@tensorflow_only
@pytest.mark.parametrize(
    ("norm", "mode"), [("batch", EAGER), ("sample", {})], ids=["batch", "sample in a graph"]
)
@pytest.mark.parametrize("kind", ["sparse", "ragged"])
def test_tokens_that_are_not_dense(kind, norm, mode):
    import tensorflow as tf

    if kind == "ragged" and "ragged" not in inspect.signature(keras.Input).parameters:
        pytest.skip("this Keras has no ragged inputs")
    lengths = np.arange(12) % 4 + 1
    dense = np.where(np.arange(4) < lengths[:, None], TOKENS % 6 + 1, 0)

    def build(**options):
        keras.utils.set_random_seed(1)
        inputs = keras.Input((None if kind == "ragged" else 4,), dtype="int32", **options)
        vectors = layers.Embedding(7, 3, mask_zero=kind == "ragged" and not options, name="tokens")
        vectors = vectors(inputs)
        if options.get("ragged"):
            outputs = layers.Lambda(lambda x: tf.reduce_mean(x, axis=1), output_shape=(3,))(vectors)
        else:
            outputs = layers.GlobalAveragePooling1D()(vectors)
        return keras.Model(inputs, layers.Dense(2, "tanh")(outputs))

    after = []
    ids = tf.sparse.from_dense(dense)
    if kind == "ragged":
        ids = tf.RaggedTensor.from_tensor(dense, lengths=lengths)
    for x, options in ((dense, {}), (ids, {kind: True})):
        model = build(**options)
        trainer = FGMTrainer(model, "tokens", epsilon=0.5, norm=norm)
        trainer.compile(keras.optimizers.SGD(RATE), "mse", **mode)
        data = tf.data.Dataset.from_tensors((x, LABELS))
        trainer.fit(data, verbose=0)
        after.append(values(model.trainable_variables))
    same(after[1], after[0], 1e-5)


def test_positions_without_a_batch_axis_have_no_norm_a_text():
    class Positions(layers.Layer):
        def __init__(self):
            super().__init__()
            self.places = layers.Embedding(4, 3, name="places")
            self.places.build()

        def call(self, inputs):
            return inputs + self.places(ops.arange(4))

    model = text_model(activation="tanh")
    inputs = keras.Input((4,), dtype="int32")
    vectors = Positions()(layers.Embedding(7, 3, name="tokens")(inputs))
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(vectors)))
    trainer = FGMTrainer(model, "places", norm="sample")
    trainer.compile("sgd", "mse")
    before = values(model.variables)
    with pytest.raises(ValueError, match=r'"sample"` needs vectors of shape \(batch'):
        trainer.fit(TOKENS, LABELS, verbose=0)
    same(values(model.variables), before)


def test_a_layer_that_returns_something_else_is_refused():
    class Pooled(layers.Layer):
        def build(self, input_shape):
            self.table = self.add_weight(shape=(7, 3), name="embeddings")

        def call(self, inputs):
            return ops.mean(ops.take(self.table, inputs, axis=0), axis=1)

    inputs = keras.Input((4,), dtype="int32")
    model = keras.Model(inputs, layers.Dense(2)(Pooled(name="pooled")(inputs)))
    trainer = FGMTrainer(model, "pooled")
    trainer.compile("sgd", "mse")
    before = values(model.variables)
    with pytest.raises(ValueError, match=r"'pooled' \(Pooled\) must return a vector for each"):
        trainer.fit(TOKENS, LABELS, verbose=0)
    same(values(model.variables), before)


def test_a_variable_that_no_layer_looks_up_is_refused():
    class Bare(keras.Model):
        def __init__(self):
            super().__init__()
            self.table = self.add_weight(shape=(7, 2), name="table")
            self.rest = layers.Dense(2)
            self(TOKENS)

        def call(self, inputs):
            return self.rest(ops.mean(ops.take(self.table, inputs, axis=0), axis=1))

    model = Bare()
    with pytest.raises(ValueError, match=r"table' must belong to one layer.*none\. Move the look"):
        FGMTrainer(model, model.table)


class ByKeyword(keras.Model):
    """Calls an embedding of its own by keyword."""

    def __init__(self):
        super().__init__()
        keras.utils.set_random_seed(1)
        self.tokens = OwnEmbedding(name="tokens")
        self.scores = layers.Dense(2)

    def call(self, text):
        return self.scores(ops.mean(self.tokens(inputs=text), axis=1))


def test_an_embedding_is_called_by_keyword():
    def build():
        model = ByKeyword()
        model(TOKENS)
        return model

    check_like_the_matrix(build, "tokens", TOKENS + 7, LABELS)


class Inside(keras.Model):
    """Looks up inside a function that the backend compiles by itself."""

    def __init__(self, function):
        super().__init__()
        self.tokens = layers.Embedding(7, 3, name="tokens")
        self.scores = layers.Dense(2)
        self.function = function

    def call(self, text):
        if self.function == "map":
            vectors = ops.map(self.tokens, text)
        else:
            is_true = ops.sum(text) >= 0
            vectors = ops.cond(is_true, lambda: self.tokens(text), lambda: self.tokens(text))
        return self.scores(ops.mean(vectors, axis=1))


@pytest.mark.skipif(BACKEND == "torch", reason="torch just calls such a function")
@pytest.mark.parametrize("function", ["map", "cond"])
def test_a_look_up_inside_a_function_that_is_compiled_by_itself_is_refused(function):
    model = Inside(function)
    model(TOKENS)
    trainer = FGMTrainer(model, "tokens")
    trainer.compile("sgd", "mse", jit_compile=BACKEND == "jax")
    before = values(model.variables)
    with pytest.raises(ValueError, match=r"called inside of a function.*`keras.ops.map`"):
        trainer.fit(TOKENS, LABELS, verbose=0)
    same(values(model.variables), before)


@tensorflow_only
def test_a_graph_finds_that_vectors_do_not_count_the_samples():
    import tensorflow as tf

    class Flat(keras.Model):
        def __init__(self):
            super().__init__()
            self.tokens = layers.Embedding(7, 3, name="tokens")
            self.scores = layers.Dense(2)

        def call(self, text):
            vectors = self.tokens(tf.reshape(text, (-1,)))
            return self.scores(tf.reduce_mean(tf.reshape(vectors, (-1, 4, 3)), 1))

    model = Flat()
    model(TOKENS)
    trainer = FGMTrainer(model, "tokens", norm="sample")
    trainer.compile("sgd", "mse", jit_compile=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match="does not count the samples"):
        trainer.fit(tf.data.Dataset.from_tensor_slices((TOKENS, LABELS)).batch(4), verbose=0)


@tensorflow_only
@pytest.mark.parametrize("norm", ["batch", "sample"])
def test_ragged_tokens_in_ragged_sentences(norm):
    import tensorflow as tf

    if "ragged" not in inspect.signature(keras.Input).parameters:
        pytest.skip("this Keras has no ragged inputs")

    class Mean(layers.Layer):
        def call(self, vectors):
            return tf.reduce_mean(tf.reduce_mean(vectors, axis=2), axis=1)

        def compute_output_shape(self, input_shape):
            return input_shape[0], 3

    text = keras.Input((None, None), dtype="int32", ragged=True)
    vectors = layers.Embedding(7, 3, name="tokens")(text)
    model = keras.Model(text, layers.Dense(2)(Mean()(vectors)))
    trainer = FGMTrainer(model, "tokens", norm=norm)
    trainer.compile("sgd", "mse", run_eagerly=True)
    tokens = tf.ragged.constant([[[1, 2, 3], [4]], [[5]]], dtype="int32")
    loss = trainer.train_on_batch(tokens, LABELS[:2])
    assert np.isfinite(loss)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "torch", reason="TensorFlow and JAX compile in every other test")
def test_a_name_is_found_before_torch_compiles_the_step():
    model, other = text_model(), text_model()
    for each, mode in ((model, {"jit_compile": True}), (other, EAGER)):
        trainer = FGMTrainer(each, "tokens", epsilon=0.5)
        trainer.compile(keras.optimizers.SGD(RATE), "mse", **mode)
        trainer.train_on_batch(TOKENS, LABELS)
    same(values(model.variables), values(other.variables), 1e-5)


def test_an_own_embedding_costs_what_its_tokens_do():
    """Nothing of the size of all tokens times all tokens is built."""
    tokens = np.random.default_rng(0).integers(0, 700, (32, 256))
    inputs = keras.Input((256,), dtype="int32")
    vectors = OwnEmbedding(name="tokens")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(vectors)))
    trainer = FGMTrainer(model, "tokens")
    trainer.compile("sgd", "mse", run_eagerly=BACKEND != "jax")
    numbers = to_numpy(trainer._numbered(ops.convert_to_tensor(tokens.reshape(-1))))
    _, expected = np.unique(tokens, return_inverse=True)
    _, found = np.unique(numbers, return_inverse=True)
    assert len(np.unique(np.stack([expected.ravel(), found.ravel()]), axis=1).T) == len(
        np.unique(tokens)
    )
    began = time.process_time()
    trainer.train_on_batch(tokens, np.zeros((32, 2)))
    assert time.process_time() - began < 3
