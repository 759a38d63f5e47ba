"""Training on a loss plus its squared gradient by an embedding matrix."""

from typing import Any

import keras
from keras import ops

from keras_mlc._typing import Tensor
from keras_mlc._validation import number
from keras_mlc.training._lookups import LookUps
from keras_mlc.training._norms import PerBatch
from keras_mlc.training._trainer import Setting, Trainer


@keras.saving.register_keras_serializable(package="keras_mlc")
class GradientPenaltyTrainer(Trainer):
    """Trains a model on its loss plus the squared gradient of its embedding matrix.

    `L + epsilon / 2 * ||dL/dE||^2`

    This is `keras_mlc.losses.GradientPenaltyLoss` as a train step. It works on every backend and
    in eager TensorFlow as well, where a loss cannot reach the embedding. L is the whole objective,
    with `add_loss`, regularizers and the losses of all outputs, where the loss takes its base loss
    alone. The gradient is that of the looked-up vectors, summed for each token: what a regularizer
    of E, or its use as an output projection, adds is no part of it. Without these the two train
    alike. As in
    `keras_mlc.training.FGMTrainer`, the vectors may come from a matrix that is frozen, adapted or
    quantized, and padded steps do not count.

    The trainer is compiled and fitted in place of the model, with the loss L; its `evaluate`,
    `predict` and callbacks work as the model's. The reported training loss contains the penalty,
    that of `evaluate` does not. `trainer.model` is the trained model, to be saved for serving.
    Training follows true second derivatives, so a step takes about twice the time of a plain one.

    Args:
        model: The `keras.Model` to train. It need not be compiled.
        embedding: The embedding layer, its variable, the layer's name, or a list of these, as in
            `keras_mlc.training.FGMTrainer`.
        epsilon: Weight of the penalty, 0 or more. 1 is the common choice for the whole matrix.
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
        >>> from keras_mlc.training import GradientPenaltyTrainer
        >>> tokens = keras.Input((5,), dtype="int32")
        >>> vectors = keras.layers.Embedding(100, 8, name="tokens")(tokens)
        >>> vectors = keras.layers.GlobalAveragePooling1D()(vectors)
        >>> model = keras.Model(tokens, keras.layers.Dense(3, activation="sigmoid")(vectors))
        >>> trainer = GradientPenaltyTrainer(model, "tokens")
        >>> trainer.compile("adam", "binary_crossentropy")
        >>> x, y = np.random.randint(0, 100, (4, 5)), np.random.randint(0, 2, (4, 3))
        >>> history = trainer.fit(x, y, verbose=0)
        >>> scores = trainer.model.predict(x, verbose=0)

    Reference:
        - [Drucker and Le Cun, Improving generalization performance using double backpropagation,
          1992](https://doi.org/10.1109/72.165600)
    """

    epsilon = Setting(number, 0)

    def __init__(
        self, model: keras.Model, embedding: Any, epsilon: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(model, embedding, **kwargs)
        self.epsilon = epsilon

    def _gradients(self, forward: Any, values: Any, weights: list[Any]) -> Any:
        """Return the gradients of the loss with its penalty, and the pass."""
        is_float8 = any(weight.overwrite_with_gradient for weight in weights)
        if is_float8 and keras.backend.backend() == "jax":
            raise ValueError(
                "`GradientPenaltyTrainer` cannot train layers that are quantized to float8 on JAX, "
                "whose second derivatives are NaN there. Quantize the model after training."
            )

        def penalized(values: Any) -> tuple[Tensor, Any]:
            point = self._at(forward, values, [], twice=True)
            norm, clean = PerBatch(self, point.lookups, None), point.found
            # Half the square of a sum s is s · s' - s' · s' / 2, with a constant s' equal to s. So
            # what a replica derives is its own share of the sum, and s' comes from all of them.
            rows = norm.rows([ops.stop_gradient(slope) for slope in point.slopes])
            pairs = zip(norm.shifts(rows), point.slopes, strict=True)
            product = sum(ops.sum(shift * slope) for shift, slope in pairs)
            penalty = self.epsilon * (product - 0.5 * ops.stop_gradient(product))
            loss = clean.loss + ops.cast(penalty, clean.loss.dtype)
            return loss * ops.cast(clean.loss_scale, loss.dtype), clean._replace(loss=loss)

        found = self._differentiate(penalized, values, weights, LookUps((), (), wanted=False))
        gradients, _, clean = found
        return gradients, clean, []
