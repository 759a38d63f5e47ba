"""A model that trains another one, with a train step of its own."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_mlc import _keras_internals
from keras_mlc._embeddings import (
    Embedding,
    ancestors,
    check_embeddings,
    embedding_name,
    look_ups_of,
)
from keras_mlc._keras_internals import compiled_like
from keras_mlc._typing import Tensor
from keras_mlc.training._forward import Objective, Pass, Values
from keras_mlc.training._lookups import LookUps

_Step: Any = importlib.import_module(
    f"keras_mlc.training._train_step_{keras.backend.backend()}"
).Step


class Setting:
    """An argument of a trainer that may be changed at any time, from the next step on."""

    def __init__(self, check: Callable[..., Any], *arguments: Any) -> None:
        self.check, self.arguments = check, arguments

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, trainer: Any, owner: type) -> Any:
        return self if trainer is None else getattr(trainer, f"_{self.name}")

    def __set__(self, trainer: Any, value: Any) -> None:
        vars(trainer)[f"_{self.name}"] = self.check(self.name, value, *self.arguments)
        if trainer.train_function is not None:  # It was compiled with the value before.
            trainer.make_train_function(force=True)


class Point(NamedTuple):
    """What a pass has found where its look-ups were, and the gradients there."""

    gradients: Values
    slopes: list[Tensor]
    """The gradients by what was added to each look-up, unscaled."""
    found: Pass
    lookups: LookUps


class Trainer(_Step):
    """Wraps a model and trains it by the vectors that it looks up; behaves as it otherwise.

    A subclass has a method `_gradients(forward, values, weights)`, which returns the gradients by
    the weights' `id`, the pass whose loss and metrics are reported, and all else that must be
    there before a weight is assigned. Its `Setting`s are its configuration.
    """

    def __init__(self, model: keras.Model, embedding: Any, **kwargs: Any) -> None:
        check_model(model, type(self).__name__)
        several = check_embeddings(embedding)
        if model.built:
            look_ups_of(model, several)
        # The trainer does not touch its inputs: the model casts them itself.
        kwargs = {"dtype": model.dtype_policy, "autocast": False, **kwargs}
        super().__init__(**kwargs)
        self.model = model
        names = [embedding_name(model, each) for each in several]
        self.embedding = names if isinstance(embedding, (list, tuple)) else names[0]
        # A closure, since Keras would save a layer in an attribute a second time.
        self._located: Callable[[], list[Embedding]] = lambda: look_ups_of(model, several)
        self.supports_masking = True
        self.built = model.built

    def build(self, input_shape: Any) -> None:
        """Do nothing: the model builds itself when it is called."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Return what the model returns."""
        return self.model(inputs)  # `training` reaches it through Keras's call context

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Return the loss that the trainer was compiled with, as the model computes it."""
        if overrides(self.model, "compute_loss"):
            with compiled_like(self.model, self) as model:
                return _keras_internals.compute_loss(model, x, y, y_pred, sample_weight, training)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Tensor]:
        """Update the metrics and return their values, as the model does."""
        if overrides(self.model, "compute_metrics"):
            with compiled_like(self.model, self) as model:
                return model.compute_metrics(x, y, y_pred, sample_weight)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def test_step(self, *args: Any) -> Any:
        """Evaluate a batch as the model does."""
        if overrides(self.model, "test_step"):
            with compiled_like(self.model, self) as model:
                return model.test_step(*args)
        return super().test_step(*args)

    def predict_step(self, *args: Any) -> Any:
        """Predict a batch as the model does."""
        if overrides(self.model, "predict_step"):
            return self.model.predict_step(*args)
        return super().predict_step(*args)

    @property
    def metrics(self) -> list[keras.Metric]:
        """The metrics that the model would have, compiled like the trainer."""
        with compiled_like(self.model, self) as model:
            return model.metrics

    @property
    def output_names(self) -> list[str]:
        """The names of the model's outputs, for losses and metrics given as a dict."""
        return self.model.output_names

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile as `keras.Model` does, by way of the model's own `compile` if it has one."""
        if overrides(self.model, "compile"):
            self.model.compile(*args, **kwargs)
            args, kwargs = (), _keras_internals.compile_arguments(self.model) or {}
        super().compile(*args, **kwargs)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile with what a file says, unless it lacks what the model's own `compile` takes."""
        if overrides(self.model, "compile"):
            arguments = _keras_internals.compile_arguments(self.model)
        else:
            arguments = keras.saving.deserialize_keras_object(config)
        if arguments is not None:  # Else Keras has warned that it could not compile the model.
            super().compile(**arguments)
            if self.built:
                self.optimizer.build(self.trainable_variables)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Predict as the model does."""
        if overrides(self.model, "predict"):
            return self.model.predict(*args, **kwargs)
        return super().predict(*args, **kwargs)

    def predict_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Predict a batch as the model does."""
        if overrides(self.model, "predict_on_batch"):
            return self.model.predict_on_batch(*args, **kwargs)
        return super().predict_on_batch(*args, **kwargs)

    def save_weights(self, *args: Any, **kwargs: Any) -> None:
        """Save the weights as the model would, compiled like the trainer."""
        with compiled_like(self.model, self) as model:
            model.save_weights(*args, **kwargs)

    def load_weights(self, *args: Any, **kwargs: Any) -> None:
        """Load weights of the model, from whichever of both saved them."""
        with compiled_like(self.model, self) as model:
            model.load_weights(*args, **kwargs)

    def export(self, *args: Any, **kwargs: Any) -> Any:
        """Export the model."""
        return self.model.export(*args, **kwargs)

    def _embeddings(self) -> tuple[list[Embedding], list[keras.Layer]]:
        """Return the embeddings, and the layers that contain one."""
        if self._resolved is not None:
            return self._resolved()
        found = self._located()
        containers = {id(c): c for layer, _ in found for c in ancestors(self.model, layer)}
        return found, list(containers.values())

    def _at(
        self,
        forward: Any,
        values: Values,
        variables: Sequence[Any],
        shifts: Sequence[Tensor] | None = None,
        wanted: bool = True,
        objective: Objective | None = None,
        twice: bool = False,
    ) -> Point:
        """Return the gradients where the look-ups are moved by shifts; slopes where wanted."""
        lookups = LookUps(forward.embeddings, forward.containers, shifts, wanted)
        lookups.trace = self._trace
        gradients, slopes, found = self._differentiate(
            lambda values: forward(values, objective), values, variables, lookups, twice
        )
        self._check_take_part(lookups, slopes)
        slopes = [
            ops.zeros_like(shift)
            if slope is None
            else slope / ops.cast(found.loss_scale, slope.dtype)
            for slope, shift in zip(slopes, lookups.shifts, strict=False)
        ]
        return Point(gradients, slopes, found, lookups)

    def _check_take_part(self, lookups: LookUps, slopes: list[Tensor | None]) -> None:
        """Raise where the loss does not depend on one of the embeddings."""
        for number, (_, matrix) in enumerate(lookups.embeddings):
            places = [place for place, other in enumerate(lookups.numbers) if other == number]
            if all(lookups.wanted and slopes[place] is None for place in places):
                raise ValueError(
                    f"The embedding {matrix.path!r} takes no part in the loss: there is no "
                    "gradient by it."
                )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, with the model's own configuration."""
        names = [n for n in dir(type(self)) if isinstance(getattr(type(self), n), Setting)]
        return {
            **super().get_config(),
            "model": keras.saving.serialize_keras_object(self.model),
            "embedding": self.embedding,
            **{name: getattr(self, name) for name in names},
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Any:
        """Build the trainer around a model built from its configuration."""
        model = keras.saving.deserialize_keras_object(
            config["model"], custom_objects=custom_objects
        )
        return cls(**{**config, "model": model})


_BYPASSED = ("fit", "evaluate", "train_on_batch", "test_on_batch")


def overrides(model: keras.Model, name: str) -> bool:
    """Whether the class of `model` replaces what `keras.Model` has under `name`."""
    return getattr(type(model), name) is not getattr(keras.Model, name)


def check_model(model: Any, trainer: str) -> None:
    """Raise where `model` is no model, or has methods that a trainer would bypass."""
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"`model` must be a `keras.Model`. Received: model={model!r} (of type {type(model)})"
        )
    name = type(model).__name__
    if overrides(model, "train_step"):
        raise ValueError(
            f"`{trainer}` replaces `train_step`, which `{name}` overrides. Move "
            f"what its `train_step` does to `compute_loss`, or train it without `{trainer}`."
        )
    if getattr(model, "preprocessor", None) is not None and hasattr(model, "preprocess_samples"):
        raise ValueError(
            f"`{name}` preprocesses its data in `fit` and `predict`, which `{trainer}` replaces. "
            "Preprocess the data before, for example by `dataset.map(model.preprocessor)`, and set "
            "`model.preprocessor = None`."
        )
    own = [method for method in _BYPASSED if overrides(model, method)]
    if own and not hasattr(model, "preprocess_samples"):
        raise ValueError(
            f"`{trainer}` replaces {', '.join(f'`{method}`' for method in own)}, which `{name}` "
            "overrides. Call what it adds from outside, and train `keras.Model(model.inputs, "
            "model.outputs)`, which has the same weights, or a subclass without it."
        )
