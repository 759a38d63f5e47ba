"""What `keras.ops` lacks, in TensorFlow."""

import tensorflow as tf

from keras_mlc._typing import Tensor


def after_assert(condition: Tensor, message: str, tensor: Tensor) -> Tensor:
    """Return `tensor`, which becomes available only after `condition` has held."""
    # Without the dependency a weight update may run before the check. XLA drops the check.
    with tf.control_dependencies([tf.debugging.Assert(condition, [message])]):
        return tf.identity(tensor)


def gather(values: Tensor, places: Tensor) -> Tensor:
    """Return the elements of `values` at `places`, one row of indices an element."""
    return tf.gather_nd(values, places)
