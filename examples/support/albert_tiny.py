"""The encoder of every experiment: albert-tiny, built from KerasHub's layers."""

import keras
import keras_hub

HIDDEN, EMBEDDING, LAYERS, HEADS, FEED_FORWARD = 312, 128, 4, 12, 1248


@keras.saving.register_keras_serializable(package="keras_mlc_examples")
def gelu_tanh(x):
    """GELU in its tanh form, as the published checkpoints were trained with."""
    return keras.activations.gelu(x, approximate=True)


def albert_tiny(vocabulary_size=21128, variant="google", dropout=0.0, max_length=512, dtype=None):
    """Build the encoder with random weights.

    The two public variants differ before the first transformer layer:

    * "google": token, segment and position vectors of 128 are added and normalised, then
      projected to the hidden size, with a bias;
    * "brightmart": token vectors of 128 are projected without a bias, then segment and position
      vectors of the hidden size are added and normalised.

    Args:
        vocabulary_size: number of token ids.
        variant: "google" or "brightmart".
        dropout: rate after the embeddings, on attention scores, and after each sub-layer.
        max_length: number of positions; no text may have more tokens.
        dtype: dtype or policy of all layers; Keras' global policy by default.

    Returns:
        A Keras model from `{"token_ids", "segment_ids", "padding_mask"}`, each (B, T), to the
        sequence (B, T, hidden). Its token embedding is named `token_embedding`.
    """
    if variant not in ("google", "brightmart"):
        raise ValueError(f'`variant` must be "google" or "brightmart". Received: {variant!r}')
    google = variant == "google"
    width = EMBEDDING if google else HIDDEN
    normal = keras.initializers.TruncatedNormal(stddev=0.02)

    inputs = {
        name: keras.Input((None,), dtype="int32", name=name)
        for name in ("token_ids", "segment_ids", "padding_mask")
    }
    tokens = keras_hub.layers.ReversibleEmbedding(
        vocabulary_size,
        EMBEDDING,
        embeddings_initializer=normal,
        dtype=dtype,
        name="token_embedding",
    )(inputs["token_ids"])
    project = keras.layers.Dense(
        HIDDEN,
        use_bias=google,
        dtype=dtype,
        name="embedding_projection",
    )
    if not google:
        tokens = project(tokens)
    segments = keras.layers.Embedding(
        2, width, embeddings_initializer=normal, dtype=dtype, name="segment_embedding"
    )(inputs["segment_ids"])
    positions = keras_hub.layers.PositionEmbedding(
        max_length, initializer=normal, dtype=dtype, name="position_embedding"
    )(tokens)
    x = keras.layers.Add(dtype=dtype, name="embeddings")([tokens, segments, positions])
    x = keras.layers.LayerNormalization(epsilon=1e-12, dtype=dtype, name="embedding_norm")(x)
    x = keras.layers.Dropout(dropout, dtype=dtype, name="embedding_dropout")(x)
    if google:
        x = project(x)
    shared_layer = keras_hub.layers.TransformerEncoder(
        FEED_FORWARD,
        HEADS,
        dropout=dropout,
        activation=gelu_tanh,
        layer_norm_epsilon=1e-12,
        # The usual 0.02 is for wider models: at this width attention would begin faint.
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.04),
        dtype=dtype,
        name="transformer_layer",
    )
    for _ in range(LAYERS):
        x = shared_layer(x, padding_mask=inputs["padding_mask"])
    return keras.Model(inputs, x, name="albert_tiny")
