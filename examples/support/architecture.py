"""What an encoder is built of, and how the configurations of TensorFlow checkpoints say it."""

import json
from dataclasses import asdict, dataclass

from support.table import DataError

# what they call "gelu" is the tanh form; Hugging Face's is the exact one
ACTIVATIONS = {"gelu": "gelu_tanh", "relu": "relu", "tanh": "tanh", "linear": "linear"}
KEYS = {
    "vocabulary_size": "vocab_size",
    "positions": "max_position_embeddings",
    "segments": "type_vocab_size",
    "embedding": "embedding_size",
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "feed_forward": "intermediate_size",
}
VARIANTS = ("google", "brightmart", "bert")
OPTIONAL_KEYS = {"groups": "num_hidden_groups", "inner_repetitions": "inner_group_num"}


class CheckpointError(DataError):
    """A checkpoint that cannot be used as it is; the message says where and why."""


@dataclass(frozen=True)
class Architecture:
    """Sizes and kinds of an encoder; by default those of albert-tiny.

    The variants differ before the first transformer layer:

    * "google": token, segment and position vectors of the embedding size are added and
      normalised, then projected to the hidden size, with a bias;
    * "brightmart": token vectors of the embedding size are projected without a bias, then segment
      and position vectors of the hidden size are added and normalised;
    * "bert": token, segment and position vectors have the hidden size, and nothing is projected.

    An encoder with no `segments` has no segment vectors.

    The layers fall into `groups` with weights of their own; each is `inner_repetitions` transformer
    layers, one after the other. ALBERT has one group, all others one for each layer.
    """

    variant: str = "google"
    vocabulary_size: int = 21128
    positions: int = 512
    segments: int = 2
    embedding: int = 128
    hidden: int = 312
    layers: int = 4
    groups: int = 1
    inner_repetitions: int = 1
    heads: int = 12
    feed_forward: int = 1248
    activation: str = "gelu_tanh"
    epsilon: float = 1e-12

    def __post_init__(self):
        if self.variant not in VARIANTS:
            raise ValueError(
                f"`variant` must be one of {', '.join(VARIANTS)}. Received: {self.variant!r}"
            )
        for name in (*KEYS, *OPTIONAL_KEYS):
            value, least = getattr(self, name), 0 if name == "segments" else 1
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"`{name}` must be a whole number above 0. Received: {value!r}")
        if not isinstance(self.epsilon, (int, float)) or not 0 < self.epsilon < 1:
            raise ValueError(
                "The layer norm's epsilon (layer_norm_eps) must be above 0 and below 1. Received: "
                f"{self.epsilon!r}"
            )
        if self.hidden % self.heads:
            raise ValueError(
                f"The hidden size must be a multiple of the heads. Received: {self.hidden} and "
                f"{self.heads}"
            )
        if self.variant == "bert" and self.embedding != self.hidden:
            raise ValueError(
                "Without a projection the embedding size must be the hidden size. Received: "
                f"{self.embedding} and {self.hidden}"
            )
        if self.groups > self.layers:
            raise ValueError(f"More groups than layers: {self.groups} and {self.layers}")
        if self.variant == "brightmart" and (self.groups, self.inner_repetitions) != (1, 1):
            raise ValueError(
                "The brightmart format has one group of one layer. Received: "
                f"{self.groups} groups of {self.inner_repetitions}"
            )

    @property
    def width(self):
        """Size of the vectors that are added and normalised."""
        return self.embedding if self.variant == "google" else self.hidden

    def weight_sets(self):
        """The (group, inner repetition) pairs, each with weights of its own."""
        return [(g, i) for g in range(self.groups) for i in range(self.inner_repetitions)]

    def order(self):
        """The same pairs in the order in which a text passes them."""
        return [
            (layer * self.groups // self.layers, inner)
            for layer in range(self.layers)
            for inner in range(self.inner_repetitions)
        ]


def read_architecture(path, variant):
    """Read the configuration of a TensorFlow checkpoint."""
    return architecture_of(read_configuration(path), path, variant, KEYS, ACTIVATIONS)


def architecture_of(
    config, path, variant, keys, activations, named=("hidden_act", "gelu"), **known
):
    """What a configuration says.

    Args:
        config: the content of the file.
        path: its path, for errors.
        variant: the variant.
        keys: maps fields of `Architecture` to the keys that hold them.
        activations: maps its names of activations to those of `Architecture`.
        named: the key of the activation, and what it is by default.
        **known: fields that are not in the configuration as they are.
    """
    missing = [key for key in keys.values() if key not in config]
    if missing:
        raise CheckpointError(f"{path}: no {' and no '.join(missing)}; is it a checkpoint's?")
    activation = config.get(*named)
    if not isinstance(activation, str) or activation not in activations:
        raise CheckpointError(
            f"{path}: {named[0]} is {activation!r}; known are {', '.join(activations)}."
        )
    fixed = {"ln_type": "postln", "position_embedding_type": "absolute", "is_decoder": False}
    for key, only in fixed.items():
        if config.get(key, only) != only:
            raise CheckpointError(f"{path}: {key} is {config[key]!r}; only {only!r} is supported.")
    sizes = {field: config[key] for field, key in keys.items()}
    sizes |= {field: config.get(key, 1) for field, key in OPTIONAL_KEYS.items()}
    sizes |= {"epsilon": config.get("layer_norm_eps", 1e-12)} | known
    try:
        return Architecture(variant, activation=activations[activation], **sizes)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None


def read_configuration(path):
    try:
        config = json.loads(path.read_bytes())  # UTF-8 with or without a mark, UTF-16
    except ValueError as error:
        raise CheckpointError(f"{path}: not JSON ({error}).") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: a JSON object was expected.")
    return config


def to_configuration(architecture):
    """The content of a TensorFlow checkpoint's configuration file."""
    names = {activation: name for name, activation in ACTIVATIONS.items()}
    if architecture.variant == "bert":
        raise CheckpointError(
            "It is no ALBERT, and TensorFlow checkpoints are written of ALBERT alone. Start from "
            "one, such as albert_tiny_zh."
        )
    if architecture.activation not in names:
        raise CheckpointError(
            f"TensorFlow checkpoints have no name for the activation {architecture.activation!r}; "
            f"they have one for {', '.join(names)}."
        )
    sizes = asdict(architecture)
    config = {key: sizes[field] for field, key in (KEYS | OPTIONAL_KEYS).items()}
    config |= {
        "hidden_act": names[architecture.activation],
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.02,
        "layer_norm_eps": architecture.epsilon,
    }
    return config | ({"ln_type": "postln"} if architecture.variant == "brightmart" else {})
