import numpy as np
import pytest
from keras import ops

import reference
from backends import (
    EXACT_FLOAT64,
    FASTEST_MODE,
    MODES,
    compiled,
    exact_jax,
    to_numpy,
    value_and_gradient,
)
from keras_mlc.losses._divergence import divergence_of, symmetric_divergence_of

RNG = np.random.default_rng(0)
P, Q = RNG.normal(0, 2, (2, 3, 2, 5))
KINDS = [("bernoulli", False), ("bernoulli", True), ("categorical", False), ("categorical", True)]


def outputs_of(logits, divergence, from_logits):
    if from_logits:
        return logits
    e = np.exp(logits)
    return e / (1 + e) if divergence == "bernoulli" else e / e.sum(axis=-1, keepdims=True)


def naive(p, q, divergence, from_logits):
    if from_logits:
        p, q = (outputs_of(each, divergence, False) for each in (p, q))
    values = p * np.log(p / q)
    if divergence == "bernoulli":
        values = values + (1 - p) * np.log((1 - p) / (1 - q))
    return values.sum(axis=-1)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("divergence", "from_logits"), KINDS)
@exact_jax()
def test_values_and_gradients(divergence, from_logits, mode):
    p, q = (outputs_of(each, divergence, from_logits) for each in (P, Q))

    def both(p, q):
        one = divergence_of(p, q, divergence, from_logits)
        return ops.stack([one, symmetric_divergence_of(p, q, divergence, from_logits)])

    one = naive(p, q, divergence, from_logits)
    expected = np.stack([one, one + naive(q, p, divergence, from_logits)])
    np.testing.assert_allclose(to_numpy(compiled(both, mode)(p, q)), expected, 1e-6)
    _, actual = value_and_gradient(lambda q: both(p, q)[0], q, mode)
    gradient = reference.finite_differences(
        lambda q: naive(p, q, divergence, from_logits).sum(), q, step=1e-6
    )
    tolerance = 1e-5 if EXACT_FLOAT64 else 1e-4
    np.testing.assert_allclose(to_numpy(actual), gradient, rtol=tolerance, atol=tolerance / 100)


@pytest.mark.parametrize(("divergence", "from_logits"), KINDS)
def test_what_is_equal_does_not_diverge(divergence, from_logits):
    """Scores that are masked out and certain probabilities included."""
    logits = np.concatenate([P, np.full((3, 2, 1), -np.inf)], axis=-1).astype("float32")
    p = outputs_of(logits, divergence, from_logits)
    for function in (divergence_of, symmetric_divergence_of):
        value, gradient = value_and_gradient(
            lambda q, function=function: function(p, q, divergence, from_logits), p, FASTEST_MODE
        )
        np.testing.assert_allclose(to_numpy(value), 0, atol=1e-6)
        assert np.isfinite(to_numpy(gradient)).all()
