"""R-Drop: two dropout draws of a sample should give the same output."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Literal

import keras
from keras import ops

from keras_mlc._dtypes import widened
from keras_mlc._labels import (
    Check,
    check_probabilities,
    concrete_value,
    dense_labels,
    floating,
    is_float,
    is_in_graph,
)
from keras_mlc._typing import Reduction, Tensor
from keras_mlc._validation import boolean, number, one_of
from keras_mlc.losses import _bases as bases
from keras_mlc.losses._divergence import symmetric_divergence_of
from keras_mlc.losses._row_loss import RowLoss
from keras_mlc.losses.asymmetric import asymmetric_loss
from keras_mlc.losses.gradient_penalty import GradientPenaltyLoss


@keras.saving.register_keras_serializable(package="keras_mlc")
class RDropLoss(RowLoss):
    """Adds to a loss how far apart the outputs of two dropout draws of a sample are.

    `base_loss + alpha / 4 * (KL(p || q) + KL(q || p))`

    Rows 2i and 2i + 1 of the batch are the same sample; p and q are their outputs, and the
    divergence is summed over the last axis. Both rows of a pair carry the pair's divergence, so
    with the default reduction the loss is the mean base loss plus alpha / 4 times the mean of the
    divergence over the pairs. A pair that agrees costs exactly the base loss. Sample weights
    weigh both terms.

    `keras_mlc.data.repeat_pairs` brings data into pairs. `fit` shuffles arrays row by row, which
    tears pairs apart: pass `shuffle=False`, or shuffle and batch a dataset before it is repeated.
    The batch size that the loss sees is twice the number of samples. Torn pairs (labels that
    differ within a pair) and odd batches raise before the weights are updated, in eager
    execution, on torch, and in TensorFlow graphs. Under XLA, which Keras takes by default on a
    GPU, and on JAX an odd batch raises while the step is traced, and a torn pair makes the loss
    NaN, with a gradient of 0. (When anything raises in the first step of `fit` on JAX, Keras has
    taken the weights out of the model and does not put them back; `FGMTrainer` does.)

    In evaluation dropout is off: on pairs the divergence is 0 and the loss is the base loss.
    Validation data must come in pairs too, so pass it through `repeat_pairs` as well.

    Other implementations scale the divergence in other ways. For the same training, choose:

    | elsewhere | `alpha` here |
    | --- | --- |
    | loss + a / 4 * (sum of both KL, mean over pairs) | a |
    | loss + a * (mean of both KL, mean over pairs) | 2 a |
    | loss summed over both rows, + a * (mean of both KL) | a |
    | any of these with the mean over pairs *and* labels | divided by the number of labels |
    | loss + a / 4 * (sum of both KL, sum over the batch) | a, `divergence_reduction="sum"` |

    Args:
        loss: The base loss: anything `keras.losses.get` takes, a function, or a
            `keras.losses.Loss`. A name, a class or a function that knows `from_logits` is applied
            with this loss's `from_logits`. Of a `keras.losses.Loss` the values before its
            reduction are used; its own reduction and dtype are ignored. With a `missing_label`
            of its own, the divergence is still over all labels, known or not.
        alpha: Weight of the divergence, 0 or more. The default, 4, is common for classification.
        divergence: `"bernoulli"` for independent labels (sigmoid outputs, or scores with
            `from_logits=True`); `"categorical"` for a softmax over the last axis.
        from_logits: Whether `y_pred` holds scores instead of probabilities.
        divergence_reduction: `"mean"`, or `"sum"` to weigh each pair's divergence with the number
            of pairs: with the default reduction the loss then is the mean base loss plus
            alpha / 4 times the *sum* of the divergence over the pairs of the batch, whose weight
            grows with the batch size.
        reduction: As in `keras.losses.Loss`; the default is the mean over the batch.
        name: Name of the loss.
        dtype: Dtype of the computation. Half precision means float32, also in what is returned.

    Call arguments:
        y_true: Labels, as the base loss takes them; equal in both rows of a pair.
        y_pred: Outputs, shape `(2 * num_samples, ..., num_labels)`.
        sample_weight: Weights, shape `(2 * num_samples,)`, `(2 * num_samples, 1)` or that of the
            base loss's values.

    Returns:
        A scalar, or the values of shape `(2 * num_samples, ...)` where `reduction=None`.

    Raises:
        ValueError: If an argument is out of range, if the arguments contradict each other (a
            multi-label cross-entropy with `from_logits=False`, a base loss whose own
            `from_logits` differs, a categorical loss with `divergence="bernoulli"`), if the batch
            is odd, if a pair is torn, if labels are not what the base loss is made for, or if
            outputs lie outside [0, 1] where `from_logits=False`. Inside a TensorFlow graph all but
            the first two are `tf.errors.InvalidArgumentError`. Under XLA, on JAX and on
            accelerators, what only values tell makes the loss NaN, with a gradient of 0.

    Example:
        >>> import keras, numpy as np
        >>> from keras_mlc.data import repeat_pairs
        >>> from keras_mlc.losses import RDropLoss
        >>> layers = [keras.Input((8,)), keras.layers.Dropout(0.3), keras.layers.Dense(5)]
        >>> model = keras.Sequential(layers)
        >>> model.compile("adam", RDropLoss(from_logits=True))
        >>> x, y = repeat_pairs((np.random.rand(4, 8), np.eye(5)[[0, 1, 2, 3]]))
        >>> history = model.fit(x, y, batch_size=4, shuffle=False, verbose=0)

    Reference:
        - [Liang et al., R-Drop: Regularized Dropout for Neural Networks,
          2021](https://arxiv.org/abs/2106.14448)
    """

    def __init__(
        self,
        loss: Any = "binary_crossentropy",
        alpha: float = 4.0,
        divergence: Literal["bernoulli", "categorical"] = "bernoulli",
        from_logits: bool = False,
        divergence_reduction: Literal["mean", "sum"] = "mean",
        reduction: Reduction = "sum_over_batch_size",
        name: str = "r_drop_loss",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.alpha = number("alpha", alpha, 0)
        self.divergence = one_of("divergence", divergence, ("bernoulli", "categorical"))
        self.from_logits = boolean("from_logits", from_logits)
        self.divergence_reduction = one_of(
            "divergence_reduction", divergence_reduction, ("mean", "sum")
        )
        base = _resolve(loss, self.from_logits)
        self.loss = loss if isinstance(loss, str) else base
        self._base, self._function = base, bases.function_of(base)
        self._row_values = _row_values(base, self._function, self.from_logits, self.divergence)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each row."""
        y_true = dense_labels(y_true, indices=self._function not in bases.DENSE)
        y_pred = widened(floating("y_pred", y_pred))
        if y_pred.shape[-1:] == (1,) and len(y_true.shape) == len(y_pred.shape) - 1:
            y_true = ops.expand_dims(y_true, axis=-1)
        check = Check()
        y_true = bases.checked_labels(check, self._base, y_true, y_pred)
        y_true, y_pred = _check_pairs(check, y_true, y_pred)
        if not self.from_logits and self._function is not asymmetric_loss:
            y_pred = check_probabilities(check, y_pred)
        rows = self._row_values(ops.cast(y_true, y_pred.dtype), y_pred)
        if len(rows.shape) != len(y_pred.shape) - 1:
            raise ValueError(
                "The base loss must return one value a row, of shape `y_pred.shape[:-1]`. "
                f"Received: y_pred.shape={tuple(y_pred.shape)}, and values of shape "
                f"{tuple(rows.shape)} from loss={self.loss!r}"
            )
        p, q = ops.unstack(_pair(y_pred), num=2, axis=1)
        divergence = symmetric_divergence_of(p, q, self.divergence, self.from_logits)
        if self.divergence_reduction == "sum":
            divergence *= ops.cast(ops.size(divergence), divergence.dtype)
        values = _pair(rows) + self.alpha / 4.0 * ops.expand_dims(divergence, axis=1)
        values = ops.reshape(values, ops.shape(rows))
        if self._function in bases.OURS:  # Bad labels have made these rows NaN.
            check.found(ops.logical_not(ops.any(ops.isnan(rows))))
        return check.mark(values)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        is_name = isinstance(self.loss, str)
        return {
            "loss": self.loss if is_name else keras.saving.serialize_keras_object(self.loss),
            "alpha": self.alpha,
            "divergence": self.divergence,
            "from_logits": self.from_logits,
            "divergence_reduction": self.divergence_reduction,
            **super().get_config(),
        }


def _pair(rows: Tensor) -> Tensor:
    """Reshape (2 * num_pairs, ...) to (num_pairs, 2, ...)."""
    return ops.reshape(rows, (-1, 2, *ops.shape(rows)[1:]))


def _check_pairs(check: Check, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    """Return both tensors, unless the batch is odd or a pair is torn."""
    shapes = f"y_true.shape={tuple(y_true.shape)}, y_pred.shape={tuple(y_pred.shape)}"
    if len(y_pred.shape) < 2 or len(y_true.shape) < 1 or y_pred.shape[-1] == 0:
        raise ValueError(
            "`y_pred` must have the shape (2 * num_samples, ..., num_labels), with at least one "
            f"label, and `y_true` as many rows. Received: {shapes}"
        )
    odd = (
        "`RDropLoss` needs an even batch, every sample twice in adjacent rows, as "
        "`keras_mlc.data.repeat_pairs` makes it, and an even batch size. Received: "
    )
    torn = (
        "`RDropLoss` needs every sample twice in adjacent rows. Received a pair whose labels "
        "differ: pass `shuffle=False` to `fit`, and the data through "
        "`keras_mlc.data.repeat_pairs`, validation data too."
    )
    if any((x.shape[0] or 0) % 2 for x in (y_true, y_pred)):
        raise ValueError(odd + shapes)
    if y_pred.shape[0] is None and is_in_graph(y_pred):
        is_even = ops.equal(ops.shape(y_pred)[0] % 2, 0)
        y_true = _asserted(is_even, odd + "an odd batch", y_true)
    first, second = ops.unstack(_pair(y_true), num=2, axis=1)
    is_same = ops.equal(first, second)
    if is_float(y_true):  # That labels are NaN is not what the error would say.
        is_nan = ops.logical_and(ops.isnan(first), ops.isnan(second))
        is_same = ops.logical_or(is_same, is_nan)
    is_intact = ops.all(is_same)
    is_seen_intact = concrete_value(is_intact)
    if is_seen_intact is None:
        check.found(is_intact)
        return y_true, _asserted(is_intact, torn, y_pred)
    if not is_seen_intact:
        raise ValueError(torn)
    return y_true, y_pred


def _asserted(condition: Tensor, message: str, tensor: Tensor) -> Tensor:
    """Return `tensor`, which graphs of TensorFlow compute only where the condition holds."""
    if not is_in_graph(tensor):
        return tensor
    from keras_mlc._missing_ops_tensorflow import after_assert

    return after_assert(condition, message, tensor)


def _resolve(loss: Any, from_logits: bool) -> Any:
    """Return a function or a `keras.losses.Loss`; one made from a name follows `from_logits`."""
    base = keras.losses.get(loss)
    if base is None:
        raise ValueError(f"`loss` must be a loss. Received: loss={loss!r}")
    is_made_here = isinstance(loss, str) or inspect.isclass(loss)
    if is_made_here and isinstance(base, keras.losses.Loss):
        config = base.get_config()
        if "from_logits" in config:
            return type(base).from_config({**config, "from_logits": from_logits})
    return base


def _row_values(
    base: Any, function: Any, from_logits: bool, divergence: str
) -> Callable[..., Tensor]:
    """Return the function of the base loss's values, if the arguments go together."""
    is_loss = isinstance(base, keras.losses.Loss)
    received = f"Received: loss={base!r}, divergence={divergence!r}, from_logits={from_logits}"
    if isinstance(base, RDropLoss):
        raise ValueError(
            f"`loss` is a `RDropLoss` already, whose divergence would count twice. {received}"
        )
    if isinstance(base, GradientPenaltyLoss):
        raise ValueError(
            "`RDropLoss` uses values before the reduction, where there is no gradient penalty yet. "
            f"Nest them the other way: `GradientPenaltyLoss(RDropLoss(...), ...)`. {received}"
        )
    if function in bases.MULTILABEL:
        if not from_logits:
            raise ValueError(
                "A multi-label categorical cross-entropy takes scores: pass `from_logits=True` "
                f"and give the model's last layer no activation. {received}"
            )
    elif function in bases.CATEGORICAL and divergence == "bernoulli":
        raise ValueError(
            'A categorical loss needs `divergence="categorical"`; "bernoulli" is for '
            f"independent labels. {received}"
        )
    fixed = bases.settings_of(base)
    if "from_logits" in fixed and fixed["from_logits"] != from_logits:
        raise ValueError(
            f"The base loss has `from_logits={fixed['from_logits']}`: build it with "
            f"`from_logits={from_logits}`, or pass `from_logits={fixed['from_logits']}` to "
            f"`RDropLoss`. {received}"
        )
    if is_loss:
        return base.call
    if "from_logits" in inspect.signature(base).parameters:
        return functools.partial(base, from_logits=from_logits)
    return base
