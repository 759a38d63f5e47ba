"""Compiling and differentiating functions on the running backend."""

import keras
import numpy as np
import pytest
from keras import ops

BACKEND = keras.backend.backend()
MODES = {
    "tensorflow": ["eager", "graph", "xla"],
    "jax": ["eager", "xla"],
    "torch": ["eager"],
}[BACKEND]
COMPILED_MODES = MODES[1:]

tensorflow_only = pytest.mark.skipif(BACKEND != "tensorflow", reason="needs TensorFlow graphs")


def compiled(function, mode):
    """Return a function of arrays that computes `function` in one of `MODES`."""
    if mode != "eager" and BACKEND == "tensorflow":
        import tensorflow as tf

        function = tf.function(function, jit_compile=mode == "xla", autograph=False)
    if mode != "eager" and BACKEND == "jax":
        import jax

        function = jax.jit(function)
    return lambda *arrays: function(*map(ops.convert_to_tensor, arrays))


def gradients(function, tensors):
    """Return the gradients of a function's sum, a tensor each; themselves differentiable."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensors)
            total = ops.sum(function(*tensors))
        return tape.gradient(total, tensors)
    if BACKEND == "jax":
        import jax

        places = tuple(range(len(tensors)))
        return list(jax.grad(lambda *tensors: ops.sum(function(*tensors)), places)(*tensors))
    import torch

    tensors = [t if t.requires_grad else t.detach().requires_grad_() for t in tensors]
    total = ops.sum(function(*tensors))
    return list(torch.autograd.grad(total, tensors, create_graph=True))


def to_numpy(tensor):
    """Return a tensor of any backend as a NumPy array, half precision as float32."""
    tensor = ops.convert_to_tensor(tensor)
    if keras.backend.standardize_dtype(tensor.dtype) == "bfloat16":
        tensor = ops.cast(tensor, "float32")
    return np.asarray(ops.convert_to_numpy(tensor))
