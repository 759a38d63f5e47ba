"""Training on a loss plus its squared gradient by an embedding matrix."""

from typing import Any

import keras
from keras import ops

from keras_mlc._typing import Tensor
from keras_mlc.training._wrapper import Wrapper


@keras.saving.register_keras_serializable(package="keras_mlc")
class GradientPenaltyTrainer(Wrapper):
    """Trains a model on its loss plus the squared gradient of its embedding matrix.

    `L + epsilon / 2 * ||dL/dE||^2`

    This is `keras_mlc.losses.GradientPenaltyLoss` as a train step. It works on every backend and
    in eager TensorFlow as well, where a loss cannot reach the embedding. L is the whole objective,
    with `add_loss`, regularizers and the losses of all outputs, where the loss takes its base loss
    alone; without these the two train alike.

    The trainer is compiled and fitted in place of the model, with the loss L; its `evaluate`,
    `predict` and callbacks work as the model's. The reported training loss contains the penalty,
    that of `evaluate` does not. `trainer.model` is the trained model, to be saved for serving.
    Training follows true second derivatives, so a step takes about twice the time of a plain one.

    Args:
        model: The `keras.Model` to train. It need not be compiled.
        embedding: The embedding layer, its variable, or the layer's name, looked up through
            nested models. A name may carry a part of its path (`"encoder/tokens"`).
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
        ValueError: If an argument is out of range; if the model overrides `train_step`; if the
            embedding is not found, matches several layers, is not trainable, or takes no part in
            the loss: at construction where the model is built, else in the first step.

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

    def __init__(
        self, model: keras.Model, embedding: Any, epsilon: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(model, embedding, epsilon, **kwargs)

    def _gradients(self, forward: Any, values: Any, weights: list[Any]) -> Any:
        """Return the gradients of the loss with its penalty, and the pass."""
        embedding = self._embedding_variable()

        def penalized(values: Any) -> tuple[Tensor, Any]:
            found, clean = self._differentiate(forward, values, [embedding], twice=True)
            gradient = found[id(embedding)]
            self._check_takes_part(gradient, forward)
            square = self._squared_norm(gradient, 1 / clean.loss_scale)
            loss = clean.loss + ops.cast(0.5 * self.epsilon * square, clean.loss.dtype)
            return loss * ops.cast(clean.loss_scale, loss.dtype), clean._replace(loss=loss)

        gradients, clean = self._differentiate(penalized, values, weights)
        return gradients, clean, []
