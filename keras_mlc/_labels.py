"""Labels, scores and weights as people have them, and what must hold of them."""

import reprlib
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mlc._dtypes import widened
from keras_mlc._keras_internals import infers_shapes, mask_of
from keras_mlc._typing import Tensor
from keras_mlc._validation import shapes_differ

UNKNOWN = " Labels that are unknown are named by `missing_label`."


def numbers_of(name: str, values: Any, hint: str = "") -> Tensor:
    """Return the numbers of any container as a dense tensor, or raise where there are others."""
    array = values
    if hasattr(values, "toarray"):  # A matrix of SciPy.
        array = values.toarray()
    elif getattr(values, "is_sparse", False) or getattr(values, "is_sparse_csr", False):
        array = values.to_dense()  # A tensor of torch.
    try:
        tensor, cause = ops.convert_to_tensor(array, sparse=False), None
        dtype = keras.backend.standardize_dtype(tensor.dtype)
    except (TypeError, ValueError, RuntimeError) as error:
        dtype, cause = "object", error
    if dtype in ("object", "string") or dtype.startswith("complex"):
        raise ValueError(
            f"`{name}` must hold numbers, in an array or a tensor. Received: "
            f"{reprlib.repr(values)} of type {type(values).__name__}.{hint}"
        ) from cause
    return tensor


def dense_labels(y_true: Any, indices: bool = False) -> Tensor:
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
        y_true = (ops.cast(y_true, "int64") if is_unsigned else y_true).to_tensor(-1)
        if keras.backend.backend() != "tensorflow":
            y_true = y_true.numpy()
    hint = (
        " Lists of names or of indices become multi-hot by scikit-learn's `MultiLabelBinarizer`, "
        "and an array of objects becomes one of numbers by `astype`."
    )
    return numbers_of("y_true", y_true, hint)


def is_sparse(y_true: Any) -> bool:
    """Whether labels are a sparse matrix, of SciPy or of a backend."""
    names = ("SparseTensor", "BCOO", "BCSR")
    is_torch = any(getattr(y_true, name, False) is True for name in ("is_sparse", "is_sparse_csr"))
    return is_torch or hasattr(y_true, "toarray") or type(y_true).__name__ in names


def floating(name: str, values: Any, hint: str = "") -> Tensor:
    """Return scores as a tensor, or raise where they are not floating point."""
    tensor = numbers_of(name, values)
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if not keras.backend.is_float_dtype(dtype):
        raise ValueError(f"`{name}` must be floating point. Received: {name}.dtype={dtype}.{hint}")
    return tensor


def scores_of_labels(y_pred: Any, label_weights: np.ndarray | None = None) -> Tensor:
    """Return scores at least in float32, with a last axis of labels, as many as the weights."""
    y_pred = widened(floating("y_pred", y_pred, " Are `y_true` and `y_pred` swapped?"))
    shape = tuple(y_pred.shape)
    if shape[-1:] in ((), (0,)):
        raise ValueError(
            "`y_pred` must have a last axis of labels, at least one. "
            f"Received: y_pred.shape={shape}"
        )
    if label_weights is None or shape[-1] == len(label_weights):
        return y_pred
    if shape[-1] is None:  # Raises when it runs, if the numbers differ.
        return ops.reshape(y_pred, (*ops.shape(y_pred)[:-1], len(label_weights)))
    raise ValueError(
        f"`label_weights` must hold one number a label. Received: {len(label_weights)} numbers, "
        f"y_pred.shape={shape}"
    )


