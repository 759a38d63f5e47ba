"""Arithmetic on an embedding's gradient where gradients are dense."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from keras_mlc._dtypes import widened
from keras_mlc._typing import Tensor
from keras_mlc.training._forward import Forward, Values


class DenseStep(keras.Model):
    """What a train step needs to know of gradients as large as their variables."""

    @staticmethod
    def _add(gradient: Any, other: Any, factor: float) -> Any:
        """Return gradient + factor * other."""
        return gradient + factor * other

    @staticmethod
    def _squared_norm(gradient: Any, factor: Tensor) -> Tensor:
        """Return ||factor * gradient||²."""
        return ops.sum(ops.square(widened(gradient) * factor))

    @contextmanager
    def _perturbed(
        self, forward: Forward, values: Values, gradient: Any, factor: Tensor
    ) -> Iterator[Values]:
        """Give the embedding the values of E + delta, for a gradient times `factor`."""
        key = id(self._embedding_variable())
        matrix = values[key]
        delta = self._perturbation(widened(gradient) * factor)
        # A loss that takes gradients itself would see that delta depends on the embedding.
        yield {**values, key: ops.stop_gradient(matrix + ops.cast(delta, matrix.dtype))}
