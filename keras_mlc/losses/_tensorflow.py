"""The squared gradient of a loss with respect to an embedding, in compiled TensorFlow."""

import math
from typing import Any

import tensorflow as tf

from keras_mlc import _tensorflow as gradients
from keras_mlc._typing import Tensor

# Gradients enter float16 layers with this magnitude at most: there is room for a growth of 2**11
# before float16 overflows, and what is 2**27 times smaller is still there.
_LARGEST_GRADIENT = 16.0


def squared_gradient(loss: Tensor, y_pred: Tensor, variable: Any, merge_repeats: bool) -> Tensor:
    """Return ||d loss / d variable||², to be differentiated again.

    Args:
        loss: A scalar.
        y_pred: The predictions that `loss` was computed from.
        variable: A `keras.Variable`, the embedding matrix.
        merge_repeats: Whether to sum the gradients of one row before they are squared.

    Returns:
        A scalar in float32, or in float64 for a float64 variable.
    """
    if tf.executing_eagerly():
        raise RuntimeError(
            "`GradientPenaltyLoss` needs compiled code on TensorFlow, where eager execution cannot "
            "differentiate a loss it is still computing. Compile the model with "
            "`run_eagerly=False`, or call the model and the loss inside one `tf.function`."
        )
    if _is_symbolic_build():
        return tf.zeros((), loss.dtype)
    loss_scale = tf.stop_gradient(_loss_scale(loss, y_pred))
    (gradient,) = tf.gradients(loss, variable.value, grad_ys=tf.cast(loss_scale, loss.dtype))
    if gradient is None:
        raise ValueError(
            f"The embedding {variable.path!r} takes no part in the loss. Choose the embedding "
            "that the predictions are computed from; outside `fit`, call the model and the loss "
            "inside one `tf.function`."
        )
    gradient = gradients.scale(gradient, 1 / loss_scale)
    # Keras adds the losses of the replicas up: each replica has its own occurrences, but all of
    # them have the whole gradient.
    if isinstance(gradient, tf.IndexedSlices) and not merge_repeats:
        return gradients.squared_norm(gradient)
    gradient = gradients.sum_over_replicas(gradient)
    if isinstance(gradient, tf.IndexedSlices):
        gradient = gradients.merge_repeats(gradient)
    return gradients.squared_norm(gradient) / tf.distribute.get_strategy().num_replicas_in_sync


def _loss_scale(loss: Tensor, y_pred: Tensor) -> Tensor:
    """Return a power of two, in float32, that brings the gradient through float16 layers."""
    (gradient,) = tf.gradients(loss, y_pred)
    if gradient is None:
        return tf.ones(())
    largest = tf.reduce_max(tf.abs(tf.cast(gradient, tf.float32)))
    exponent = tf.floor(tf.math.log(_LARGEST_GRADIENT / largest) / math.log(2.0))
    highest = 15.0 if loss.dtype == tf.float16 else 60.0
    if gradient.dtype == tf.float16:
        # What has come out as 0 may have been up to 2**-25: a higher scale could overflow.
        highest = min(highest, 28.0)
    return tf.pow(2.0, tf.clip_by_value(exponent, -60.0, highest))


def _is_symbolic_build() -> bool:
    # Keras infers shapes in such a graph, where predictions do not come from variables.
    return tf.compat.v1.get_default_graph().name.startswith("scratch_graph")
