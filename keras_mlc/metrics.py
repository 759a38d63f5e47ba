"""The F1 score for several labels a sample."""

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from keras_mlc._dtypes import at_least_float32, widened
from keras_mlc._keras_internals import mask_of
from keras_mlc._typing import Tensor
from keras_mlc._validation import (
    check_label_range,
    dense_labels,
    finite_floats,
    missing_value,
    one_of,
    same_shape,
    seen,
    seen_on_host,
    shapes_differ,
)

# Sums of this many ones are exact in float32, whatever the order of summation.
EXACT_ROWS = 2**23

HINT = " Labels that nobody knows are named by `missing_label`."


@keras.saving.register_keras_serializable(package="keras_mlc")
class MultilabelF1Score(keras.metrics.Metric):
    """F1 score of the labels whose score lies above a threshold.

    `F1 = 2 TP / (2 TP + FP + FN)`, and 0 where that is 0 / 0: the numbers of
    `sklearn.metrics.f1_score(..., zero_division=0)`, over any number of batches.

    The state is a few numbers per label, whatever the number of samples. Counts are kept as pairs
    of floats, so they stay exact beyond 2**24, where a single float32 stops counting.

    Leading axes count as samples. A mask that Keras has attached to `y_pred` is respected: masked
    samples do not count. Callbacks that monitor the metric know that more is better.

    Args:
        average: `"micro"` counts all labels together; `"macro"` is the mean over labels;
            `"weighted"` is that mean weighted by how often a label is true; `"samples"` is the
            mean over samples of the F1 of each one's label set; None gives one score per label.
        threshold: A label is predicted where its score is greater: a number, or one for each
            label, such as `LabelThresholds.thresholds`. The default 0 is for unactivated scores,
            as from `keras_mlc.losses.multilabel_categorical_crossentropy`. With probabilities,
            such as a sigmoid's, pass 0.5: the metric warns once where the first batch it can see
            lies wholly in [0, 1] under a threshold of 0. It can see batches in eager execution on
            the CPU, not in compiled code. Scores are compared in float32 or wider; one that is NaN
            is not predicted.
        missing_label: The value of labels that are unknown, a number outside [0, 1], usually -1:
            they do not count, nor does, for `"samples"`, a sample without any known label.
        name: Name of the metric.
        dtype: Dtype of the result. The state is float32 or wider.

    Call arguments:
        y_true: Labels, shape `(..., num_labels)`: bool, integer or float from 0 to 1; a label
            above 0.5 counts as true. Sparse tensors and SciPy matrices become dense. A label
            outside is refused where it can be seen and in TensorFlow graphs; under XLA and on JAX
            the result is NaN until the state is reset.
        y_pred: Scores or probabilities, of the same shape, floating point.
        sample_weight: Weight of each sample, of the shape of the leading axes or the first of
            them: `(batch,)` or `(batch, 1)`, and of a sequence `(batch, steps)` too.

    Returns:
        A scalar, or shape `(num_labels,)` where `average=None`.

    Raises:
        ValueError: If an argument of the constructor is none of the above, `y_true` and `y_pred`
            do not both have shape `(..., num_labels)` with at least one label, the scores are not
            floating point, a label is seen to lie outside [0, 1], or the weights or the mask have
            another shape.

    Example:
        >>> import numpy as np
        >>> from keras_mlc.metrics import MultilabelF1Score
        >>> metric = MultilabelF1Score(average="micro")
        >>> metric.update_state(np.array([[1, 0, 1]]), np.array([[2.0, 1.0, -1.0]]))
        >>> metric.update_state(np.array([[0, 1, 0]]), np.array([[-1.0, 3.0, -2.0]]))
        >>> round(float(metric.result()), 4)
        0.6667
    """

    def __init__(
        self,
        average: Literal["micro", "macro", "weighted", "samples"] | None = "micro",
        threshold: float | Sequence[float] = 0.0,
        missing_label: float | None = None,
        name: str | None = "multilabel_f1_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self._direction = "up"  # What callbacks with `mode="auto"` look for.
        self.average = one_of("average", average, ("micro", "macro", "weighted", "samples", None))
        self.threshold = finite_floats("threshold", threshold)
        self.missing_label = missing_value(missing_label)
        self.num_labels: int | None = None
        self._looked = False
        if self.average == "samples":
            self._add_state((2,))  # Sum of the samples' F1 scores, sum of their weights.
        if isinstance(self.threshold, tuple):
            self._start(len(self.threshold))

    def _start(self, num_labels: int) -> None:
        self.num_labels = num_labels
        if self.average != "samples":
            self._add_state((3, num_labels))  # True positives, predicted, actual positives.

    def _add_state(self, shape: tuple[int, ...]) -> None:
        dtype = at_least_float32(self.dtype)
        self.totals = self.add_variable(shape, "zeros", dtype=dtype, name="totals")
        # What is lost where `totals` is rounded.
        self.remainders = self.add_variable(shape, "zeros", dtype=dtype, name="remainders")

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None) -> None:
        """Count a batch."""
        mask = mask_of(y_pred)
        y_true, y_pred = dense_labels(y_true), ops.convert_to_tensor(y_pred)
        y_true = self._check(y_true, y_pred)
        _check_mask(mask, y_pred)
        weight = None if sample_weight is None else _column(sample_weight, mask, y_pred)
        known = self._known(y_true, mask)
        y_true, is_valid = self._check_labels(y_true, known)
        columns = -1, y_pred.shape[-1]
        y_true, y_pred = ops.reshape(y_true, columns), ops.reshape(y_pred, columns)
        known = None if known is None else ops.reshape(known, columns)
        for first in range(0, y_pred.shape[0] or 1, EXACT_ROWS):
            rows = slice(first, first + EXACT_ROWS) if y_pred.shape[0] else slice(None)
            parts = (None if each is None else each[rows] for each in (known, weight))
            counts = self._count(y_true[rows], y_pred[rows], *parts)
            if is_valid is not None:
                counts = ops.where(is_valid, counts, float("nan"))
            self._add(counts)

    def _known(self, y_true: Tensor, mask: Tensor) -> Tensor:
        """Return which labels count, or None where all do."""
        known = None
        if mask is not None:
            mask = ops.expand_dims(ops.cast(mask, "bool"), -1)
            known = ops.logical_and(mask, ops.ones_like(y_true, dtype="bool"))
        if self.missing_label is not None:
            present = ops.not_equal(ops.cast(y_true, "float32"), self.missing_label)
            known = present if known is None else ops.logical_and(known, present)
        return known

    def _count(
        self, y_true: Tensor, y_pred: Tensor, known: Tensor | None, weight: Tensor | None
    ) -> Tensor:
        """Return what the rows add to the totals."""
        dtype = self.totals.dtype
        y_pred = widened(y_pred)
        predicted = y_pred > ops.convert_to_tensor(self.threshold, y_pred.dtype)
        actual = ops.cast(y_true, "float32") > 0.5
        hits = [ops.logical_and(predicted, actual), predicted, actual]
        if known is not None:
            hits = [ops.logical_and(each, known) for each in hits]
        counts = [ops.cast(each, dtype) for each in hits]  # 3 times (rows, C)
        weight = None if weight is None else ops.cast(weight, dtype)
        if self.average == "samples":
            f1 = _f1(*(ops.sum(count, axis=-1, keepdims=True) for count in counts))
            ones = ops.ones_like(f1)
            if known is not None:
                ones = ops.cast(ops.any(known, axis=-1, keepdims=True), dtype)
            counts = [f1, ones]
        if weight is not None:
            counts = [count * weight for count in counts]
        summed = ops.stack([ops.sum(count, axis=0) for count in counts])
        return ops.reshape(summed, self.totals.shape)

    def _add(self, counts: Tensor) -> None:
        """Add to the totals, and what rounding takes away to the remainders (Knuth's TwoSum)."""
        totals = ops.convert_to_tensor(self.totals)
        summed = totals + counts
        added = summed - totals
        lost = (totals - (summed - added)) + (counts - added) + self.remainders
        rounded = summed + lost
        self.totals.assign(rounded)
        self.remainders.assign(lost - (rounded - summed))

    def result(self) -> Tensor:
        """Return the F1 score of all that has been counted; 0 where nothing has."""
        if not self.variables:
            return ops.zeros((), self.dtype)
        counts = self.totals + self.remainders
        if self.average == "samples":
            f1 = ops.divide_no_nan(counts[0], counts[1])
        elif self.average == "micro":
            f1 = _f1(*ops.unstack(ops.sum(counts, axis=1)))
        else:
            f1 = _f1(*ops.unstack(counts))  # (C,)
        if self.average == "macro":
            f1 = ops.mean(f1)
        if self.average == "weighted":
            actual = counts[2]
            f1 = ops.divide_no_nan(ops.sum(f1 * actual), ops.sum(actual))
        return ops.cast(f1, self.dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        threshold = self.threshold
        return {
            **super().get_config(),
            "average": self.average,
            "threshold": list(threshold) if isinstance(threshold, tuple) else threshold,
            "missing_label": self.missing_label,
        }

    def _check(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the labels if they and the scores are usable; create the state once."""
        labels, scores = tuple(y_true.shape), tuple(y_pred.shape)
        received = f"Received: y_true.shape={labels}, y_pred.shape={scores}"
        if len(scores) < 2 or not scores[-1]:
            raise ValueError(
                "`y_pred` must have shape (..., num_labels), of rank 2 or more, with a known "
                f"number of labels, at least one. {received}"
            )
        y_true = same_shape(y_true, y_pred)
        dtype = keras.backend.standardize_dtype(y_pred.dtype)
        if not keras.backend.is_float_dtype(dtype):
            raise ValueError(
                "`y_pred` must hold scores or probabilities in floating point. Received: "
                f"y_pred.dtype={dtype}. Are `y_true` and `y_pred` swapped? Decisions of 0 and 1 "
                "are cast to float and counted with `threshold=0.5`."
            )
        if self.num_labels not in (None, scores[-1]):
            by_threshold = isinstance(self.threshold, tuple)
            known_by = "of which `threshold` has one each" if by_threshold else "so far"
            raise ValueError(
                f"`y_pred` must keep its number of labels, {self.num_labels} {known_by}. {received}"
            )
        self._look(y_pred)
        return y_true

    def _check_labels(self, y_true: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the labels, and whether they are valid where that cannot be seen yet.

        Nothing is counted, and no state created, before labels that can be seen are valid.
        """
        is_valid, values = None, seen_on_host(y_true)
        if values is not None:
            values = values if known is None else values[seen(known)]
            check_label_range(values, "" if self.missing_label is not None else HINT)
        elif keras.backend.standardize_dtype(y_true.dtype) != "bool":
            inside = ops.logical_and(y_true >= 0, y_true <= 1)
            if known is not None:
                inside = ops.logical_or(inside, ops.logical_not(known))
            is_valid = ops.all(inside)
            if keras.backend.backend() == "tensorflow":
                from keras_mlc._missing_ops_tensorflow import after_assert

                y_true = after_assert(is_valid, f"`y_true` must lie between 0 and 1.{HINT}", y_true)
        if self.num_labels is None:
            self._start(y_true.shape[-1])
        return y_true, is_valid

    def _look(self, y_pred: Tensor) -> None:
        scores = None if self._looked or np.any(self.threshold) else seen_on_host(y_pred)
        if scores is None or not scores.size:
            return
        self._looked = True
        if scores.min() >= 0 and scores.max() <= 1:
            warnings.warn(
                f"All values of `y_pred` in the first batch of {self.name!r} lie in [0, 1]. If "
                "they are probabilities, pass `threshold=0.5`: with `threshold=0.0` every label "
                "is predicted.",
                stacklevel=4,
            )


def _f1(true_positives: Tensor, predicted: Tensor, actual: Tensor) -> Tensor:
    return ops.divide_no_nan(2.0 * true_positives, predicted + actual)


def _check_mask(mask: Tensor, y_pred: Tensor) -> None:
    leading = tuple(y_pred.shape[:-1])
    if mask is not None and shapes_differ(tuple(mask.shape), leading):
        raise ValueError(
            f"The mask of `y_pred` must have the shape of its leading axes, {leading}. Received: "
            f"mask.shape={tuple(mask.shape)}. A layer that takes an axis away must not pass the "
            "mask on."
        )


def _column(sample_weight: Tensor, mask: Tensor, y_pred: Tensor) -> Tensor:
    """Return the weight of each row, shape (rows, 1), or raise where weights fit no rows."""
    weight, leading = ops.convert_to_tensor(sample_weight), tuple(y_pred.shape[:-1])
    shape = tuple(weight.shape)
    axes = shape[:-1] if len(shape) > 1 and shape[-1] == 1 else shape
    if not axes or len(axes) > len(leading) or shapes_differ(axes, leading[: len(axes)]):
        expected = (
            "(batch,) or (batch, 1)"
            if len(leading) == 1
            else (f"that of the leading axes of `y_pred`, {leading}, or the first of them")
        )
        raise ValueError(
            f"`sample_weight` must have shape {expected}. Received: "
            f"sample_weight.shape={shape}, y_pred.shape={tuple(y_pred.shape)}"
        )
    size = ops.shape(y_pred)
    # Fails for another number of rows, also of one that compiled code alone knows.
    weight = ops.reshape(weight, (*size[: len(axes)], *(1,) * (len(leading) - len(axes))))
    weight = ops.broadcast_to(weight, size[:-1])
    if mask is not None:
        weight = ops.where(ops.cast(mask, "bool"), weight, ops.zeros_like(weight))
    return ops.reshape(weight, (-1, 1))
