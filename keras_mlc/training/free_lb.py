"""Adversarial training on all points of the way uphill."""

from typing import Any, Literal

import keras

from keras_mlc._validation import integer, number
from keras_mlc.training._ascent import RandomStart, has_gradient
from keras_mlc.training._trainer import Setting


@keras.saving.register_keras_serializable(package="keras_mlc")
class FreeLBTrainer(RandomStart):
    """Trains a model on the mean of the gradients along several steps uphill.

    `delta = project(delta + step_size * g / ||g||)`, from a random delta on

    A step of training takes the gradients at `steps` points: at a random perturbation of norm
    `initial_norm`, and after each of `steps - 1` steps uphill on the vectors that are looked up, g
    the gradient of the loss with respect to them. The projection makes a delta that is longer than
    `epsilon` as long as that. At each point one pass forward and back gives the gradient g and
    those of all weights; the update is the mean of the latter. It is as if the batch was `steps`
    times as large, of neighbours of its texts.

    All else is as in `keras_mlc.training.FGMTrainer`: what a perturbation is and moves, the clean
    pass that is reported, what a step may change. With an `initial_norm` of 0 the clean pass is the
    first point; else it is one more pass forward and back, whose gradient tells which steps take
    part in the loss: the random perturbation leaves out the others, such as padding.

    Args:
        model: The `keras.Model` to train. It need not be compiled.
        embedding: The embedding layer, its variable, the layer's name, or a list of these, as in
            `keras_mlc.training.FGMTrainer`.
        epsilon: Longest norm of the perturbation, 0 or more. The default and those below lie within
            what the authors' settings for GLUE span.
        step_size: Norm of a step uphill, 0 or more.
        steps: Number of points, each a pass forward and back.
        initial_norm: Norm of the random perturbation at the first point, 0 or more. The authors
            give a magnitude m of uniform numbers, whose norm is m / √3.
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
        >>> from keras_mlc.training import FreeLBTrainer
        >>> tokens = keras.Input((5,), dtype="int32")
        >>> vectors = keras.layers.Embedding(100, 8, name="tokens")(tokens)
        >>> vectors = keras.layers.GlobalAveragePooling1D()(vectors)
        >>> model = keras.Model(tokens, keras.layers.Dense(3, activation="sigmoid")(vectors))
        >>> trainer = FreeLBTrainer(model, "tokens", steps=2)
        >>> trainer.compile("adam", "binary_crossentropy")
        >>> x, y = np.random.randint(0, 100, (4, 5)), np.random.randint(0, 2, (4, 3))
        >>> history = trainer.fit(x, y, verbose=0)

    Reference:
        - [Zhu et al., FreeLB: Enhanced Adversarial Training for Natural Language Understanding,
          2020](https://arxiv.org/abs/1909.11764)
    """

    step_size = Setting(number, 0)
    steps = Setting(integer, 1)
    initial_norm = Setting(number, 0)

    def __init__(
        self,
        model: keras.Model,
        embedding: Any,
        epsilon: float = 0.4,
        step_size: float = 0.1,
        steps: int = 3,
        initial_norm: float = 0.1,
        norm: Literal["batch", "sample"] = "sample",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, embedding, epsilon, norm, seed=seed, **kwargs)
        self.step_size = step_size
        self.steps = steps
        self.initial_norm = initial_norm

    def _gradients(self, forward: Any, values: Any, weights: list[Any]) -> Any:
        """Return the mean of the gradients on the way, and the clean pass."""
        is_random = self.initial_norm > 0
        point = clean = self._at(
            forward, values, [] if is_random else weights, wanted=is_random or self.steps > 1
        )
        norm, rows, found = self._norm_at(forward, clean), None, clean.found
        if is_random:
            length = min(self.initial_norm, self.epsilon)
            rows, updates = self._noise(norm, values, length, has_gradient(clean))
            found = found._replace(updates={**found.updates, **updates})
            point = self._at(forward, values, weights, norm.shifts(rows), wanted=self.steps > 1)
        mean = point.gradients
        for step in range(1, self.steps):
            longest = self.initial_norm + step * self.step_size
            rows = self._uphill(norm, rows, point, self.step_size, longest)
            is_last = step == self.steps - 1
            point = self._at(forward, values, weights, norm.shifts(rows), wanted=not is_last)
            mean = self._sum(mean, point.gradients, 1 / (step + 1), step / (step + 1))
        return mean, found, point.found.loss
