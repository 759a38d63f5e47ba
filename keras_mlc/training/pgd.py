"""Adversarial training by several projected steps uphill."""

from typing import Any, Literal

import keras

from keras_mlc._validation import integer, number
from keras_mlc.training._ascent import AdversarialTrainer
from keras_mlc.training._trainer import Setting


@keras.saving.register_keras_serializable(package="keras_mlc")
class PGDTrainer(AdversarialTrainer):
    """Trains a model at the end of several small steps uphill on the vectors that it looks up.

    `delta = project(delta + step_size * g / (||g|| + 1e-8))`, `steps` times

    g is the gradient of the loss with respect to the vectors, at delta, and the projection makes a
    delta that is longer than `epsilon` as long as that. The gradients of all weights are taken
    after the last step. Where a loss is not flat between here and there, several steps find a
    worse place than the one of `keras_mlc.training.FGMTrainer` does; with `steps=1` and
    `step_size=epsilon` both are the same, to the last bit.

    All else is as in `keras_mlc.training.FGMTrainer`: what a perturbation is and moves, `norm`, the
    clean pass that is reported, what a step may change. A step takes `steps + 1` passes forward
    and back.

    Args:
        model: The `keras.Model` to train. It need not be compiled.
        embedding: The embedding layer, its variable, the layer's name, or a list of these, as in
            `keras_mlc.training.FGMTrainer`.
        epsilon: Longest norm of the perturbation, 0 or more.
        step_size: Norm of a step uphill, 0 or more. 1 and 0.3 with 3 steps are what Chinese
            competitions have in common use for BERT.
        steps: Number of steps uphill.
        clean_weight: Weight c of the clean gradient, 0 or more: the update uses the adversarial
            gradient + c · the clean gradient.
        norm: `"batch"`: a token has one vector of the perturbation in all of a batch, and all of
            them have one norm. `"sample"`: every step of a text has its own, and each text a norm.
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
        >>> from keras_mlc.training import PGDTrainer
        >>> tokens = keras.Input((5,), dtype="int32")
        >>> vectors = keras.layers.Embedding(100, 8, name="tokens")(tokens)
        >>> vectors = keras.layers.GlobalAveragePooling1D()(vectors)
        >>> model = keras.Model(tokens, keras.layers.Dense(3, activation="sigmoid")(vectors))
        >>> trainer = PGDTrainer(model, "tokens", epsilon=1.0, step_size=0.3, steps=3)
        >>> trainer.compile("adam", "binary_crossentropy")
        >>> x, y = np.random.randint(0, 100, (4, 5)), np.random.randint(0, 2, (4, 3))
        >>> history = trainer.fit(x, y, verbose=0)

    Reference:
        - [Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks,
          2018](https://arxiv.org/abs/1706.06083)
    """

    step_size = Setting(number, 0)
    steps = Setting(integer, 1)
    clean_weight = Setting(number, 0)

    def __init__(
        self,
        model: keras.Model,
        embedding: Any,
        epsilon: float = 1.0,
        step_size: float = 0.3,
        steps: int = 3,
        clean_weight: float = 0.0,
        norm: Literal["batch", "sample"] = "batch",
        **kwargs: Any,
    ) -> None:
        super().__init__(model, embedding, epsilon, norm, **kwargs)
        self.step_size = step_size
        self.steps = steps
        self.clean_weight = clean_weight

    def _gradients(self, forward: Any, values: Any, weights: list[Any]) -> Any:
        """Return the gradients after the last step uphill, and the clean pass."""
        return self._climb(forward, values, weights, self.steps, self.step_size, self.clean_weight)
