"""Names for what Keras leaves untyped."""

from typing import Any, Literal, TypeAlias

Tensor: TypeAlias = Any
"""A tensor of the running backend, a `KerasTensor`, or anything convertible to one."""

Reduction: TypeAlias = (
    Literal["sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none"] | None
)
"""How a loss reduces its values, as in `keras.losses.Loss`."""
