"""The names and shapes of an encoder's variables in the public checkpoint formats."""

# Keras' name, then that in the formats "brightmart", "google" and "hugging_face"
FORMATS = ("brightmart", "google", "hugging_face")
EMBEDDINGS = {
    "token_embedding/embeddings": (
        "embeddings/word_embeddings",
        "embeddings/word_embeddings",
        "embeddings.word_embeddings.weight",
    ),
    "segment_embedding/embeddings": (
        "embeddings/token_type_embeddings",
        "embeddings/token_type_embeddings",
        "embeddings.token_type_embeddings.weight",
    ),
    "position_embedding/embeddings": (
        "embeddings/position_embeddings",
        "embeddings/position_embeddings",
        "embeddings.position_embeddings.weight",
    ),
    "embedding_norm/gamma": (
        "embeddings/LayerNorm/gamma",
        "embeddings/LayerNorm/gamma",
        "embeddings.LayerNorm.weight",
    ),
    "embedding_norm/beta": (
        "embeddings/LayerNorm/beta",
        "embeddings/LayerNorm/beta",
        "embeddings.LayerNorm.bias",
    ),
    "embedding_projection/kernel": (
        "embeddings/word_embeddings_2",
        "encoder/embedding_hidden_mapping_in/kernel",
        "encoder.embedding_hidden_mapping_in.weight",
    ),
    "embedding_projection/bias": (
        None,
        "encoder/embedding_hidden_mapping_in/bias",
        "encoder.embedding_hidden_mapping_in.bias",
    ),
}
LAYER_PREFIXES = (
    "encoder/layer_shared/",
    "encoder/transformer/group_{}/inner_group_{}/",
    "encoder.albert_layer_groups.{}.albert_layers.{}.",
)
DENSE = {
    "self_attention_layer/query": (
        "attention/self/query",
        "attention_1/self/query",
        "attention.query",
    ),
    "self_attention_layer/key": ("attention/self/key", "attention_1/self/key", "attention.key"),
    "self_attention_layer/value": (
        "attention/self/value",
        "attention_1/self/value",
        "attention.value",
    ),
    "self_attention_layer/attention_output": (
        "attention/output/dense",
        "attention_1/output/dense",
        "attention.dense",
    ),
    "feedforward_intermediate_dense": ("intermediate/dense", "ffn_1/intermediate/dense", "ffn"),
    "feedforward_output_dense": ("output/dense", "ffn_1/intermediate/output/dense", "ffn_output"),
}
NORMS = {
    "self_attention_layer_norm": ("attention/output/LayerNorm", "LayerNorm", "attention.LayerNorm"),
    "feedforward_layer_norm": ("output/LayerNorm", "LayerNorm_1", "full_layer_layer_norm"),
}
ENDINGS = {
    "kernel": ("/kernel", "/kernel", ".weight"),
    "bias": ("/bias", "/bias", ".bias"),
    "gamma": ("/gamma", "/gamma", ".weight"),
    "beta": ("/beta", "/beta", ".bias"),
}


def layer_name(architecture, group, inner):
    """Name of the Keras layer that holds a set of weights."""
    if architecture.groups == architecture.inner_repetitions == 1:
        return "transformer_layer"
    return f"transformer_layer_{group}_{inner}"


def variable_names(architecture, form):
    """Map Keras' names of the encoder's weights to those in a format, without prefix."""
    column = FORMATS.index(form)
    names = {ours: theirs[column] for ours, theirs in EMBEDDINGS.items() if theirs[column]}
    for group, inner in architecture.weight_sets():
        layer = layer_name(architecture, group, inner)
        prefix = LAYER_PREFIXES[column].format(group, inner)
        for parts, endings in ((DENSE, ("kernel", "bias")), (NORMS, ("gamma", "beta"))):
            for part, theirs in parts.items():
                for ending in endings:
                    name = prefix + theirs[column] + ENDINGS[ending][column]
                    names[f"{layer}/{part}/{ending}"] = name
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
    if a.variant == "brightmart":
        del shapes["embedding_projection/bias"]
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
