"""Logarithms of sums of exponentials, exact where the sums are tiny or huge."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mlc._typing import Tensor


def log1p_sum_exp(x: Tensor) -> Tensor:
    """Return `log(1 + sum(exp(x)))` over the last axis, also where the sum is tiny or huge."""
    return log1p_shifted(*_shifted_sum_exp(x))


def log1p_shifted(shift: Tensor, total: Tensor) -> Tensor:
    """Return `log(1 + exp(shift) * total)`, of a shift with an axis more."""
    shift = ops.squeeze(shift, axis=-1)
    result = shift + ops.log1p(total + ops.expm1(-shift))
    # Two of these are added: only bfloat16 scores near the maximum come here.
    top = maximum(total.dtype) / 2
    return ops.where(result > top, top, result)  # On torch, `minimum` rounds to float32.


def maximum(dtype: Any) -> float:
    """Return the largest number of a dtype."""
    return float(np.finfo(keras.backend.standardize_dtype(dtype)).max)


def finite(scores: Tensor) -> Tensor:
    """Return scores without infinities, as a label that is masked out has them."""
    top = maximum(scores.dtype) / 4
    return ops.clip(scores, -top, top)


def log_weights(label_weights: np.ndarray | None, dtype: Any) -> Tensor | None:
    """Return the logarithms of weights, or None where there is nothing to weigh."""
    if label_weights is None or (label_weights == 1).all():
        return None
    return ops.convert_to_tensor(np.log(label_weights), dtype=dtype)


def _shifted_sum_exp(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the maximum of 0 and the last axis, and the sum of `exp(x - maximum)` over it."""
    if keras.backend.backend() == "torch" and not keras.backend.is_keras_tensor(x):
        from keras_mlc._missing_ops_torch import shifted_sum_exp

        return shifted_sum_exp(x)
    shift = ops.stop_gradient(ops.max(x, axis=-1, keepdims=True, initial=0.0))
    return shift, ops.sum(ops.exp(x - shift), axis=-1)
