"""The base class of losses that look at the labels before Keras casts them."""

from typing import Any

import keras
from keras import ops

from keras_mlc._dtypes import at_least_float32
from keras_mlc._typing import Tensor


class RowLoss(keras.losses.Loss):
    """A loss that gets `y_true` as it came, and computes at least in float32.

    `keras.losses.Loss` casts the labels to its own dtype first, which rounds large integers in
    half precision, and it sums in that dtype.
    """

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Return the values of `call`, weighted and reduced."""
        dtype = at_least_float32(self.dtype)
        rows = self.call(y_true, ops.convert_to_tensor(y_pred, dtype=dtype))
        reduce = _Reduce(name=self.name, reduction=self.reduction, dtype=dtype)
        return reduce(rows, y_pred, sample_weight)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "dtype": self.dtype}


class _Reduce(keras.losses.Loss):
    """Weighs and reduces values that stand in the place of the labels."""

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return y_true
