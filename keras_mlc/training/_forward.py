"""A pass forward through a model, in which no variable is assigned."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_mlc import _keras_internals
from keras_mlc._typing import Tensor

Values = dict[int, Tensor]
"""Values of variables, by the variables' `id`."""

Updates = dict[int, tuple[Any, Tensor]]
"""Variables with what they are assigned, by their `id`; a model may not list all of them."""

Objective = Callable[[Any], Tensor]
"""A loss of predictions."""


class Pass(NamedTuple):
    """What a pass forward has found."""

    y_pred: Any
    loss: Tensor
    loss_scale: Tensor
    updates: Updates
    """What would have been assigned."""


class RecordingScope(keras.StatelessScope):
    """Gives variables the values it is told, and records what is assigned."""

    def __init__(self, values: Values) -> None:
        super().__init__(collect_losses=True)
        self.state_mapping.update(values)
        self.updates: Updates = {}

    def add_update(self, update: tuple[Any, Any]) -> None:
        # Keras hands on another variable as it is, whose value may yet change.
        variable, value = update[0], ops.copy(update[1])
        super().add_update((variable, value))
        self.updates[id(variable)] = variable, value


class Forward:
    """The scaled loss of a batch as a function of the values of a trainer's variables.

    A variable without a value among them has its own. What the backend's own modules assign, such
    as a `tf.Variable` or a buffer of torch, is set back after each pass: all passes begin with the
    same, and `assign_foreign` leaves what the first of them, the clean one, has made of it.
    """

    def __init__(self, trainer: Any, data: Any) -> None:
        self.trainer = trainer
        self.x, self.y, self.sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        self.embeddings, self.containers = trainer._embeddings()
        self.foreign: list[Any] = trainer._foreign_variables()
        self._after: list[Tensor] | None = None

    def __call__(self, values: Values, objective: Objective | None = None) -> tuple[Tensor, Pass]:
        """Return the scaled loss, or the scaled `objective`, and what else the pass has found."""
        with self._setting_back(), RecordingScope(values) as scope:
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

    @contextmanager
    def _setting_back(self) -> Iterator[None]:
        before = [ops.copy(value) for value in self.foreign]
        try:
            yield
            if self._after is None:
                self._after = [ops.copy(value) for value in self.foreign]
        finally:
            self.trainer._assign_foreign(self.foreign, before)

    def assign_foreign(self) -> None:
        """Assign what the first pass has made of what the backend's own modules hold."""
        self.trainer._assign_foreign(self.foreign, self._after)

    @property
    def first_input(self) -> Tensor:
        """The first of the inputs, whose first axis counts the samples."""
        return next(value for value in keras.tree.flatten(self.x) if value is not None)

    def assign_metrics(self, updates: Updates) -> list[tuple[Any, Tensor]]:
        """Assign what has been found for metrics, and return the rest."""
        metrics = set(map(id, self.trainer.metrics_variables))
        for key, (variable, value) in updates.items():
            if key in metrics:
                variable.assign(value)
        return [update for key, update in updates.items() if key not in metrics]

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
