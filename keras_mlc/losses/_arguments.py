"""Checks of arguments that the losses of several labels share."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mlc._dtypes import at_least_float32
from keras_mlc._typing import Tensor


def checked_scores(y_pred: Tensor, label_weights: Any = None) -> Tensor:
    """Return scores at least in float32, with a last axis of labels, as many as the weights."""
    y_pred = ops.convert_to_tensor(y_pred)
    dtype = keras.backend.standardize_dtype(y_pred.dtype)
    if not keras.backend.is_float_dtype(dtype):
        raise ValueError(
            "`y_pred` must be in floating point. Received: "
            f"y_pred.dtype={dtype}. Are `y_true` and `y_pred` swapped?"
        )
    shape = tuple(y_pred.shape)
    if shape[-1:] in ((), (0,)):
        raise ValueError(
            "`y_pred` must have a last axis of labels, at least one. "
            f"Received: y_pred.shape={shape}"
        )
    if label_weights is not None:
        if shape[-1] is None:  # Raises when it runs, if the numbers differ.
            y_pred = ops.reshape(y_pred, (*ops.shape(y_pred)[:-1], len(label_weights)))
        elif shape[-1] != len(label_weights):
            raise ValueError(
                "`label_weights` must hold one number a label. Received: "
                f"{len(label_weights)} numbers, y_pred.shape={shape}"
            )
    return ops.cast(y_pred, at_least_float32(dtype))


def checked_label_weights(value: Any) -> np.ndarray | None:
    """Return `label_weights`, None or positive finite numbers, one a label."""
    if value is None:
        return None
    is_tensor = ops.is_tensor(value) or isinstance(value, keras.Variable)
    try:
        weights = np.asarray(ops.convert_to_numpy(value) if is_tensor else value, "float64")
    except (TypeError, ValueError):
        weights = np.zeros(())
    if weights.ndim != 1 or not weights.size or not (np.isfinite(weights) & (weights > 0)).all():
        raise ValueError(
            "`label_weights` must be None or positive finite numbers, one a label. Labels that "
            f"are to count nothing are a `missing_label`. Received: label_weights={value!r}"
        )
    return weights


def log_weights(label_weights: np.ndarray | None, dtype: Any) -> Tensor | None:
    """Return the logarithms of weights, or None where there is nothing to weigh."""
    if label_weights is None or (label_weights == 1).all():
        return None
    return ops.convert_to_tensor(np.log(label_weights), dtype=dtype)
