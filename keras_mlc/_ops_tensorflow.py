"""What `keras.ops` lacks, in TensorFlow."""

import tensorflow as tf

from keras_mlc._typing import Tensor


def after_assert(condition: Tensor, message: str, tensor: Tensor) -> Tensor:
    """Return `tensor`, which becomes available only after `condition` has held."""
    # Without the dependency a weight update may run before the check. XLA drops the check.
    with tf.control_dependencies([tf.debugging.Assert(condition, [message])]):
        return tf.identity(tensor)


def with_shape_of(labels: Tensor, scores: Tensor) -> Tensor:
    """Return `labels`, which become available only if they have the shape of `scores`."""
    is_same = tf.reduce_all(tf.equal(tf.shape(labels), tf.shape(scores)))
    labels = tf.ensure_shape(labels, scores.shape)
    labels = after_assert(is_same, "`y_true` must have the shape of `y_pred`.", labels)
    return tf.reshape(labels, tf.shape(scores))  # Where XLA drops the check, this still fails.


def gather(values: Tensor, places: Tensor) -> Tensor:
    """Return the elements of `values` at `places`, one row of indices an element."""
    return tf.gather_nd(values, places)
