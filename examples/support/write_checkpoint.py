"""Writing an encoder in the real TensorFlow checkpoint format of its variant."""

import json
import os
import tempfile
from pathlib import Path

from support.architecture import to_configuration
from support.comparisons import compare_vocabulary
from support.tokenizer import copy_vocabulary
from support.variables import variable_names, variable_shapes

import numpy as np
import tensorflow as tf


def write_checkpoint(encoder, folder, vocabulary, dtype="float32"):
    """Write an encoder of `albert_tiny` as a TensorFlow checkpoint of its variant.

    The folder receives `albert_model.ckpt.index` and `.data-00000-of-00001`, `albert_config.json`
    and `vocab.txt`. A kill leaves the old data file or the new one.

    Args:
        encoder: the model.
        folder: where to write; made if need be.
        vocabulary: path of a `vocab.txt` with an entry for every token id.
        dtype: dtype of the variables; "float16" halves the file.
    """
    folder, vocabulary = Path(folder), Path(vocabulary)
    architecture = encoder.architecture
    configuration = json.dumps(to_configuration(architecture), indent=2) + "\n"
    compare_vocabulary(vocabulary, architecture.vocabulary_size, "the encoder")
    names, shapes = (
        variable_names(architecture, architecture.variant),
        variable_shapes(architecture),
    )
    arrays = {
        f"bert/{names[weight.path]}": np.reshape(weight.numpy(), shapes[weight.path])
        for weight in encoder.weights
    }
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as partial:
        partial = Path(partial)
        tf.raw_ops.SaveV2(
            prefix=str(partial / "albert_model.ckpt"),
            tensor_names=list(arrays),
            shape_and_slices=[""] * len(arrays),
            tensors=[tf.cast(array, dtype) for array in arrays.values()],
        )
        (partial / "albert_config.json").write_text(configuration)
        copy_vocabulary(vocabulary, partial)
        for path in sorted(partial.iterdir()):
            os.replace(path, folder / path.name)
