"""Dtypes to compute in."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mlc._typing import Tensor


def at_least_float32(dtype: Any) -> str:
    """Return the name of `dtype`, or "float32" where `dtype` is a half precision."""
    name = keras.backend.standardize_dtype(dtype)
    return "float32" if name in ("float16", "bfloat16") else name


def widened(tensor: Tensor) -> Tensor:
    """Return `tensor`, in float32 where it is in a half precision."""
    return ops.cast(tensor, at_least_float32(tensor.dtype))


def lowest(dtype: Any) -> float:
    """Return a number below which no score of a dtype lies.

    It is finite: exports write `where` as products, and 0 times infinity is NaN.
    """
    name = keras.backend.standardize_dtype(dtype)
    return -3.38e38 if name == "bfloat16" else float(np.finfo(name).min)  # NumPy lacks bfloat16.
