"""Fit σ(a·s + b) to labels, by Newton's method."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_mlc.layers._held_out import HeldOut

SMALLEST_SLOPE = 0.01
"""The least a, for scores with a standard deviation of 1."""
ELEMENTS_AT_ONCE = 2**20


def fit(data: HeldOut, per_label: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return a and b: of one label after another, or as arrays of one number for all labels."""
    total, positives, mean, deviation = _moments(data, per_label)
    negatives = total - positives
    if not per_label and not (positives[0] > 0 and negatives[0] > 0):
        raise ValueError(
            "`y_true` must have labels of both kinds, true ones and others, or there is nothing to "
            f"fit. Received: {positives[0]:g} true of {total[0]:g}"
        )
    # Platt's targets: fits stay finite where scores part the labels without a mistake.
    high, low = (positives + 1) / (positives + 2), 1 / (negatives + 2)
    # The problem with scores of mean 0 and deviation 1; x is (2, L): slopes and offsets.
    x = np.stack([np.ones_like(total), np.log((positives + 1) / (negatives + 1))])

    def cost(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the cost (L,), its gradient (2, L) and its second derivatives (3, L)."""
        sums = np.zeros((6, len(total)))
        for scores, labels, weights in _blocks(data, per_label):
            z = (scores - mean) / deviation
            logits = x[0] * z + x[1]
            targets = labels * high + (1 - labels) * low
            near = np.exp(-np.abs(logits))
            probabilities = np.where(logits >= 0, 1.0, near) / (1 + near)
            costs = np.maximum(logits, 0) - logits * targets + np.log1p(near)
            errors, curvature = probabilities - targets, near / (1 + near) ** 2
            parts = costs, errors * z, errors, curvature * z * z, curvature * z, curvature
            sums += [(weights * part).sum(axis=0) for part in parts]
        return sums[0], sums[1:3], sums[3:]

    x = _minimum(cost, x)
    slopes = x[0] / deviation
    offsets = x[1] - slopes * mean
    unknown = total == 0
    if unknown.any():  # Nobody has checked such a label: it takes what fits all of them.
        slope, offset = fit(data, per_label=False)
        slopes, offsets = np.where(unknown, slope, slopes), np.where(unknown, offset, offsets)
    return slopes, offsets


def _minimum(cost: Any, x: np.ndarray) -> np.ndarray:
    """Return where L convex costs of a slope and an offset are lowest, with slopes large enough."""
    value, gradient, second = cost(x)
    for _ in range(100):
        at_bound = (x[0] <= SMALLEST_SLOPE) & (gradient[0] > 0)
        ridge = 1e-10 * (second[0] + second[2]) + 1e-300
        a, b, c = second[0] + ridge, np.where(at_bound, 0.0, second[1]), second[2] + ridge
        slope, offset = np.where(at_bound, 0.0, gradient[0]), gradient[1]
        determinant = np.maximum(a * c - b * b, 1e-300)
        step = -np.stack([c * slope - b * offset, a * offset - b * slope]) / determinant
        moving = np.abs(step).max(axis=0) > 1e-10 * (1 + np.abs(x).max(axis=0))
        if not moving.any():
            break
        length = np.where(moving, 1.0, 0.0)
        for _ in range(40):  # Halve the steps of those whose cost does not fall.
            trial = x + length * step
            trial[0] = np.maximum(trial[0], SMALLEST_SLOPE)
            found = cost(trial)
            promised = (gradient * (trial - x)).sum(axis=0)
            falls = found[0] <= value + 1e-4 * np.minimum(promised, 0) + 1e-13 * np.abs(value)
            if falls.all():
                break
            length = np.where(falls, length, length / 2)
        x, (value, gradient, second) = trial, found
    return x


def _moments(data: HeldOut, per_label: bool) -> Any:
    """Return, over the known labels: weight, weight of positives, mean and deviation of scores."""
    width = data.scores.shape[1] if per_label else 1
    sums, squares = np.zeros((3, width)), np.zeros(width)
    for scores, labels, weights in _blocks(data, per_label):
        parts = np.ones_like(scores), labels, scores
        sums += [(weights * part).sum(axis=0) for part in parts]
    total, positives, score_sum = sums
    mean = score_sum / np.where(total > 0, total, 1.0)
    for scores, _, weights in _blocks(data, per_label):
        squares += (weights * (scores - mean) ** 2).sum(axis=0)
    deviation = np.sqrt(squares / np.where(total > 0, total, 1.0))
    return total, positives, mean, np.where(deviation > 1e-12 * np.abs(mean), deviation, 1.0)


def _blocks(data: HeldOut, per_label: bool) -> Iterator[Any]:
    """Yield scores, labels and weights of some rows, in float64; unknown labels weigh 0."""
    rows, num_labels = data.scores.shape
    size = max(1, ELEMENTS_AT_ONCE // num_labels)
    for first in range(0, rows, size):
        part = slice(first, first + size)
        labels = data.labels[part].astype("float64")
        weights = np.ones_like(labels)
        if data.weights is not None:
            weights *= data.weights[part, None]
        known = data.known(labels)
        if known is not None:
            labels, weights = np.where(known, labels, 0.0), weights * known
        block = data.scores[part].astype("float64"), labels, weights
        yield block if per_label else tuple(array.reshape(-1, 1) for array in block)
