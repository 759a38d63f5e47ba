"""The train step of a trainer on JAX."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import keras
from jax import numpy as jnp
from jax.extend.core import get_opaque_trace_state

from keras_mlc import _keras_internals
from keras_mlc._typing import Tensor
from keras_mlc.training._forward import Forward, Pass, RecordingScope, Values
from keras_mlc.training._lookups import LookUps

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
            _keras_internals.give_value_back(variable, value)


class Step(keras.Model):
    """Trains on the gradients that `_gradients` returns."""

    _resolved = None
    _taken: "Taken | None" = None

    @staticmethod
    def _first_places(ids: Tensor, size: int) -> Tensor:
        return jax.ops.segment_min(jnp.arange(ids.size, dtype="int32"), ids, size)

    @staticmethod
    def _numbered(ids: Tensor) -> Tensor:
        """Return a number below that of the ids for each, the same for those that are equal."""
        return jnp.unique(ids, return_inverse=True, size=ids.size)[1]

    _sum_by_place = staticmethod(jax.ops.segment_sum)

    @staticmethod
    def _over_replicas(tensor: Tensor) -> Tensor:
        return tensor  # All devices see one array.

    @staticmethod
    def _num_replicas() -> int:
        return 1

    _trace = staticmethod(get_opaque_trace_state)

    @staticmethod
    def _foreign_variables() -> list[Any]:
        return []  # JAX itself has no variables.

    @staticmethod
    def _assign_foreign(variables: list[Any], values: list[Any]) -> None:
        pass

    def make_train_function(self, force: bool = False) -> Any:
        """Make it as Keras does, anew also where JAX remembers an equal function."""
        if force or self.train_function is None:
            self.__dict__["train_step"] = functools.partial(type(self).train_step, self)
        return super().make_train_function(force)

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

        after = {**values, **{key: value for key, (_, value) in clean.updates.items()}}
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
        lookups: LookUps,
        twice: bool = False,
    ) -> tuple[Values, list[Tensor], Pass]:
        """Return the gradients by values and by shifts, and what else `function` returns."""
        keys = [id(v) for v in variables]
        if not keys and not lookups.wanted:
            with lookups:
                return {}, [], function(values)[1]
        if lookups.given is None and lookups.wanted:
            zeros = jax.eval_shape(lambda: _shifts(function, values, lookups))
            lookups.given = [jnp.zeros(zero.shape, zero.dtype) for zero in zeros]

        def compute(sources: list[Tensor], shifts: Any) -> Any:
            lookups.given = shifts
            with lookups:
                loss, found = function({**values, **dict(zip(keys, sources, strict=True))})
            return loss, (found, lookups.found)

        places = (0, 1) if lookups.wanted else (0,)
        sources = [values[key] for key in keys]
        gradients, (found, lookups.found) = jax.grad(compute, places, has_aux=True)(
            sources, lookups.given
        )
        by_variable = dict(zip(keys, gradients[0], strict=True))
        return by_variable, gradients[1] if lookups.wanted else [], found

    @staticmethod
    def _add(gradient: Tensor, other: Tensor, factor: float, own: float) -> Tensor:
        """Return own * gradient + factor * other."""
        return own * gradient + factor * other


def _shifts(function: Callable[[Values], Any], values: Values, lookups: LookUps) -> list[Tensor]:
    """Return the zeros that a pass has added to what it looked up."""
    with lookups:
        function(values)
    return lookups.shifts
