"""The asymmetric loss: binary cross-entropy that looks away from what is easy."""

from typing import Any

import keras
from keras import ops

from keras_mlc._labels import (
    UNKNOWN,
    Check,
    check_labels,
    check_probabilities,
    dense_labels,
    same_shape,
    scores_of_labels,
)
from keras_mlc._typing import Reduction, Tensor
from keras_mlc._validation import boolean, missing_value, number
from keras_mlc.losses._activation import warn_of_activation
from keras_mlc.losses._log_sum_exp import finite
from keras_mlc.losses._row_loss import RowLoss


@keras.saving.register_keras_serializable(package="keras_mlc")
def asymmetric_loss(
    y_true: Tensor,
    y_pred: Tensor,
    gamma_negative: float = 4.0,
    gamma_positive: float = 1.0,
    clip: float = 0.05,
    from_logits: bool = False,
    missing_label: float | None = None,
) -> Tensor:
    """Binary cross-entropy with focusing weights of its own for targets and for other labels.

    `sum(t * (1 - p)**gamma_positive * -log(p) + (1 - t) * q**gamma_negative * -log(1 - q))` over
    the last axis, with p the probabilities, `q = max(p - clip, 0)`, and t the labels. What is no
    target and has a probability below `clip` costs nothing, and the less it costs the nearer it
    is to that, so that thousands of easy labels do not drown the few targets. The focusing weights
    are differentiated like the rest, as the published formula is.

    It is a *sum* over the labels, as published. With both gammas and `clip` at 0 it is the number
    of labels times the binary cross-entropy.

    Value and gradient are exact and finite from logits of any size in half precision, which are
    computed, and returned, in float32. Probabilities are kept `keras.config.epsilon()` away from 0
    and 1, as Keras does it; from logits nothing is lost.

    Args:
        y_true: Labels, shape `(..., num_labels)`: bool, integer or float. Values between 0 and 1
            are soft labels. Sparse matrices of SciPy or of the backend are taken as well.
        y_pred: Probabilities, or scores with `from_logits=True`, of the same shape.
        gamma_negative: Exponent for labels that are no target, 0 or more.
        gamma_positive: Exponent for targets, 0 or more; below the other one where targets are
            rare.
        clip: By how much the probability of a label that is no target is lowered, in [0, 1).
        from_logits: Whether `y_pred` holds scores instead of probabilities.
        missing_label: A number outside [0, 1], such as -1, that stands for a label of which
            nothing is known. It costs 0 and gets no gradient.

    Returns:
        The loss of each sample, shape `(...)`.

    Raises:
        ValueError: If the shapes differ, there is no label, the predictions are integers, an
            argument is out of range, a label lies outside [0, 1], or a probability does. In
            TensorFlow graphs the last two are `tf.errors.InvalidArgumentError`. Under XLA, on JAX
            and on accelerators, where looking would stall every step, they make the loss of the
            batch NaN, with a gradient of 0.

    Example:
        >>> import numpy as np
        >>> from keras_mlc.losses import asymmetric_loss
        >>> y_true = np.array([[1, 0, 1], [0, 0, 0]])
        >>> y_pred = np.array([[0.9, 0.3, 0.5], [0.05, 0.5, 0.01]])
        >>> [round(float(row), 4) for row in asymmetric_loss(y_true, y_pred)]
        [0.3582, 0.0245]

    Reference:
        - [Ridnik et al., Asymmetric Loss For Multi-Label Classification,
          2021](https://arxiv.org/abs/2009.14119)
    """
    if boolean("from_logits", from_logits):
        warn_of_activation(y_pred, "asymmetric_loss")
    return _values(
        y_true,
        y_pred,
        number("gamma_negative", gamma_negative, 0),
        number("gamma_positive", gamma_positive, 0),
        number("clip", clip, 0, 1),
        from_logits,
        missing_value(missing_label),
    )


def _values(
    y_true: Tensor,
    y_pred: Tensor,
    gamma_negative: float,
    gamma_positive: float,
    clip: float,
    from_logits: bool,
    missing_label: float | None,
) -> Tensor:
    y_true, y_pred = dense_labels(y_true), scores_of_labels(y_pred)
    y_true = same_shape(y_true, y_pred)
    check = Check()
    targets, known = check_labels(check, y_true, missing_label, UNKNOWN)
    targets = ops.cast(targets, y_pred.dtype)
    others = (1.0 if known is None else ops.cast(known, y_pred.dtype)) - targets
    if from_logits:
        y_pred = finite(y_pred)  # An infinite loss would have no product with 0.
        p, log_p, log_not_p = ops.sigmoid(y_pred), -ops.softplus(-y_pred), -ops.softplus(y_pred)
    else:
        epsilon = keras.config.epsilon()
        p = ops.clip(check_probabilities(check, y_pred), epsilon, 1.0 - epsilon)
        log_p, log_not_p = ops.log(p), ops.log1p(-p)
    positive = -log_p
    if gamma_positive:
        positive = ops.exp(gamma_positive * log_not_p) * positive
    if clip:
        negative = _clipped(p, log_not_p, gamma_negative, clip)
    else:
        negative = -log_not_p
        if gamma_negative:
            negative = ops.exp(gamma_negative * log_p) * negative
    return check.mark(ops.sum(targets * positive + others * negative, axis=-1))


