"""The train step of a trainer on JAX."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import keras
from jax import numpy as jnp

from keras_mlc._typing import Tensor
from keras_mlc.training._dense import DenseStep
from keras_mlc.training._forward import Forward, Pass, RecordingScope, Values

State = tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]


class Taken:
    """Values that were taken away from variables."""

    def __init__(self) -> None:
        self.values: list[tuple[Any, Tensor]] = []

    def hold(self, variables: list[Any]) -> None:
        self.values = [(v, v.value) for v in variables]

    def give_back(self) -> None:
        """Give the values back to the variables that have none."""
        for variable, value in self.values:
            if variable._value is None:
                variable._value = value


class Step(DenseStep):
    """Trains on the gradients that `_gradients` returns."""

    _taken: "Taken | None" = None

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Fit, and keep the weights where a first step raises: Keras would lose them."""
        self._taken = Taken()
        try:
            return super().fit(*args, **kwargs)
        except BaseException:
            self._taken.give_back()
            raise
        finally:
            self._taken = None

    def _get_jax_state(self, **kwargs: Any) -> Any:
        # While `fit` runs, Keras takes the variables' values away from them.
        if self._taken and kwargs.get("purge_model_variables"):
            self._taken.hold([*self.variables, *self.optimizer.variables, *self.metrics_variables])
        return super()._get_jax_state(**kwargs)

    def train_step(self, state: State, data: Any) -> tuple[dict[str, Tensor], State]:
        """Return the logs, and the variables' values after a step."""
        weights, others = self.trainable_variables, self.non_trainable_variables
        optimizer, metrics = self.optimizer.variables, self.metrics_variables
        groups = (weights, others, optimizer, metrics)
        values: Values = {}
        for variables, group in zip(groups, state, strict=True):
            values.update(zip(map(id, variables), group, strict=True))
        forward = Forward(self, data)
        found, clean, _ = self._gradients(forward, values, weights)
        gradients = [found[id(v)] for v in weights]

        after = {**values, **clean.updates}
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            is_finite = self.optimizer.check_finite(gradients)
            for key in map(id, others):
                after[key] = jnp.where(is_finite, after[key], values[key])
        updated = self.optimizer.stateless_apply(state[2], gradients, state[0])
        with RecordingScope(after) as scope:
            logs = forward.report(clean.loss, clean.y_pred)
            reported = [scope.get_current_value(v) for v in metrics]
        return logs, (updated[0], [after[id(v)] for v in others], updated[1], reported)

    def _differentiate(
        self,
        function: Callable[[Values], tuple[Tensor, Pass]],
        values: Values,
        variables: Sequence[Any],
        twice: bool = False,
    ) -> tuple[dict[int, Any], Pass]:
        """Return the gradients by some of the values, and what else `function` returns."""
        keys = [id(v) for v in variables]
        gradients, found = jax.grad(
            lambda sources: function({**values, **dict(zip(keys, sources, strict=True))}),
            has_aux=True,
        )([values[key] for key in keys])
        return dict(zip(keys, gradients, strict=True)), found
