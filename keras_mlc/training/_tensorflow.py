"""The train step of a trainer on TensorFlow."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from keras_mlc import _tensorflow as embedding_gradients
from keras_mlc._typing import Tensor
from keras_mlc.training._forward import Forward, Pass, Values, apply


class Step(keras.Model):
    """Trains on the gradients that `_gradients` returns."""

    def train_step(self, data: Any) -> dict[str, Tensor]:
        """Compute gradients, and assign nothing before all of them are there."""
        num_operations = len(_operations())
        # Variables cannot be created inside a stateless scope.
        with tf.init_scope():
            self._symbolic_build(data_batch=data)
        weights = self.trainable_variables
        forward = Forward(self, data)
        values = {id(v): v.value for v in weights}
        # LoRA leaves the matrix itself out of the weights.
        embedding = self._embedding_variable()
        values[id(embedding)] = _read_once(embedding.value)
        found, clean, others = self._gradients(forward, values, weights)
        gradients = [found[id(v)] for v in weights]

        state = forward.assign_metrics(clean.updates)
        # Keras divides the loss by the number of replicas.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        logs = forward.report(clean.loss * replicas, clean.y_pred)

        results = [gradients, clean.loss, others, [value for _, value in state]]
        side_effects = [op for op in _operations()[num_operations:] if op.op_def.is_stateful]
        with tf.control_dependencies([*_tensors(results), *side_effects]):
            apply(self.optimizer, gradients, weights, state)
        return logs

    def _differentiate(
        self,
        function: Callable[[Values], tuple[Tensor, Pass]],
        values: Values,
        variables: Sequence[Any],
        twice: bool = False,
    ) -> tuple[Values, Pass]:
        """Return the gradients by some of the values, and what else `function` returns."""
        watched = [values[id(v)] for v in variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(watched)
            loss, found = function(values)
        gradients = tape.gradient(loss, watched)
        return {id(v): g for v, g in zip(variables, gradients, strict=True)}, found

    @staticmethod
    def _add(gradient: Any, other: Any, factor: float) -> Any:
        """Return gradient + factor * other; slices, if both are, one a row."""
        if not isinstance(gradient, tf.IndexedSlices) or not isinstance(other, tf.IndexedSlices):
            return tf.convert_to_tensor(gradient) + factor * tf.convert_to_tensor(other)
        values = tf.concat([gradient.values, factor * other.values], axis=0)
        indices = tf.concat([gradient.indices, other.indices], axis=0)
        both = tf.IndexedSlices(values, indices, gradient.dense_shape)
        return embedding_gradients.merge_repeats(both)  # Clipping takes the norm of the sum.

    @staticmethod
    def _squared_norm(gradient: Any, factor: Tensor) -> Tensor:
        """Return ||factor * gradient||², a replica's share of it."""
        gradient = embedding_gradients.scale(gradient, factor)
        return embedding_gradients.squared_norm(gradient)

    @contextmanager
    def _perturbed(
        self, forward: Forward, values: Values, gradient: Any, factor: Tensor
    ) -> Iterator[Values]:
        """Give the embedding the values of E + delta, for a gradient times `factor`."""
        embedding = self._embedding_variable()
        matrix = values[id(embedding)]
        gradient = embedding_gradients.scale(gradient, factor)
        gradient = embedding_gradients.gather_over_replicas(gradient)
        if not isinstance(gradient, tf.IndexedSlices):
            delta = tf.cast(tf.stop_gradient(self._perturbation(gradient)), matrix.dtype)
            yield {**values, id(embedding): matrix + delta}
            return
        gradient = embedding_gradients.merge_repeats(gradient)
        # A loss that takes gradients itself would see that delta depends on the embedding.
        delta = tf.cast(tf.stop_gradient(self._perturbation(gradient.values)), matrix.dtype)
        layer = self._embedding_layer()
        if layer is None or not _only_looks_up(layer):
            moved = tf.tensor_scatter_nd_add(matrix, gradient.indices[:, None], delta)
            yield {**values, id(embedding): moved}
            return
        with _shifted(layer, embedding, forward, gradient.indices, delta):
            yield values


def _only_looks_up(layer: Any) -> bool:
    """Whether `layer` is one of Keras's embeddings, which use their inputs to look vectors up."""
    defined_by = getattr(type(layer).call, "__module__", "").partition(".")[0]
    return (
        isinstance(layer, keras.layers.Embedding)
        and defined_by in ("keras", "keras_hub")
        and not getattr(layer, "lora_enabled", False)
    )


@contextmanager
def _shifted(
    layer: Any, embedding: Any, forward: Forward, ids: Tensor, delta: Tensor
) -> Iterator[None]:
    """Let `layer` look vectors up in E + delta, which differs from E in the rows `ids`, sorted.

    The matrix E + delta is never built: its cost would grow with the vocabulary.
    """
    look_up, thread = layer.call, threading.get_ident()

    def call(inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        values = forward.scope.state_mapping
        if threading.get_ident() != thread:
            return look_up(inputs, *args, **kwargs)
        matrix = values[id(embedding)]
        wanted = tf.reshape(tf.cast(inputs, ids.dtype), (-1,))
        places = tf.minimum(tf.searchsorted(ids, wanted), tf.shape(ids)[0] - 1)
        is_moved = tf.equal(tf.gather(ids, places), wanted)
        shift = tf.where(is_moved[:, None], tf.gather(delta, places), 0)
        values[id(embedding)] = tf.gather(tf.convert_to_tensor(matrix), wanted) + shift
        try:
            positions = tf.reshape(tf.range(tf.size(wanted)), tf.shape(inputs))
            return look_up(tf.ensure_shape(positions, inputs.shape), *args, **kwargs)
        finally:
            values[id(embedding)] = matrix

    vars(layer)["call"] = call  # Not by `setattr`, which tracks what it sets.
    try:
        yield
    finally:
        del vars(layer)["call"]


def _read_once(variable: Any) -> Any:
    """Return what all passes look vectors up in without copying a large matrix.

    Where TensorFlow gathers rows of a variable, or updates some of them, each later read of the
    whole variable is a copy: a graph reads it once. Outside of a graph the value read would still
    be held when the optimizer updates the variable, which would then be a copy.
    """
    return variable if tf.executing_eagerly() else tf.convert_to_tensor(variable)


def _tensors(structure: Any) -> list[Tensor]:
    leaves = tf.nest.flatten(structure, expand_composites=True)
    return [leaf for leaf in leaves if leaf is not None]


def _operations() -> list[tf.Operation]:
    """Return the operations of the graph that is being built, none in eager execution."""
    return tf.compat.v1.get_default_graph().get_operations()
