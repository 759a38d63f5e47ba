"""Compiling and differentiating functions on the running backend."""

from contextlib import contextmanager

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
# JAX compiles what runs eagerly too, one operation after another, which takes longer.
FASTEST_MODE = "xla" if BACKEND == "jax" else "eager"
# Elsewhere some operations of Keras, such as products of matrices, return float32 for float64.
EXACT_FLOAT64 = BACKEND == "tensorflow"

tensorflow_only = pytest.mark.skipif(BACKEND != "tensorflow", reason="needs TensorFlow graphs")
needs_xla = pytest.mark.skipif("xla" not in MODES, reason="needs XLA")


def skip_where_keras_is_too_old_to_export(error):
    """Skip for the two reasons that old versions of Keras give; raise any other error."""
    reasons = "Unrecognized format", "structure of `inputs` doesn't match"
    if not any(reason in str(error) for reason in reasons):
        raise error
    pytest.skip("this Keras does not export the format, or no model with named inputs")


def compiled(function, mode, shapes=None):
    """Return a function of arrays that computes `function` in one of `MODES`.

    In TensorFlow's graphs `shapes` leaves dimensions unknown: a shape, or a shape and a dtype, for
    each array. The other backends know every dimension.
    """
    if mode != "eager" and BACKEND == "tensorflow":
        import tensorflow as tf

        specs = shapes and [
            tf.TensorSpec(*(each if isinstance(each[0], tuple) else [each])) for each in shapes
        ]
        function = tf.function(
            function, jit_compile=mode == "xla", autograph=False, input_signature=specs
        )
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
        found = tape.gradient(total, tensors)
        return [tf.convert_to_tensor(gradient) for gradient in found]
    if BACKEND == "jax":
        import jax

        places = tuple(range(len(tensors)))
        return list(jax.grad(lambda *tensors: ops.sum(function(*tensors)), places)(*tensors))
    import torch

    tensors = [t if t.requires_grad else t.detach().requires_grad_() for t in tensors]
    total = ops.sum(function(*tensors))
    return list(torch.autograd.grad(total, tensors, create_graph=True))


def value_and_gradient(function, tensor, mode):
    """Return the value of a function of one tensor, and the gradient of its sum."""

    def both(tensor):
        return function(tensor), gradients(function, [tensor])[0]

    return compiled(both, mode)(tensor)


def to_numpy(tensor):
    """Return a tensor of any backend as a NumPy array, half precision as float32."""
    if isinstance(tensor, (float, np.ndarray, np.generic)):
        return np.asarray(tensor)
    tensor = ops.convert_to_tensor(tensor)
    if keras.backend.standardize_dtype(tensor.dtype) == "bfloat16":
        tensor = ops.cast(tensor, "float32")
    return np.asarray(ops.convert_to_numpy(tensor))


def close(actual, expected, tolerance=1e-6):
    """Compare tensors or arrays, relatively."""
    np.testing.assert_allclose(to_numpy(actual), to_numpy(expected), rtol=tolerance, atol=1e-12)


def dtype_of(tensor):
    return keras.backend.standardize_dtype(tensor.dtype)


@contextmanager
def exact_jax():
    """Let JAX compute in float64, which it does on demand only."""
    if BACKEND != "jax":
        yield
        return
    import jax

    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", False)


@contextmanager
def raises_before_the_update(model, error, message):
    """Check that training raises an error, and that no weight moves."""
    before = model.get_weights()
    with pytest.raises(error, match=message):
        yield
    if BACKEND == "jax":  # Whatever raises within `fit`, Keras loses the weights there.
        return
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
