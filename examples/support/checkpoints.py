"""Loading the public checkpoint formats.

A checkpoint is a folder in one of three formats, told apart by what is in it:

* "brightmart" and "google": a TensorFlow checkpoint of an ALBERT (`.index` and `.data-…`), a
  `*config*.json` and a `vocab.txt`; the two differ in their variables, see `Architecture`;
* "hugging_face": `config.json`, `model.safetensors` or `pytorch_model.bin`, and a `tokenizer.json`
  or `vocab.txt`; ALBERT, BERT, DistilBERT, ELECTRA, RoBERTa, XLM-RoBERTa or CamemBERT.

An error says what came, what was expected and how to mend it, and leaves all weights as they were.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from support.architecture import (
    Architecture,
    CheckpointError,
    read_architecture,
    read_configuration,
)
from support.checkpoint_files import PyTorchFile, SafetensorsFile, TensorFlowFile
from support.comparisons import (
    OPTIMIZER,
    compare_names,
    compare_shapes,
    compare_tokens,
    head_of,
    listing,
)
from support.hugging_face import read_hugging_face
from support.tokenizer import files_of, find_vocabulary
from support.variables import variable_names

import numpy as np

FLOATS = ("float16", "bfloat16", "float32", "float64")
WORDS = "embeddings/word_embeddings"  # in a TensorFlow checkpoint


@dataclass
class Checkpoint:
    """A checkpoint whose names and shapes fit its configuration.

    Attributes:
        file: the file of its weights.
        configuration: path of its configuration.
        architecture: what its configuration says.
        form: "brightmart", "google" or "hugging_face".
        names: maps Keras' names of the encoder's weights to the variables' names.
        reserved: number of positions before the first token's.
        skipped: names of variables that are not the encoder's.
    """

    file: TensorFlowFile | SafetensorsFile | PyTorchFile
    configuration: Path
    architecture: Architecture
    form: str
    names: dict[str, str]
    reserved: int = 0
    skipped: list[str] = field(default_factory=list)

    @property
    def folder(self):
        return self.file.path.parent

    @property
    def vocabulary(self):
        """Path of what texts are split by."""
        path = self.folder / "vocab.txt"
        if self.form == "hugging_face":
            path = find_vocabulary(self.folder) or path
        if not path.exists():
            raise CheckpointError(
                f"{self.folder / 'vocab.txt'}: there is no such file, and no tokenizer.json; copy "
                "the one that the checkpoint was trained with there. Of another tokenizer "
                "`transformers` makes a tokenizer.json: AutoTokenizer.from_pretrained(FOLDER)"
                ".save_pretrained(FOLDER)."
            )
        return path

    @property
    def variant(self):
        """The kind of encoder."""
        return self.architecture.variant

    @property
    def vocabulary_size(self):
        """Number of tokens that have a vector."""
        return self.architecture.vocabulary_size

    @property
    def inputs(self):
        """The names of the encoder's inputs."""
        names = ("token_ids", "segment_ids", "padding_mask")
        return names if self.architecture.segments else names[::2]

    @property
    def positions(self):
        """Tokens a text may have at most."""
        return self.architecture.positions

    @property
    def files(self):
        """All files that its results depend on."""
        return sorted(
            {self.file.path, *self.file.data, self.configuration, *files_of(self.vocabulary)}
        )

    @property
    def note(self):
        """A sentence on what was found and what is not used."""
        parts = {}
        for name in self.skipped:
            part = "optimizer" if OPTIMIZER.fullmatch(name) else head_of(name)
            parts[part] = parts.get(part, 0) + 1
        skipped = ", ".join(f"{part} ({count})" for part, count in parts.items())
        return f"{self.folder}: a checkpoint in the {self.form} format." + (
            f" Variables skipped: {skipped}." if skipped else ""
        )

    def arrays(self):
        """Read all weights of the encoder, by their Keras names, in TensorFlow's shapes."""
        arrays = {ours: self.array(name) for ours, name in self.names.items()}
        positions = "position_embedding/embeddings"
        arrays[positions] = arrays[positions][self.reserved :]
        if self.form == "hugging_face":  # PyTorch keeps (outputs, inputs)
            return {ours: a.T if ours.endswith("/kernel") else a for ours, a in arrays.items()}
        return arrays

    def array(self, name):
        """Read a variable; one that holds no usable numbers is refused."""
        array = self.file.read(name)
        if array.dtype.name not in FLOATS:
            raise CheckpointError(
                f"{self.file.path}: {name} is in {array.dtype.name}; weights are numbers in "
                f"{', '.join(FLOATS)}. Take the checkpoint that is not quantized."
            )
        array = np.asarray(array, "float32")
        if not np.isfinite(array).all():
            raise CheckpointError(
                f"{self.file.path}: {name} holds NaN or infinity, so its training had failed. Take "
                "an earlier checkpoint."
            )
        return array

    def load_into(self, encoder):
        """Fill an encoder of the same architecture; it may have fewer positions."""
        positions = min(encoder.architecture.positions, self.architecture.positions)
        if encoder.architecture != replace(self.architecture, positions=positions):
            raise ValueError(
                f"{self.folder} holds {self.architecture}. Received an encoder of "
                f"{encoder.architecture}"
            )
        arrays = self.arrays()
        arrays["position_embedding/embeddings"] = arrays["position_embedding/embeddings"][
            :positions
        ]
        for weight in encoder.weights:
            weight.assign(np.reshape(arrays[weight.path], weight.shape))


