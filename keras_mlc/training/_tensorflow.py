"""The train step of `FGMTrainer` on TensorFlow."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_mlc import _tensorflow as embedding_gradients
from keras_mlc._typing import Tensor
from keras_mlc.training._inner import compiled_like, overrides


class _Pass(NamedTuple):
    """What a pass forward and backward through the model has found."""

    y_pred: Any
    loss: Tensor
    gradients: list[Any]
    assignments: list[tuple[Any, Tensor]]


class _RecordingScope(keras.StatelessScope):
    """Gives variables the values it is told, and records what would be assigned."""

    def __init__(self, variables: Sequence[Any], values: Sequence[Any]) -> None:
        super().__init__(collect_losses=True)
        self.state_mapping.update(zip(map(id, variables), values, strict=True))
        self._assigned: dict[int, Any] = {}

    def add_update(self, update: tuple[Any, Tensor]) -> None:
        super().add_update(update)
        self._assigned[id(update[0])] = update[0]

    @property
    def assignments(self) -> list[tuple[Any, Tensor]]:
        return [(v, self.get_current_value(v)) for v in self._assigned.values()]


class FGMStep(keras.Model):
    """The steps of a model that wraps another one, `self.model`."""

    def train_step(self, data: Any) -> dict[str, Tensor]:
        """Compute the gradients at the perturbed embedding and apply them at the real one."""
        # Variables cannot be created inside a stateless scope.
        with tf.init_scope():
            self._symbolic_build(data_batch=data)
        embedding = self._embedding_variable()
        weights = self.trainable_variables
        # LoRA leaves the matrix itself out of the weights.
        variables = weights if _holds(weights, embedding) else [*weights, embedding]
        values = [v.value for v in variables]
        position = next(i for i, v in enumerate(variables) if v is embedding)

        sources = values if self.clean_weight else [values[position]]
        clean = self._run(data, variables, values, sources)
        gradient = clean.gradients[position if self.clean_weight else 0]
        if gradient is None:
            raise ValueError(
                f"The embedding {embedding.path!r} takes no part in the loss: there is no "
                "gradient to perturb it by."
            )
        values[position] = self._perturb(values[position], gradient)
        adversarial = self._run(data, variables, values, values[: len(weights)])

        gradients = adversarial.gradients
        if self.clean_weight:
            pairs = zip(gradients, clean.gradients, strict=False)
            gradients = [_weighted_sum(a, c, self.clean_weight) for a, c in pairs]
        logs = self._update_metrics(data, clean)
        # Nothing is assigned before both passes are through.
        results = [adversarial.loss, gradients, clean.loss, clean.assignments, logs]
        with tf.control_dependencies(_tensors(results)):
            self._apply(gradients, weights, clean.assignments)
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

    def _run(
        self,
        data: Any,
        variables: Sequence[Any],
        values: Sequence[Any],
        sources: Sequence[Any],
    ) -> _Pass:
        """Run the model with `values` in place of `variables`, and assign nothing."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            with _RecordingScope(variables, values) as scope:
                y_pred = self(x, training=True)
                loss = self._compute_loss(x, y, y_pred, sample_weight, training=True)
            scaled_loss = self.optimizer.scale_loss(loss)
        return _Pass(y_pred, loss, tape.gradient(scaled_loss, sources), scope.assignments)

    def _perturb(self, matrix: Any, gradient: Any) -> Tensor:
        """Return the embedding matrix plus its perturbation, densely."""
        loss_scale = self.optimizer.scale_loss(tf.ones(()))
        gradient = embedding_gradients.scale(gradient, 1 / loss_scale)
        gradient = embedding_gradients.sum_over_replicas(gradient)
        is_sparse = isinstance(gradient, tf.IndexedSlices)
        if is_sparse:
            gradient = embedding_gradients.merge_repeats(gradient, matrix.shape[0])
        square = embedding_gradients.squared_norm(gradient)
        delta = self._perturbation(gradient.values if is_sparse else gradient, square)
        matrix, delta = tf.convert_to_tensor(matrix), tf.cast(delta, matrix.dtype)
        if is_sparse:
            return tf.tensor_scatter_nd_add(matrix, gradient.indices[:, None], delta)
        return matrix + delta

    def _update_metrics(self, data: Any, clean: _Pass) -> dict[str, Tensor]:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        first = next(value for value in keras.tree.flatten(x) if value is not None)
        # Keras divides the loss by the number of replicas.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self._loss_tracker.update_state(clean.loss * replicas, tf.shape(first)[0])
        return self.compute_metrics(x, y, clean.y_pred, sample_weight)

    def _apply(
        self,
        gradients: list[Any],
        weights: list[Any],
        assignments: list[tuple[Any, Tensor]],
    ) -> None:
        """Update the weights, then the state that the clean pass has advanced."""
        can_skip = isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)
        steps_before = tf.identity(self.optimizer.iterations)
        self.optimizer.apply(gradients, weights)
        has_stepped = self.optimizer.iterations > steps_before
        for variable, value in assignments:
            if can_skip and not _holds(self.metrics_variables, variable):
                value = tf.where(has_stepped, value, variable.value)
            variable.assign(value)


def _holds(variables: list[Any], variable: Any) -> bool:
    return any(v is variable for v in variables)


def _tensors(structure: Any) -> list[Tensor]:
    leaves = tf.nest.flatten(structure, expand_composites=True)
    return [leaf for leaf in leaves if tf.is_tensor(leaf)]


def _weighted_sum(adversarial: Any, clean: Any, clean_weight: float) -> Any:
    """Return adversarial + clean_weight · clean, sparse where both are."""
    if adversarial is None:
        return None
    clean = embedding_gradients.scale(clean, clean_weight)
    if isinstance(adversarial, tf.IndexedSlices) and isinstance(clean, tf.IndexedSlices):
        return tf.IndexedSlices(
            tf.concat([adversarial.values, tf.cast(clean.values, adversarial.dtype)], 0),
            tf.concat([adversarial.indices, clean.indices], 0),
            adversarial.dense_shape,
        )
    return adversarial + tf.cast(clean, adversarial.dtype)
