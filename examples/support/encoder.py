"""The encoder that a row starts from: albert-tiny in TensorFlow's two formats, or KerasHub's."""

import json
from pathlib import Path

from support import UserError
from support.tokens import load_tokens

import keras
import keras_hub
import numpy as np
import tensorflow as tf

SOURCE = "https://storage.googleapis.com/albert_zh/"
PUBLIC = {
    "albert_tiny_zh": "albert_tiny.zip",
    "albert_tiny_489k": "albert_tiny_489k.zip",
    "albert_tiny_zh_google": "albert_tiny_zh_google.zip",
}
INPUTS = ("token_ids", "segment_ids", "padding_mask")
# a part of the Keras model, its variable in the brightmart format, and in the google format
NAMES = """
token_embedding       embeddings/word_embeddings        embeddings/word_embeddings
segment_embedding     embeddings/token_type_embeddings  embeddings/token_type_embeddings
position_embedding    embeddings/position_embeddings    embeddings/position_embeddings
embedding_norm        embeddings/LayerNorm              embeddings/LayerNorm
embedding_projection  embeddings/word_embeddings_2      encoder/embedding_hidden_mapping_in
@self_attention_layer/query            @attention/self/query       @attention_1/self/query
@self_attention_layer/key              @attention/self/key         @attention_1/self/key
@self_attention_layer/value            @attention/self/value       @attention_1/self/value
@self_attention_layer/attention_output @attention/output/dense     @attention_1/output/dense
@self_attention_layer_norm             @attention/output/LayerNorm @LayerNorm
@feedforward_intermediate_dense        @intermediate/dense         @ffn_1/intermediate/dense
@feedforward_output_dense              @output/dense               @ffn_1/intermediate/output/dense
@feedforward_layer_norm                @output/LayerNorm           @LayerNorm_1
"""
LAYER = "transformer_layer/", "encoder/layer_shared/", "encoder/transformer/group_0/inner_group_0/"


def open_encoder(name, file_hash=None):
    """Open the encoder of a folder, of a KerasHub preset, or of one of the `PUBLIC` names.

    Its `build(dropout, dtype)` returns a Keras model from `inputs`, which `tokens` makes of texts,
    to the sequence (B, T, D).
    """
    folder = Path(name)
    if name in PUBLIC:
        origin = SOURCE + PUBLIC[name]
        if not file_hash:
            print(f"{origin}: no checksum is published; --checkpoint-hash compares it with one.")
        try:
            folder = Path(keras.utils.get_file(origin=origin, extract=True, file_hash=file_hash))
        except Exception as error:  # of the network, the archive or the checksum
            raise UserError(f"{origin}: {error} Fetch it by hand, and give its folder.") from None
    indexes = sorted(folder.rglob("*.index"))
    if len(indexes) > 1:
        raise UserError(f"{folder}: several checkpoints. Give each a folder of its own.")
    return TinyAlbert(indexes[0]) if indexes else HubEncoder(name)


@keras.saving.register_keras_serializable(package="keras_mlc_examples")
def gelu_tanh(x):
    """What the configurations of TensorFlow checkpoints call "gelu"."""
    return keras.activations.gelu(x, approximate=True)


