"""Fit σ(a·s + b) to labels, by Newton's method."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from keras_mlc.layers._held_out import HeldOut

SMALLEST_SLOPE = 0.01
"""The least a, for scores with a standard deviation of 1."""
LARGEST_SCORE = 1e150
"""The squares of larger ones would be infinite."""
ELEMENTS_AT_ONCE = 2**16
"""What a processor's cache holds."""
ELEMENTS_WITHOUT_A_START = 2**20
"""Of more, a part of the rows is fitted first: then few passes go over all of them."""


def fit(data: HeldOut, per_label: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return a and b: of one label after another, or as arrays of one number for all labels."""
    positives, negatives, slopes, offsets = _fit(data, per_label)
    if not per_label and not (positives > 0 and negatives > 0):
        raise ValueError(
            "`y_true` must have labels of both kinds, true ones and others, or there is nothing to "
            f"fit. Received: {positives:g} true of {positives + negatives:g}"
        )
    unknown = positives + negatives == 0
    if unknown.any():  # Nobody has checked such a label: it takes what fits all of them.
        slope, offset = fit(data, per_label=False)
        slopes, offsets = np.where(unknown, slope, slopes), np.where(unknown, offset, offsets)
    return np.atleast_1d(slopes), np.atleast_1d(offsets)


def _fit(data: HeldOut, per_label: bool) -> Any:
    """Return weight of positives, weight of negatives, a, b: (L,), or () for all labels."""

    def sums(terms: Callable[..., Any]) -> np.ndarray:
        return _sums(data, per_label, terms)

    positives, negatives, mean = sums(lambda s, y, w: [(w, y), (w, 1 - y), (w, s)])
    divisor = np.where(positives + negatives > 0, positives + negatives, 1.0)
    mean /= divisor
    first, of_positives, second = sums(
        lambda s, y, w: [(w, s - mean), (w, y, s - mean), (w, s - mean, s - mean)]
    )
    deviation = np.sqrt(second / divisor)
    # Of equal scores every slope fits: one that leaves what is added to a large score its digits.
    flat = np.maximum(1.0, 1e-4 * np.abs(mean))
    deviation = np.where(deviation > 1e-12 * np.abs(mean), deviation, flat)
    # Platt's targets: fits stay finite where scores part the labels without a mistake.
    high, low = (positives + 1) / (positives + 2), 1 / (negatives + 2)
    of_scores = (low * first + (high - low) * of_positives) / deviation
    goal = of_scores, low * negatives + high * positives

    def derivatives(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the gradient (2, L) and the second derivatives (3, L) of the cost."""

        def terms(s: np.ndarray, _: np.ndarray, weights: np.ndarray) -> Any:
            z = (s - mean) / deviation
            p = 1 / (1 + np.exp(-x[0] * z - x[1]))
            curvature = weights * (p - p * p)
            bent = curvature * z
            return (weights, p, z), (weights, p), (bent, z), (bent,), (curvature,)

        found = sums(terms)
        return found[:2] - goal, found[2:]

    # The problem has scores of mean 0 and deviation 1; x is (2, L): slopes and offsets.
    x = np.stack([np.ones_like(mean), np.log((positives + 1) / (negatives + 1))])
    if data.scores.size > ELEMENTS_WITHOUT_A_START and len(data.scores) >= 16:
        weights = None if data.weights is None else data.weights[::16]
        part = replace(data, scores=data.scores[::16], labels=data.labels[::16], weights=weights)
        *_, slopes, offsets = _fit(part, per_label)
        start = np.stack([slopes * deviation, offsets + slopes * mean])
        x = np.where(np.abs(start).max(axis=0) < 1e3, start, x)  # The part may lack outliers.
    with np.errstate(over="ignore"):
        x = _minimum(derivatives, x)
        slopes = np.minimum(x[0] / deviation, np.finfo(data.scores.dtype).max)
    return positives, negatives, slopes, x[1] - slopes * mean


def _minimum(derivatives: Callable[[np.ndarray], Any], x: np.ndarray) -> np.ndarray:
    """Return where L convex costs of a slope and an offset are lowest, with slopes large enough."""

    def bounded(x: np.ndarray) -> np.ndarray:
        return np.stack([np.maximum(x[0], SMALLEST_SLOPE), x[1]])

    x = bounded(x)
    now = derivatives(x)
    for _ in range(100):
        gradient, second = now
        at_bound = (x[0] <= SMALLEST_SLOPE) & (gradient[0] > 0)
        ridge = 1e-10 * (second[0] + second[2]) + 1e-300
        a, b, c = second[0] + ridge, np.where(at_bound, 0.0, second[1]), second[2] + ridge
        slope, offset = np.where(at_bound, 0.0, gradient[0]), gradient[1]
        determinant = np.maximum(a * c - b * b, 1e-300)
        step = -np.stack([c * slope - b * offset, a * offset - b * slope]) / determinant
        is_last = np.abs(step).max(axis=0) <= 1e-7 * (1 + np.abs(x).max(axis=0))
        if is_last.all():
            return bounded(x + step)  # What is left is of the size of the step's square.
        length = np.ones_like(x[0])
        for _ in range(40):  # Halve the steps of those that go too far.
            trial = bounded(x + length * step)
            found = derivatives(trial)
            moved = trial - x
            squares = np.stack([moved[0] ** 2, 2 * moved[0] * moved[1], moved[1] ** 2])
            before, after = ((each[0] * moved).sum(axis=0) for each in (now, found))
            bend, bend_after = ((each[1] * squares).sum(axis=0) for each in (now, found))
            # A convex cost that still falls has fallen; one that rises must be bent as before.
            is_near = (after <= -before / 2) & (bend_after >= bend / 4)
            is_good = is_last | (after <= 0) | is_near
            if is_good.all():
                break
            length = np.where(is_good, length, length / 2)
        x, now = trial, found
    return x


def _sums(data: HeldOut, per_label: bool, terms: Callable[..., Any]) -> np.ndarray:
    """Return the sums, for each label or over all, of the products that `terms` lists.

    It is given scores, labels and weights of some rows, (n, C) in float64; unknown labels weigh 0.
    """
    rows, num_labels = data.scores.shape
    size = max(1, ELEMENTS_AT_ONCE // num_labels)
    ends, total = "->l" if per_label else "->", np.zeros(())
    for first in range(0, rows, size):
        part = slice(first, first + size)
        scores, labels = data.scores[part].astype("float64"), data.labels[part]
        scores = np.clip(scores, -LARGEST_SCORE, LARGEST_SCORE, out=scores)
        weights = np.float64(1) if data.weights is None else data.weights[part, None]
        if (known := data.known(labels)) is not None:
            weights = weights * known
        weights = np.broadcast_to(weights, labels.shape)
        products = terms(scores, labels.astype("float64"), weights)
        found = [np.einsum(",".join(["nl"] * len(each)) + ends, *each) for each in products]
        total = total + np.stack(found)
    return total
