"""Adversarial training on an embedding matrix by the fast gradient method."""

from typing import Any

import keras
from keras import ops

from keras_mlc._embeddings import check_embedding, embedding_name, embedding_of, locate
from keras_mlc._typing import Tensor
from keras_mlc._validation import non_negative_float
from keras_mlc.training._inner import compiled_like, overrides


class _NoStep(keras.Model):
    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            "`FGMTrainer` runs on the TensorFlow backend. The running backend is "
            f"{keras.backend.backend()!r}."
        )


def _step() -> Any:
    """Return the base class with the running backend's train step."""
    if keras.backend.backend() == "tensorflow":
        from keras_mlc.training._tensorflow import FGMStep

        return FGMStep
    return _NoStep


_FGMStep: Any = _step()


@keras.saving.register_keras_serializable(package="keras_mlc")
class FGMTrainer(_FGMStep):
    """Trains a model on its embedding matrix and against a perturbation of it.

    `delta = epsilon * g / (||g|| + 1e-8)`, g the gradient of the loss with respect to the
    embedding matrix E. A step computes the gradients of all weights at E + delta and applies them
    at E: the model learns to be right also a small step uphill from where it is.

    The norm is taken over the whole matrix and the whole batch, in float32, and does not depend on
    the loss scale; g is the gradient of the whole objective, with `add_loss` and regularizers.
    Where g is zero or not finite, the step is a plain step. Both passes of a step see the same
    dropout draws. The reported loss and metrics are those of the clean pass. Batch norm
    statistics and random seeds advance once a step, by the clean pass. Nothing but the optimizer
    ever assigns a weight, and it does so after both passes are through. A step that a
    `LossScaleOptimizer` skips leaves every weight, batch norm statistics included, as it was.

    The trainer is compiled and fitted in place of the model; its `evaluate`, `predict` and
    callbacks work as the model's. An overridden `compute_loss`, `compute_metrics`, `test_step`
    or `predict_step` of the model is used; an overridden `train_step` cannot be. `trainer.model`
    is the trained model, to be saved for serving. A step takes about 5/3 of the time of a plain
    one.

    Args:
        model: The `keras.Model` to train. It need not be compiled.
        embedding: The embedding layer, its variable, or the layer's name, looked up through
            nested models. A name may carry a part of its path (`"encoder/tokens"`).
        epsilon: Norm of the perturbation of the whole matrix, 0 or more. Published settings lie
            between 0.5 and 1.
        clean_weight: Weight c of the clean gradient, 0 or more: the update uses the adversarial
            gradient + c · the clean gradient. 0 trains on the adversarial gradient alone.
        **kwargs: `name`, `dtype` (default: the model's) and `trainable` of a `keras.Model`.

    Call arguments:
        inputs: The inputs of the model.
        training: Whether the model runs in training mode.

    Input shape:
        As the model's.

    Output shape:
        As the model's.

    Raises:
        ValueError: If an argument is out of range; if the model overrides `train_step`; if the
            embedding is not found, matches several layers, is not trainable, or takes no part in
            the loss: at construction where the model is built, else in the first step.
        NotImplementedError: On another backend than TensorFlow.

    Example:
        >>> import keras, numpy as np
        >>> from keras_mlc.training import FGMTrainer
        >>> tokens = keras.Input((5,), dtype="int32")
        >>> vectors = keras.layers.Embedding(100, 8, name="tokens")(tokens)
        >>> vectors = keras.layers.GlobalAveragePooling1D()(vectors)
        >>> model = keras.Model(tokens, keras.layers.Dense(3, activation="sigmoid")(vectors))
        >>> trainer = FGMTrainer(model, "tokens", epsilon=0.5)
        >>> trainer.compile("adam", "binary_crossentropy")
        >>> x, y = np.random.randint(0, 100, (4, 5)), np.random.randint(0, 2, (4, 3))
        >>> history = trainer.fit(x, y, verbose=0)
        >>> scores = trainer.model.predict(x, verbose=0)

    Reference:
        - [Miyato et al., Adversarial Training Methods for Semi-Supervised Text Classification,
          2017](https://arxiv.org/abs/1605.07725)
    """

    def __init__(
        self,
        model: keras.Model,
        embedding: Any,
        epsilon: float = 1.0,
        clean_weight: float = 0.0,
        **kwargs: Any,
    ) -> None:
        _check_model(model)
        check_embedding(embedding)
        if model.built:
            embedding_of(locate(model, embedding))
        # The trainer does not touch its inputs: the model casts them itself.
        kwargs = {"dtype": model.dtype_policy, "autocast": False, **kwargs}
        super().__init__(**kwargs)
        self.model = model
        self.epsilon = non_negative_float("epsilon", epsilon)
        self.clean_weight = non_negative_float("clean_weight", clean_weight)
        self.embedding = embedding_name(model, embedding)
        # A closure, since Keras would save a layer in an attribute a second time.
        self._embedding_variable = lambda: embedding_of(locate(model, embedding))
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

    @property
    def metrics(self) -> list[keras.Metric]:
        """The metrics that the model would have, compiled like the trainer."""
        with compiled_like(self.model, self) as model:
            return model.metrics

    @property
    def output_names(self) -> list[str]:
        """The names of the model's outputs, for losses and metrics given as a dict."""
        return self.model.output_names

    def _perturbation(self, gradient: Tensor) -> Tensor:
        """Return delta, zeros where the norm is not finite."""
        norm = ops.sqrt(ops.sum(ops.square(gradient)))
        return ops.where(ops.isfinite(norm), gradient * (self.epsilon / (norm + 1e-8)), 0.0)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, with the model's own configuration."""
        return {
            **super().get_config(),
            "model": keras.saving.serialize_keras_object(self.model),
            "embedding": self.embedding,
            "epsilon": self.epsilon,
            "clean_weight": self.clean_weight,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> "FGMTrainer":
        """Build the trainer around a model built from its configuration."""
        model = keras.saving.deserialize_keras_object(
            config["model"], custom_objects=custom_objects
        )
        return cls(**{**config, "model": model})


def _check_model(model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"`model` must be a `keras.Model`. Received: model={model!r} (of type {type(model)})"
        )
    if overrides(model, "train_step"):
        raise ValueError(
            f"`FGMTrainer` replaces `train_step`, which `{type(model).__name__}` overrides. Move "
            "what its `train_step` does to `compute_loss`, or train it without `FGMTrainer`."
        )
