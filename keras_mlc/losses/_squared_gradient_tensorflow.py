"""The squared gradient of a loss with respect to an embedding, in compiled TensorFlow."""

from typing import Any

import tensorflow as tf

from keras_mlc import _embedding_gradients_tensorflow as gradients
from keras_mlc import _keras_internals
from keras_mlc._typing import Tensor
from keras_mlc.losses._loss_scale import loss_scale


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
    if _keras_internals.builds_symbolically(tf.compat.v1.get_default_graph()):
        return tf.zeros((), loss.dtype)
    scale = tf.stop_gradient(_loss_scale(loss, y_pred))
    (gradient,) = tf.gradients(loss, variable.value, grad_ys=tf.cast(scale, loss.dtype))
    if gradient is None:
        raise ValueError(
            f"The embedding {variable.path!r} takes no part in the loss. Choose the embedding "
            "that the predictions are computed from; outside `fit`, call the model and the loss "
            "inside one `tf.function`."
        )
    gradient = gradients.scale(gradient, 1 / scale)
    return gradients.squared_norm(gradient, merge_repeats)


def _loss_scale(loss: Tensor, y_pred: Tensor) -> Tensor:
    (gradient,) = tf.gradients(loss, y_pred)
    return tf.ones(()) if gradient is None else loss_scale(gradient, loss)
