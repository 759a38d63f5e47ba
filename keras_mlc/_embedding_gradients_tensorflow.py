"""Arithmetic on TensorFlow gradients of an embedding matrix."""

from typing import Any

import tensorflow as tf

from keras_mlc._typing import Tensor


def first_places(ids: Tensor, size: Any) -> Tensor:
    """Return the first place of each id below `size` in `ids`, of those that are there.

    Sorting would do as well, but in a step that XLA compiles it becomes a TopK of dynamic size,
    next to which random numbers are drawn bit by bit.
    """
    return tf.math.unsorted_segment_min(tf.range(tf.size(ids)), ids, size)


def merge_repeats(slices: tf.IndexedSlices) -> tf.IndexedSlices:
    """Sum the slices of each row into the first of the row's places; the others become zero."""
    places = tf.gather(first_places(slices.indices, slices.dense_shape[0]), slices.indices)
    values = tf.math.unsorted_segment_sum(slices.values, places, tf.size(places))
    return tf.IndexedSlices(values, slices.indices, slices.dense_shape)


def squared_norm(gradient: Tensor | tf.IndexedSlices, merge: bool = True) -> Tensor:
    """Return a replica's share of the squared norm of a gradient, summed over the replicas.

    Without `merge` the slices are squared, each on its own, instead of the matrix.
    """
    if isinstance(gradient, tf.IndexedSlices) and not merge:
        return tf.reduce_sum(tf.square(gradient.values))  # A replica has its own slices.
    gradient = sum_over_replicas(gradient)
    if isinstance(gradient, tf.IndexedSlices):
        gradient = merge_repeats(gradient).values
    return tf.reduce_sum(tf.square(gradient)) / num_replicas()  # All have the whole gradient.


def scale(gradient: Tensor | tf.IndexedSlices, factor: Tensor) -> Tensor | tf.IndexedSlices:
    """Multiply a gradient by a scalar, at least in float32."""
    if isinstance(gradient, tf.IndexedSlices):
        values = scale(gradient.values, factor)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    if gradient.dtype.size < 4:
        gradient = tf.cast(gradient, tf.float32)
    return gradient * tf.cast(factor, gradient.dtype)


def num_replicas() -> int:
    """Return how many replicas the running strategy has."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def sum_over_replicas(gradient: Tensor | tf.IndexedSlices) -> Tensor | tf.IndexedSlices:
    """Sum a gradient over the replicas of the running strategy; of several, densely."""
    if num_replicas() == 1:
        return gradient
    replica = tf.distribute.get_replica_context()
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.convert_to_tensor(gradient))


def gather_over_replicas(tensor: Tensor) -> Tensor:
    """Join the rows of a tensor over the replicas; not to be differentiated."""
    if num_replicas() == 1:
        return tensor
    return tf.distribute.get_replica_context().all_gather(tensor, axis=0)
