"""The train step of `FGMTrainer` on TensorFlow."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import keras
import tensorflow as tf

from keras_mlc import _tensorflow as embedding_gradients
from keras_mlc._typing import Tensor
from keras_mlc.training._inner import compiled_like, overrides

Assignments: TypeAlias = list[tuple[Any, Tensor]]


class _Pass(NamedTuple):
    """What a pass forward and backward through the model has found."""

    y_pred: Any
    loss: Tensor
    gradients: list[Any]
    metrics: Assignments
    state: Assignments


class _RecordingScope(keras.StatelessScope):
    """Gives variables the values it is told, and records what would be assigned."""

    def __init__(self, values: dict[int, Any]) -> None:
        super().__init__(collect_losses=True)
        self.state_mapping.update(values)
        self.assignments: dict[int, tuple[Any, Tensor]] = {}

    def add_update(self, update: tuple[Any, Any]) -> None:
        # Keras hands on another variable as it is, whose value may yet change.
        update = update[0], tf.convert_to_tensor(update[1])
        super().add_update(update)
        self.assignments[id(update[0])] = update


class FGMStep(keras.Model):
    """The steps of a model that wraps another one, `self.model`."""

    def train_step(self, data: Any) -> dict[str, Tensor]:
        """Compute the gradients at the perturbed embedding and apply them at the real one."""
        num_operations = len(_operations())
        # Variables cannot be created inside a stateless scope.
        with tf.init_scope():
            self._symbolic_build(data_batch=data)
        embedding, weights = self._embedding_variable(), self.trainable_variables
        # LoRA leaves the matrix itself out of the weights.
        values = {id(v): v.value for v in [*weights, embedding]}

        sources = [embedding, *weights] if self.clean_weight else [embedding]
        clean = self._run(data, values, sources)
        gradient, *clean_gradients = clean.gradients
        if gradient is None:
            raise ValueError(
                f"The embedding {embedding.path!r} takes no part in the loss: there is no "
                "gradient to perturb it by."
            )
        values[id(embedding)] = self._perturb(embedding.value, gradient)
        adversarial = self._run(data, values, weights)
        gradients = adversarial.gradients
        if self.clean_weight:
            gradients = _weighted_sum(gradients, clean_gradients, self.clean_weight)

        logs = self._update_metrics(data, clean)
        # No weight is assigned before both passes are through.
        results = [gradients, adversarial.loss, clean.loss, [value for _, value in clean.state]]
        side_effects = [op for op in _operations()[num_operations:] if op.op_def.is_stateful]
        with tf.control_dependencies([*_tensors(results), *side_effects]):
            self._apply(gradients, weights, clean.state)
        return logs

    def test_step(self, data: Any) -> dict[str, Tensor]:
        """Evaluate a batch as the model does."""
        if overrides(self.model, "test_step"):
            with compiled_like(self.model, self) as model:
                return model.test_step(data)
        return super().test_step(data)

    def predict_step(self, data: Any) -> Any:
        """Predict a batch as the model does."""
        if overrides(self.model, "predict_step"):
            return self.model.predict_step(data)
        return super().predict_step(data)

    def _run(self, data: Any, values: dict[int, Any], sources: Sequence[Any]) -> _Pass:
        """Run the model with `values` in place of its variables', and assign nothing."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        watched = [values[id(v)] for v in sources]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(watched)
            with _RecordingScope(values) as scope:
                y_pred = self(x, training=True)
                loss = self._compute_loss(x, y, y_pred, sample_weight, training=True)
            scaled_loss = self.optimizer.scale_loss(loss)
        metrics = {id(v) for v in self.metrics_variables}
        return _Pass(
            y_pred,
            loss,
            tape.gradient(scaled_loss, watched),
            metrics=[update for key, update in scope.assignments.items() if key in metrics],
            state=[update for key, update in scope.assignments.items() if key not in metrics],
        )

    def _perturb(self, matrix: Any, gradient: Any) -> Tensor:
        """Return the embedding matrix plus its perturbation, densely."""
        loss_scale = self.optimizer.scale_loss(tf.ones(()))
        gradient = embedding_gradients.scale(gradient, 1 / loss_scale)
        gradient = embedding_gradients.sum_over_replicas(gradient)
        if not isinstance(gradient, tf.IndexedSlices):
            return matrix + tf.cast(self._perturbation(gradient), matrix.dtype)
        gradient = embedding_gradients.merge_repeats(gradient, matrix.shape[0])
        delta = tf.cast(self._perturbation(gradient.values), matrix.dtype)
        return tf.tensor_scatter_nd_add(matrix, gradient.indices[:, None], delta)

    def _update_metrics(self, data: Any, clean: _Pass) -> dict[str, Tensor]:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        _assign(clean.metrics)
        first = next(value for value in keras.tree.flatten(x) if value is not None)
        # Keras divides the loss by the number of replicas.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self._loss_tracker.update_state(clean.loss * replicas, tf.shape(first)[0])
        return self.compute_metrics(x, y, clean.y_pred, sample_weight)

    def _apply(self, gradients: list[Any], weights: list[Any], state: Assignments) -> None:
        """Advance the state, then update the weights; do neither where the optimizer skips."""
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            is_finite = self.optimizer.check_finite(gradients)
            state = [(v, tf.where(is_finite, value, v.value)) for v, value in state]
        _assign(state)
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))


def _assign(assignments: Assignments) -> None:
    for variable, value in assignments:
        variable.assign(value)


def _tensors(structure: Any) -> list[Tensor]:
    leaves = tf.nest.flatten(structure, expand_composites=True)
    return [leaf for leaf in leaves if leaf is not None]


def _operations() -> list[tf.Operation]:
    """Return the operations of the graph that is being built, none in eager execution."""
    return tf.compat.v1.get_default_graph().get_operations()


def _weighted_sum(adversarial: list[Any], clean: list[Any], clean_weight: float) -> list[Any]:
    """Return adversarial + clean_weight · clean, densely: clipping takes the norm of the sum."""
    return [
        None if a is None else tf.convert_to_tensor(a) + clean_weight * tf.convert_to_tensor(c)
        for a, c in zip(adversarial, clean, strict=True)
    ]
