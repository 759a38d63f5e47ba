"""The train step of a trainer on torch."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from keras_mlc._typing import Tensor
from keras_mlc.training._dense import DenseStep
from keras_mlc.training._forward import Forward, Pass, Values, apply


class Step(DenseStep):
    """Trains on the gradients that `_gradients` returns."""

    def train_step(self, data: Any) -> dict[str, Tensor]:
        """Compute gradients, and assign nothing before all of them are there."""
        weights = self.trainable_variables
        values = {id(v): v.value for v in [*weights, self._embedding_variable()]}
        forward = _SameDraws(self, data)
        found, clean, _ = self._gradients(forward, values, weights)
        with torch.no_grad():
            state = forward.assign_metrics(clean.updates)
            logs = forward.report(clean.loss, clean.y_pred)
            apply(self.optimizer, [found[id(v)] for v in weights], weights, state)
        return logs

    def _differentiate(
        self,
        function: Callable[[Values], tuple[Tensor, Pass]],
        values: Values,
        variables: Sequence[Any],
        twice: bool = False,
    ) -> tuple[dict[int, Any], Pass]:
        """Return the gradients by some of the values, and what else `function` returns.

        `twice` keeps what it takes to differentiate the gradients once more.
        """
        sources = {id(v): _differentiable(values[id(v)]) for v in variables}
        # The fused attention has no second derivative.
        with sdpa_kernel(SDPBackend.MATH) if twice else nullcontext():
            loss, found = function({**values, **sources})
            gradients = torch.autograd.grad(
                loss, list(sources.values()), create_graph=twice, allow_unused=True
            )
        return dict(zip(sources, gradients, strict=True)), found


def _differentiable(value: Any) -> Any:
    return value if value.requires_grad else value.detach().requires_grad_()


class _SameDraws(Forward):
    """Lets every pass see the same random numbers, also those that torch draws without a seed."""

    def __init__(self, trainer: Any, data: Any) -> None:
        super().__init__(trainer, data)
        self.states: Any = None

    def __call__(self, values: Values) -> tuple[Tensor, Pass]:
        if self.states is None:
            self.states = torch.get_rng_state(), _device_states()
        else:
            torch.set_rng_state(self.states[0])
            for number, state in enumerate(self.states[1]):
                torch.cuda.set_rng_state(state, number)
        return super().__call__(values)


def _device_states() -> list[Any]:
    return torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
