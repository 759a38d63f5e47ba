"""Checks of constructor arguments, shared by every piece."""

import math
import numbers
from typing import Any

import keras
import numpy as np


def positive_int(name: str, value: Any) -> int:
    """Return `value` as an `int`, or raise a `ValueError` that names the argument."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}")
    return int(value)


def non_negative_float(name: str, value: Any) -> float:
    """Return `value` as a `float`, or raise a `ValueError` that names the argument."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < 0:
        raise ValueError(f"`{name}` must be a finite number, 0 or more. Received: {name}={value!r}")
    return float(value)


def one_of(name: str, value: Any, allowed: tuple[str | None, ...]) -> Any:
    """Return `value` if it is allowed, or raise a `ValueError` that lists what is."""
    if not (value is None or isinstance(value, str)) or value not in allowed:
        choices = ", ".join(repr(choice) for choice in allowed)
        raise ValueError(f"`{name}` must be one of {choices}. Received: {name}={value!r}")
    return value


def seen(tensor: Any) -> np.ndarray | None:
    """Return the values of `tensor`, or None where it has none yet, as inside a compiled graph."""
    if keras.backend.backend() == "tensorflow" and not isinstance(tensor, np.ndarray):
        return tensor.numpy() if hasattr(tensor, "numpy") else None
    try:
        return keras.ops.convert_to_numpy(tensor)
    except Exception:  # Each backend has its own error for a tensor without values.
        return None


def seen_on_host(tensor: Any) -> np.ndarray | None:
    """Return the values of `tensor` where they can be read without waiting for an accelerator."""
    on_host = isinstance(tensor, np.ndarray) or "cpu" in str(getattr(tensor, "device", "")).lower()
    return seen(tensor) if on_host else None


def check_label_range(y_true: Any, hint: str = "") -> None:
    """Raise where a label is seen to lie outside [0, 1]."""
    values = seen_on_host(y_true)
    if values is not None and values.size and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            "`y_true` must lie between 0 and 1. Received: values from "
            f"{values.min()} to {values.max()}.{hint}"
        )


def shapes_differ(first: tuple[int | None, ...], second: tuple[int | None, ...]) -> bool:
    """Whether two shapes cannot be the same; None is a dimension that is unknown so far."""
    return len(first) != len(second) or any(
        None not in pair and pair[0] != pair[1] for pair in zip(first, second, strict=True)
    )


def same_shape(y_true: Any, y_pred: Any) -> Any:
    """Return `y_true`, or raise where its shape is not that of `y_pred`.

    Dimensions that are unknown so far are compared when compiled code runs.
    """
    labels, scores = tuple(y_true.shape), tuple(y_pred.shape)
    if shapes_differ(labels, scores):
        raise ValueError(
            "`y_true` must have the shape of `y_pred`, (..., num_labels). "
            f"Received: y_true.shape={labels}, y_pred.shape={scores}"
        )
    is_unknown = None in (*labels, *scores)
    if not is_unknown or keras.backend.backend() != "tensorflow":
        return y_true
    if keras.backend.is_keras_tensor(y_true) or keras.backend.is_keras_tensor(y_pred):
        return y_true
    from keras_mlc._missing_ops_tensorflow import with_shape_of

    return with_shape_of(y_true, y_pred)


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


def positive_ints(name: str, value: Any) -> int | tuple[int, ...]:
    """Return `value`, one positive integer or a sequence of them, else raise."""
    value = value.tolist() if isinstance(value, np.ndarray) else value
    several = value if isinstance(value, (list, tuple, range)) else [value]
    try:
        integers = tuple(positive_int(name, each) for each in several)
    except ValueError:
        integers = ()
    if not integers:
        raise ValueError(
            f"`{name}` must be a positive integer, or a list or tuple of them. "
            f"Received: {name}={value!r}"
        )
    return integers[0] if several is not value else integers


