"""What `keras.ops` lacks, in TensorFlow."""

from typing import Any

import tensorflow as tf

from keras_mlc._typing import Tensor


def after_assert(condition: Tensor, message: str, tensor: Tensor) -> Tensor:
    """Return `tensor`, which becomes available only after `condition` has held."""
    # Without the dependency a weight update may run before the check. XLA drops the check.
    with tf.control_dependencies([tf.debugging.Assert(condition, [message])]):
        return tf.identity(tensor)


def if_valid(is_valid: Tensor, message: str, tensor: Tensor, clean: Any) -> Tensor:
    """Return `tensor`, after an error in a graph, and zeros in its place where XLA drops that.

    What `clean` makes of an integer tensor may stand in its place as well.
    """
    if tf.executing_eagerly():  # On an accelerator, whose values are not waited for.
        return tf.where(is_valid, tensor, tf.zeros_like(tensor))
    tensor = after_assert(is_valid, message, tensor)
    if clean and tensor.dtype.is_integer:
        return clean(tensor)
    # Outside XLA a condition hands the tensor on, where a selection is one more array.
    return tf.cond(is_valid, lambda: tensor, lambda: tf.zeros_like(tensor))


def fits(weights: Tensor, values: Tensor, message: str) -> Tensor:
    """Return `weights`, which become available only if they have the axes of `values`.

    All but the first may be of length 1 instead.
    """
    shape, expected = tf.shape(weights), tf.shape(values)
    is_one = tf.logical_and(tf.equal(shape, 1), tf.range(tf.size(shape)) > 0)
    is_fit = tf.reduce_all(tf.logical_or(tf.equal(shape, expected), is_one))
    weights = after_assert(is_fit, message, weights)
    return tf.reshape(weights, tf.concat([expected[:1], shape[1:]], 0))  # XLA drops the check.


def operation(tensor: Tensor) -> str | None:
    """Return what made a tensor of a graph, before its dtype or shape was changed."""
    names = ("Cast", "Identity", "Reshape", "Squeeze", "ExpandDims", "EnsureShape")
    made_by = getattr(tensor, "op", None)  # AutoGraph reads no assignment inside a condition.
    while made_by is not None and made_by.type in names:
        made_by = made_by.inputs[0].op
    return None if made_by is None else made_by.type


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
