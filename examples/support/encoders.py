"""The encoder that a run starts from: a checkpoint, or a preset of KerasHub."""

import json
from functools import cached_property
from pathlib import Path

from support.albert_tiny import build
from support.architecture import CheckpointError
from support.checkpoints import open_checkpoint
from support.download import find_checkpoint
from support.tokenizer import files_of, load_tokenizer

import keras
import keras_hub
import numpy as np

INPUTS = {"token_ids", "segment_ids", "padding_mask"}


def open_encoder(name):
    """Open what a name or a folder stands for: a `Checkpoint` or a `Preset`."""
    folder = find_checkpoint(name)
    return Preset(folder) if is_preset(folder) else open_checkpoint(folder)


def open_whole_encoder(name):
    """Open an encoder of which nothing is missing: its weights and its tokenizer can be read.

    So a damaged file is told before anything is begun with it.
    """
    source = open_encoder(name)
    source.arrays()
    entries = load_tokenizer(source.vocabulary).get_vocab_size()
    if entries > source.vocabulary_size:
        raise CheckpointError(
            f"{source.vocabulary}: {entries:,} tokens, and the encoder has vectors for "
            f"{source.vocabulary_size:,}. Use the tokenizer that came with it."
        )
    return source


def load_encoder(source, dropout=0.0, dtype=None):
    """Build the encoder of a `Checkpoint` or a `Preset`, and fill it.

    Returns:
        A Keras model from `{"token_ids", "segment_ids", "padding_mask"}`, each (B, T), of which it
        may lack `segment_ids`, to the sequence (B, T, hidden).
    """
    if isinstance(source, Preset):
        return source.encoder(dropout, dtype)
    encoder = build(source.architecture, dropout, dtype)
    source.load_into(encoder)
    return encoder


def embedding_of(encoder):
    """The layer that looks up the vectors of tokens, wherever an encoder has it."""
    for layer in encoder.layers:
        if layer.name == "token_embedding":
            return layer
        if hasattr(layer, "token_embedding"):  # of tokens and positions together
            return layer.token_embedding
    raise CheckpointError(f"{encoder.name}: no layer of it is, or has, a token_embedding.")


def is_preset(folder):
    """Whether a folder is a preset of KerasHub: its configuration names a class of Keras."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "registered_name" in config


class Preset:
    """A preset of KerasHub, from its folder."""

    def __init__(self, folder):
        self.folder = self.vocabulary = Path(folder)

    @cached_property
    def backbone(self):
        try:
            backbone = keras_hub.models.Backbone.from_preset(str(self.folder))
        except Exception as error:  # of many classes, as what is damaged is JSON or HDF5
            raise CheckpointError(
                f"{self.folder}: the preset cannot be loaded; it is cut off, damaged, or of "
                f"another version of KerasHub ({type(error).__name__}: {error})"
            ) from None
        self.refuse_what_is_no_encoder(backbone)
        return backbone

    def refuse_what_is_no_encoder(self, backbone):
        name, inputs = type(backbone).__name__, backbone.input
        inputs = set(inputs) if isinstance(inputs, dict) else {"without names"}
        if not {"token_ids", "padding_mask"} <= inputs <= INPUTS:
            raise CheckpointError(
                f"{self.folder}: {name} has the inputs {', '.join(sorted(inputs))}. An encoder of "
                "texts was expected, with token_ids, padding_mask and perhaps segment_ids."
            )
        tokens = np.array([[0, 1, 2], [0, 1, 3]]) % backbone.token_embedding.input_dim
        batch = {n: tokens if n == "token_ids" else np.zeros_like(tokens) for n in inputs}
        batch["padding_mask"] = np.ones_like(tokens)
        first = keras.ops.convert_to_numpy(sequence_of(backbone(batch)))[:, 0]
        if np.array_equal(first[0], first[1]):
            raise CheckpointError(
                f"{self.folder}: {name} reads from left to right, so that its first token knows "
                "nothing of the others. The rows need an encoder that reads both ways."
            )

    def arrays(self):
        """The weights; they must be numbers."""
        weights = self.backbone.get_weights()
        if not all(np.isfinite(weight).all() for weight in weights):
            raise CheckpointError(f"{self.folder}: a weight is NaN or infinite.")
        return weights

    def encoder(self, dropout, dtype):
        config = self.backbone.get_config() | {"dtype": dtype or "float32"}
        if "dropout" in config:
            config["dropout"] = dropout
        elif dropout:
            raise CheckpointError(
                f"{self.folder}: {self.variant} has no dropout. Leave out R-Drop and --dropout."
            )
        copy = type(self.backbone).from_config(config)
        copy.set_weights(self.backbone.get_weights())
        return keras.Model(copy.input, sequence_of(copy.output), name=copy.name)

    @property
    def variant(self):
        """The kind of encoder."""
        return type(self.backbone).__name__

    @property
    def vocabulary_size(self):
        """Number of tokens that have a vector."""
        return self.backbone.token_embedding.input_dim

    @property
    def inputs(self):
        """The names of the encoder's inputs."""
        return tuple(self.backbone.input)

    @property
    def positions(self):
        """Tokens a text may have at most; None without a limit."""
        return getattr(self.backbone, "max_sequence_length", None)

    @property
    def files(self):
        """All files that its results depend on."""
        return [*files_of(self.folder), *sorted(self.folder.glob("model.weights*"))]

    @property
    def note(self):
        """A sentence on what was found."""
        return f"{self.folder}: a preset of KerasHub, {self.variant}."


def sequence_of(output):
    return output["sequence_output"] if isinstance(output, dict) else output
