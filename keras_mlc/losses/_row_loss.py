"""The base class of losses that look at the labels before Keras casts them."""

from typing import Any

import keras
from keras import ops

from keras_mlc._dtypes import at_least_float32
from keras_mlc._keras_internals import with_mask
from keras_mlc._labels import aligned, aligned_mask, numbers_of
from keras_mlc._typing import Tensor
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
        sample_weight = aligned(
            numbers_of("sample_weight", sample_weight),
            rows,
            "`sample_weight` must have the shape of the loss's values, {expected}, or hold one "
            "weight a sample, in the shape (batch,) or (batch, 1). For a weight a label "
            "there is `label_weights`, and for labels that are unknown `missing_label`, of "
            "`MultilabelCategoricalCrossentropy`.",
        )
    mask = aligned_mask(y_pred, rows)
    if mask is not None:
        rows = with_mask(ops.copy(rows), mask)
        if sample_weight is not None:  # Keras would multiply it by the mask in place on torch.
            sample_weight = ops.copy(sample_weight)
    reduce = _Reduce(name=name, reduction=reduction, dtype=dtype)
    return reduce(rows, rows, sample_weight)


class _Reduce(keras.losses.Loss):
    """Weighs and reduces values that stand in the place of the labels."""

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return y_true
