"""The multi-label categorical cross-entropy."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mlc._labels import (
    UNKNOWN,
    Check,
    check_labels,
    dense_labels,
    is_float,
    same_shape,
    scores_of_labels,
)
from keras_mlc._typing import Reduction, Tensor
from keras_mlc._validation import missing_value, weights_of_labels
from keras_mlc.losses._activation import warn_of_activation
from keras_mlc.losses._log_sum_exp import finite, log1p_sum_exp, log_weights
from keras_mlc.losses._row_loss import RowLoss


@keras.saving.register_keras_serializable(package="keras_mlc")
def multilabel_categorical_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    missing_label: float | None = None,
    label_weights: Any = None,
) -> Tensor:
    """Cross-entropy that ranks every target label above 0 and every other label below 0.

    `log(1 + sum(w * (1 - t) * exp(s))) + log(1 + sum(w * t * exp(-s)))`, with s the scores, t the
    labels, w the `label_weights` (1 without) and sums over the last axis. For a single target it is
    near the softmax cross-entropy; unlike a sigmoid cross-entropy it compares labels with each
    other, so rare labels need no weights.

    Use it on unactivated scores: no sigmoid, no softmax. The labels with a score above 0 are the
    predicted ones, so metrics need a threshold of 0. The loss sums over the labels and does not
    divide by their number, so it is large: between `log(1 + num_labels)` and twice that where all
    scores are 0, as at the start of training.

    Scores in float16 and bfloat16 are computed, and the loss is returned, in float32. Value and
    gradient are finite for every finite score in half precision, and for scores up to a quarter
    of the dtype's maximum in float32 and float64.

    In `compile` the class `MultilabelCategoricalCrossentropy` is the safer choice: Keras weighs the
    values of a function itself, and sample weights of another shape may broadcast there.

    Args:
        y_true: Labels, shape `(..., num_labels)`: bool, integer or float. Values between 0 and 1
            are soft labels. Sparse matrices of SciPy or of the backend are taken as well.
        y_pred: Scores, of the same shape, floating point.
        missing_label: A number outside [0, 1], such as -1, that stands for a label of which
            nothing is known. It takes part in neither sum and gets no gradient. A row of nothing
            else costs 0.
        label_weights: `num_labels` positive numbers. They weigh the labels inside the sums, where
            a label's share of the gradient is decided.

    Returns:
        The loss of each sample, shape `(...)`.

    Raises:
        ValueError: If the shapes differ, there is no label, the scores are integers, an argument
            is out of range, or a label lies outside [0, 1]. In TensorFlow graphs the last is a
            `tf.errors.InvalidArgumentError`. Under XLA, on JAX and on accelerators, where looking
            would stall every step, it makes the loss of the batch NaN, with a gradient of 0.

    Example:
        >>> import numpy as np
        >>> from keras_mlc.losses import multilabel_categorical_crossentropy
        >>> y_true = np.array([[1, 0, 1], [0, 0, 0]])
        >>> y_pred = np.array([[2.0, -3.0, 1.0], [-1.0, -2.0, -3.0]])
        >>> loss = multilabel_categorical_crossentropy(y_true, y_pred)
        >>> [round(float(row), 4) for row in loss]
        [0.4562, 0.4402]

    Reference:
        - [Su et al., ZLPR: A Novel Loss for Multi-label Classification,
          2022](https://arxiv.org/abs/2208.02955)
    """
    warn_of_activation(y_pred, "multilabel_categorical_crossentropy")
    missing_label = missing_value(missing_label)
    return _values(y_true, y_pred, missing_label, weights_of_labels(label_weights))


def _values(
    y_true: Tensor, y_pred: Tensor, missing_label: float | None, label_weights: np.ndarray | None
) -> Tensor:
    y_true, y_pred = dense_labels(y_true), scores_of_labels(y_pred, label_weights)
    y_true = same_shape(y_true, y_pred)
    is_soft = is_float(y_true)
    check = Check()
    hint = f"{UNKNOWN} Label indices go to `sparse_multilabel_categorical_crossentropy`."
    targets, known = check_labels(check, y_true, missing_label, hint)
    if is_soft:  # A logarithm of 0 and an infinite score would have no sum.
        y_pred = finite(y_pred)
    weights = log_weights(label_weights, y_pred.dtype)
    below, above = y_pred, -y_pred
    if weights is not None:
        below, above = below + weights, above + weights
    # As summands in the exponent, the weights 1 - t and t cost fewer passes over the scores than
    # as factors, and a weight of 0 cannot meet an infinite exponential.
    if is_soft:
        targets = ops.cast(targets, y_pred.dtype)
        others = (1.0 if known is None else ops.cast(known, y_pred.dtype)) - targets
        below, above = below + ops.log(others), above + ops.log(targets)
    else:
        is_target = ops.cast(targets, "bool")
        is_other = ops.logical_not(is_target)
        is_other = is_other if known is None else ops.logical_and(is_other, known)
        below = ops.where(is_other, below, -float("inf"))
        above = ops.where(is_target, above, -float("inf"))
    return check.mark(log1p_sum_exp(below) + log1p_sum_exp(above))


@keras.saving.register_keras_serializable(package="keras_mlc")
class MultilabelCategoricalCrossentropy(RowLoss):
    """Cross-entropy that ranks every target label above 0 and every other label below 0.

    `log(1 + sum(w * (1 - t) * exp(s))) + log(1 + sum(w * t * exp(-s)))`, with s the scores, t the
    labels, w the `label_weights` (1 without) and sums over the last axis: see
    `keras_mlc.losses.multilabel_categorical_crossentropy`, which computes the values that this
    class weighs and reduces.

    The model's last layer has no activation, and metrics need a threshold of 0. The loss is a sum
    over the labels, so it is larger than a sigmoid cross-entropy, which is a mean over them.

    Args:
        reduction: As in `keras.losses.Loss`; the default is the mean over the batch.
        name: Name of the loss.
        dtype: Dtype of the computation. Half precision means float32, also in what is returned.
        missing_label: A number outside [0, 1], such as -1, that stands for a label of which
            nothing is known.
        label_weights: `num_labels` positive numbers, the labels' weights.

    Call arguments:
        y_true: Labels from 0 to 1, or `missing_label`, shape `(..., num_labels)`.
        y_pred: Scores, shape `(..., num_labels)`.
        sample_weight: Weights, shape `(...)`, `(batch,)` or `(batch, 1)`.

    Returns:
        A scalar, or one value a sample where `reduction=None`.

    Raises:
        ValueError: As the function does, and where `sample_weight` has another shape.

    Example:
        >>> import keras, numpy as np
        >>> from keras_mlc.losses import MultilabelCategoricalCrossentropy
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(5)])
        >>> model.compile("adam", MultilabelCategoricalCrossentropy())
        >>> x, y = np.ones((4, 8)), np.eye(5)[[0, 1, 2, 3]]
        >>> history = model.fit(x, y, verbose=0)

    Reference:
        - [Su et al., ZLPR: A Novel Loss for Multi-label Classification,
          2022](https://arxiv.org/abs/2208.02955)
    """

    def __init__(
        self,
        reduction: Reduction = "sum_over_batch_size",
        name: str = "multilabel_categorical_crossentropy",
        dtype: str | None = None,
        *,
        missing_label: float | None = None,
        label_weights: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.missing_label = missing_value(missing_label)
        self.label_weights = weights_of_labels(label_weights)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each sample."""
        return _values(y_true, y_pred, self.missing_label, self.label_weights)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        weights = self.label_weights
        return {
            **super().get_config(),
            "missing_label": self.missing_label,
            "label_weights": None if weights is None else weights.tolist(),
        }
