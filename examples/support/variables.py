"""The names and shapes of an encoder's variables, in Keras and in TensorFlow checkpoints."""

FORMATS = ("brightmart", "google")
# Keras' name, then those in the formats
EMBEDDINGS = {
    "token_embedding/embeddings": ("embeddings/word_embeddings", "embeddings/word_embeddings"),
    "segment_embedding/embeddings": (
        "embeddings/token_type_embeddings",
        "embeddings/token_type_embeddings",
    ),
    "position_embedding/embeddings": (
        "embeddings/position_embeddings",
        "embeddings/position_embeddings",
    ),
    "embedding_norm/gamma": ("embeddings/LayerNorm/gamma", "embeddings/LayerNorm/gamma"),
    "embedding_norm/beta": ("embeddings/LayerNorm/beta", "embeddings/LayerNorm/beta"),
    "embedding_projection/kernel": (
        "embeddings/word_embeddings_2",
        "encoder/embedding_hidden_mapping_in/kernel",
    ),
    "embedding_projection/bias": (None, "encoder/embedding_hidden_mapping_in/bias"),
}
LAYER_PREFIXES = ("encoder/layer_shared/", "encoder/transformer/group_{}/inner_group_{}/")
DENSE = {
    "self_attention_layer/query": ("attention/self/query", "attention_1/self/query"),
    "self_attention_layer/key": ("attention/self/key", "attention_1/self/key"),
    "self_attention_layer/value": ("attention/self/value", "attention_1/self/value"),
    "self_attention_layer/attention_output": ("attention/output/dense", "attention_1/output/dense"),
    "feedforward_intermediate_dense": ("intermediate/dense", "ffn_1/intermediate/dense"),
    "feedforward_output_dense": ("output/dense", "ffn_1/intermediate/output/dense"),
}
NORMS = {
    "self_attention_layer_norm": ("attention/output/LayerNorm", "LayerNorm"),
    "feedforward_layer_norm": ("output/LayerNorm", "LayerNorm_1"),
}


def layer_name(architecture, group, inner):
    """Name of the Keras layer that holds a set of weights."""
    name = "transformer_layer"
    if architecture.groups > 1:
        name += f"_{group}"
    return name + (f"_{inner}" if architecture.inner_repetitions > 1 else "")


def variable_names(architecture, form):
    """Map Keras' names of an ALBERT's weights to those in a format, without prefix."""
    column = FORMATS.index(form)
    names = {ours: theirs[column] for ours, theirs in EMBEDDINGS.items() if theirs[column]}
    for group, inner in architecture.weight_sets():
        layer = layer_name(architecture, group, inner)
        prefix = LAYER_PREFIXES[column].format(group, inner)
        for parts, endings in ((DENSE, ("kernel", "bias")), (NORMS, ("gamma", "beta"))):
            for part, theirs in parts.items():
                for ending in endings:
                    names[f"{layer}/{part}/{ending}"] = f"{prefix}{theirs[column]}/{ending}"
    return names


def variable_shapes(architecture):
    """Map Keras' names of the encoder's weights to their shapes in a TensorFlow checkpoint."""
    a = architecture
    shapes = {
        "token_embedding/embeddings": (a.vocabulary_size, a.embedding),
        "segment_embedding/embeddings": (a.segments, a.width),
        "position_embedding/embeddings": (a.positions, a.width),
        "embedding_norm/gamma": (a.width,),
        "embedding_norm/beta": (a.width,),
        "embedding_projection/kernel": (a.embedding, a.hidden),
        "embedding_projection/bias": (a.hidden,),
    }
    if not a.segments:
        del shapes["segment_embedding/embeddings"]
    if a.variant != "google":
        del shapes["embedding_projection/bias"]
    if a.variant == "bert":
        del shapes["embedding_projection/kernel"]
    for group, inner in a.weight_sets():
        layer = layer_name(a, group, inner)
        for part in DENSE:
            before = a.feed_forward if part == "feedforward_output_dense" else a.hidden
            after = a.feed_forward if part == "feedforward_intermediate_dense" else a.hidden
            shapes[f"{layer}/{part}/kernel"] = (before, after)
            shapes[f"{layer}/{part}/bias"] = (after,)
        for part in NORMS:
            shapes[f"{layer}/{part}/gamma"] = shapes[f"{layer}/{part}/beta"] = (a.hidden,)
    return shapes