def _clipped(p: Tensor, log_not_p: Tensor, gamma: float, clip: float) -> Tensor:
    """Return `q**gamma * -log(1 - q)` with `q = max(p - clip, 0)`."""
    is_easy = p <= clip
    q = ops.where(is_easy, 0.5, p - clip)  # A power has no finite derivative at 0.
    if clip >= 0.01:
        value = -ops.log1p(-q)
    else:  # Of 1 - q, where q is near 1, the other probability has more digits.
        is_high = q > 0.5
        low = ops.log1p(-ops.where(is_high, 0.5, q))
        value = -ops.where(is_high, ops.log(ops.exp(log_not_p) + clip), low)
    if gamma == 4:  # The default, for which a power takes several times as long.
        value = ops.square(ops.square(q)) * value
    elif gamma:
        value = ops.power(q, gamma) * value
    return ops.where(is_easy, 0.0, value)


@keras.saving.register_keras_serializable(package="keras_mlc")
class AsymmetricLoss(RowLoss):
    """Binary cross-entropy with focusing weights of its own for targets and for other labels.

    `sum(t * (1 - p)**gamma_positive * -log(p) + (1 - t) * q**gamma_negative * -log(1 - q))` over
    the last axis, with p the probabilities, `q = max(p - clip, 0)`, and t the labels: see
    `keras_mlc.losses.asymmetric_loss`, which computes the values that this class weighs and
    reduces. It is a sum over the labels, as published, where a binary cross-entropy is a mean.

    Args:
        gamma_negative: Exponent for labels that are no target, 0 or more.
        gamma_positive: Exponent for targets, 0 or more.
        clip: By how much the probability of a label that is no target is lowered, in [0, 1).
        from_logits: Whether `y_pred` holds scores instead of probabilities.
        missing_label: A number outside [0, 1], such as -1, that stands for a label of which
            nothing is known.
        reduction: As in `keras.losses.Loss`; the default is the mean over the batch.
        name: Name of the loss.
        dtype: Dtype of the computation. Half precision means float32, also in what is returned.

    Call arguments:
        y_true: Labels from 0 to 1, or `missing_label`, shape `(..., num_labels)`.
        y_pred: Probabilities or scores, shape `(..., num_labels)`.
        sample_weight: Weights, shape `(...)`, `(batch,)` or `(batch, 1)`.

    Returns:
        A scalar, or one value a sample where `reduction=None`.

    Raises:
        ValueError: As the function does, and where `sample_weight` has another shape.

    Example:
        >>> import keras, numpy as np
        >>> from keras_mlc.losses import AsymmetricLoss
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(5)])
        >>> model.compile("adam", AsymmetricLoss(from_logits=True, missing_label=-1))
        >>> x, y = np.ones((2, 8)), np.array([[1, 0, -1, 0, 0], [-1, -1, 1, 0, 1]])
        >>> history = model.fit(x, y, verbose=0)

    Reference:
        - [Ridnik et al., Asymmetric Loss For Multi-Label Classification,
          2021](https://arxiv.org/abs/2009.14119)
    """

    def __init__(
        self,
        gamma_negative: float = 4.0,
        gamma_positive: float = 1.0,
        clip: float = 0.05,
        from_logits: bool = False,
        missing_label: float | None = None,
        reduction: Reduction = "sum_over_batch_size",
        name: str = "asymmetric_loss",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.gamma_negative = number("gamma_negative", gamma_negative, 0)
        self.gamma_positive = number("gamma_positive", gamma_positive, 0)
        self.clip = number("clip", clip, 0, 1)
        self.from_logits = boolean("from_logits", from_logits)
        self.missing_label = missing_value(missing_label)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss of each sample."""
        return _values(
            y_true,
            y_pred,
            self.gamma_negative,
            self.gamma_positive,
            self.clip,
            self.from_logits,
            self.missing_label,
        )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {
            "gamma_negative": self.gamma_negative,
            "gamma_positive": self.gamma_positive,
            "clip": self.clip,
            "from_logits": self.from_logits,
            "missing_label": self.missing_label,
            **super().get_config(),
        }
