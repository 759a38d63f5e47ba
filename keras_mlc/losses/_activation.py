"""A warning where a loss of scores gets what an activation has made of them."""

import warnings

import keras

from keras_mlc._keras_internals import is_marked_as_activated
from keras_mlc._typing import Tensor


def warn_of_activation(y_pred: Tensor, loss: str) -> bool:
    """Warn where `y_pred` is seen to be activated, which shows while it is traced.

    Returns:
        Whether there was a warning. JAX does not tell what made a tensor.
    """
    made_by = "sigmoid or softmax" if is_marked_as_activated(y_pred) else _activation(y_pred)
    if made_by is None:
        return False
    warnings.warn(
        f"`{loss}` takes unactivated scores here, but `y_pred` comes out of a {made_by}, whose "
        "values are never negative. Give the last layer of the model no activation.",
        stacklevel=3,
    )
    return True


def _activation(y_pred: Tensor) -> str | None:
    """Return the name of the activation that a tensor is the output of, where it is one."""
    backend = keras.backend.backend()
    if keras.backend.is_keras_tensor(y_pred):
        return None
    if backend == "tensorflow":
        from keras_mlc._missing_ops_tensorflow import operation
    elif backend == "torch":
        from keras_mlc._missing_ops_torch import operation
    else:
        return None
    return {"Sigmoid": "sigmoid", "Softmax": "softmax", "Relu": "ReLU"}.get(operation(y_pred) or "")
