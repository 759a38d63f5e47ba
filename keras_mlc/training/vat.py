"""Virtual adversarial training: predictions that do not change around a text."""

from typing import Any, Literal

import keras
from keras import ops

from keras_mlc import _keras_internals
from keras_mlc._dtypes import widened
from keras_mlc._labels import Check, check_probabilities
from keras_mlc._typing import Tensor
from keras_mlc._validation import number, one_of
from keras_mlc.losses._activation import warn_of_activation
from keras_mlc.losses._divergence import divergence_of
from keras_mlc.training._ascent import RandomStart, constant, has_gradient
from keras_mlc.training._trainer import Point, Setting

PROBE = 0.1
"""How far to look for the worst direction, in parts of the perturbation."""


@keras.saving.register_keras_serializable(package="keras_mlc")
class VATTrainer(RandomStart):
    """Trains a model to predict the same in the worst direction around the vectors it looks up.

    `L + weight * mean(KL(p || p(delta)))`, `delta = epsilon * g / ||g||`

    p are the predictions for a batch, p(delta) those with delta added to the vectors that are
    looked up, and g the gradient of the divergence at a random perturbation of a tenth of the
    length: a step of power iteration towards the direction in which predictions change most. p
    itself is held constant. The divergence is summed over the labels and averaged over the texts,
    and needs no label: texts whose labels are all missing (a loss with `missing_label`, or a
    sample weight of 0) train on it alone. That is how unlabelled texts are used.

    The loss that is reported contains the divergence; that of `evaluate` does not. Sample weights
    weigh L alone. Of several outputs the divergences are added; a mask of the predictions counts.
    All else is as in `keras_mlc.training.FGMTrainer`: what a perturbation is and moves, the clean
    pass that metrics are reported of, what a step may change. A step takes three passes forward and
    back.

    Args:
        model: The `keras.Model` to train. It need not be compiled.
        embedding: The embedding layer, its variable, the layer's name, or a list of these, as in
            `keras_mlc.training.FGMTrainer`.
        epsilon: Norm of the perturbation, 0 or more. Miyato et al. take 5 for vectors of which each
            component has a variance of 1; those of pretrained encoders are about 1 long, so 1.
        weight: Weight of the divergence, 0 or more; 1 as published.
        divergence: `"bernoulli"` for independent labels, `"categorical"` for one class a text.
        from_logits: Whether the model returns scores without an activation.
        norm: `"sample"`: every step of a text has its own vector of the perturbation, and each text
            a norm. `"batch"`: a token has one in all of a batch, and all of them have one norm.
        seed: Seed of the random perturbations.
        **kwargs: `name`, `dtype` (default: the model's) and `trainable` of a `keras.Model`.

    Call arguments:
        inputs: The inputs of the model.
        training: Whether the model runs in training mode.

    Input shape:
        As the model's.

    Output shape:
        As the model's.

    Raises:
        ValueError: If an argument is out of range, the model has methods that the trainer would
            bypass, or the embedding cannot be used: as in `keras_mlc.training.FGMTrainer`.

    Example:
        >>> import keras, numpy as np
        >>> from keras_mlc.training import VATTrainer
        >>> tokens = keras.Input((5,), dtype="int32")
        >>> vectors = keras.layers.Embedding(100, 8, name="tokens")(tokens)
        >>> vectors = keras.layers.GlobalAveragePooling1D()(vectors)
        >>> model = keras.Model(tokens, keras.layers.Dense(3)(vectors))
        >>> trainer = VATTrainer(model, "tokens")
        >>> trainer.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
        >>> x, y = np.random.randint(0, 100, (4, 5)), np.random.randint(0, 2, (4, 3))
        >>> is_labelled = np.array([1, 1, 0, 0])
        >>> history = trainer.fit(x, y, sample_weight=is_labelled, verbose=0)

    Reference:
        - [Miyato et al., Virtual Adversarial Training: A Regularization Method for Supervised and
          Semi-Supervised Learning, 2018](https://arxiv.org/abs/1704.03976)
        - [Miyato et al., Adversarial Training Methods for Semi-Supervised Text Classification,
          2017](https://arxiv.org/abs/1605.07725)
    """

    weight = Setting(number, 0)
    divergence = Setting(one_of, ("bernoulli", "categorical"))

    def __init__(
        self,
        model: keras.Model,
        embedding: Any,
        epsilon: float = 1.0,
        weight: float = 1.0,
        divergence: Literal["bernoulli", "categorical"] = "bernoulli",
        from_logits: bool = True,
        norm: Literal["batch", "sample"] = "sample",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, embedding, epsilon, norm, seed=seed, **kwargs)
        self.weight = weight
        self.divergence = divergence
        self.from_logits = bool(from_logits)
        self._has_warned = False

    def _gradients(self, forward: Any, values: Any, weights: list[Any]) -> Any:
        """Return the gradients of the loss with the divergence, and the clean pass with it."""
        clean = self._at(forward, values, weights)
        norm, targets = self._norm_at(forward, clean), self._compared(clean.found.y_pred)
        self._warn_of_activation(targets)
        # Keras adds up what the replicas derive, and divides each loss by their number.
        share = 1 / self._num_replicas()

        def divergence(y_pred: Any) -> Tensor:
            pairs = zip(targets, self._compared(y_pred), strict=True)
            return share * sum(self._mean_divergence(target, y_pred) for target, y_pred in pairs)

        takes_part = self._takes_part(clean, norm.num_samples)
        rows, updates = self._noise(norm, values, PROBE * self.epsilon, takes_part)
        probe = self._at(forward, values, [], norm.shifts(rows), objective=divergence)
        rows = norm.scaled(constant(norm.rows(probe.slopes)), self.epsilon)
        point = self._at(forward, values, weights, norm.shifts(rows), False, divergence)

        loss = clean.found.loss + self.weight * ops.cast(point.found.loss, clean.found.loss.dtype)
        found = clean.found._replace(loss=loss, updates={**clean.found.updates, **updates})
        return self._sum(clean.gradients, point.gradients, self.weight), found, loss

    def _compared(self, y_pred: Any) -> list[Tensor]:
        return _keras_internals.outputs_with_loss(self, y_pred)

    def _warn_of_activation(self, predictions: list[Tensor]) -> None:
        for y_pred in predictions:
            if self.from_logits and not self._has_warned:
                self._has_warned = warn_of_activation(y_pred, f"{type(self).__name__}")

    def _takes_part(self, clean: Point, num_samples: Any) -> list[Tensor]:
        """Return which steps to move: those with a gradient, and all of a text without any.

        Such a text has no labels, and which of its steps count the probe will tell.
        """
        found = []
        for steps, look_up in zip(has_gradient(clean), clean.lookups.found, strict=True):
            if look_up.samples is None:
                texts = ops.any(steps, axis=tuple(range(1, len(steps.shape))), keepdims=True)
            else:
                counts = ops.cast(steps, "int32")
                counts = self._sum_by_place(counts, look_up.samples, num_samples)
                texts = ops.take(counts, look_up.samples, axis=0) > 0
            found.append(ops.logical_or(steps, ops.logical_not(texts)))
        return found

    def _mean_divergence(self, target: Tensor, y_pred: Tensor) -> Tensor:
        """Return KL(target || y_pred), summed over the labels and averaged over all else."""
        mask, check = _keras_internals.mask_of(y_pred), Check()
        target, y_pred = ops.stop_gradient(widened(target)), widened(y_pred)
        if not self.from_logits:
            target, y_pred = (check_probabilities(check, each) for each in (target, y_pred))
        rows = divergence_of(target, y_pred, self.divergence, self.from_logits)
        weights = ops.ones_like(rows) if mask is None else ops.cast(mask, rows.dtype)
        # A replica may have no rows.
        return check.mark(ops.sum(rows * weights) / ops.maximum(ops.sum(weights), 1.0))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, with the model's own configuration."""
        return {**super().get_config(), "from_logits": self.from_logits}
