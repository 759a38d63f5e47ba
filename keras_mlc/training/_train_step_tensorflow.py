"""The train step of a trainer on TensorFlow."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_mlc import _embedding_gradients_tensorflow as embedding_gradients
from keras_mlc import _keras_internals
from keras_mlc._typing import Tensor
from keras_mlc.training._forward import Forward, Pass, Values, apply
from keras_mlc.training._lookups import LookUps


class Step(keras.Model):
    """Trains on the gradients that `_gradients` returns."""

    _resolved = None
    train_function: Any
    _first_places = staticmethod(embedding_gradients.first_places)

    def _numbered(self, ids: Tensor) -> Tensor:
        """Return a number below that of the ids for each, the same for those that are equal."""
        if not self.jit_compile:
            return tf.unique(ids).idx
        # XLA would have to sort.
        is_equal = tf.cast(ids[:, None] == ids[None], tf.int32)
        return tf.argmax(is_equal, axis=-1, output_type=tf.int32)

    _sum_by_place = staticmethod(tf.math.unsorted_segment_sum)
    _over_replicas = staticmethod(embedding_gradients.gather_over_replicas)
    _num_replicas = staticmethod(embedding_gradients.num_replicas)

    @staticmethod
    def _trace() -> Any:
        return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()

    def _foreign_variables(self) -> list[tf.Variable]:
        found = tf.train.TrackableView(self.model).descendants()
        return [each for each in found if isinstance(each, tf.Variable)]

    @staticmethod
    def _assign_foreign(variables: list[tf.Variable], values: list[Tensor]) -> None:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    def make_train_function(self, force: bool = False) -> Any:
        """Make the function that `fit` calls, and have it traced once.

        TensorFlow traces a function again if it made variables, as Keras makes the optimizer's and
        the metrics' in the first step. Here they are there before it.
        """
        if self.train_function is not None and not force:
            return self.train_function
        super().make_train_function(force)
        steps = self.train_function

        def steps_with_variables(iterator: Any) -> Any:
            if isinstance(iterator, tf.data.Iterator) and _is_of_tensors(iterator.element_spec):
                _keras_internals.build_symbolically(self, iterator.element_spec)
            return steps(iterator)

        self.train_function = steps_with_variables
        return self.train_function

    def train_step(self, data: Any) -> dict[str, Tensor]:
        """Compute gradients, and assign nothing before all of them are there."""
        num_operations = len(_operations())
        # Variables cannot be created inside a stateless scope.
        with tf.init_scope():
            _keras_internals.build_symbolically(self, data)
        weights = self.trainable_variables
        forward = Forward(self, data)
        values = {id(v): v.value for v in weights}
        # A graph has the passes draw the same numbers once, if it reads their seeds once.
        seeds = [v for v in self.non_trainable_variables if v.shape == (2,) and _is_integer(v)]
        for variable in [*seeds, *(matrix for _, matrix in forward.embeddings)]:
            values[id(variable)] = _read_once(variable.value)
        found, clean, others = self._gradients(forward, values, weights)
        gradients = [found[id(v)] for v in weights]

        state = forward.assign_metrics(clean.updates)
        # Keras divides the loss by the number of replicas.
        logs = forward.report(clean.loss * self._num_replicas(), clean.y_pred)

        results = [gradients, clean.loss, others, [value for _, value in state]]
        side_effects = [op for op in _operations()[num_operations:] if op.op_def.is_stateful]
        with tf.control_dependencies([*_tensors(results), *side_effects]):
            forward.assign_foreign()
            apply(self.optimizer, gradients, weights, state)
        return logs

    def _differentiate(
        self,
        function: Callable[[Values], tuple[Tensor, Pass]],
        values: Values,
        variables: Sequence[Any],
        lookups: LookUps,
        twice: bool = False,
    ) -> tuple[Values, list[Tensor | None], Pass]:
        """Return the gradients by values and by shifts, and what else `function` returns."""
        watched = [values[id(v)] for v in variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:

            def watch(shift: Tensor) -> Tensor:
                tape.watch(shift)
                return shift

            tape.watch(watched)
            lookups.watch = watch
            with lookups:
                loss, found = function(values)
        shifts = lookups.shifts if lookups.wanted else []
        gradients = tape.gradient(loss, [*watched, *shifts]) if watched or shifts else []
        by_variable = {id(v): g for v, g in zip(variables, gradients, strict=False)}
        return by_variable, gradients[len(watched) :], found

    @staticmethod
    def _add(gradient: Any, other: Any, factor: float, own: float) -> Any:
        """Return own * gradient + factor * other; slices, if both are, one a row."""
        if not isinstance(gradient, tf.IndexedSlices) or not isinstance(other, tf.IndexedSlices):
            return own * tf.convert_to_tensor(gradient) + factor * tf.convert_to_tensor(other)
        values = tf.concat([own * gradient.values, factor * other.values], axis=0)
        indices = tf.concat([gradient.indices, other.indices], axis=0)
        both = tf.IndexedSlices(values, indices, gradient.dense_shape)
        return embedding_gradients.merge_repeats(both)  # Clipping takes the norm of the sum.


def _read_once(variable: Any) -> Any:
    """Return what all passes look vectors up in without copying a large matrix.

    Where TensorFlow gathers rows of a variable, or updates some of them, each later read of the
    whole variable is a copy: a graph reads it once. Outside of a graph the value read would still
    be held when the optimizer updates the variable, which would then be a copy.
    """
    return variable if tf.executing_eagerly() else tf.convert_to_tensor(variable)


def _is_integer(variable: Any) -> bool:
    return bool(tf.as_dtype(variable.dtype).is_integer)


def _is_of_tensors(specs: Any) -> bool:
    """Return whether all leaves are dense tensors whose number of dimensions is known."""
    leaves = tf.nest.flatten(specs)
    return all(isinstance(leaf, tf.TensorSpec) and leaf.shape.rank is not None for leaf in leaves)


def _tensors(structure: Any) -> list[Tensor]:
    leaves = tf.nest.flatten(structure, expand_composites=True)
    return [leaf for leaf in leaves if leaf is not None]


def _operations() -> list[tf.Operation]:
    """Return the operations of the graph that is being built, none in eager execution."""
    return tf.compat.v1.get_default_graph().get_operations()
