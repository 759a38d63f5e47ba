"""The F1 score for several labels a sample."""

import warnings
from typing import Any

import keras
from keras import ops

from keras_mlc._dtypes import at_least_float32
from keras_mlc._typing import Tensor
from keras_mlc._validation import check_label_range, finite_float, one_of, same_shape, seen_on_host

# Sums of this many ones are exact in float32, whatever the order of summation.
EXACT_ROWS = 2**23


@keras.saving.register_keras_serializable(package="keras_mlc")
class MultilabelF1Score(keras.metrics.Metric):
    """F1 score of the labels whose score lies above a threshold.

    `F1 = 2 TP / (2 TP + FP + FN)`, and 0 where that is 0 / 0: the numbers of
    `sklearn.metrics.f1_score(..., zero_division=0)`, over any number of batches.

    The state is a few numbers per label, whatever the number of samples. Counts are kept as pairs
    of floats, so they stay exact beyond 2**24, where a single float32 stops counting.

    Args:
        average: `"micro"` counts all labels together; `"macro"` is the mean over labels;
            `"weighted"` is that mean weighted by how often a label is true; `"samples"` is the
            mean over samples of the F1 of each one's label set; None gives one score per label.
        threshold: A label is predicted where its score is greater. The default 0 is for
            unactivated scores, as from `keras_mlc.losses.multilabel_categorical_crossentropy`.
            With probabilities, such as a sigmoid's, pass 0.5: the metric warns once where the
            first batch it can see lies wholly in [0, 1] under a threshold of 0. It can see
            batches in eager execution on the CPU, not in compiled code.
        name: Name of the metric.
        dtype: Dtype of the result. The state is float32 or wider.

    Call arguments:
        y_true: Labels, shape `(batch, num_labels)`: bool, integer or float from 0 to 1; a label
            above 0.5 counts as true. Values outside are refused where they can be seen.
        y_pred: Scores or probabilities, of the same shape, floating point.
        sample_weight: Weight of each sample, shape `(batch,)` or `(batch, 1)`.

    Returns:
        A scalar, or shape `(num_labels,)` where `average=None`.

    Raises:
        ValueError: If an argument of the constructor is none of the above, `y_true` and `y_pred`
            do not both have shape `(batch, num_labels)` with at least one label, the scores are
            not floating point, a label is seen to lie outside [0, 1], or the weights have another
            shape.

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
        average: str | None = "micro",
        threshold: float = 0.0,
        name: str = "multilabel_f1_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.average = one_of("average", average, ("micro", "macro", "weighted", "samples", None))
        self.threshold = finite_float("threshold", threshold)
        self.num_labels: int | None = None
        self._looked = False
        if self.average == "samples":
            self._add_state((2,))  # Sum of the samples' F1 scores, sum of their weights.

    def _add_state(self, shape: tuple[int, ...]) -> None:
        dtype = at_least_float32(self.dtype)
        self.totals = self.add_variable(shape, "zeros", dtype=dtype, name="totals")
        # What is lost where `totals` is rounded.
        self.remainders = self.add_variable(shape, "zeros", dtype=dtype, name="remainders")

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None) -> None:
        """Count a batch."""
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        y_true = self._check(y_true, y_pred)
        if sample_weight is not None:
            sample_weight = _column(ops.convert_to_tensor(sample_weight), y_pred)
        rows = y_pred.shape[0]
        if rows is None or rows <= EXACT_ROWS:
            self._count(y_true, y_pred, sample_weight)
            return
        for first in range(0, rows, EXACT_ROWS):
            part = slice(first, first + EXACT_ROWS)
            weight = None if sample_weight is None else sample_weight[part]
            self._count(y_true[part], y_pred[part], weight)

    def _count(self, y_true: Tensor, y_pred: Tensor, weight: Tensor | None) -> None:
        predicted, actual = y_pred > self.threshold, ops.cast(y_true, "float32") > 0.5
        counts = [
            ops.cast(hits, self.totals.dtype)
            for hits in (ops.logical_and(predicted, actual), predicted, actual)
        ]  # 3 times (B, C)
        weight = None if weight is None else ops.cast(weight, self.totals.dtype)
        if self.average == "samples":
            f1 = _f1(*(ops.sum(count, axis=-1, keepdims=True) for count in counts))
            counts = [f1, ops.ones_like(f1)]
        if weight is not None:
            counts = [count * weight for count in counts]
        summed = ops.stack([ops.sum(count, axis=0) for count in counts])
        self._add(ops.reshape(summed, self.totals.shape))

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
        return {**super().get_config(), "average": self.average, "threshold": self.threshold}

    def _check(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the labels if they and the scores are usable; create the state once."""
        labels, scores = tuple(y_true.shape), tuple(y_pred.shape)
        received = f"Received: y_true.shape={labels}, y_pred.shape={scores}"
        if len(scores) != 2 or not scores[-1]:
            raise ValueError(
                "`y_pred` must have shape (batch, num_labels), with a known number of labels, at "
                f"least one. {received}"
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
            raise ValueError(
                f"`y_pred` must keep its number of labels, {self.num_labels} so far. {received}"
            )
        self._look(y_true, y_pred)
        if self.num_labels is None:
            self.num_labels = scores[-1]
            if self.average != "samples":
                self._add_state((3, scores[-1]))  # True positives, predicted, actual positives.
        return y_true

    def _look(self, y_true: Tensor, y_pred: Tensor) -> None:
        check_label_range(y_true)
        scores = None if self._looked or self.threshold != 0 else seen_on_host(y_pred)
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


def _column(sample_weight: Tensor, y_pred: Tensor) -> Tensor:
    """Return the weights in shape (batch, 1), or raise where there is not one per sample."""
    shape, rows = tuple(sample_weight.shape), y_pred.shape[0]
    one_each = shape and shape[1:] in ((), (1,)) and (None in (shape[0], rows) or shape[0] == rows)
    if not one_each:
        raise ValueError(
            "`sample_weight` must have shape (batch,) or (batch, 1). Received: "
            f"sample_weight.shape={shape}, y_pred.shape={tuple(y_pred.shape)}"
        )
    return ops.reshape(sample_weight, (-1, 1))
