"""The train step of a trainer on torch."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import keras
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from keras_mlc._typing import Tensor
from keras_mlc.training._forward import Forward, Objective, Pass, RecordingScope, Values, apply
from keras_mlc.training._lookups import LookUps


class Step(keras.Model):
    """Trains on the gradients that `_gradients` returns."""

    _resolved: Callable[[], Any] | None = None

    def make_train_function(self, force: bool = False) -> Any:
        """Make it as Keras does, and look the embeddings up, which torch cannot compile."""
        self._resolved = None
        if self.model.built:
            found = self._embeddings()
            self._resolved = lambda: found
        return super().make_train_function(force)

    @staticmethod
    def _first_places(ids: Tensor, size: int) -> Tensor:
        places = torch.arange(len(ids), dtype=torch.int32, device=ids.device)
        table = torch.full((size,), len(ids), dtype=torch.int32, device=ids.device)
        return table.scatter_reduce_(0, ids.long(), places, "amin")

    @staticmethod
    def _numbered(ids: Tensor) -> Tensor:
        """Return a number below that of the ids for each, the same for those that are equal."""
        return torch.unique(ids, return_inverse=True)[1]

    @staticmethod
    def _sum_by_place(values: Tensor, places: Tensor, size: int) -> Tensor:
        return values.new_zeros((size, *values.shape[1:])).index_add(0, places.long(), values)

    @staticmethod
    def _over_replicas(tensor: Tensor) -> Tensor:
        return tensor

    @staticmethod
    def _num_replicas() -> int:
        return 1

    @staticmethod
    def _trace() -> None:
        return None  # The functions of `keras.ops.map` and its like are just called.

    def _foreign_variables(self) -> list[Tensor]:
        return list(self.buffers())

    @staticmethod
    def _assign_foreign(buffers: list[Tensor], values: list[Tensor]) -> None:
        for buffer, value in zip(buffers, values, strict=True):
            buffer.data.copy_(value)  # A pass that is still to be differentiated has saved it.

    def train_step(self, data: Any) -> dict[str, Tensor]:
        """Compute gradients, and assign nothing before all of them are there."""
        weights = self.trainable_variables
        forward = _SameDraws(self, data)
        matrices = [matrix for _, matrix in forward.embeddings]
        values = {id(v): v.value for v in [*weights, *matrices]}
        found, clean, _ = self._gradients(forward, values, weights)
        with torch.no_grad():
            state = forward.assign_metrics(clean.updates)
            logs = forward.report(clean.loss, clean.y_pred)
            forward.assign_foreign()
            apply(self.optimizer, [found[id(v)] for v in weights], weights, state)
        return logs

    def _differentiate(
        self,
        function: Callable[[Values], tuple[Tensor, Pass]],
        values: Values,
        variables: Sequence[Any],
        lookups: LookUps,
        twice: bool = False,
    ) -> tuple[Values, list[Tensor | None], Pass]:
        """Return the gradients by values and by shifts, and what else `function` returns.

        `twice` keeps what it takes to differentiate the gradients once more.
        """
        sources = {id(v): _differentiable(values[id(v)]) for v in variables}
        values = {**values, **sources}
        lookups.watch = _differentiable
        if not sources and not lookups.wanted:
            with torch.no_grad(), lookups:
                return {}, [], function(values)[1]
        # The fused attention has no second derivative.
        with sdpa_kernel(SDPBackend.MATH) if twice else nullcontext():
            with lookups:
                loss, found = function(values)
            shifts = lookups.shifts if lookups.wanted else []
            if not sources and not shifts:
                return {}, [], found
            # A rematerialized layer is called again, with the same values.
            with RecordingScope(values):
                gradients = torch.autograd.grad(
                    loss, [*sources.values(), *shifts], create_graph=twice, allow_unused=True
                )
        by_variable = dict(zip(sources, gradients, strict=False))
        return by_variable, list(gradients[len(sources) :]), found

    @staticmethod
    def _add(gradient: Tensor, other: Tensor, factor: float, own: float) -> Tensor:
        """Return own * gradient + factor * other."""
        return own * gradient + factor * other


def _differentiable(value: Any) -> Any:
    return value if value.requires_grad else value.detach().requires_grad_()


class _SameDraws(Forward):
    """Lets every pass see the same random numbers, also those that torch draws without a seed."""

    def __init__(self, trainer: Any, data: Any) -> None:
        super().__init__(trainer, data)
        self.states: Any = None

    def __call__(self, values: Values, objective: Objective | None = None) -> tuple[Tensor, Pass]:
        if self.states is None:
            self.states = torch.get_rng_state(), _device_states()
        else:
            torch.set_rng_state(self.states[0])
            for number, state in enumerate(self.states[1]):
                torch.cuda.set_rng_state(state, number)
        return super().__call__(values, objective)


def _device_states() -> list[Any]:
    return torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
