"""The folder of a trained model: all that it takes to label new texts."""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from support import albert_tiny  # noqa: F401 (registers what saved models are made of)
from support.table import DataError
from support.tokenizer import load_tokenizer

import keras
import numpy as np

import keras_mlc  # noqa: F401

MODEL, VOCABULARY, LABELS = "model.keras", "vocab.txt", "labels.json"
WIDTHS = (*range(4, 32, 4), *range(32, 64, 8), *range(64, 128, 16), *range(128, 513, 32))


@dataclass
class Labels:
    """What a model's outputs mean: labels, or levels of aspects.

    Attributes:
        title: name of the row that was trained.
        max_length: tokens a text; what is longer is cut.
        labels: names of the labels, in the order of the scores; None for aspects.
        thresholds: for each label the score above which it is given; None for aspects.
        aspects: for each aspect the names of its levels; None for labels.
    """

    title: str
    max_length: int
    labels: list[str] | None = None
    thresholds: list[float] | None = None
    aspects: dict[str, list[str]] | None = None


@dataclass
class Served:
    """A model that was read from its folder."""

    folder: Path
    labels: Labels

    @cached_property
    def model(self):
        return keras.saving.load_model(self.folder / MODEL, compile=False)

    @cached_property
    def tokenizer(self):
        return load_tokenizer(self.folder / VOCABULARY)

    def use_bfloat16(self):
        """Compute the transformer layers in bfloat16, whatever they were trained in."""

        def lowered(layer):
            config = layer.get_config()
            if layer.name.startswith("transformer_layer"):
                config["dtype"] = "mixed_bfloat16"
            return type(layer).from_config(config)

        weights = self.model.get_weights()
        self.model = keras.models.clone_model(self.model, clone_function=lowered)
        self.model.set_weights(weights)


def inference_model(model):
    """The model from tokens to scores alone, without trainer, loss and optimizer.

    It shares its layers with the trained one.
    """
    inner = getattr(model, "model", model)  # inside FGMTrainer and GradientPenaltyTrainer
    return keras.Model(inner.input, inner.output, name=inner.name)


def write_model(folder, model, vocabulary, labels):
    """Write a model's folder; whoever reads sees a whole one or none.

    Args:
        folder: the folder; one that is there already is replaced.
        model: a trained model, or the trainer around it.
        vocabulary: path of the `vocab.txt` that the texts were split with.
        labels: its `Labels`.
    """
    folder = Path(folder)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    inference_model(model).save(partial / MODEL)
    shutil.copyfile(vocabulary, partial / VOCABULARY)
    content = {name: value for name, value in asdict(labels).items() if value is not None}
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (partial / LABELS).write_text(text + "\n", encoding="utf-8")
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(partial, folder)


def read_model(folder):
    """Read a folder that `write_model` wrote; the weights are read when they are needed."""
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder. Training with `--save` makes one.")
    missing = [name for name in (MODEL, VOCABULARY, LABELS) if not (folder / name).is_file()]
    if missing:
        inside = sorted(path.parent.name for path in folder.glob(f"**/{MODEL}"))
        hint = f" Models are below it: {', '.join(inside)}." if inside else ""
        raise DataError(
            f"{folder}: no model that was trained with `--save`; {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing.{hint}"
        )
    try:
        labels = Labels(**json.loads((folder / LABELS).read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DataError(f"{folder / LABELS}: damaged, or of another version ({error}).") from None
    return Served(folder, labels)


class Predictor:
    """Computes the outputs of a model that was saved.

    Texts of about the same length are computed together, padded to one of a few widths: little is
    computed for padding, and there are few shapes to compile for.
    """

    def __init__(self, served, batch_size):
        self.model, self.tokenizer, self.batch_size = served.model, served.tokenizer, batch_size
        self.longest = served.labels.max_length
        self.tokenizer.enable_truncation(self.longest)
        self.tokenizer.no_padding()

    def __call__(self, texts):
        """The outputs for N texts, (N, C) or (N, A, L)."""
        encodings = self.tokenizer.encode_batch(texts)
        order = sorted(range(len(texts)), key=lambda i: len(encodings[i]))
        outputs = None
        for first in range(0, len(order), self.batch_size):
            places = order[first : first + self.batch_size]
            found = self.batch([encodings[i].ids for i in places])
            if outputs is None:
                outputs = np.empty((len(texts), *found.shape[1:]), "float32")
            outputs[places] = found[: len(places)]
        return outputs

    def batch(self, ids):
        """The outputs for a batch of token ids, of which the last are the longest."""
        width = min([w for w in WIDTHS if w >= len(ids[-1])] or [len(ids[-1])])
        rows = min(self.batch_size, 1 << (len(ids) - 1).bit_length())
        token_ids = np.zeros((rows, min(width, self.longest)), "int32")
        padding_mask = np.zeros_like(token_ids)
        for row, text in enumerate(ids):
            token_ids[row, : len(text)] = text
            padding_mask[row, : len(text)] = 1
        inputs = {
            "token_ids": token_ids,
            "segment_ids": np.zeros_like(token_ids),
            "padding_mask": padding_mask,
        }
        return np.asarray(self.model.predict_on_batch(inputs), "float32")
