"""Arithmetic on TensorFlow gradients of an embedding matrix."""

import tensorflow as tf

from keras_mlc._typing import Tensor


def merge_repeats(slices: tf.IndexedSlices) -> tf.IndexedSlices:
    """Sum the slices of each row into the first of the row's places; the others become zero.

    The result's indices are sorted. Unlike `tf.unique`, sorting keeps the shape static, which XLA
    needs, and its cost depends on the number of slices alone.
    """
    indices = tf.sort(slices.indices)
    places = tf.searchsorted(indices, slices.indices)
    values = tf.math.unsorted_segment_sum(slices.values, places, tf.size(indices))
    return tf.IndexedSlices(values, indices, slices.dense_shape)


def squared_norm(gradient: Tensor | tf.IndexedSlices, merge: bool = True) -> Tensor:
    """Return a replica's share of the squared norm of a gradient, summed over the replicas.

    Without `merge` the slices are squared, each on its own, instead of the matrix.
    """
    if isinstance(gradient, tf.IndexedSlices) and not merge:
        return tf.reduce_sum(tf.square(gradient.values))  # A replica has its own slices.
    gradient = sum_over_replicas(gradient)
    if isinstance(gradient, tf.IndexedSlices):
        gradient = merge_repeats(gradient).values
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return tf.reduce_sum(tf.square(gradient)) / replicas  # All of them have the whole gradient.


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


def gather_over_replicas(gradient: Tensor | tf.IndexedSlices) -> Tensor | tf.IndexedSlices:
    """Sum a gradient over the replicas, of slices by joining them; not to be differentiated."""
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return gradient
    if not isinstance(gradient, tf.IndexedSlices):
        return sum_over_replicas(gradient)
    replica = tf.distribute.get_replica_context()
    values, indices = replica.all_gather([gradient.values, gradient.indices], axis=0)
    return tf.IndexedSlices(values, indices, gradient.dense_shape)
