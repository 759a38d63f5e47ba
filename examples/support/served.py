"""The folder of a trained model, read: all that it takes to label new texts."""

import json
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from support.settings import fingerprint
from support.table import DataError
from support.tokenizer import VOCABULARIES, files_of, find_vocabulary, load_tokenizer

MODEL, LABELS, ONNX = "model.keras", "labels.json", "model.onnx"
PROBABILITIES = "probabilities"
MADE_FROM = "made from"  # entry of the ONNX file
SHORTEST = 3  # tokens a text: one between [CLS] and [SEP]


@dataclass
class Labels:
    """What a model's outputs mean: labels, or levels of aspects.

    The thresholds of labels and what makes scores probabilities are layers of the model.

    Attributes:
        title: name of the row that was trained.
        max_length: tokens a text; what is longer is cut.
        labels: names of the labels, in the order of the outputs; None for aspects.
        aspects: for each aspect the names of its levels; None for labels.
        outputs: names of the model's outputs; by default all that there are.
        files: fingerprints of the files that it was written beside.
    """

    title: str
    max_length: int
    labels: list[str] | None = None
    aspects: dict[str, list[str]] | None = None
    outputs: list[str] | None = None
    files: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        if not isinstance(self.max_length, int) or self.max_length < SHORTEST:
            raise ValueError(f"max_length is {self.max_length!r}, not {SHORTEST} or more")
        if (self.labels is None) == (self.aspects is None):
            raise ValueError("either labels or aspects are expected")
        if not isinstance(self.files, dict):
            raise ValueError(f"files is {self.files!r}, not an object")
        for names in [self.labels] if self.aspects is None else self.aspects.values():
            if not isinstance(names, list) or not names or {*map(type, names)} != {str}:
                raise ValueError(f"a list of names is expected, not {names!r}")
            if len(set(names)) < len(names):
                raise ValueError(f"a name stands twice in {names!r}")
        known = [PROBABILITIES] if self.labels is None else ["labels", PROBABILITIES, "scores"]
        needed = set() if self.labels is None else {"labels", "scores"}
        self.outputs = known if self.outputs is None else self.outputs
        if not self.outputs or not needed <= {*self.outputs} <= {*known}:
            raise ValueError(f"outputs are {self.outputs!r}, not {known!r}")

    @property
    def shapes(self):
        """The shape of each of a text's outputs."""
        if self.aspects is None:
            return dict.fromkeys(self.outputs, (len(self.labels),))
        levels = max(map(len, self.aspects.values()))
        return dict.fromkeys(self.outputs, (len(self.aspects), levels))


@dataclass
class Served:
    """A model that was read from its folder."""

    folder: Path
    labels: Labels

    @cached_property
    def model(self):
        # here, because ONNX Runtime labels texts without waiting for Keras
        from support import albert_tiny  # noqa: F401 (registers what saved models are made of)

        import keras

        import keras_mlc  # noqa: F401

        try:
            return keras.saving.load_model(self.folder / MODEL, compile=False)
        except Exception as error:  # of many classes, as what is damaged is a zip, JSON or HDF5
            raise DataError(
                f"{self.folder / MODEL}: cannot be loaded; it is cut off, damaged or of another "
                f"version ({type(error).__name__}: {first_line(error)}). Train again with `--save`."
            ) from None

    @cached_property
    def tokenizer(self):
        return load_tokenizer(find_vocabulary(self.folder))

    def use_bfloat16(self):
        """Compute the transformer layers in bfloat16, whatever they were trained in."""
        import keras
        import keras_hub

        kind = keras_hub.layers.TransformerEncoder
        if not any(isinstance(layer, kind) for layer in self.model.layers):
            raise DataError(
                f"{self.folder}: --bfloat16 is for transformer layers of KerasHub's {kind.__name__}"
                ", and the model has none."
            )

        def lowered(layer):
            config = layer.get_config()
            if isinstance(layer, kind):
                config["dtype"] = "mixed_bfloat16"
            return type(layer).from_config(config)

        weights = self.model.get_weights()
        self.model = keras.models.clone_model(self.model, clone_function=lowered)
        self.model.set_weights(weights)

    def use_onnx(self):
        """Compute in ONNX Runtime what examples/export_onnx.py wrote."""
        self.model = OnnxModel(self.folder / ONNX)
        if self.model.made_from != fingerprint(self.folder / MODEL):
            raise DataError(
                f"{self.folder / ONNX} was made from another {MODEL}. `python "
                f"examples/export_onnx.py {self.folder}` makes it anew."
            )


class OnnxModel:
    """A model of ONNX Runtime, with the method of a Keras model that a `Predictor` calls."""

    def __init__(self, path):
        try:
            import onnxruntime
        except ImportError:
            raise DataError("ONNX Runtime is missing: pip install onnxruntime") from None
        if not path.is_file():
            raise DataError(
                f"{path}: there is no such file. `python examples/export_onnx.py {path.parent}` "
                "writes it."
            )
        options = onnxruntime.SessionOptions()
        if hasattr(os, "sched_getaffinity"):  # otherwise a thread for each core of the machine
            options.intra_op_num_threads = len(os.sched_getaffinity(0))
        try:
            self.session = onnxruntime.InferenceSession(path, options)
        except Exception as error:  # it has a class of its own for every reason
            raise DataError(f"{path}: ONNX Runtime cannot read it ({error}).") from None

    @property
    def made_from(self):
        """The fingerprint of the Keras model that it was made from."""
        return self.session.get_modelmeta().custom_metadata_map.get(MADE_FROM)

    @property
    def input(self):
        """The names of the inputs."""
        return [value.name for value in self.session.get_inputs()]

    def predict_on_batch(self, inputs):
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, inputs), strict=True))


def read_model(folder):
    """Read a folder that `write_model` wrote; the weights are read when they are needed."""
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder. Training with `--save` makes one.")
    missing = [name for name in (MODEL, LABELS) if not (folder / name).is_file()]
    if find_vocabulary(folder) is None:
        missing.append(" or ".join(VOCABULARIES[:2]))
    if missing:
        inside = sorted(path.parent.name for path in folder.glob(f"**/{MODEL}"))
        hint = f" Models are below it: {', '.join(inside)}." if inside else ""
        raise DataError(
            f"{folder}: no model that was trained with `--save`; {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing.{hint}"
        )
    try:
        content = json.loads((folder / LABELS).read_bytes())
        if isinstance(content, dict) and "outputs" not in content:
            raise DataError(
                f"{folder}: saved by an earlier version, whose models give neither labels nor "
                "probabilities. Train again with `--save`."
            )
        labels = Labels(**content)
    except (AttributeError, ValueError, TypeError) as error:
        raise DataError(f"{folder / LABELS}: damaged, or of another version ({error}).") from None
    for path in (folder / MODEL, *files_of(find_vocabulary(folder))):
        name = str(path.relative_to(folder))
        if labels.files.get(name) not in (None, fingerprint(path)):
            raise DataError(
                f"{folder}: {LABELS} was not written with this {name}, which may give each score "
                f'another name. If they belong together, remove {name} from "files" in {LABELS}.'
            )
    return Served(folder, labels)


def has_model(folder):
    """Whether a folder can be read: there is a model, neither damaged nor of an earlier version."""
    try:
        read_model(folder)
    except DataError:
        return False
    return True


def first_line(error):
    return (str(error).strip().splitlines() or [""])[0]
