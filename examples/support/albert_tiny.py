"""The encoder of the experiments, built from KerasHub's layers: by default albert-tiny."""

from dataclasses import replace

from support.architecture import Architecture
from support.checkpoints import open_checkpoint
from support.download import find_checkpoint
from support.variables import layer_name

import keras
import keras_hub


@keras.saving.register_keras_serializable(package="keras_mlc_examples")
def gelu_tanh(x):
    """GELU in its tanh form, as the published checkpoints were trained with."""
    return keras.activations.gelu(x, approximate=True)


def albert_tiny(
    checkpoint=None,
    variant=None,
    dropout=0.0,
    max_length=512,
    vocabulary_size=None,
    dtype=None,
):
    """Build the encoder and fill it from a checkpoint, or with random weights.

    Args:
        checkpoint: folder of a checkpoint, or the name of a public one, which is downloaded. All
            sizes and kinds follow from its configuration, so albert-base, BERT and others load as
            well. None for random weights in the sizes of albert-tiny.
        variant: "google" (the default of random weights) or "brightmart"; see `Architecture`. A
            checkpoint tells it by itself, and another one is refused.
        dropout: rate after the embeddings, on attention scores, and after each sub-layer.
        max_length: number of positions; no text may have more tokens. A checkpoint with more is
            cut to it, one with fewer keeps its own.
        vocabulary_size: number of token ids of random weights; 21,128 by default.
        dtype: dtype or policy of all layers; Keras' global policy by default.

    Returns:
        A Keras model from `{"token_ids", "segment_ids", "padding_mask"}`, each (B, T), to the
        sequence (B, T, hidden); DistilBERT has no `segment_ids`. Its token embedding is named
        `token_embedding`, and its attribute `architecture` says what it is built of.
    """
    if checkpoint is None:
        architecture = Architecture(variant or "google", vocabulary_size or 21128, max_length)
        return build(architecture, dropout, dtype)
    source = open_checkpoint(find_checkpoint(checkpoint))
    architecture = source.architecture
    for name, value in (("variant", variant), ("vocabulary_size", vocabulary_size)):
        found = getattr(architecture, name)
        if value not in (None, found):
            raise ValueError(
                f"`{name}` is {found!r} in {checkpoint}; leave it out. Received: {value!r}"
            )
    positions = min(max_length, architecture.positions)
    encoder = build(replace(architecture, positions=positions), dropout, dtype)
    source.load_into(encoder)
    return encoder


def build(architecture, dropout=0.0, dtype=None):
    """Build an encoder with random weights."""
    variant = architecture.variant
    normal = keras.initializers.TruncatedNormal(stddev=0.02)
    # Of the size that the positions have once the projection has shrunk it.
    wider = keras.initializers.TruncatedNormal(stddev=0.05)
    token_normal = wider if variant == "brightmart" else normal

    names = ("token_ids", *(["segment_ids"] if architecture.segments else []), "padding_mask")
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in names}
    tokens = keras_hub.layers.ReversibleEmbedding(
        architecture.vocabulary_size,
        architecture.embedding,
        embeddings_initializer=token_normal,
        dtype=dtype,
        name="token_embedding",
    )(inputs["token_ids"])
    project = keras.layers.Dense(
        architecture.hidden,
        use_bias=variant == "google",
        dtype=dtype,
        name="embedding_projection",
    )
    if variant == "brightmart":
        tokens = project(tokens)
    vectors = [tokens]
    if architecture.segments:
        segments = keras.layers.Embedding(
            architecture.segments,
            architecture.width,
            embeddings_initializer=normal,
            dtype=dtype,
            name="segment_embedding",
        )
        vectors.append(segments(inputs["segment_ids"]))
    positions = keras_hub.layers.PositionEmbedding(
        architecture.positions, initializer=normal, dtype=dtype, name="position_embedding"
    )
    vectors.append(positions(tokens))
    x = keras.layers.Add(dtype=dtype, name="embeddings")(vectors)
    x = keras.layers.LayerNormalization(
        epsilon=architecture.epsilon, dtype=dtype, name="embedding_norm"
    )(x)
    x = keras.layers.Dropout(dropout, dtype=dtype, name="embedding_dropout")(x)
    if variant == "google":
        x = project(x)
    activation = architecture.activation
    layers = {
        place: keras_hub.layers.TransformerEncoder(
            architecture.feed_forward,
            architecture.heads,
            dropout=dropout,
            activation=gelu_tanh if activation == "gelu_tanh" else activation,
            layer_norm_epsilon=architecture.epsilon,
            # The usual 0.02 is for wider models: at this width attention would begin faint.
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.04),
            dtype=dtype,
            name=layer_name(architecture, *place),
        )
        for place in architecture.weight_sets()
    }
    for place in architecture.order():
        x = layers[place](x, padding_mask=inputs["padding_mask"])
    encoder = keras.Model(inputs, x, name="albert_tiny")
    encoder.architecture = architecture
    return encoder