def dropout_rate(name: str, value: Any) -> float:
    """Return `value` as a `float` in [0, 1), or raise a `ValueError` that names the argument."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not 0 <= value < 1:
        raise ValueError(f"`{name}` must be a number in [0, 1). Received: {name}={value!r}")
    return float(value)


def finite_float(name: str, value: Any) -> float:
    """Return `value` as a `float`, or raise a `ValueError` that names the argument."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise ValueError(f"`{name}` must be a finite number. Received: {name}={value!r}")
    return float(value)


def non_negative_int(name: str, value: Any) -> int:
    """Return `value` as an `int`, or raise a `ValueError` that names the argument."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 0:
        raise ValueError(f"`{name}` must be an integer, 0 or more. Received: {name}={value!r}")
    return int(value)


def finite_floats(name: str, value: Any) -> float | tuple[float, ...]:
    """Return `value`, one finite number or a sequence of them, else raise."""
    value = value.tolist() if isinstance(value, np.ndarray) else value
    several = value if isinstance(value, (list, tuple)) else [value]
    try:
        floats = tuple(finite_float(name, each) for each in several)
    except ValueError:
        floats = ()
    if not floats:
        raise ValueError(
            f"`{name}` must be a finite number, or a list of one for each label. "
            f"Received: {name}={value!r}"
        )
    return floats[0] if several is not value else floats


def missing_value(missing_label: Any) -> float | None:
    """Return `missing_label`, None or a finite number outside [0, 1], else raise."""
    if missing_label is None:
        return None
    value = finite_float("missing_label", missing_label)
    if 0 <= value <= 1:
        raise ValueError(
            "`missing_label` must lie outside [0, 1], where labels are: usually it is -1. "
            f"Received: missing_label={missing_label!r}"
        )
    return int(value) if value == int(value) else value


def labels_shape(shape: Any) -> tuple[int | None, ...]:
    """Return `shape` where it is that of scores of labels, else raise."""
    shape = tuple(shape)
    if len(shape) < 2 or not shape[-1]:
        raise ValueError(
            "`scores` must have shape (..., num_labels), of rank 2 or more, with a known number of "
            f"labels, at least one. Received: scores.shape={shape}"
        )
    return shape


def floating_scores(scores: Any) -> Any:
    """Return `scores` as a tensor, or raise where they are not floating point."""
    scores = keras.ops.convert_to_tensor(scores)
    dtype = keras.backend.standardize_dtype(scores.dtype)
    if not keras.backend.is_float_dtype(dtype):
        raise ValueError(f"`scores` must be floating point. Received: scores.dtype={dtype}")
    return scores


def boolean(name: str, value: Any) -> bool:
    """Return `value` as a `bool`, or raise a `ValueError` that names the argument."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"`{name}` must be True or False. Received: {name}={value!r}")
    return bool(value)


def dense_labels(y_true: Any, indices: bool = False) -> Any:
    """Return labels as a tensor, sparse matrices with their zeros.

    Args:
        y_true: A tensor, an array, a sparse matrix of SciPy or of the backend, or a ragged tensor.
        indices: Whether these may be lists of indices, of which ragged ones are padded with -1.
    """
    if hasattr(y_true, "to_tensor"):  # A `tf.RaggedTensor`.
        if not indices:
            raise ValueError(
                "`y_true` must be multi-hot, one value a label. Received: a tf.RaggedTensor. Lists "
                "of label indices go to the sparse form of the loss, "
                "`SparseMultilabelCategoricalCrossentropy`, or become multi-hot by "
                "`keras.layers.CategoryEncoding`."
            )
        is_unsigned = np.dtype(y_true.dtype.as_numpy_dtype).kind == "u"
        y_true = (keras.ops.cast(y_true, "int64") if is_unsigned else y_true).to_tensor(-1)
        if keras.backend.backend() != "tensorflow":
            y_true = y_true.numpy()
    elif hasattr(y_true, "toarray"):  # A matrix of SciPy.
        y_true = y_true.toarray()
    elif getattr(y_true, "is_sparse", False) or getattr(y_true, "is_sparse_csr", False):
        y_true = y_true.to_dense()  # A tensor of torch.
    return keras.ops.convert_to_tensor(y_true, sparse=False)
