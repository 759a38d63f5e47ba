"""Arithmetic on TensorFlow gradients of an embedding matrix."""

import tensorflow as tf

from keras_mlc._typing import Tensor


def merge_repeats(slices: tf.IndexedSlices, num_rows: int) -> tf.IndexedSlices:
    """Sum the slices of each row into its last occurrence; the other slices become zero.

    `tf.unique` would do with fewer slices, but has no static shape, which XLA needs.
    """
    num_slices = tf.shape(slices.indices)[0]
    last = tf.math.unsorted_segment_max(tf.range(num_slices), slices.indices, num_rows)
    slots = tf.gather(last, slices.indices)
    values = tf.math.unsorted_segment_sum(slices.values, slots, num_slices)
    return tf.IndexedSlices(values, slices.indices, slices.dense_shape)


def squared_norm(gradient: Tensor | tf.IndexedSlices) -> Tensor:
    """Sum of squares of a dense gradient, or of the slices of a sparse one."""
    values = gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
    return tf.reduce_sum(tf.square(values))


def scale(gradient: Tensor | tf.IndexedSlices, factor: Tensor) -> Tensor | tf.IndexedSlices:
    """Multiply a gradient by a scalar, at least in float32."""
    if isinstance(gradient, tf.IndexedSlices):
        values = scale(gradient.values, factor)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    if gradient.dtype.size < 4:
        gradient = tf.cast(gradient, tf.float32)
    return gradient * tf.cast(factor, gradient.dtype)


def sum_over_replicas(gradient: Tensor | tf.IndexedSlices) -> Tensor | tf.IndexedSlices:
    """Sum a gradient over the replicas of the running strategy; of several, densely."""
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return gradient
    replica = tf.distribute.get_replica_context()
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.convert_to_tensor(gradient))
