"""The scale at which a gradient is taken through layers in half precision."""

import keras
from keras import ops

from keras_mlc._typing import Tensor

# Gradients enter float16 layers with this magnitude at most: there is room for a growth of 2**11
# before float16 overflows, and what is 2**27 times smaller is still there.
_LARGEST_GRADIENT = 16.0


def loss_scale(gradient: Tensor, loss: Tensor) -> Tensor:
    """Return a power of two, in float32, that brings the gradient through float16 layers.

    Args:
        gradient: The gradient of the loss by the predictions.
        loss: The loss, a scalar.
    """
    largest = ops.max(ops.abs(ops.cast(gradient, "float32")))
    exponent = ops.floor(ops.log2(_LARGEST_GRADIENT / largest))
    highest = 15.0 if _is_float16(loss) else 60.0
    if _is_float16(gradient):
        # What has come out as 0 may have been up to 2**-25: a higher scale could overflow.
        highest = min(highest, 28.0)
    return ops.power(2.0, ops.clip(exponent, -60.0, highest))


def _is_float16(tensor: Tensor) -> bool:
    return keras.backend.standardize_dtype(tensor.dtype) == "float16"
