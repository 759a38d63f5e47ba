"""The multi-label categorical cross-entropy of label indices."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mlc._labels import Check, check_indices, dense_labels, is_sparse, scores_of_labels
from keras_mlc._typing import Reduction, Tensor
from keras_mlc._validation import shapes_differ, weights_of_labels
from keras_mlc.losses._activation import warn_of_activation
from keras_mlc.losses._log_sum_exp import finite, log1p_shifted, log1p_sum_exp, log_weights
from keras_mlc.losses._row_loss import RowLoss

COMPARED_AT_ONCE = 64
"""How many of a row's indices are compared with all of them in one piece."""


@keras.saving.register_keras_serializable(package="keras_mlc")
def sparse_multilabel_categorical_crossentropy(
    y_true: Tensor, y_pred: Tensor, label_weights: Any = None
) -> Tensor:
    """The multi-label categorical cross-entropy of label indices.

    `log(1 + sum(w_i * exp(s_i) for i not in y_true))`
    `+ log(1 + sum(w_i * exp(-s_i) for i in y_true))`: the value of
    `keras_mlc.losses.multilabel_categorical_crossentropy`, without an array of dense labels. An
    index that stands twice counts once.

    Args:
        y_true: Indices of the target labels, shape `(..., max_targets)`, padded with -1: integers,
            or floats that hold integers. A `tf.RaggedTensor` is padded here.
        y_pred: Scores, shape `(..., num_labels)`, floating point.
        label_weights: `num_labels` positive numbers, the labels' weights w.

    Returns:
        The loss of each sample, shape `(...)`.

    Raises:
        ValueError: If the shapes but for the last axes differ, there is no label, the scores are
            integers, the indices are in a half precision that cannot hold them (Keras casts the
            labels of a loss *function* to `floatx`: the class
            `SparseMultilabelCategoricalCrossentropy` does not), an index is no whole number in
            [-1, num_labels), or the rows are dense labels. In TensorFlow graphs the last two are
            `tf.errors.InvalidArgumentError`. Under XLA, on JAX and on accelerators, where looking
            would stall every step, they make the loss of the batch NaN, with a gradient of 0.

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
    warn_of_activation(y_pred, "sparse_multilabel_categorical_crossentropy")
    return _values(y_true, y_pred, weights_of_labels(label_weights))


def _values(y_true: Tensor, y_pred: Tensor, label_weights: np.ndarray | None) -> Tensor:
    check, y_pred = Check(), scores_of_labels(y_pred, label_weights)
    y_true = _checked_indices(check, y_true, y_pred)
    weights = log_weights(label_weights, y_pred.dtype)
    shape = ops.shape(y_pred)
    scores = ops.reshape(y_pred if weights is None else y_pred + weights, (-1, shape[-1]))
    # A first column of padding makes rows of no index one of many.
    padding = [(0, 0)] * (len(shape) - 1) + [(1, 0)]
    indices = ops.pad(ops.cast(y_true, "int32"), padding, constant_values=-1)
    indices = ops.reshape(indices, (-1, ops.shape(indices)[-1]))
    last = _row_maximum(indices)
    # Padding points to a target once more, or to label 0 where there is no target.
    labels = ops.maximum(ops.where(indices < 0, last, indices), 0)
    rows = ops.broadcast_to(ops.arange(ops.shape(labels)[0])[:, None], ops.shape(labels))
    places = ops.stack([ops.reshape(rows, (-1,)), ops.reshape(labels, (-1,))], axis=-1)
    negative, label_scores = _split(scores, places)
    label_scores = finite(ops.reshape(label_scores, ops.shape(labels)))
    with_label_0 = negative + ops.softplus(label_scores[:, 0] - negative)
    negative = ops.where(last[:, 0] < 0, with_label_0, negative)

    is_new = ops.logical_and(indices >= 0, ops.logical_not(_stands_before(indices)))
    if weights is not None:  # The scores hold them once, with the sign of the other sum.
        label_scores = label_scores - 2.0 * ops.take(weights, labels)
    positive = log1p_sum_exp(ops.where(is_new, -label_scores, -float("inf")))
    return check.mark(ops.reshape(negative + positive, shape[:-1]))


def _row_maximum(indices: Tensor) -> Tensor:
    if keras.backend.backend() == "torch" and not keras.backend.is_keras_tensor(indices):
        from keras_mlc._missing_ops_torch import row_maximum

        return row_maximum(indices)
    return ops.max(indices, axis=-1, keepdims=True, initial=-1)  # Without, it refuses no rows.


def _stands_before(indices: Tensor) -> Tensor:
    """Return where an index (B, K) stands further left in its row, too.

    Sorting would find it, but under XLA on TensorFlow a sort makes a model's dropout dear.
    """
    places = ops.arange(ops.shape(indices)[1], dtype="int32")
    found = []
    for first in range(0, indices.shape[1] or 1, COMPARED_AT_ONCE):
        # Where K is not known, all at once.
        part = slice(first, first + COMPARED_AT_ONCE if indices.shape[1] else None)
        is_same = ops.equal(ops.expand_dims(indices[:, part], 2), ops.expand_dims(indices, 1))
        is_before = ops.expand_dims(places, 0) < ops.expand_dims(places[part], 1)
        found.append(ops.any(ops.logical_and(is_same, is_before), axis=-1))
    return ops.concatenate(found, axis=-1)


def _split(scores: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Return `log(1 + sum(exp(s)))` of the scores but those at `places`, and the scores there.

    `places` holds one row of indices a score. With `take_along_axis` there would be one more
    array of scores, or two, where nothing fuses.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow" and not keras.backend.is_keras_tensor(scores):
        from keras_mlc._missing_ops_tensorflow import split

        shift, total, label_scores = split(scores, places)
        return log1p_shifted(ops.stop_gradient(shift), total), label_scores
    if backend == "torch":
        from keras_mlc._missing_ops_torch import gather

        label_scores = gather(scores, places)
    else:
        label_scores = scores[places[:, 0], places[:, 1]]
    low = ops.full((ops.shape(places)[0],), -float("inf"), dtype=scores.dtype)
    return log1p_sum_exp(ops.scatter_update(scores, places, low)), label_scores


def _checked_indices(check: Check, y_true: Any, y_pred: Tensor) -> Tensor:
    if is_sparse(y_true):
        raise ValueError(
            "`y_true` must hold label indices, lists of which are padded with -1 or ragged. "
            f"Received: a sparse matrix, {type(y_true).__name__}. Dense labels, as which it "
            "counts, go to `multilabel_categorical_crossentropy`."
        )
    y_true = dense_labels(y_true, indices=True)
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
    hint = " Dense labels go to `multilabel_categorical_crossentropy`."
    return check_indices(check, y_true, ops.shape(y_pred)[-1], hint)


@keras.saving.register_keras_serializable(package="keras_mlc")
class SparseMultilabelCategoricalCrossentropy(RowLoss):
    """The multi-label categorical cross-entropy of label indices.

    `log(1 + sum(w_i * exp(s_i) for i not in y_true))`
    `+ log(1 + sum(w_i * exp(-s_i) for i in y_true))`: see
    `keras_mlc.losses.sparse_multilabel_categorical_crossentropy`, which computes the values that
    this class weighs and reduces. Indices are never cast to the dtype of the loss.

    Args:
        reduction: As in `keras.losses.Loss`; the default is the mean over the batch.
        name: Name of the loss.
        dtype: Dtype of the computation. Half precision means float32, also in what is returned.
        label_weights: `num_labels` positive numbers, the labels' weights w.

    Call arguments:
        y_true: Indices of the target labels, shape `(..., max_targets)`, padded with -1, or a
            `tf.RaggedTensor` of them.
        y_pred: Scores, shape `(..., num_labels)`.
        sample_weight: Weights, shape `(...)`, `(batch,)` or `(batch, 1)`.

    Returns:
        A scalar, or one value a sample where `reduction=None`.

    Raises:
        ValueError: As the function does, and where `sample_weight` has another shape.

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
        reduction: Reduction = "sum_over_batch_size",
        name: str = "sparse_multilabel_categorical_crossentropy",
        dtype: str | None = None,
        *,
        label_weights: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.label_weights = weights_of_labels(label_weights)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each sample."""
        return _values(y_true, y_pred, self.label_weights)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        weights = self.label_weights
        return {
            **super().get_config(),
            "label_weights": None if weights is None else weights.tolist(),
        }
