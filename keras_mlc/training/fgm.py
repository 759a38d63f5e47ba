"""Adversarial training on an embedding matrix by the fast gradient method."""

from typing import Any, Literal

import keras

from keras_mlc._validation import non_negative_float
from keras_mlc.training._ascent import AdversarialTrainer
from keras_mlc.training._trainer import Setting


@keras.saving.register_keras_serializable(package="keras_mlc")
class FGMTrainer(AdversarialTrainer):
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
    one. On TensorFlow, what it adds depends on the tokens of the batch and not on the size of the
    vocabulary, unless the gradient of the matrix is dense (a regularizer, tied weights) or the
    layer is not one of Keras's embeddings; on JAX and torch that gradient is always dense.

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

    clean_weight = Setting(non_negative_float)

    def __init__(
        self,
        model: keras.Model,
        embedding: Any,
        epsilon: float = 1.0,
        clean_weight: float = 0.0,
        norm: Literal["batch", "sample"] = "batch",
        **kwargs: Any,
    ) -> None:
        super().__init__(model, embedding, epsilon, norm, **kwargs)
        self.clean_weight = clean_weight

    def _gradients(self, forward: Any, values: Any, weights: list[Any]) -> Any:
        """Return the gradients at the perturbation, and the clean pass."""
        return self._climb(forward, values, weights, 1, self.epsilon, self.clean_weight)