def same_shape(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return `y_true`, or raise where its shape is not that of `y_pred`.

    Dimensions that are unknown so far are compared when compiled code runs.
    """
    labels, scores = tuple(y_true.shape), tuple(y_pred.shape)
    if shapes_differ(labels, scores):
        raise ValueError(
            "`y_true` must have the shape of `y_pred`, (..., num_labels). "
            f"Received: y_true.shape={labels}, y_pred.shape={scores}"
        )
    if None not in (*labels, *scores) or not is_in_graph(y_true, y_pred):
        return y_true
    from keras_mlc._missing_ops_tensorflow import with_shape_of

    return with_shape_of(y_true, y_pred)


def is_in_graph(*tensors: Tensor) -> bool:
    """Whether tensors are of TensorFlow, whose graphs can check them when they run."""
    is_symbolic = any(keras.backend.is_keras_tensor(tensor) for tensor in tensors)
    return keras.backend.backend() == "tensorflow" and not is_symbolic


def concrete_value(tensor: Any) -> np.ndarray | None:
    """Return the values of `tensor`, or None where it has none yet, as inside a compiled graph."""
    if keras.backend.backend() == "tensorflow" and not isinstance(tensor, np.ndarray):
        return tensor.numpy() if hasattr(tensor, "numpy") else None
    try:
        return ops.convert_to_numpy(tensor)
    except Exception:  # Each backend has its own error for a tensor without values.
        return None


def value_on_host(tensor: Any) -> np.ndarray | None:
    """Return the values of `tensor` where they can be read without waiting for an accelerator."""
    on_host = isinstance(tensor, np.ndarray) or "cpu" in str(getattr(tensor, "device", "")).lower()
    return concrete_value(tensor) if on_host else None


class Check:
    """Whether the values of tensors are what they must be.

    Bad values raise where they can be seen and in TensorFlow graphs. Where they cannot, under XLA,
    on JAX and on accelerators, they become zeros and the result NaN, with a gradient of 0: it
    shows, and spoils no weight.
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
        values = value_on_host(tensor)
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
        """Return a result, all NaN where compiled code has met bad values."""
        for is_valid in self._is_valid:
            values = ops.where(is_valid, values, float("nan"))
        return values


def _settled(tensor: Tensor, is_valid: Tensor, message: str, clean: Any) -> Tensor:
    if keras.backend.backend() == "tensorflow":
        from keras_mlc._missing_ops_tensorflow import if_valid

        return if_valid(is_valid, message, tensor, clean)
    # What looks at each value by itself is fused with what follows.
    return clean(tensor) if clean else ops.where(is_valid, tensor, ops.zeros_like(tensor))


def check_labels(
    check: Check,
    y_true: Tensor,
    missing_label: float | None = None,
    hint: str = "",
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Return labels, which must lie in [0, 1], with 0 where they are unknown, and which are known.

    Args:
        check: What to check by.
        y_true: Labels, shape `(..., num_labels)`.
        missing_label: The value of labels that are unknown, if there are such.
        hint: How to mend labels, where none is unknown.
        mask: Which rows count, shape `(...)`.

    Returns:
        The labels, and a boolean tensor of those that are known and not masked, or None for all.
    """
    known, complaint = None, "`y_true` must lie between 0 and 1"
    if mask is not None:
        known = ops.broadcast_to(ops.expand_dims(mask, -1), ops.shape(y_true))
    if missing_label is not None:  # An unsigned dtype may not hold it.
        complaint, hint = f"{complaint}, or be `missing_label={missing_label}`", ""
        present = ops.not_equal(ops.cast(y_true, "float32"), missing_label)
        known = present if known is None else ops.logical_and(known, present)
    if keras.backend.standardize_dtype(y_true.dtype) == "bool":
        return y_true, known
    if known is not None:
        y_true = ops.where(known, y_true, ops.zeros_like(y_true))
    complaint += "."
    return check(y_true, complaint, _are_labels, hint=hint, clean=_between_0_and_1), known


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
    complaint = (
        f"`y_true` must hold label indices from 0 to {top}, padded with -1, and no dense labels, "
        "as which rows of `num_labels` zeros and ones count."
    )
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
    return valid & (xp.sum(x) >= 0) if is_float(x) else valid


def _between_0_and_1(x: Tensor) -> Tensor:
    if not is_float(x):
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
    return valid & xp.all(x == xp.floor(x)) if is_float(x) else valid


def _are_classes(xp: Any, x: Any, num_classes: Any) -> Any:
    valid = (xp.min(x) >= 0) & (xp.max(x) < _like(x, num_classes))
    return valid & xp.all(x == xp.floor(x)) if is_float(x) else valid


def _like(x: Any, number: Any) -> Any:
    return number if isinstance(number, int) else ops.cast(number, x.dtype)


def is_float(x: Any) -> bool:
    """Whether an array or a tensor is floating point."""
    return bool(keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype)))


def aligned(weights: Tensor, values: Tensor, message: str, any_axes: bool = False) -> Tensor:
    """Return weights with the shape of `values`, or raise where they would weigh others.

    Args:
        weights: They have the shape of `values`, or that of its first axis, with or without an
            axis of one at the end. A single number weighs all alike.
        values: One value for each row of labels.
        message: What is expected, with a place for `{expected}`, the shape of `values`.
        any_axes: Whether they may instead have the shape of any number of the first axes.
    """
    expected, received = tuple(values.shape), tuple(weights.shape)
    if not received and not any_axes:
        return ops.broadcast_to(weights, ops.shape(values))
    kept, is_longer = received, len(received) == len(expected) + 1
    is_column = received[-1:] == (1,) and len(received) > 1 and (any_axes or len(received) == 2)
    if is_column or (is_longer and received[-1] in (1, None)):
        kept = received[:-1]
    ranks = range(1, len(expected) + 1) if any_axes else (1, len(expected))
    message = message.format(expected=expected)
    if len(kept) not in ranks or shapes_differ(kept, expected[: len(kept)]):
        raise ValueError(f"{message} Received: a shape of {received}")
    is_unknown = None in (*received, *expected) and is_in_graph(values)
    if is_unknown and received[-1] is None and kept is not received:
        weights = _fits(weights, ops.expand_dims(values, -1), message)
    if len(kept) != len(expected) or kept is not received:
        ones = (1,) * (len(expected) - len(kept))
        weights = ops.reshape(weights, (*ops.shape(weights)[: len(kept)], *ones))
    if is_unknown:
        weights = _fits(weights, values, message)
    return ops.broadcast_to(weights, ops.shape(values))  # Some reductions divide by their sum.


def _fits(weights: Tensor, values: Tensor, message: str) -> Tensor:
    from keras_mlc._missing_ops_tensorflow import fits

    return fits(weights, values, message)


def aligned_mask(y_pred: Tensor, values: Tensor) -> Tensor | None:
    """Return the mask of `y_pred` with the shape of `values`, if it has one."""
    mask = mask_of(y_pred)
    if mask is None:
        return None
    message = (
        "The mask of `y_pred` must have the shape of its leading axes, {expected}, or of the first "
        "of them. A layer that takes an axis away must not pass the mask on."
    )
    return aligned(ops.cast(mask, "bool"), values, message, any_axes=True)
