"""The multi-label categorical cross-entropy, for dense and for sparse labels."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mlc._dtypes import at_least_float32
from keras_mlc._typing import Tensor
from keras_mlc._validation import (
    check_label_range,
    same_shape,
    seen_on_host,
    shapes_differ,
)
from keras_mlc.losses._row_loss import RowLoss


@keras.saving.register_keras_serializable(package="keras_mlc")
def multilabel_categorical_crossentropy(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Cross-entropy that ranks every target label above 0 and every other label below 0.

    `log(1 + sum((1 - t) * exp(s))) + log(1 + sum(t * exp(-s)))`, with s the scores, t the labels
    and sums over the last axis. For a single target it is near the softmax cross-entropy; unlike
    a sigmoid cross-entropy it compares labels with each other, so rare labels need no weights.

    Use it on unactivated scores: no sigmoid, no softmax. The labels with a score above 0 are the
    predicted ones, so metrics need a threshold of 0. The loss sums over the labels and does not
    divide by their number, so it is large: between `log(1 + num_labels)` and twice that where all
    scores are 0, as at the start of training.

    Scores in float16 and bfloat16 are computed, and the loss is returned, in float32. Value and
    gradient are finite for every finite score in half precision, and for scores up to a quarter
    of the dtype's maximum in float32 and float64.

    Args:
        y_true: Labels, shape `(..., num_labels)`: bool, integer or float. Values between 0 and 1
            are soft labels. Values outside are refused in eager execution on the CPU, and not
            looked at in compiled code or on accelerators.
        y_pred: Scores, of the same shape, floating point.

    Returns:
        The loss of each sample, shape `(...)`.

    Raises:
        ValueError: If the shapes differ, there is no label, the scores are integers, or a label
            is seen to lie outside [0, 1].

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
    y_true, y_pred = ops.convert_to_tensor(y_true), _scores(y_pred)
    _check_num_labels(y_pred)
    y_true = same_shape(y_true, y_pred)
    hint = " Label indices go to `sparse_multilabel_categorical_crossentropy`."
    check_label_range(y_true, hint)
    negative, positive = _log_weights(y_true, y_pred.dtype)
    return _log1p_sum_exp(y_pred + negative) + _log1p_sum_exp(positive - y_pred)


def _log_weights(y_true: Tensor, dtype: Any) -> tuple[Tensor, Tensor]:
    """Return the logarithms of `1 - y_true` and `y_true`.

    As summands in the exponent, weights cost fewer passes over the scores than as factors, and a
    weight of 0 cannot meet an infinite exponential.
    """
    targets = ops.cast(y_true, dtype)
    if keras.backend.is_float_dtype(keras.backend.standardize_dtype(y_true.dtype)):
        return ops.log(1.0 - targets), ops.log(targets)
    low = -0.75 * _maximum(dtype)  # A product is cheaper than a logarithm.
    return low * targets, low - low * targets


@keras.saving.register_keras_serializable(package="keras_mlc")
def sparse_multilabel_categorical_crossentropy(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """The multi-label categorical cross-entropy of label indices.

    `log(1 + sum(exp(s_i) for i not in y_true)) + log(1 + sum(exp(-s_i) for i in y_true))`: the
    value of `keras_mlc.losses.multilabel_categorical_crossentropy`, without an array of dense
    labels. An index that stands twice counts once.

    Args:
        y_true: Indices of the target labels, shape `(..., max_targets)`, padded with -1: integers,
            or floats that hold integers. Other values, and indices outside [-1, num_labels), are
            refused in eager execution on the CPU, and not looked at in compiled code or on
            accelerators.
        y_pred: Scores, shape `(..., num_labels)`, floating point.

    Returns:
        The loss of each sample, shape `(...)`.

    Raises:
        ValueError: If the shapes but for the last axes differ, there is no label, the scores are
            integers, an index is seen to be out of range, or the indices are in a half precision
            that cannot hold them (Keras casts the labels of a loss *function* to `floatx`: the
            class `SparseMultilabelCategoricalCrossentropy` does not).

    Example:
        >>> import numpy as np
        >>> from keras_mlc.losses import sparse_multilabel_categorical_crossentropy
        >>> y_true = np.array([[0, 2], [-1, -1]])
        >>> y_pred = np.array([[2.0, -3.0, 1.0], [-1.0, -2.0, -3.0]])
        >>> loss = sparse_multilabel_categorical_crossentropy(y_true, y_pred)
        >>> [round(float(row), 4) for row in loss]
        [0.4562, 0.4402]

    Reference:
        - [Su et al., ZLPR: A Novel Loss for Multi-label Classification,
          2022](https://arxiv.org/abs/2208.02955)
    """
    y_true, y_pred = ops.convert_to_tensor(y_true), _scores(y_pred)
    _check_num_labels(y_pred)
    _check_indices(y_true, y_pred)
    shape = ops.shape(y_pred)
    scores = ops.reshape(y_pred, (-1, shape[-1]))
    # A first column of padding stays first when sorted, and makes rows of no index one of many.
    padding = [(0, 0)] * (len(shape) - 1) + [(1, 0)]
    indices = ops.pad(ops.cast(y_true, "int32"), padding, constant_values=-1)
    indices = ops.sort(ops.reshape(indices, (-1, ops.shape(indices)[-1])), axis=-1)
    last = indices[:, -1:]
    # Padding points to a target once more, or to label 0 where there is no target.
    labels = ops.maximum(ops.where(indices < 0, last, indices), 0)
    rows = ops.broadcast_to(ops.arange(ops.shape(labels)[0])[:, None], ops.shape(labels))
    places = ops.stack([ops.reshape(rows, (-1,)), ops.reshape(labels, (-1,))], axis=-1)
    negative, label_scores = _split(scores, places)
    label_scores = ops.reshape(label_scores, ops.shape(labels))
    with_label_0 = negative + ops.softplus(label_scores[:, 0] - negative)
    negative = ops.where(last[:, 0] < 0, with_label_0, negative)

    is_new = ops.not_equal(indices[:, 1:], indices[:, :-1])
    is_new = ops.concatenate([ops.zeros_like(last, dtype="bool"), is_new], axis=-1)
    positive = _log1p_sum_exp(ops.where(is_new, -label_scores, -float("inf")))
    return ops.reshape(negative + positive, shape[:-1])


def _split(scores: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Return `log(1 + sum(exp(s)))` of the scores but those at `places`, and the scores there.

    `places` holds one row of indices a score. With `take_along_axis` there would be one more
    array of scores, or two, where nothing fuses.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow" and not keras.backend.is_keras_tensor(scores):
        from keras_mlc._ops_tensorflow import split

        shift, total, label_scores = split(scores, places)
        return _log1p(ops.stop_gradient(shift), total), label_scores
    if backend == "torch":
        from keras_mlc._ops_torch import gather

        label_scores = gather(scores, places)
    else:
        label_scores = scores[places[:, 0], places[:, 1]]
    low = ops.full((ops.shape(places)[0],), -float("inf"), dtype=scores.dtype)
    return _log1p_sum_exp(ops.scatter_update(scores, places, low)), label_scores


def _log1p_sum_exp(x: Tensor) -> Tensor:
    """Return `log(1 + sum(exp(x)))` over the last axis, also where the sum is tiny or huge."""
    return _log1p(*_shifted_sum_exp(x))


def _log1p(shift: Tensor, total: Tensor) -> Tensor:
    """Return `log(1 + exp(shift) * total)`, of a shift with an axis more."""
    shift = ops.squeeze(shift, axis=-1)
    result = shift + ops.log1p(total + ops.expm1(-shift))
    # Two of these are added: only bfloat16 scores near the maximum come here.
    top = _maximum(total.dtype) / 2
    return ops.where(result > top, top, result)  # On torch, `minimum` rounds to float32.


def _shifted_sum_exp(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the maximum of 0 and the last axis, and the sum of `exp(x - maximum)` over it."""
    if keras.backend.backend() == "torch" and not keras.backend.is_keras_tensor(x):
        from keras_mlc._ops_torch import shifted_sum_exp

        return shifted_sum_exp(x)
    shift = ops.stop_gradient(ops.max(x, axis=-1, keepdims=True, initial=0.0))
    return shift, ops.sum(ops.exp(x - shift), axis=-1)


def _maximum(dtype: Any) -> float:
    return float(np.finfo(keras.backend.standardize_dtype(dtype)).max)


def _scores(y_pred: Tensor) -> Tensor:
    y_pred = ops.convert_to_tensor(y_pred)
    dtype = keras.backend.standardize_dtype(y_pred.dtype)
    if not keras.backend.is_float_dtype(dtype):
        raise ValueError(
            "`y_pred` must hold unactivated scores in floating point. Received: "
            f"y_pred.dtype={dtype}. Are `y_true` and `y_pred` swapped?"
        )
    return ops.cast(y_pred, at_least_float32(dtype))


def _check_num_labels(y_pred: Tensor) -> None:
    if tuple(y_pred.shape)[-1:] in ((), (0,)):
        raise ValueError(
            "`y_pred` must have a last axis of labels, at least one. "
            f"Received: y_pred.shape={tuple(y_pred.shape)}"
        )


def _check_indices(y_true: Tensor, y_pred: Tensor) -> None:
    labels, scores = tuple(y_true.shape), tuple(y_pred.shape)
    if len(labels) != len(scores) or shapes_differ(labels[:-1], scores[:-1]):
        raise ValueError(
            "`y_true` must have the shape of `y_pred` but for its last axis, (..., max_targets). "
            f"Received: y_true.shape={labels}, y_pred.shape={scores}"
        )
    num_labels = y_pred.shape[-1]
    dtype = keras.backend.standardize_dtype(y_true.dtype)
    if dtype == "bool":
        raise ValueError(
            "`y_true` must hold label indices. Received: y_true.dtype=bool. Dense labels go to "
            "`multilabel_categorical_crossentropy`."
        )
    largest = {"float16": 2048, "bfloat16": 256}.get(dtype)
    if largest and (num_labels is None or num_labels > largest + 1):
        raise ValueError(
            f"`y_true` holds label indices in {dtype}, which is exact only up to {largest}. "
            f"Received: num_labels={num_labels}. Pass integers, and in `compile` the class "
            "`SparseMultilabelCategoricalCrossentropy` instead of the function."
        )
    values = seen_on_host(y_true)
    if values is None or not values.size:
        return
    top = float("inf") if num_labels is None else num_labels
    if not (values.min() >= -1 and values.max() < top and (values == np.trunc(values)).all()):
        raise ValueError(
            f"`y_true` must hold label indices from 0 to {top - 1}, padded with -1. Received: "
            f"values from {values.min()} to {values.max()}, dtype {dtype}. Dense labels go to "
            "`multilabel_categorical_crossentropy`."
        )


@keras.saving.register_keras_serializable(package="keras_mlc")
class MultilabelCategoricalCrossentropy(RowLoss):
    """Cross-entropy that ranks every target label above 0 and every other label below 0.

    `log(1 + sum((1 - t) * exp(s))) + log(1 + sum(t * exp(-s)))`, with s the scores, t the labels
    and sums over the last axis: see `keras_mlc.losses.multilabel_categorical_crossentropy`, which
    computes the values that this class weighs and reduces.

    The model's last layer has no activation, and metrics need a threshold of 0. The loss is a sum
    over the labels, so it is larger than a sigmoid cross-entropy, which is a mean over them.

    Args:
        reduction: As in `keras.losses.Loss`; the default is the mean over the batch.
        name: Name of the loss.
        dtype: Dtype of the computation. Half precision means float32, also in what is returned.

    Call arguments:
        y_true: Labels from 0 to 1, shape `(..., num_labels)`.
        y_pred: Scores, shape `(..., num_labels)`.
        sample_weight: Weights, shape `(...)`.

    Returns:
        A scalar, or one value a sample where `reduction=None`.

    Raises:
        ValueError: As the function does.

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
        reduction: str | None = "sum_over_batch_size",
        name: str = "multilabel_categorical_crossentropy",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each sample."""
        return multilabel_categorical_crossentropy(y_true, y_pred)


@keras.saving.register_keras_serializable(package="keras_mlc")
class SparseMultilabelCategoricalCrossentropy(RowLoss):
    """The multi-label categorical cross-entropy of label indices.

    `log(1 + sum(exp(s_i) for i not in y_true)) + log(1 + sum(exp(-s_i) for i in y_true))`: see
    `keras_mlc.losses.sparse_multilabel_categorical_crossentropy`, which computes the values that
    this class weighs and reduces. Indices are never cast to the dtype of the loss.

    Args:
        reduction: As in `keras.losses.Loss`; the default is the mean over the batch.
        name: Name of the loss.
        dtype: Dtype of the computation. Half precision means float32, also in what is returned.

    Call arguments:
        y_true: Indices of the target labels, shape `(..., max_targets)`, padded with -1.
        y_pred: Scores, shape `(..., num_labels)`.
        sample_weight: Weights, shape `(...)`.

    Returns:
        A scalar, or one value a sample where `reduction=None`.

    Raises:
        ValueError: As the function does.

    Example:
        >>> import keras, numpy as np
        >>> from keras_mlc.losses import SparseMultilabelCategoricalCrossentropy
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(5)])
        >>> model.compile("adam", SparseMultilabelCategoricalCrossentropy())
        >>> x, y = np.ones((3, 8)), np.array([[0, 4], [2, -1], [-1, -1]])
        >>> history = model.fit(x, y, verbose=0)

    Reference:
        - [Su et al., ZLPR: A Novel Loss for Multi-label Classification,
          2022](https://arxiv.org/abs/2208.02955)
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "sparse_multilabel_categorical_crossentropy",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each sample."""
        return sparse_multilabel_categorical_crossentropy(y_true, y_pred)
