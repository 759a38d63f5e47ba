import keras
import numpy as np
import pytest
from keras import ops

from keras_mlc._embeddings import check_embedding, embedding_name, embedding_of, locate, matrix_of

embedding_layer = keras.layers.Embedding


def encoder(name, layer_name="tokens"):
    tokens = keras.Input((3,), dtype="int32")
    layer = embedding_layer(7, 2, name=layer_name)
    return keras.Model(tokens, keras.layers.Flatten()(layer(tokens)), name=name), layer


def model_of(*encoders):
    tokens = keras.Input((3,), dtype="int32")
    vectors = keras.layers.Concatenate()([each(tokens) for each in encoders])
    return keras.Model(tokens, keras.layers.Dense(2, name="labels")(vectors), name="whole")


class WithSublayer(keras.Layer):
    """Looks vectors up in a layer of its own, and in a matrix of its own."""

    def __init__(self, attribute=None, variable_name="table", name="outside"):
        super().__init__(name=name)
        self.inside = embedding_layer(7, 2, name="inside")
        self.attribute, self.variable_name = attribute, variable_name

    def build(self, shape):
        self.inside.build(shape)
        self.table = self.add_weight(shape=(7, 2), name=self.variable_name)
        if self.attribute:
            setattr(self, self.attribute, self.table)

    def call(self, tokens):
        return self.inside(tokens) + ops.take(self.table, tokens, axis=0)


def model_with(layer):
    tokens = keras.Input((3,), dtype="int32")
    return keras.Model(tokens, layer(tokens), name="whole")


def test_every_way_to_say_which_embedding():
    first, layer = encoder("first")
    second, other = encoder("second")
    model = model_of(keras.Sequential([first], name="deep"), second)
    for embedding in (layer, layer.embeddings, "first/tokens", "deep/first/tokens"):
        assert locate(model, embedding) is layer
    for embedding in (other, other.embeddings, "second/tokens", "/second/tokens"):
        assert locate(model, embedding) is other
    assert embedding_of(layer) is embedding_of(layer.embeddings) is layer.embeddings


def test_the_name_leads_to_the_same_embedding():
    first, layer = encoder("first")
    assert embedding_name(model_of(first, encoder("second", "words")[0]), layer) == "tokens"
    model = model_of(first, encoder("second")[0])
    assert embedding_name(model, layer.embeddings) == "/first/tokens"
    assert locate(model, "/first/tokens") is layer
    assert embedding_name(model, "first/tokens") == "first/tokens"
    layer = WithSublayer()
    model = model_with(layer)
    assert embedding_name(model, layer.table) == "outside/table"
    assert locate(model, "outside/table") is layer.table
    assert locate(model, "outside/inside/embeddings") is layer.inside


def test_a_sublayer_has_its_own_matrix():
    layer = WithSublayer()
    model = model_with(layer)
    assert locate(model, "inside") is layer.inside
    assert matrix_of(layer) is None
    for found in (WithSublayer("embeddings"), WithSublayer(variable_name="embeddings")):
        model_with(found)
        assert matrix_of(found) is found.table
        assert matrix_of(found.inside) is found.inside.embeddings


def test_of_layers_with_one_name_the_one_with_a_matrix_is_meant():
    model, layer = encoder("tokens")
    assert locate(model_of(model, encoder("second", "words")[0]), "tokens") is layer


def test_a_shared_layer_is_found_once():
    shared, layer = encoder("shared")
    tokens = keras.Input((3,), dtype="int32")
    outer = keras.Model(tokens, keras.layers.Add()([layer(tokens), layer(tokens)]), name="outer")
    model = keras.Model(tokens, [shared(tokens), outer(tokens)])
    assert locate(model, "tokens") is layer


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        (
            "words",
            r"'words'` names no layer of the model 'whole'.* layers: 'first/tokens', 'second/",
        ),
        ("/tokens", "'/tokens'` names no layer"),
        ("tokens", "'tokens'` matches several layers.*'first/tokens', 'second/tokens'.*the path"),
        ("tokens/embeddings", "path of several variables of the model 'whole'.*layer or its name"),
        (embedding_layer(7, 2, name="far"), "the layer 'far', which the model 'whole' does not"),
        (keras.Variable(np.ones(2), name="far"), "the variable 'far', which .* does not have"),
        ("labels", r"'labels' \(Dense\) has no embedding matrix"),
    ],
)
def test_what_is_not_to_be_found(embedding, message):
    model = model_of(encoder("first")[0], encoder("second")[0])
    with pytest.raises(ValueError, match=message):
        embedding_of(locate(model, check_embedding(embedding)))


def test_what_is_no_embedding_to_train():
    model, layer = encoder("first")
    with pytest.raises(ValueError, match=r"'first' .* of its own.*Its embedding layers: 'tokens'"):
        embedding_of(model)
    with pytest.raises(ValueError, match="It has no embedding layer"):
        embedding_of(keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]))
    with pytest.raises(ValueError, match=r"'new' has no weights yet. Build its model first"):
        embedding_of(embedding_layer(7, 2, name="new"))
    model.trainable = False
    for embedding in (layer, layer.embeddings):
        with pytest.raises(ValueError, match=r"'tokens/embeddings' is not trainable.*`compile`"):
            embedding_of(embedding)
