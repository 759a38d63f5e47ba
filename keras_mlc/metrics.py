"""The F1 score for several labels a sample."""

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from keras_mlc import _keras_internals
from keras_mlc._dtypes import at_least_float32, widened
from keras_mlc._labels import (
    UNKNOWN,
    Check,
    aligned,
    aligned_mask,
    check_labels,
    dense_labels,
    floating,
    numbers_of,
    same_shape,
    value_on_host,
)
from keras_mlc._typing import Tensor
from keras_mlc._validation import labels_shape, missing_value, number, one_of


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
        _keras_internals.higher_is_better(self)
        self.average = one_of("average", average, ("micro", "macro", "weighted", "samples", None))
        self.threshold = number("threshold", threshold, several=True)
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
        labels, scores = dense_labels(y_true), self._checked_scores(y_pred)
        labels = same_shape(labels, scores)
        rows = scores[..., 0]
        mask, weight = aligned_mask(y_pred, rows), None
        if sample_weight is not None:
            message = (
                "`sample_weight` must have the shape of the leading axes of `y_pred`, {expected}, "
                "or of the first of them, with or without an axis of one at the end."
            )
            sample_weight = numbers_of("sample_weight", sample_weight)
            weight = aligned(sample_weight, rows, message, any_axes=True)
            if mask is not None:  # What a mask hides may be NaN.
                weight = ops.where(mask, weight, ops.zeros_like(weight))
            weight = ops.reshape(weight, (-1, 1))
        check = Check()
        labels, known = check_labels(check, labels, self.missing_label, UNKNOWN, mask)
        if self.num_labels is None:  # No state is created before labels are seen to be valid.
            self._start(scores.shape[-1])
        columns = (-1, scores.shape[-1])
        labels, scores = ops.reshape(labels, columns), ops.reshape(scores, columns)
        known = None if known is None else ops.reshape(known, columns)
        self._add(check.mark(self._count(labels, scores, known, weight)))

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

    def _checked_scores(self, y_pred: Tensor) -> Tensor:
        """Return the scores, or raise where there is none, or another number of labels."""
        hint = (
            " Are `y_true` and `y_pred` swapped? Decisions of 0 and 1 are cast to float and "
            "counted with `threshold=0.5`."
        )
        y_pred = floating("y_pred", y_pred, hint)
        num_labels = labels_shape(y_pred.shape, "y_pred")[-1]
        if self.num_labels not in (None, num_labels):
            by_threshold = isinstance(self.threshold, tuple)
            known_by = "of which `threshold` has one each" if by_threshold else "so far"
            raise ValueError(
                f"`y_pred` must keep its number of labels, {self.num_labels} {known_by}. Received: "
                f"y_pred.shape={tuple(y_pred.shape)}"
            )
        self._look(y_pred)
        return y_pred

    def _look(self, y_pred: Tensor) -> None:
        scores = None if self._looked or np.any(self.threshold) else value_on_host(y_pred)
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
