"""Dtypes to compute in."""

from typing import Any

import keras


def at_least_float32(dtype: Any) -> str:
    """Return the name of `dtype`, or "float32" where `dtype` is a half precision."""
    name = keras.backend.standardize_dtype(dtype)
    return "float32" if name in ("float16", "bfloat16") else name
