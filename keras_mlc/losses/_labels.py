"""Labels as people have them: in several containers, and with values that do not belong."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mlc._keras_internals import infers_shapes
from keras_mlc._typing import Tensor
from keras_mlc._validation import seen_on_host


def is_sparse(y_true: Any) -> bool:
    """Whether labels are a sparse matrix, of SciPy or of a backend."""
    names = ("SparseTensor", "BCOO", "BCSR")
    is_torch = any(getattr(y_true, name, False) is True for name in ("is_sparse", "is_sparse_csr"))
    return is_torch or hasattr(y_true, "toarray") or type(y_true).__name__ in names


class Check:
    """Whether the values of tensors are what they must be.

    Bad values raise where they can be seen and in TensorFlow graphs. Where they cannot, under XLA,
    on JAX and on accelerators, they become zeros and the loss NaN, with a gradient of 0: it shows,
    and spoils no weight.
    """

    def __init__(self) -> None:
        self._is_valid: list[Tensor] = []

    def __call__(
        self,
        tensor: Tensor,
        complaint: str,
        rule: Any,
        *arguments: Any,
        hint: str = "",
        clean: Any = None,
    ) -> Tensor:
        """Return `tensor`, with zeros in place of bad values, or raise.

        Args:
            tensor: What to look at.
            complaint: What its values must be.
            rule: A function of `numpy` or `keras.ops`, an array of that, and the arguments, that
                tells whether the array is valid.
            arguments: Arguments of the rule.
            hint: How to mend it.
            clean: A function of the tensor to what may stand in its place, without bad values.
        """
        if keras.backend.is_keras_tensor(tensor) or 0 in tensor.shape or infers_shapes():
            return tensor
        values = seen_on_host(tensor)
        if values is None:
            is_valid = rule(ops, tensor, *arguments)
            self._is_valid.append(is_valid)
            return _settled(tensor, is_valid, complaint + hint, clean)
        if values.size and not rule(np, values, *arguments):
            raise ValueError(
                f"{complaint} Received: values from {values.min()} to {values.max()}, "
                f"dtype {values.dtype}.{hint}"
            )
        return tensor

    def found(self, is_valid: Tensor) -> None:
        """Add a condition that compiled code has found already."""
        self._is_valid.append(is_valid)

    def mark(self, values: Tensor) -> Tensor:
        """Return the values of a loss, all NaN where compiled code has met bad values."""
        for is_valid in self._is_valid:
            values = ops.where(is_valid, values, float("nan"))
        return values


def _settled(tensor: Tensor, is_valid: Tensor, message: str, clean: Any) -> Tensor:
    if keras.backend.backend() == "tensorflow":
        from keras_mlc._missing_ops_tensorflow import if_valid

        return if_valid(is_valid, message, tensor, clean)
    # What looks at each value by itself is fused with what follows.
    return clean(tensor) if clean else ops.where(is_valid, tensor, ops.zeros_like(tensor))


def check_labels(check: Check, y_true: Tensor, hint: str = "") -> Tensor:
    """Return labels, which must lie in [0, 1]."""
    if keras.backend.standardize_dtype(y_true.dtype) == "bool":
        return y_true
    complaint = "`y_true` must lie between 0 and 1."
    return check(y_true, complaint, _are_labels, hint=hint, clean=_between_0_and_1)


def split_missing(
    check: Check, labels: Tensor, missing_label: float, hint: str = ""
) -> tuple[Tensor, Tensor]:
    """Return labels with 0 for those that are missing, and what is 0 there and 1 elsewhere.

    Labels come in the dtype of the computation. The others must lie in [0, 1].
    """
    known = ops.cast(ops.not_equal(labels, missing_label), labels.dtype)
    complaint = f"`y_true` must lie between 0 and 1, or be `missing_label={missing_label}`."
    clean = _between_0_and_1
    return check(labels * known, complaint, _are_labels, hint=hint, clean=clean), known


def check_probabilities(check: Check, y_pred: Tensor) -> Tensor:
    """Return predictions, which must lie in [0, 1]; those of a diverged model are NaN."""
    complaint = "`y_pred` must hold probabilities, between 0 and 1, where `from_logits=False`."
    hint = " Unactivated scores need `from_logits=True`."
    return check(y_pred, complaint, _are_probabilities, hint=hint)


def check_indices(check: Check, y_true: Tensor, num_labels: Any, hint: str = "") -> Tensor:
    """Return label indices, which must be whole numbers in [-1, num_labels)."""
    dtype = keras.backend.standardize_dtype(y_true.dtype)
    if dtype in ("int8", "uint8", "int16", "uint16"):
        y_true = ops.cast(y_true, "int32")  # They may not hold the number of labels.
    top = num_labels - 1 if isinstance(num_labels, int) else "num_labels - 1"
    complaint = f"`y_true` must hold label indices from 0 to {top}, padded with -1."
    return check(y_true, complaint, _are_indices, num_labels, hint=hint)


def check_classes(check: Check, y_true: Tensor, num_classes: Any) -> Tensor:
    """Return class indices, which must be whole numbers in [0, num_classes)."""
    top = num_classes - 1 if isinstance(num_classes, int) else "num_labels - 1"
    complaint = f"`y_true` must hold class indices from 0 to {top}."
    return check(y_true, complaint, _are_classes, num_classes)


def _are_labels(xp: Any, x: Any) -> Any:
    if xp is ops and keras.backend.backend() != "tensorflow":
        return xp.all((x >= 0) & (x <= 1))
    # Faster where nothing fuses. Under XLA a NaN is in the sum alone.
    valid = (xp.min(x) >= 0) & (xp.max(x) <= 1)
    return valid & (xp.sum(x) >= 0) if _is_float(x) else valid


def _between_0_and_1(x: Tensor) -> Tensor:
    if not _is_float(x):
        return ops.not_equal(x, 0)
    return ops.where(x >= 0, ops.minimum(x, 1.0), 0.0)


def _are_probabilities(xp: Any, x: Any) -> Any:
    return ~((xp.min(x) < 0) | (xp.max(x) > 1))


def _are_indices(xp: Any, x: Any, num_labels: Any) -> Any:
    # A row as long as there are labels, of zeros and ones alone, is no list of indices.
    is_dense = (xp.min(x) >= 0) & (xp.max(x) <= 1) & (num_labels > 2)
    is_dense = is_dense & (ops.shape(x)[-1] == num_labels)
    valid = (xp.max(x) < _like(x, num_labels)) & ~is_dense
    if not keras.backend.standardize_dtype(x.dtype).startswith("uint"):
        valid = valid & (xp.min(x) >= -1)
    return valid & xp.all(x == xp.floor(x)) if _is_float(x) else valid


def _are_classes(xp: Any, x: Any, num_classes: Any) -> Any:
    valid = (xp.min(x) >= 0) & (xp.max(x) < _like(x, num_classes))
    return valid & xp.all(x == xp.floor(x)) if _is_float(x) else valid


def _like(x: Any, number: Any) -> Any:
    return number if isinstance(number, int) else ops.cast(number, x.dtype)


def _is_float(x: Any) -> bool:
    return bool(keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype)))
