"""Checks of arguments and shapes, shared by every piece."""

import math
import numbers
from typing import Any

import keras
import numpy as np


def number(
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    several: bool = False,
    is_integer: bool = False,
) -> Any:
    """Return `value` as a `float`, or raise a `ValueError` that names the argument.

    Args:
        name: The argument.
        value: A finite number, at least `low` and below `high`.
        low: The least number that is allowed.
        high: A number that is too large.
        several: Whether `value` may be a sequence of such numbers, which becomes a tuple.
        is_integer: Whether `value` must be an integer, which becomes an `int`.
    """
    array = value.tolist() if several and isinstance(value, np.ndarray) else value
    is_sequence = several and isinstance(array, (list, tuple, range))
    each, kind = (array if is_sequence else [array]), (int if is_integer else float)
    if each and all(_is_number(one, is_integer) and low <= one < high for one in each):
        made = tuple(map(kind, each))
        return made if is_sequence else made[0]
    if is_integer:
        expected = "a positive integer" if low == 1 else f"an integer, {low} or more"
    elif high < math.inf:
        expected = f"a number in [{low}, {high})"
    else:
        expected = "a finite number" + (f", {low} or more" if low > -math.inf else "")
    expected += ", or a list or tuple of them" if several else ""
    raise ValueError(f"`{name}` must be {expected}. Received: {name}={value!r}")


def integer(name: str, value: Any, low: int, several: bool = False) -> Any:
    """Return `value` as an `int` of at least `low`, or raise a `ValueError`."""
    return number(name, value, low, several=several, is_integer=True)


def _is_number(value: Any, is_integer: bool) -> bool:
    kind = numbers.Integral if is_integer else numbers.Real
    return isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)


def boolean(name: str, value: Any) -> bool:
    """Return `value` as a `bool`, or raise a `ValueError` that names the argument."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"`{name}` must be True or False. Received: {name}={value!r}")
    return bool(value)


def one_of(name: str, value: Any, allowed: tuple[str | None, ...]) -> Any:
    """Return `value` if it is allowed, or raise a `ValueError` that lists what is."""
    if not (value is None or isinstance(value, str)) or value not in allowed:
        choices = ", ".join(repr(choice) for choice in allowed)
        raise ValueError(f"`{name}` must be one of {choices}. Received: {name}={value!r}")
    return value


def missing_value(missing_label: Any) -> float | None:
    """Return `missing_label`, None or a finite number outside [0, 1], else raise."""
    if missing_label is None:
        return None
    value = number("missing_label", missing_label)
    if 0 <= value <= 1:
        raise ValueError(
            "`missing_label` must lie outside [0, 1], where labels are: usually it is -1. "
            f"Received: missing_label={missing_label!r}"
        )
    return int(value) if value == int(value) else value


def weights_of_labels(label_weights: Any) -> np.ndarray | None:
    """Return `label_weights`, None or positive finite numbers, one per label, else raise."""
    if label_weights is None:
        return None
    value = label_weights
    is_tensor = keras.ops.is_tensor(value) or isinstance(value, keras.Variable)
    try:
        weights = np.asarray(keras.ops.convert_to_numpy(value) if is_tensor else value, "float64")
    except (TypeError, ValueError):
        weights = np.zeros(())
    if weights.ndim != 1 or not weights.size or not (np.isfinite(weights) & (weights > 0)).all():
        raise ValueError(
            "`label_weights` must be None or positive finite numbers, one a label. Received: "
            f"label_weights={value!r}. A label that must not count is unknown: see the "
            "`missing_label` of `MultilabelCategoricalCrossentropy`."
        )
    return weights


def shapes_differ(first: tuple[int | None, ...], second: tuple[int | None, ...]) -> bool:
    """Whether two shapes cannot be the same; None is a dimension that is unknown so far."""
    return len(first) != len(second) or any(
        None not in pair and pair[0] != pair[1] for pair in zip(first, second, strict=True)
    )


def labels_shape(shape: Any, name: str = "scores") -> tuple[int | None, ...]:
    """Return `shape` where it is that of scores of labels, else raise."""
    shape = tuple(shape)
    if len(shape) < 2 or not shape[-1]:
        raise ValueError(
            f"`{name}` must have shape (..., num_labels), of rank 2 or more, with a known number "
            f"of labels, at least one. Received: {name}.shape={shape}"
        )
    return shape


def sequence_shape(shape: Any) -> tuple[int | None, int | None, int]:
    """Return `shape` where it is that of sequences of vectors, else raise."""
    shape = tuple(shape)
    if len(shape) != 3 or not shape[-1]:
        raise ValueError(
            "`inputs` must have shape (batch, steps, features), with a known number of features. "
            f"Received: inputs.shape={shape}"
        )
    return shape


def padding_mask(mask: Any, inputs: Any) -> Any:
    """Return `mask` as a boolean tensor, or raise where it is not (batch, steps) of `inputs`."""
    if mask is None:
        return None
    expected = tuple(inputs.shape[:2])
    received = tuple(mask.shape if hasattr(mask, "shape") else np.shape(mask))
    if shapes_differ(expected, received):
        raise ValueError(
            f"`mask` must have the shape (batch, steps) of `inputs`, {expected}. "
            f"Received: mask.shape={received}"
        )
    return keras.ops.cast(mask, "bool")
