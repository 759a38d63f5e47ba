"""What `keras.ops` lacks, in torch."""

from keras_mlc._typing import Tensor


def shifted_sum_exp(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the maximum of 0 and the last axis of `x`, and the sum of `exp(x - maximum)`."""
    # `keras.ops.max` puts an initial value on the CPU, wherever `x` is.
    maximum = x.detach().amax(-1, keepdim=True).clamp(min=0)
    return maximum, (x - maximum).exp_().sum(-1)  # In place, as `x` may be large.


def gather(values: Tensor, places: Tensor) -> Tensor:
    """Return the elements of `values` at `places`, one row of indices an element."""
    return values[tuple(places.T)]


def operation(tensor: Tensor) -> str | None:
    """Return what made a tensor, before its dtype or shape was changed."""
    node = getattr(tensor, "grad_fn", None)
    while node is not None and node.name() in _RESHAPING:
        node = node.next_functions[0][0]
    return None if node is None else node.name().removesuffix("Backward0")


_RESHAPING = (
    "ToCopyBackward0",
    "ViewBackward0",
    "ReshapeAliasBackward0",
    "UnsafeViewBackward0",
    "SqueezeBackward1",
    "UnsqueezeBackward0",
)


def row_maximum(x: Tensor) -> Tensor:
    """Return the maximum of each row, with its axis, also of no rows."""
    # `keras.ops.max` refuses them, or puts an initial value on the CPU, wherever `x` is.
    return x.amax(-1, keepdim=True)
