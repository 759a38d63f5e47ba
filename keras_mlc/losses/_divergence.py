"""Kullback-Leibler divergences between the outputs of a model."""

import keras
from keras import ops

from keras_mlc._typing import Tensor
from keras_mlc.losses._log_sum_exp import finite


def divergence_of(p: Tensor, q: Tensor, divergence: str, from_logits: bool) -> Tensor:
    """Return `KL(p || q)`, summed over the last axis.

    Args:
        p: Scores or probabilities, shape `(..., num_labels)`, in float32 or wider.
        q: Others, of the same shape.
        divergence: `"bernoulli"`, one distribution per label, or `"categorical"`, one over labels.
        from_logits: Whether these are scores. Probabilities must lie in [0, 1]: see
            `keras_mlc._labels.check_probabilities`.
    """
    (p, log_p), (q, log_q) = (_distribution(each, divergence, from_logits) for each in (p, q))
    values = p * (log_p - log_q)
    if divergence == "bernoulli":  # These are log-odds: log p = log_p - softplus(log_p).
        values = values + ops.softplus(log_q) - ops.softplus(log_p)
    return ops.sum(values, axis=-1)


def symmetric_divergence_of(p: Tensor, q: Tensor, divergence: str, from_logits: bool) -> Tensor:
    """Return `KL(p || q) + KL(q || p)`: see `divergence_of`. Normalizers cancel."""
    (p, log_p), (q, log_q) = (_distribution(each, divergence, from_logits) for each in (p, q))
    return ops.sum((p - q) * (log_p - log_q), axis=-1)


def _distribution(outputs: Tensor, divergence: str, from_logits: bool) -> tuple[Tensor, Tensor]:
    """Return probabilities, and their logarithms, or for single labels their log-odds."""
    if not from_logits:
        epsilon = keras.config.epsilon()
        p = ops.clip(outputs, epsilon, 1.0 - epsilon)
        log_p = ops.log(p)
        return p, log_p if divergence == "categorical" else log_p - ops.log1p(-p)
    outputs = finite(outputs)  # Of two infinite scores there is no difference.
    if divergence == "categorical":
        return ops.softmax(outputs), ops.log_softmax(outputs)
    return ops.sigmoid(outputs), outputs
