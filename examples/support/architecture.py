"""What an ALBERT encoder is built of, and how configuration files say it."""

import json
from dataclasses import asdict, dataclass

from support.table import DataError

# In TensorFlow checkpoints "gelu" is the tanh form, in Hugging Face's the exact one.
TENSORFLOW_ACTIVATIONS = {"gelu": "gelu_tanh", "relu": "relu", "tanh": "tanh", "linear": "linear"}
HUGGING_FACE_ACTIVATIONS = {
    **dict.fromkeys(("gelu", "gelu_python"), "gelu"),
    **dict.fromkeys(("gelu_new", "gelu_fast", "gelu_pytorch_tanh"), "gelu_tanh"),
    **dict.fromkeys(("silu", "swish"), "silu"),
    **{name: name for name in ("relu", "relu6", "tanh", "sigmoid", "mish", "linear")},
}
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
OPTIONAL_KEYS = {"groups": "num_hidden_groups", "inner_repetitions": "inner_group_num"}


class CheckpointError(DataError):
    """A checkpoint that cannot be used as it is; the message says where and why."""


@dataclass(frozen=True)
class Architecture:
    """Sizes and kinds of an ALBERT encoder; by default those of albert-tiny.

    The two public variants differ before the first transformer layer:

    * "google": token, segment and position vectors of the embedding size are added and
      normalised, then projected to the hidden size, with a bias;
    * "brightmart": token vectors of the embedding size are projected without a bias, then segment
      and position vectors of the hidden size are added and normalised.

    The layers fall into `groups` with weights of their own; each is `inner_repetitions` transformer
    layers, one after the other.
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
        if self.variant not in ("google", "brightmart"):
            raise ValueError(
                f'`variant` must be "google" or "brightmart". Received: {self.variant!r}'
            )
        for name in (*KEYS, *OPTIONAL_KEYS):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
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


def read_architecture(path, variant, activations):
    """Read a configuration file; `activations` says what its names of activations mean."""
    config = read_configuration(path)
    missing = [key for key in KEYS.values() if key not in config]
    if missing:
        raise CheckpointError(f"{path}: no {' and no '.join(missing)}; is it a checkpoint's?")
    name = config.get("hidden_act", "gelu")
    if not isinstance(name, str) or name not in activations:
        raise CheckpointError(
            f"{path}: hidden_act is {name!r}; known are {', '.join(activations)}."
        )
    for key, only in (("ln_type", "postln"), ("position_embedding_type", "absolute")):
        if config.get(key, only) != only:
            raise CheckpointError(f"{path}: {key} is {config[key]!r}; only {only!r} is supported.")
    sizes = {field: config[key] for field, key in KEYS.items()}
    sizes |= {field: config.get(key, 1) for field, key in OPTIONAL_KEYS.items()}
    try:
        return Architecture(
            variant,
            activation=activations[name],
            epsilon=config.get("layer_norm_eps", 1e-12),
            **sizes,
        )
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
    names = {activation: name for name, activation in TENSORFLOW_ACTIVATIONS.items()}
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
