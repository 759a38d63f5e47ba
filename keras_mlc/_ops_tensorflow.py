"""What `keras.ops` lacks, in TensorFlow."""

from typing import Any

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


def split(scores: Tensor, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what `shifted_sum_exp` says of the scores but those at `places`, and these.

    Of arrays as large as `scores`, a derivative that TensorFlow puts together holds three more.
    """
    low = tf.fill(tf.shape(places)[:1], tf.constant(-float("inf"), scores.dtype))

    @tf.custom_gradient
    def compute(scores: Tensor) -> Any:
        others = tf.tensor_scatter_nd_update(scores, places, low)
        shift = tf.nn.relu(tf.reduce_max(others, axis=-1, keepdims=True))
        total = tf.reduce_sum(tf.exp(others - shift), axis=-1)

        def gradient(_: Tensor, by_total: Tensor, by_places: Tensor) -> Tensor:
            others = tf.tensor_scatter_nd_update(scores, places, low)
            weights = tf.exp(others - tf.stop_gradient(shift)) * by_total[:, None]
            return tf.tensor_scatter_nd_add(weights, places, by_places)

        return (shift, total, tf.gather_nd(scores, places)), gradient

    return compute(scores)
