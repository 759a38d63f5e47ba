"""A model that trains another one, with a train step of its own."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

from keras_mlc._embeddings import check_embedding, embedding_name, embedding_of, locate
from keras_mlc._typing import Tensor
from keras_mlc._validation import non_negative_float

_COMPILED = (
    "compiled",
    "loss",
    "optimizer",
    "_compile_loss",
    "_compile_metrics",
    "_loss_tracker",
)

_Step: Any = importlib.import_module(f"keras_mlc.training._{keras.backend.backend()}").Step


class Wrapper(_Step):
    """Wraps a model and trains it by its embedding matrix; behaves as the model otherwise.

    A subclass has a method `_gradients(forward, values, weights)`, which returns the gradients by
    the weights' `id`, the pass whose loss and metrics are reported, and all else that must be
    there before a weight is assigned.
    """

    def __init__(self, model: keras.Model, embedding: Any, epsilon: float, **kwargs: Any) -> None:
        _check_model(model, type(self).__name__)
        check_embedding(embedding)
        if model.built:
            embedding_of(locate(model, embedding))
        # The trainer does not touch its inputs: the model casts them itself.
        kwargs = {"dtype": model.dtype_policy, "autocast": False, **kwargs}
        super().__init__(**kwargs)
        self.model = model
        self.epsilon = non_negative_float("epsilon", epsilon)
        self.embedding = embedding_name(model, embedding)
        # A closure, since Keras would save a layer in an attribute a second time.
        self._located: Callable[[], Any] = lambda: locate(model, embedding)
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
                return model._compute_loss(x, y, y_pred, sample_weight, training)
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

    def _embedding_variable(self) -> Any:
        return embedding_of(self._located())

    def _embedding_layer(self) -> Any:
        """Return the layer of the embedding, None where it is a variable without one."""
        located = self._located()
        return located if isinstance(located, keras.Layer) else None

    def _check_takes_part(self, gradient: Any, forward: Any) -> None:
        """Raise where the loss does not depend on the embedding."""
        embedding = self._embedding_variable()
        # Backends without None for "no gradient" have read the variable, or not.
        if gradient is None or id(embedding) not in forward.scope.read:
            raise ValueError(
                f"The embedding {embedding.path!r} takes no part in the loss: there is no "
                "gradient by it."
            )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, with the model's own configuration."""
        return {
            **super().get_config(),
            "model": keras.saving.serialize_keras_object(self.model),
            "embedding": self.embedding,
            "epsilon": self.epsilon,
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


def overrides(model: keras.Model, name: str) -> bool:
    """Whether the class of `model` replaces what `keras.Model` has under `name`."""
    return getattr(type(model), name) is not getattr(keras.Model, name)


@contextmanager
def compiled_like(model: keras.Model, trainer: keras.Model) -> Iterator[keras.Model]:
    """Let `model` have what `trainer` was compiled with, for a while."""
    own = _compiled(model)
    # Not by `setattr`, which would make the metrics part of `model` for good.
    vars(model).update(_compiled(trainer))
    try:
        yield model
    finally:
        for name in _COMPILED:
            vars(model).pop(name, None)
        vars(model).update(own)


def _compiled(model: keras.Model) -> dict[str, Any]:
    return {name: vars(model)[name] for name in _COMPILED if name in vars(model)}


def _check_model(model: Any, trainer: str) -> None:
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"`model` must be a `keras.Model`. Received: model={model!r} (of type {type(model)})"
        )
    if overrides(model, "train_step"):
        raise ValueError(
            f"`{trainer}` replaces `train_step`, which `{type(model).__name__}` overrides. Move "
            f"what its `train_step` does to `compute_loss`, or train it without `{trainer}`."
        )
