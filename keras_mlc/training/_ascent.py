"""Steps uphill on what an embedding returns."""

from typing import Any

import keras
from keras import ops

from keras_mlc._typing import Tensor
from keras_mlc._validation import number, one_of
from keras_mlc.training._forward import RecordingScope, Updates, Values
from keras_mlc.training._lookups import LookUps
from keras_mlc.training._norms import PerBatch, PerSample, Rows
from keras_mlc.training._trainer import Point, Setting, Trainer

NORMS = {"batch": PerBatch, "sample": PerSample}


class AdversarialTrainer(Trainer):
    """Trains a model at a perturbation of the vectors that it looks up."""

    epsilon = Setting(number, 0)
    norm = Setting(one_of, tuple(NORMS))

    def __init__(
        self,
        model: keras.Model,
        embedding: Any,
        epsilon: float,
        norm: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, embedding, **kwargs)
        self.epsilon = epsilon
        self.norm = norm

    def _climb(
        self,
        forward: Any,
        values: Values,
        weights: list[Any],
        steps: int,
        step_size: float,
        clean_weight: float,
    ) -> Any:
        """Return the gradients after some steps uphill, and the clean pass."""
        clean = self._at(forward, values, weights if clean_weight else [])
        norm = self._norm_at(forward, clean)
        point, rows = clean, None
        for step in range(1, steps + 1):
            rows = self._uphill(norm, rows, point, step_size, step * step_size)
            is_last = step == steps
            sources = weights if is_last else []
            point = self._at(forward, values, sources, norm.shifts(rows), wanted=not is_last)
        gradients = point.gradients
        if clean_weight:
            gradients = self._sum(gradients, clean.gradients, clean_weight)
        return gradients, clean.found, point.found.loss

    def _uphill(
        self, norm: Any, rows: Rows | None, point: Point, step_size: float, longest: float
    ) -> Rows:
        """Return rows after a step from a point, which are at most `longest` without the bound."""
        step = norm.scaled(constant(norm.rows(point.slopes)), step_size)
        if rows is not None:
            step = [row + each for row, each in zip(rows, step, strict=True)]
        return norm.projected(step, self.epsilon) if longest > self.epsilon else step

    def _norm_at(self, forward: Any, point: Point) -> Any:
        """Return how perturbations of what a pass has looked up are measured."""
        num_samples = ops.shape(forward.first_input)[0]
        if self.norm == "sample":
            num_samples = _checked(num_samples, point.lookups)
        return NORMS[self.norm](self, point.lookups, num_samples)

    def _sum(self, gradients: Values, others: Values, factor: float, own: float = 1.0) -> Values:
        """Return own * gradients + factor * others, None where both have none.

        What Keras puts in the place of a variable, such as a scale of float8, is no gradient: it
        is that of one pass.
        """
        replaced = {id(v) for v in self.trainable_variables if v.overwrite_with_gradient}

        def add(key: int, value: Any, other: Any) -> Any:
            if value is None or other is None or key in replaced:
                there, share = (other, factor) if value is None else (value, own)
                is_whole = there is None or key in replaced
                return there if is_whole else self._add(there, there, 0.0, share)
            return self._add(value, other, factor, own)

        return {key: add(key, value, others[key]) for key, value in gradients.items()}


def has_gradient(point: Point) -> list[Tensor]:
    """Return for each look-up which of its steps have a gradient, (..., 1).

    Padding has none, also where the encoder knows it by a mask of its own.
    """
    return [ops.any(ops.not_equal(slope, 0.0), axis=-1, keepdims=True) for slope in point.slopes]


def constant(rows: Rows) -> Rows:
    """Return rows that depend on nothing."""
    # A loss that takes gradients itself would see that they depend on the embedding.
    return [ops.stop_gradient(row) for row in rows]


def _checked(num_samples: Any, lookups: LookUps) -> Any:
    """Return the number of samples, unless the first axis of what is looked up does not count them.

    A TensorFlow graph may find that out when it runs.
    """
    for which, shift, look_up in zip(lookups.numbers, lookups.shifts, lookups.found, strict=True):
        if look_up.samples is not None:
            continue
        size, shape = ops.shape(shift)[0], tuple(shift.shape)
        message = (
            '`norm="sample"` needs vectors of shape (batch, ..., features). The embedding '
            f"{lookups.embeddings[which].matrix.path!r} returned a shape of {shape}, whose first "
            'axis does not count the samples of the batch. Use `norm="batch"`.'
        )
        if isinstance(size, int) != isinstance(num_samples, int):
            raise ValueError(message)
        if not isinstance(size, int):
            from keras_mlc._missing_ops_tensorflow import after_assert

            num_samples = after_assert(ops.equal(size, num_samples), message, num_samples)
        elif size != num_samples:
            raise ValueError(message)
    return num_samples


class RandomStart(AdversarialTrainer):
    """Draws random perturbations."""

    def __init__(self, *args: Any, seed: int | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def _noise(
        self, norm: Any, values: Values, length: float, takes_part: list[Tensor]
    ) -> tuple[Rows, Updates]:
        """Return rows in a random direction, 0 where nothing takes part, and what it updates."""
        with RecordingScope(values) as scope:
            drawn = [
                keras.random.normal(ops.shape(shift), dtype=shift.dtype, seed=self.seed_generator)
                for shift in norm.lookups.shifts
            ]
        noise = [ops.where(steps, each, 0.0) for steps, each in zip(takes_part, drawn, strict=True)]
        return norm.scaled(norm.rows(noise), length), scope.updates

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, with the model's own configuration."""
        return {**super().get_config(), "seed": self.seed}
