"""A gradient penalty on an embedding matrix, as a loss."""

import importlib
from typing import Any, Literal

import keras
from keras import ops

from keras_mlc._embeddings import check_embedding, embedding_name, embedding_of, locate
from keras_mlc._labels import Check, check_probabilities, dense_labels
from keras_mlc._typing import Reduction, Tensor
from keras_mlc._validation import boolean, number
from keras_mlc.losses import _bases as bases
from keras_mlc.losses._row_loss import reduced


@keras.saving.register_keras_serializable(package="keras_mlc")
class GradientPenaltyLoss(keras.losses.Loss):
    """Adds the squared gradient of an embedding matrix to a loss.

    `L + epsilon / 2 * ||dL/dE||^2`

    L is the base loss as it is trained on: reduced, and weighted by the sample weights. E is the
    embedding matrix. The penalty is differentiated like the rest of the loss, so training follows
    true second derivatives. A loss that is flat around the embedding of its input changes little
    when that embedding moves.

    TensorFlow takes the inner gradient in compiled code only (`run_eagerly=False`, the default).
    `evaluate` reports L plus the penalty on TensorFlow, and L alone on torch, which evaluates
    without gradients. Torch's fused attention has no second derivative: train inside
    `with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)`. On JAX a loss cannot
    reach the embedding: `keras_mlc.training.GradientPenaltyTrainer` works on every backend. Of a
    model with several outputs, this loss penalizes the loss of the output it stands at.

    Args:
        loss: The base loss: a name or a function as `keras.losses.get` takes them, or a
            `keras.losses.Loss`.
        embedding: The embedding layer, its variable, or the layer's name. A name, and a loss that
            comes back from a file, must be resolved by `bind` before the loss is used.
        epsilon: Weight of the penalty, 0 or more. 1 is the common choice for the whole matrix.
        merge_repeats: `True` sums the gradients of a token's occurrences before they are squared,
            which is the squared gradient of E. `False` squares each occurrence on its own: a
            smaller number where tokens repeat. A dense gradient (an embedding that is also the
            output projection) has no occurrences and is the same either way.
        reduction: `"sum_over_batch_size"`, `"mean"`, `"sum"` or `"mean_with_sample_weight"`, for
            a base loss that is a function or a name; `"auto"` means `"sum_over_batch_size"`
            there, and is the base loss's own reduction where that is a `keras.losses.Loss`.
        name: Name of the loss.
        dtype: Dtype of the computation of a base loss that is a function or a name.

    Call arguments:
        y_true: Labels, as the base loss takes them.
        y_pred: Predictions, computed from the embedding.
        sample_weight: Sample weights, as the base loss takes them.

    Returns:
        A scalar.

    Raises:
        ValueError: If an argument is out of range, the reductions disagree, or the embedding is
            not bound, is not trainable, or takes no part in the loss.
        RuntimeError: If TensorFlow runs eagerly.
        NotImplementedError: On JAX.

    Example:
        >>> import keras, numpy as np
        >>> from keras_mlc.losses import GradientPenaltyLoss
        >>> embedding = keras.layers.Embedding(100, 8)
        >>> tokens = keras.Input((5,), dtype="int32")
        >>> vectors = keras.layers.GlobalAveragePooling1D()(embedding(tokens))
        >>> model = keras.Model(tokens, keras.layers.Dense(3, activation="sigmoid")(vectors))
        >>> loss = GradientPenaltyLoss("binary_crossentropy", embedding)
        >>> model.compile("adam", loss)
        >>> x, y = np.random.randint(0, 100, (4, 5)), np.random.randint(0, 2, (4, 3))
        >>> history = model.fit(x, y, verbose=0)

    Reference:
        - [Drucker and Le Cun, Improving generalization performance using double backpropagation,
          1992](https://doi.org/10.1109/72.165600)
    """

    def __init__(
        self,
        loss: Any,
        embedding: Any,
        epsilon: float = 1.0,
        merge_repeats: bool = True,
        reduction: Reduction | Literal["auto"] = "auto",
        name: str = "gradient_penalty_loss",
        dtype: Any = None,
    ) -> None:
        self._squared_gradient = _backend_gradient()
        self.loss = loss if isinstance(loss, str) else keras.losses.get(loss)
        self.base_loss = _base_loss(self.loss, reduction, dtype)
        super().__init__(name=name, reduction=self.base_loss.reduction, dtype=dtype)
        self.embedding = check_embedding(embedding)
        self.epsilon = number("epsilon", epsilon, 0)
        self.merge_repeats = boolean("merge_repeats", merge_repeats)
        self._embedding_name: str | None = embedding if isinstance(embedding, str) else None

    def bind(self, model: keras.Model) -> "GradientPenaltyLoss":
        """Look the embedding up in `model`, which this loss will train.

        Args:
            model: A built model. Nested models are searched too.

        Returns:
            The loss itself.

        Raises:
            ValueError: If the embedding is not found, matches several layers, or is not
                trainable.
        """
        located = locate(model, self._embedding_name or self.embedding)
        embedding_of(located)
        self._embedding_name = embedding_name(model, located)
        self.embedding = located
        return self

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Return the base loss plus the penalty."""
        if isinstance(self.embedding, str):
            raise ValueError(
                f"`GradientPenaltyLoss` knows its embedding only by its name {self.embedding!r}. "
                "Call `loss.bind(model)` first (`model.loss.bind(model)` for a model from a file)."
            )
        variable = embedding_of(self.embedding)
        loss = _base_value(self.base_loss, y_true, y_pred, sample_weight)
        if self.epsilon == 0:
            return loss
        square = self._squared_gradient(loss, y_pred, variable, self.merge_repeats)
        return loss + ops.cast(0.5 * self.epsilon * square, loss.dtype)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the values of the base loss, without the penalty."""
        return self.base_loss.call(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments; the embedding as a name."""
        name = self._embedding_name
        if name is None:
            is_layer = isinstance(self.embedding, keras.Layer)
            name = self.embedding.name if is_layer else self.embedding.path
        loss = self.loss
        return {
            "loss": loss if isinstance(loss, str) else keras.losses.serialize(loss),
            "embedding": name,
            "epsilon": self.epsilon,
            "merge_repeats": self.merge_repeats,
            "reduction": self.reduction,
            "name": self.name,
            "dtype": self.dtype,
        }


class _FunctionLoss(keras.losses.Loss):
    """A loss function with a reduction."""

    def __init__(self, function: Any, reduction: str, dtype: Any) -> None:
        super().__init__(name="base_loss", reduction=reduction, dtype=dtype)
        self.function = function

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        y_true, y_pred = _same_rank(y_true, y_pred)
        return self.function(y_true, y_pred)


def _base_value(
    base: keras.losses.Loss, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None
) -> Tensor:
    """Return the base loss, where Keras would let labels and weights of other shapes broadcast."""
    if type(base).__call__ is not keras.losses.Loss.__call__:
        return base(y_true, y_pred, sample_weight)
    wrapped = getattr(base, "function", base)
    check, function = Check(), bases.function_of(wrapped)
    is_dense = function in bases.DENSE
    labels = ops.cast(dense_labels(y_true, indices=not is_dense), base.dtype)
    outputs = ops.convert_to_tensor(y_pred, dtype=base.dtype)
    if is_dense:
        labels, outputs = _same_rank(labels, outputs)
    labels = bases.checked_labels(check, wrapped, labels, outputs)
    if function in bases.BERNOULLI and not bases.settings_of(wrapped).get("from_logits"):
        outputs = check_probabilities(check, outputs)
    rows = check.mark(base.call(labels, outputs))
    return reduced(rows, y_pred, sample_weight, base.reduction, base.name, base.dtype)


def _same_rank(y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    """Match (B,) labels with (B, 1) scores and the like, as Keras does for its functions."""
    true_rank, pred_rank = len(y_true.shape), len(y_pred.shape)
    if pred_rank == true_rank + 1 and y_pred.shape[-1] == 1:
        if true_rank == 1:
            return ops.expand_dims(y_true, -1), y_pred
        return y_true, ops.squeeze(y_pred, -1)
    if true_rank == pred_rank + 1 and y_true.shape[-1] == 1:
        if pred_rank == 1:
            return y_true, ops.expand_dims(y_pred, -1)
        return ops.squeeze(y_true, -1), y_pred
    return y_true, y_pred


def _base_loss(loss: Any, reduction: str | None, dtype: Any) -> keras.losses.Loss:
    """Return `loss` as a `keras.losses.Loss` that reduces to a scalar."""
    chosen = "sum_over_batch_size" if reduction == "auto" else reduction
    base = keras.losses.get(loss)
    if not callable(base):
        raise ValueError(f"`loss` must be a loss, a function or a name. Received: loss={loss!r}")
    if not isinstance(base, keras.losses.Loss):
        base = _FunctionLoss(base, _scalar(chosen), dtype)
    elif isinstance(loss, str):
        base = type(base)(reduction=_scalar(chosen), dtype=dtype)
    elif reduction != "auto" and _mean(reduction) != _mean(base.reduction):
        raise ValueError(
            f"`reduction={reduction!r}` contradicts the reduction of the base loss, "
            f"{base.reduction!r}. Leave `reduction` out, or set it on the base loss."
        )
    _scalar(base.reduction)
    return base


def _scalar(reduction: str | None) -> str:
    allowed = ("sum_over_batch_size", "mean", "sum", "mean_with_sample_weight")
    if reduction not in allowed:
        raise ValueError(
            "`GradientPenaltyLoss` needs a loss that is one number: `reduction` must be one of "
            f"{', '.join(map(repr, allowed))}. Received: reduction={reduction!r}"
        )
    return reduction


def _mean(reduction: str | None) -> str | None:
    return "sum_over_batch_size" if reduction == "mean" else reduction


def _backend_gradient() -> Any:
    """Return the running backend's `squared_gradient`."""
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "torch"):
        raise NotImplementedError(
            "`GradientPenaltyLoss` runs on TensorFlow and on torch: elsewhere a loss cannot reach "
            "the embedding. Train by `keras_mlc.training.GradientPenaltyTrainer(model, embedding)` "
            f"instead, compiled with the base loss. The running backend is {backend!r}."
        )
    module = f"keras_mlc.losses._squared_gradient_{backend}"
    return importlib.import_module(module).squared_gradient
