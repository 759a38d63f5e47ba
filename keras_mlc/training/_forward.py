"""A pass forward through a model, in which no variable is assigned."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_mlc import _keras_internals
from keras_mlc._typing import Tensor

Values = dict[int, Tensor]
"""Values of variables, by the variables' `id`."""

Objective = Callable[[Any], Tensor]
"""A loss of predictions."""


class Pass(NamedTuple):
    """What a pass forward has found."""

    y_pred: Any
    loss: Tensor
    loss_scale: Tensor
    updates: Values
    """What would have been assigned."""


class RecordingScope(keras.StatelessScope):
    """Gives variables the values it is told, and records what is assigned."""

    def __init__(self, values: Values) -> None:
        super().__init__(collect_losses=True)
        self.state_mapping.update(values)
        self.updates: Values = {}

    def add_update(self, update: tuple[Any, Any]) -> None:
        # Keras hands on another variable as it is, whose value may yet change.
        variable, value = update[0], ops.copy(update[1])
        super().add_update((variable, value))
        self.updates[id(variable)] = value


class Forward:
    """The scaled loss of a batch as a function of the values of a trainer's variables.

    A variable without a value among them has its own.
    """

    def __init__(self, trainer: Any, data: Any) -> None:
        self.trainer = trainer
        self.x, self.y, self.sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        self.embeddings, self.containers = trainer._embeddings()

    def __call__(self, values: Values, objective: Objective | None = None) -> tuple[Tensor, Pass]:
        """Return the scaled loss, or the scaled `objective`, and what else the pass has found."""
        with RecordingScope(values) as scope:
            y_pred = self.trainer(self.x, training=True)
            if objective is not None:
                loss = objective(y_pred)
            else:
                loss = _keras_internals.compute_loss(
                    self.trainer, self.x, self.y, y_pred, self.sample_weight, training=True
                )
            loss_scale = self.trainer.optimizer.scale_loss(ops.ones(()))
            scaled_loss = self.trainer.optimizer.scale_loss(loss)
        return scaled_loss, Pass(y_pred, loss, loss_scale, scope.updates)

    @property
    def first_input(self) -> Tensor:
        """The first of the inputs, whose first axis counts the samples."""
        return next(value for value in keras.tree.flatten(self.x) if value is not None)

    def assign_metrics(self, updates: Values) -> list[tuple[Any, Tensor]]:
        """Assign what has been found for metrics, and return the rest with its variables."""
        metrics = {id(v): v for v in self.trainer.metrics_variables}
        others = {id(v): v for v in self.trainer.variables if id(v) not in metrics}
        for key, value in updates.items():
            if key in metrics:
                metrics[key].assign(value)
        return [(others[key], value) for key, value in updates.items() if key in others]

    def report(self, loss: Tensor, y_pred: Any) -> dict[str, Tensor]:
        """Update the metrics and return their values."""
        _keras_internals.track_loss(self.trainer, loss, ops.shape(self.first_input)[0])
        return self.trainer.compute_metrics(self.x, self.y, y_pred, self.sample_weight)


def apply(
    optimizer: Any, gradients: list[Any], weights: list[Any], state: list[tuple[Any, Tensor]]
) -> None:
    """Advance the state, then update the weights; do neither where the optimizer skips."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        is_finite = optimizer.check_finite(gradients)
        state = [(v, ops.where(is_finite, value, v.value)) for v, value in state]
    for variable, value in state:
        variable.assign(value)
    optimizer.apply(gradients, weights)
