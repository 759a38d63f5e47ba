"""Read the held-out scores and labels that `adapt` learns from."""

import reprlib
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_mlc._dtypes import at_least_float32
from keras_mlc._labels import UNKNOWN, Check, check_labels
from keras_mlc._validation import missing_value


@dataclass
class HeldOut:
    """Rows of scores with their labels.

    Attributes:
        scores: (N, C), in the dtype in which the layer computes, all finite.
        labels: (N, C), from 0 to 1 where they are known.
        weights: (N,) positive numbers, or None where all rows weigh 1.
        missing_label: The value of a label that is unknown, or None.
    """

    scores: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None
    missing_label: float | None

    def known(self, labels: np.ndarray) -> np.ndarray | None:
        """Return which of some labels are known, or None where all are."""
        return None if self.missing_label is None else labels != self.missing_label


def held_out(
    layer: keras.Layer, scores: Any, y_true: Any, sample_weight: Any, missing_label: Any
) -> HeldOut:
    """Return the rows that count, with leading axes as rows, or raise; build the layer for them."""
    missing_label = missing_value(missing_label)
    scores, labels = _array("scores", scores), _array("y_true", y_true)
    received = f"Received: scores.shape={scores.shape}, y_true.shape={labels.shape}"
    if scores.ndim < 2 or not scores.size or scores.shape != labels.shape:
        raise ValueError(
            "`scores` and `y_true` must have the same shape, (..., num_labels), with at least one "
            f"row and one label. {received}"
        )
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(scores.dtype)):
        raise ValueError(
            "`scores` must hold scores or probabilities in floating point. Received: "
            f"scores.dtype={scores.dtype}. Are `scores` and `y_true` swapped?"
        )
    weights = None if sample_weight is None else _weights(sample_weight, scores.shape)
    num_labels = scores.shape[-1]
    dtype = at_least_float32(layer.variable_dtype)
    scores = scores.reshape(-1, num_labels).astype(dtype, copy=False)
    labels = labels.reshape(-1, num_labels)
    if labels.dtype.kind not in "biuf":  # bfloat16, which NumPy computes slowly
        labels = labels.astype("float32")
    if weights is not None:
        kept = weights > 0
        if not kept.any():
            raise ValueError("`sample_weight` must not be 0 for every row.")
        scores, labels, weights = scores[kept], labels[kept], weights[kept]
    _check_scores(scores)
    _check_labels(labels, missing_label)
    if not layer.built:
        layer.build(scores.shape)
    if num_labels != layer.input_spec.axes[-1]:
        raise ValueError(
            f"`scores` must have the {layer.input_spec.axes[-1]} labels of the layer. "
            f"Received: scores of {num_labels} labels"
        )
    return HeldOut(scores, labels, weights, missing_label)


def _array(name: str, values: Any) -> np.ndarray:
    original = values
    if hasattr(values, "toarray"):  # a SciPy matrix
        values = values.toarray()
    if hasattr(values, "detach"):  # a torch tensor, whatever the backend
        values = values.detach().cpu()
        values = values.float() if "bfloat16" in str(values.dtype) else values
    if keras.ops.is_tensor(values):
        values = keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(values, sparse=False))
    try:
        array = np.asarray(values)
    except ValueError:  # Lists of unequal length.
        array = np.array(None)
    if array.dtype.kind in "OSUTMmc":
        raise TypeError(
            f"`{name}` must be an array of numbers. Received: {reprlib.repr(original)} of type "
            f"{type(original).__name__}. Scores of a dataset are what `model.predict(dataset)` "
            "returns."
        )
    return array


def _weights(sample_weight: Any, shape: tuple[int, ...]) -> np.ndarray:
    weights = _array("sample_weight", sample_weight)
    if weights.shape not in (shape[:-1], (*shape[:-1], 1)):
        raise ValueError(
            "`sample_weight` must have one number a row: the shape of `scores` without its last "
            f"axis. Received: sample_weight.shape={weights.shape}, scores.shape={shape}"
        )
    weights = weights.reshape(-1).astype("float64")
    if not (weights >= 0).all() or not np.isfinite(weights).all():
        raise ValueError(
            "`sample_weight` must hold finite numbers, 0 or more. Received: values from "
            f"{weights.min()} to {weights.max()}"
        )
    return weights


def _check_scores(scores: np.ndarray) -> None:
    if np.isfinite(scores.min()) and np.isfinite(scores.max()):  # NaN is the minimum where one is.
        return
    row, label = np.argwhere(~np.isfinite(scores))[0]
    raise ValueError(
        f"`scores` must be finite. Received: {scores[row, label]} in row {row}, label {label}"
    )


def _check_labels(labels: np.ndarray, missing_label: float | None) -> None:
    known = labels if missing_label is None else labels[labels != missing_label]
    check_labels(Check(), known, hint=UNKNOWN if missing_label is None else "")
