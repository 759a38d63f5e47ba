"""Reading arrays by name from TensorFlow, safetensors and PyTorch files."""

import pickle
from contextlib import contextmanager
from functools import cached_property

from support.architecture import CheckpointError

import numpy as np
import tensorflow as tf


class TensorFlowFile:
    """A TensorFlow checkpoint: an index of names and shapes, and a file of data.

    Attributes:
        path: the index.
        shapes: maps each variable's name to its shape.
    """

    def __init__(self, index):
        self.path = index
        self.prefix = str(index).removesuffix(".index")
        with self.damage_told():
            self.reader = tf.train.load_checkpoint(self.prefix)
            self.shapes = {
                name: tuple(shape)
                for name, shape in self.reader.get_variable_to_shape_map().items()
            }

    @property
    def data(self):
        return sorted(self.path.parent.glob(f"{self.path.stem}.data-*"))

    def read(self, name):
        if not self.data:
            raise CheckpointError(
                f"{self.path.with_suffix('')}.data-00000-of-00001: there is no such file. The "
                "index has names and shapes only; copy the data file beside it."
            )
        with self.damage_told():
            return self.reader.get_tensor(name)

    @contextmanager
    def damage_told(self):
        try:
            yield
        except (tf.errors.OpError, IndexError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(
                f"{self.prefix}: not a TensorFlow checkpoint, or damaged ({reason}). Copy its "
                ".index and .data files again."
            ) from None


class SafetensorsFile:
    """A `model.safetensors`; attributes as above."""

    def __init__(self, path):
        from safetensors import SafetensorError, safe_open

        self.path, self.data = path, [path]
        try:
            self.file = safe_open(path, framework="np")
            self.shapes = {
                name: tuple(self.file.get_slice(name).get_shape())
                for name in self.file.keys()  # noqa: SIM118, as it is no dictionary
            }
        except SafetensorError as error:
            raise CheckpointError(
                f"{path}: not a safetensors file, or damaged ({error}). Fetch it again."
            ) from None

    def read(self, name):
        try:
            return self.file.get_tensor(name)
        except TypeError as error:  # NumPy has no bfloat16
            raise CheckpointError(
                f"{self.path}: {name} cannot be read ({error}). Save the model in float32."
            ) from None


class PyTorchFile:
    """A `pytorch_model.bin`, read without running the code that a pickle may hold."""

    def __init__(self, path):
        self.path, self.data = path, [path]

    @cached_property
    def tensors(self):
        try:
            import torch
        except ImportError:
            raise CheckpointError(
                f"{self.path}: reading this file needs torch. Install it (`pip install torch`), or "
                "save the model as model.safetensors."
            ) from None
        try:
            tensors = torch.load(self.path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(
                f"{self.path}: not a file of tensors alone, or damaged ({reason}). Code in it is "
                "not run; save the model as model.safetensors."
            ) from None
        if not isinstance(tensors, dict) or not all(map(torch.is_tensor, tensors.values())):
            raise CheckpointError(f"{self.path}: a dictionary of tensors was expected.")
        return tensors

    @property
    def shapes(self):
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}

    def read(self, name):
        tensor = self.tensors[name]
        return np.asarray(tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor)
