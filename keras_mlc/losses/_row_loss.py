"""The base class of losses that look at the labels before Keras casts them."""

from typing import Any

import keras
from keras import ops

from keras_mlc._dtypes import at_least_float32
from keras_mlc._keras_internals import mask_of, with_mask
from keras_mlc._typing import Tensor
from keras_mlc._validation import shapes_differ
from keras_mlc.losses._activation import warn_of_activation


class RowLoss(keras.losses.Loss):
    """A loss that gets `y_true` as it came, and computes at least in float32.

    `keras.losses.Loss` casts the labels to its own dtype first, which rounds large integers in
    half precision, it sums in that dtype, and it multiplies values and weights of any shapes that
    broadcast.
    """

    _has_warned = False

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Return the values of `call`, weighted and reduced."""
        if self._takes_scores() and not self._has_warned:
            self._has_warned = warn_of_activation(y_pred, type(self).__name__)
        dtype = at_least_float32(self.dtype)
        rows = self.call(y_true, ops.convert_to_tensor(y_pred, dtype=dtype))
        return reduced(rows, y_pred, sample_weight, self.reduction, self.name, dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "dtype": self.dtype}

    def _takes_scores(self) -> bool:
        return bool(getattr(self, "from_logits", True))


def reduced(
    rows: Tensor,
    y_pred: Tensor,
    sample_weight: Tensor | None,
    reduction: str | None,
    name: str,
    dtype: Any,
) -> Tensor:
    """Return values, one a row, weighted, masked as `y_pred` is, and reduced as Keras does it."""
    if sample_weight is not None:
        sample_weight = _aligned(
            ops.convert_to_tensor(sample_weight),
            rows,
            "`sample_weight` must have the shape of the loss's values, {expected}, or hold one "
            "weight a sample, in the shape (batch,) or (batch, 1). For a weight a label "
            "there is `label_weights`, and for labels that are unknown `missing_label`, of "
            "`MultilabelCategoricalCrossentropy`.",
        )
    mask = mask_of(y_pred)
    if mask is not None:
        message = (
            "The mask of `y_pred` must have the shape of the loss's values, {expected}, or of "
            "their first axes. A layer that takes a mask but leaves out its axis must not pass it "
            "on."
        )
        rows = with_mask(ops.copy(rows), _aligned(ops.cast(mask, "bool"), rows, message, True))
        if sample_weight is not None:  # Keras would multiply it by the mask in place on torch.
            sample_weight = ops.copy(sample_weight)
    reduce = _Reduce(name=name, reduction=reduction, dtype=dtype)
    return reduce(rows, rows, sample_weight)


class _Reduce(keras.losses.Loss):
    """Weighs and reduces values that stand in the place of the labels."""

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return y_true


def _aligned(weights: Tensor, rows: Tensor, message: str, any_axes: bool = False) -> Tensor:
    """Return weights with the shape of the values, or raise where they would weigh others.

    They have the values' shape, that of its first axis, with or without an axis of one, or with
    `any_axes` that of any first axes. A single number weighs all alike.
    """
    expected, received = tuple(rows.shape), tuple(weights.shape)
    if not received:
        return ops.broadcast_to(weights, ops.shape(rows))
    is_column = len(received) == 2 and received[1] == 1
    kept = received
    if is_column or (len(received) == len(expected) + 1 and received[-1] in (1, None)):
        kept = received[:-1]
    ranks = range(1, len(expected) + 1) if any_axes else (1, len(expected))
    message = message.format(expected=expected)
    if len(kept) not in ranks or shapes_differ(kept, expected[: len(kept)]):
        raise ValueError(f"{message} Received: a shape of {received}")
    is_unknown = None in (*received, *expected) and keras.backend.backend() == "tensorflow"
    is_unknown = is_unknown and not keras.backend.is_keras_tensor(rows)
    if is_unknown and received[-1] is None and kept is not received:
        weights = _fits(weights, ops.expand_dims(rows, -1), message)
    if len(kept) != len(expected) or kept is not received:
        ones = (1,) * (len(expected) - len(kept))
        weights = ops.reshape(weights, (*ops.shape(weights)[: len(kept)], *ones))
    if is_unknown:
        weights = _fits(weights, rows, message)
    return ops.broadcast_to(weights, ops.shape(rows))  # Some reductions divide by their sum.


def _fits(weights: Tensor, rows: Tensor, message: str) -> Tensor:
    from keras_mlc._missing_ops_tensorflow import fits

    return fits(weights, rows, message)