def open_checkpoint(folder):
    """Recognise a folder's format, and compare what is in it with its configuration."""
    folder = Path(folder)
    file, hugging_face = find_file(folder)
    reserved = 0
    if hugging_face:
        path, form = folder / "config.json", "hugging_face"
        architecture, names, reserved = read_hugging_face(path)
        stem = stem_of(file, "embeddings.word_embeddings.weight")
    else:
        path, form = find_configuration(folder), recognise(file)
        architecture = read_architecture(path, form)
        names = variable_names(architecture, form)
        stem = stem_of(file, WORDS)
    names = {ours: spelled(stem + name, file.shapes) for ours, name in names.items()}
    checkpoint = Checkpoint(file, path, architecture, form, names, reserved)
    checkpoint.skipped = compare_names(checkpoint, stem)
    compare_shapes(checkpoint)
    compare_tokens(checkpoint)
    return checkpoint


def find_file(folder):
    """The file of the weights, opened, and whether it is Hugging Face's."""
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder}: there is no such folder. Give the folder of a checkpoint: TensorFlow's "
            ".index and .data files, *config*.json and vocab.txt, or Hugging Face's config.json, "
            "model.safetensors and tokenizer.json or vocab.txt, or a preset of KerasHub; or a "
            "name, as bert_tiny_en_uncased, hf://USER/MODEL or albert_tiny_zh."
        )
    indexes = sorted(folder.glob("*.index"))
    if len(indexes) > 1:
        raise CheckpointError(
            f"{folder}: several checkpoints ({', '.join(path.stem for path in indexes)}). Move the "
            "one to use into a folder of its own, with its configuration and vocabulary."
        )
    if indexes:
        return TensorFlowFile(indexes[0]), False
    if (folder / "config.json").exists():
        if (folder / "model.safetensors").exists():
            return SafetensorsFile(folder / "model.safetensors"), True
        if (folder / "pytorch_model.bin").exists():
            return PyTorchFile(folder / "pytorch_model.bin"), True
    files = sorted(path.name for path in folder.iterdir())
    raise CheckpointError(
        f"{folder}: no checkpoint. Expected an .index file (TensorFlow), or config.json with "
        f"model.safetensors or pytorch_model.bin (Hugging Face). Found: {listing(files)}"
    )


def find_configuration(folder):
    paths = [
        path for path in folder.glob("*config*.json") if "hidden_size" in read_configuration(path)
    ]
    if len(paths) != 1:
        raise CheckpointError(
            f"{folder}: one *config*.json with the encoder's sizes was expected. Found: "
            f"{listing(sorted(path.name for path in paths))}"
        )
    return paths[0]


def stem_of(file, words):
    """What stands before the encoder's variable names."""
    stems = [name.removesuffix(words) for name in file.shapes if name.endswith(words)]
    if len(stems) != 1:
        raise CheckpointError(
            f"{file.path}: one encoder was expected, that is, one variable {words}. Found: "
            f"{listing(sorted(file.shapes))}"
        )
    return stems[0]


def recognise(file):
    """The format of a TensorFlow checkpoint."""
    stem = stem_of(file, WORDS)
    if f"{stem}{WORDS}_2" in file.shapes:
        return "brightmart"
    if f"{stem}encoder/embedding_hidden_mapping_in/kernel" in file.shapes:
        return "google"
    raise CheckpointError(
        f"{file.path}: no ALBERT encoder. It has {WORDS} and, for the projection to the hidden "
        "size, word_embeddings_2 or embedding_hidden_mapping_in. Of other encoders take the "
        f"folder in Hugging Face's format. Found: {listing(sorted(file.shapes))}"
    )


def spelled(name, present):
    """A layer norm's variable as TensorFlow calls it, where a file of PyTorch does so too."""
    for ending, theirs in ((".weight", ".gamma"), (".bias", ".beta")):
        other = name.removesuffix(ending) + theirs
        if name.endswith(ending) and name not in present and other in present:
            return other
    return name
