"""Encoders in Hugging Face's format: what their configurations say, and their variables' names.

KerasHub reads such folders too, but no ELECTRA; it wants the names of one way of saving, and a
pooler; and it takes activation, epsilon and RoBERTa's segment vector as its own classes have them,
whatever is in the folder.
"""

from dataclasses import dataclass, field

from support.architecture import KEYS, CheckpointError, architecture_of, read_configuration
from support.variables import layer_name

ACTIVATIONS = {
    **dict.fromkeys(("gelu", "gelu_python"), "gelu"),
    **dict.fromkeys(("gelu_new", "gelu_fast", "gelu_pytorch_tanh"), "gelu_tanh"),
    **dict.fromkeys(("silu", "swish"), "silu"),
    **{name: name for name in ("relu", "relu6", "tanh", "sigmoid", "mish", "linear")},
}
WITHOUT_EMBEDDING = {name: key for name, key in KEYS.items() if name != "embedding"}
DISTILBERT_KEYS = {
    "vocabulary_size": "vocab_size",
    "positions": "max_position_embeddings",
    "hidden": "dim",
    "layers": "n_layers",
    "heads": "n_heads",
    "feed_forward": "hidden_dim",
}
EMBEDDINGS = {
    "token_embedding/embeddings": "embeddings.word_embeddings.weight",
    "segment_embedding/embeddings": "embeddings.token_type_embeddings.weight",
    "position_embedding/embeddings": "embeddings.position_embeddings.weight",
    "embedding_norm/gamma": "embeddings.LayerNorm.weight",
    "embedding_norm/beta": "embeddings.LayerNorm.bias",
}
# the parts of a layer, in Keras and in BERT, ALBERT and DistilBERT
PARTS = {
    "self_attention_layer/query": ("attention.self.query", "attention.query", "attention.q_lin"),
    "self_attention_layer/key": ("attention.self.key", "attention.key", "attention.k_lin"),
    "self_attention_layer/value": ("attention.self.value", "attention.value", "attention.v_lin"),
    "self_attention_layer/attention_output": (
        "attention.output.dense",
        "attention.dense",
        "attention.out_lin",
    ),
    "self_attention_layer_norm": (
        "attention.output.LayerNorm",
        "attention.LayerNorm",
        "sa_layer_norm",
    ),
    "feedforward_intermediate_dense": ("intermediate.dense", "ffn", "ffn.lin1"),
    "feedforward_output_dense": ("output.dense", "ffn_output", "ffn.lin2"),
    "feedforward_layer_norm": ("output.LayerNorm", "full_layer_layer_norm", "output_layer_norm"),
}
BERT, ALBERT, DISTILBERT = range(3)


@dataclass(frozen=True)
class Kind:
    """How a type of model says what its encoder is.

    Attributes:
        style: column of `PARTS`.
        layer: what stands before the names of a layer's parts.
        keys: maps fields of `Architecture` to keys of the configuration.
        activation: key of the activation, and what it is by default.
        projection: name of the projection, if there may be one.
        reserved: whether the first positions, up to the padding's id, belong to no token.
    """

    style: int = BERT
    layer: str = "encoder.layer.{}."
    keys: dict[str, str] = field(default_factory=lambda: WITHOUT_EMBEDDING)
    activation: tuple[str, str] = ("hidden_act", "gelu")
    projection: str | None = None
    reserved: bool = False


KINDS = {
    "albert": Kind(
        ALBERT,
        "encoder.albert_layer_groups.{}.albert_layers.{}.",
        KEYS,
        ("hidden_act", "gelu_new"),
        projection="encoder.embedding_hidden_mapping_in",
    ),
    "bert": Kind(),
    "camembert": Kind(reserved=True),
    "distilbert": Kind(
        DISTILBERT, "transformer.layer.{}.", DISTILBERT_KEYS, ("activation", "gelu")
    ),
    "electra": Kind(keys=KEYS, projection="embeddings_project"),
    "roberta": Kind(reserved=True),
    "xlm-roberta": Kind(reserved=True),
}


def read_hugging_face(path):
    """Read a configuration.

    Returns:
        The architecture, the names of the encoder's variables by those in Keras, and the number of
        positions that belong to no token.
    """
    config = read_configuration(path)
    kind = KINDS.get(config.get("model_type"))
    if kind is None:
        raise CheckpointError(
            f"{path}: model_type is {config.get('model_type')!r}; of Hugging Face's formats "
            f"{', '.join(KINDS)} are read. Take an encoder of these, or a preset of KerasHub."
        )
    known = {}
    if "embedding" not in kind.keys:
        known["embedding"] = config.get(kind.keys["hidden"])
    if "segments" not in kind.keys:
        known["segments"] = 0
    if kind.style != ALBERT:
        known["groups"] = config.get(kind.keys["layers"])
    if kind.style == DISTILBERT:
        known["epsilon"] = 1e-12  # whatever the configuration says
    reserved = 0
    if kind.reserved:
        padding, positions = config.get("pad_token_id", 1), config.get(kind.keys["positions"])
        if not isinstance(padding, int) or not isinstance(positions, int):
            raise CheckpointError(
                f"{path}: pad_token_id and {kind.keys['positions']} must be whole numbers. "
                f"Received: {padding!r} and {positions!r}"
            )
        reserved = padding + 1
        known["positions"] = positions - reserved
    projected = kind.projection and (
        kind.style == ALBERT or config.get("embedding_size") != config.get("hidden_size")
    )
    variant = "google" if projected else "bert"
    architecture = architecture_of(
        config, path, variant, kind.keys, ACTIVATIONS, kind.activation, **known
    )
    return architecture, variable_names(architecture, kind), reserved


def variable_names(architecture, kind):
    """Map Keras' names of the encoder's weights to Hugging Face's, without prefix."""
    names = dict(EMBEDDINGS)
    if not architecture.segments:
        del names["segment_embedding/embeddings"]
    if architecture.variant == "google":
        names["embedding_projection/kernel"] = f"{kind.projection}.weight"
        names["embedding_projection/bias"] = f"{kind.projection}.bias"
    for group, inner in architecture.weight_sets():
        layer = layer_name(architecture, group, inner)
        prefix = kind.layer.format(group, inner)
        for part, theirs in PARTS.items():
            weight, bias = ("gamma", "beta") if part.endswith("norm") else ("kernel", "bias")
            names[f"{layer}/{part}/{weight}"] = f"{prefix}{theirs[kind.style]}.weight"
            names[f"{layer}/{part}/{bias}"] = f"{prefix}{theirs[kind.style]}.bias"
    return names
