"""Names for what Keras leaves untyped."""

from typing import Any, TypeAlias

Tensor: TypeAlias = Any
"""A tensor of the running backend, a `KerasTensor`, or anything convertible to one."""
