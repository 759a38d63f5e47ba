"""Adversarial training on looked-up vectors by the fast gradient method."""

from typing import Any, Literal

import keras

from keras_mlc._validation import number
from keras_mlc.training._ascent import AdversarialTrainer
from keras_mlc.training._trainer import Setting


@keras.saving.register_keras_serializable(package="keras_mlc")
class FGMTrainer(AdversarialTrainer):
    """Trains a model against a perturbation of the vectors that its embedding looks up.

    `delta = epsilon * g / (||g|| + 1e-8)`, g the gradient of the loss with respect to the vectors
    that the embedding returns for a batch. A step computes the gradients of all weights with delta
    added to these vectors and applies them without: the model learns to be right also a small step
    uphill from where its texts are.

    With `norm="batch"` the gradients of a token's occurrences are summed over the batch, and over
    all replicas, before one norm is taken of them all: delta moves the rows of the embedding
    matrix. With `norm="sample"` the occurrences stay apart and each text is normalized by itself,
    so that its perturbation depends on nothing else in its batch. Padded steps (of the layer's
    mask) take part in neither.

    Only what the layer returns is moved: a matrix that is the output projection too, or has a
    regularizer, is used there as it is. So the vectors may come from anything: a matrix that is
    frozen, adapted by LoRA, quantized, looked up in several times. Nothing as large as the matrix
    is built, and what a step adds depends on the tokens of the batch.

    Norms are taken in float32 and do not depend on the loss scale; g is the gradient of the whole
    objective, with `add_loss`. Where g is zero or not finite, the step is a plain step. All passes
    of a step see the same dropout draws. The reported loss and metrics are those of the clean pass.
    Batch norm statistics and random seeds advance once a step, by the clean pass. Nothing but the
    optimizer ever assigns a weight, and it does so after all passes are through. A step that a
    `LossScaleOptimizer` skips leaves every weight, batch norm statistics included, as it was.

    The trainer is compiled and fitted in place of the model; its `evaluate`, `predict` and
    callbacks work as the model's. An overridden `compile`, `compute_loss`, `compute_metrics`,
    `test_step`, `predict_step` or `predict` of the model is used; a model with a `train_step`,
    `fit` or `evaluate` of its own is refused. `trainer.model` is the trained model, to be saved for
    serving; trainer and model load each other's weights, and `export` exports the model. Arguments
    may be changed between steps (`trainer.epsilon = 0.5`). A step takes about 5/3 of the time of a
    plain one.

    Args:
        model: The `keras.Model` to train. It need not be compiled.
        embedding: The embedding layer, its variable, or the layer's name, looked up through
            nested models; a name may carry a part of its path (`"encoder/tokens"`). It must return
            a vector for each of its inputs. A list of them has one delta each and one norm.
        epsilon: Norm of the perturbation, 0 or more. Published settings lie between 0.5 and 1 for
            the whole batch.
        clean_weight: Weight c of the clean gradient, 0 or more: the update uses the adversarial
            gradient + c · the clean gradient. 0 trains on the adversarial gradient alone.
        norm: `"batch"` or `"sample"`, whose norm is `epsilon`: see above.
        **kwargs: `name`, `dtype` (default: the model's) and `trainable` of a `keras.Model`.

    Call arguments:
        inputs: The inputs of the model.
        training: Whether the model runs in training mode.

    Input shape:
        As the model's.

    Output shape:
        As the model's.

    Raises:
        ValueError: If an argument is out of range; if the model overrides `train_step`, or another
            method that a trainer would bypass; if the embedding is not found, matches several
            layers, returns something else than a vector for each input, or takes no part in the
            loss: at construction, or in the first step, before any weight changes.

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

    clean_weight = Setting(number, 0)

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