class TinyAlbert:
    """An ALBERT in one of TensorFlow's two formats, from its folder.

    In brightmart's, token vectors are projected to the hidden size, without a bias, before segment
    and position vectors are added to them; in google's, their sum is projected.
    """

    inputs = INPUTS

    def __init__(self, index):
        self.folder, paths = index.parent, sorted(index.parent.glob("albert_config*.json"))
        if len(paths) != 1:
            raise UserError(f"{self.folder}: one albert_config*.json was expected.")
        self.config = json.loads(paths[0].read_text(encoding="utf-8-sig"))
        for key, only in {"hidden_act": "gelu", "num_hidden_groups": 1}.items():
            if self.config.get(key, only) != only:
                raise UserError(f"{paths[0]}: {key} is {self.config[key]!r}, expected {only!r}.")
        self.tokens = load_tokens(self.folder)
        self.positions = self.config.get("max_position_embeddings")
        if self.tokens.tokenizer.get_vocab_size() != self.config.get("vocab_size"):
            raise UserError(f"{paths[0]}: vocab_size is not that of vocab.txt.")
        self.checkpoint = str(index.with_suffix(""))
        self.build(0.0, "float32")  # tells at once what does not fit

    def build(self, dropout, dtype):
        try:
            reader = tf.train.load_checkpoint(self.checkpoint)
            shapes = reader.get_variable_to_shape_map()
            google = "bert/encoder/embedding_hidden_mapping_in/kernel" in shapes
            encoder = tiny_albert(self.config, google, dropout, dtype)
            names = self.names(encoder, shapes, google)
            values = [reader.get_tensor(name) for name in names]
        except (tf.errors.OpError, ValueError, LookupError) as error:
            raise UserError(f"{self.folder} is not whole: {error}") from None
        if not all(np.isfinite(value).all() for value in values):
            raise UserError(f"{self.folder}: the checkpoint holds NaN or infinity.")
        for weight, value in zip(encoder.weights, values, strict=True):
            weight.assign(value.reshape(weight.shape))
        return encoder

    def names(self, encoder, shapes, google):
        """The names of the encoder's weights in the checkpoint, whose shapes must be the same."""
        parts, names, wrong, hidden = {}, [], [], self.config["hidden_size"]
        for line in NAMES.strip().splitlines():
            pairs = zip(line.split(), LAYER, strict=True)
            ours, *theirs = [name.replace("@", layer) for name, layer in pairs]
            parts[ours] = f"bert/{theirs[google]}"
        for weight in encoder.weights:
            part, leaf = weight.path.rsplit("/", 1)
            names.append(parts[part] if parts[part] in shapes else f"{parts[part]}/{leaf}")
            shape = list(weight.shape)
            if "/self_attention_layer/" in weight.path:  # Keras keeps the heads apart
                shape = [hidden, hidden] if leaf == "kernel" else [hidden]
            if (found := shapes.get(names[-1])) != shape:
                wrong.append(f"{names[-1]} is {found or 'missing'}, expected {shape}")
        if wrong:
            raise UserError(f"{self.folder}: not what its configuration says: {'; '.join(wrong)}.")
        return names


def tiny_albert(config, google, dropout=0.0, dtype=None):
    """Build an ALBERT with random weights."""
    layers, hub = keras.layers, keras_hub.layers
    width, hidden = config["embedding_size"], config["hidden_size"]
    epsilon = config.get("layer_norm_eps", 1e-12)

    def named(name):
        return {"name": name, "dtype": dtype}

    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in INPUTS}
    look_up = hub.ReversibleEmbedding(config["vocab_size"], width, **named("token_embedding"))
    project = layers.Dense(hidden, use_bias=google, **named("embedding_projection"))
    x = look_up(inputs["token_ids"])
    x = x if google else project(x)
    kinds, positions = config["type_vocab_size"], config["max_position_embeddings"]
    segment = layers.Embedding(kinds, x.shape[-1], **named("segment_embedding"))
    position = hub.PositionEmbedding(positions, **named("position_embedding"))
    x = layers.Add(**named("embeddings"))([x, segment(inputs["segment_ids"]), position(x)])
    x = layers.LayerNormalization(epsilon=epsilon, **named("embedding_norm"))(x)
    x = layers.Dropout(dropout, **named("embedding_dropout"))(x)
    x = project(x) if google else x
    sizes = config["intermediate_size"], config["num_attention_heads"]
    layer = hub.TransformerEncoder(
        *sizes, dropout, gelu_tanh, epsilon, **named("transformer_layer")
    )
    for _ in range(config["num_hidden_layers"]):  # which share their weights
        x = layer(x, padding_mask=inputs["padding_mask"])
    return keras.Model(inputs, x, name="albert_tiny")


class HubEncoder:
    """An encoder that KerasHub loads: a preset, or a folder of its own or of Hugging Face."""

    def __init__(self, name):
        self.name = name
        backbone = self.load()
        self.inputs = list(backbone.input)
        self.positions = getattr(backbone, "max_sequence_length", None)
        known = {"token_ids", "padding_mask"} <= set(self.inputs) <= set(INPUTS)
        if not (known and hasattr(backbone, "token_embedding")):
            raise UserError(f"{name}: {type(backbone).__name__} is no encoder of texts alone.")
        self.tokens = load_tokens(name, preset=name)

    def load(self, **options):
        try:
            return keras_hub.models.Backbone.from_preset(self.name, **options)
        except Exception as error:  # of many classes, as what is wrong is JSON, HDF5 or a name
            raise UserError(f"{self.name} cannot be loaded: {error}") from None

    def build(self, dropout, dtype):
        backbone = self.load(dropout=dropout, dtype=dtype)
        outputs = backbone.output
        sequence = outputs["sequence_output"] if isinstance(outputs, dict) else outputs
        return keras.Model(backbone.input, sequence, name=backbone.name)
