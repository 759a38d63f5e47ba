"""The thresholds of the best F1, exactly: a sort, then one look at each candidate."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_mlc.layers._held_out import HeldOut

LABELS_AT_ONCE = 16
"""How many columns are copied at once, so that each is read in one piece."""


@dataclass
class Curve:
    """What the thresholds worth a look give, from the lowest to one above all scores.

    F1 grows with every positive that a lower threshold takes in and falls with everything else, so
    only thresholds just below a positive's score can be best. All are finite: below the lowest
    number of the dtype there is none.

    Attributes:
        thresholds: (K,), each midway between two scores that occur.
        hits: (K,) weight of the positives above each.
        predicted: (K,) weight of all rows above each.
        positives: Weight of all positives.
        count: Number of positives.
    """

    thresholds: np.ndarray
    hits: np.ndarray
    predicted: np.ndarray
    positives: float
    count: int

    def f1(self) -> np.ndarray:
        """Return F1 at each threshold."""
        total = self.predicted + self.positives
        return 2 * self.hits / np.where(total > 0, total, 1.0)

    def gain(self, f1: float) -> np.ndarray:
        """Return what each threshold adds to `2 TP - F (predicted + positives)`, up to a number."""
        return 2 * self.hits - f1 * self.predicted

    def best(self, objective: np.ndarray, preferred: float) -> int:
        """Return which threshold is best, of several the nearest to the preferred one."""
        highest = objective.max()
        best = np.flatnonzero(objective >= highest - 1e-12 * max(1.0, abs(highest)))
        return int(best[_nearest(self.thresholds[best], preferred)])


def best_thresholds(
    data: HeldOut, average: str | None, min_positives: int, shrinkage: float
) -> np.ndarray:
    """Return C thresholds: of each label's F1, of all labels' F1, or one for all labels."""
    whole = _common_curve(data)
    if not whole.count:
        raise ValueError(
            "`y_true` must have a label above 0.5 somewhere: without one every threshold is as "
            "good as any other."
        )
    common = float(whole.thresholds[whole.best(whole.f1(), 0.0)])
    thresholds = np.full(data.scores.shape[1], common)
    lowest = np.finfo(data.scores.dtype).min
    if average is None:
        return thresholds
    counts = np.zeros(len(thresholds))
    curves, hits, predicted, positives = {}, 0.0, 0.0, 0.0
    for label, (scores, positive, weights) in enumerate(_columns(data)):
        # Where all scores are the lowest number, no threshold does anything.
        counts[label] = positive.sum() * (scores.max(initial=lowest) > lowest)
        if counts[label] >= max(min_positives, 1):
            curve = curve_of(scores, positive, weights)
            if average == "macro":
                thresholds[label] = curve.thresholds[curve.best(curve.f1(), common)]
            else:
                curves[label] = curve
        elif average == "micro":  # The others are chosen knowing what these contribute.
            above = scores > common
            hits += _weight(positive & above, weights)
            predicted += _weight(above, weights)
            positives += _weight(positive, weights)
    if average == "micro":
        best = _best_together(curves, hits, predicted, positives, common)
        for label, place in best.items():
            thresholds[label] = curves[label].thresholds[place]
    if not shrinkage:
        return thresholds
    if average == "macro":
        common = _best_for_macro(data, common)
    counts[counts < min_positives] = 0
    share = counts / (counts + shrinkage)
    mean = share * thresholds + (1 - share) * common  # A difference of the two may be infinite.
    return np.clip(mean, np.minimum(thresholds, common), np.maximum(thresholds, common))


def _best_for_macro(data: HeldOut, preferred: float) -> float:
    """Return the one threshold of the best mean of all labels' F1.

    That mean is a step function of the threshold. On the way down each label's F1 changes at its
    own scores alone, so the changes of all labels are sorted together and added up.
    """
    scores, changes = [], []
    for column, positive, weights in _columns(data):
        if not positive.any():
            continue
        order = np.argsort(-column)
        weight = np.ones(len(column)) if weights is None else weights[order]
        hits = np.cumsum(weight * positive[order])
        f1 = 2 * hits / np.maximum(np.cumsum(weight) + hits[-1], np.finfo("float64").tiny)
        scores.append(column[order])
        changes.append(np.diff(f1, prepend=0.0))
    every = np.concatenate(scores)
    order = np.argsort(-every)
    ordered, mean = every[order], np.cumsum(np.concatenate(changes)[order])
    last = np.append(ordered[1:] < ordered[:-1], True)  # of equal scores
    ordered, mean = ordered[last], mean[last]
    mean[ordered == np.finfo(ordered.dtype).min] = -1.0  # Nothing lies below.
    best = np.flatnonzero(mean >= mean.max() - 1e-12 * max(1.0, mean.max()))
    ascending = ordered[::-1]
    thresholds = _midway(ascending, len(ordered) - 1 - best, ordered[best])
    return float(thresholds[_nearest(thresholds, preferred)])


def curve_of(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray | None) -> Curve:
    """Return the curve of N scores."""
    wanted = scores[positive]
    if weights is None:
        ordered, wanted = np.sort(scores), np.sort(wanted)
        above = np.arange(len(ordered), -1, -1, dtype="float64")
        hits_above = np.arange(len(wanted), -1, -1, dtype="float64")
    else:
        order, wanted_order = np.argsort(scores), np.argsort(wanted)
        above = _sums_from_the_top(weights[order])
        hits_above = _sums_from_the_top(weights[positive][wanted_order])
        ordered, wanted = scores[order], wanted[wanted_order]
    is_first = np.append(True, wanted[1:] != wanted[:-1])[: len(wanted)]
    first = np.flatnonzero(is_first & (wanted > np.finfo(wanted.dtype).min))
    upper = wanted[first]
    place = np.searchsorted(ordered, upper)
    return Curve(
        np.append(_midway(ordered, place, upper), _above(ordered[-1:])).astype(scores.dtype),
        np.append(hits_above[first], 0.0),
        np.append(above[place], 0.0),
        float(hits_above[0]),
        len(wanted),
    )


def _best_together(
    curves: dict[int, Curve], hits: float, predicted: float, positives: float, common: float
) -> dict[int, int]:
    """Return the best candidate of each curve for the F1 of all together (Dinkelbach, 1967).

    F1 is at least F where `2 TP - F (predicted + positives)` is at least 0, a sum over labels, of
    which each has its best threshold whatever the others do. F then rises to what these give.
    """
    positives += sum(curve.positives for curve in curves.values())
    f1, chosen = 0.0, {label: 0 for label in curves}
    while True:
        for label, curve in curves.items():
            chosen[label] = int(np.argmax(curve.gain(f1)))
        found = hits + sum(float(curve.hits[chosen[label]]) for label, curve in curves.items())
        above = sum(float(curve.predicted[chosen[label]]) for label, curve in curves.items())
        risen = 2 * found / (predicted + above + positives)
        if risen <= f1 * (1 + 1e-14):
            break
        f1 = risen
    return {label: curve.best(curve.gain(f1), common) for label, curve in curves.items()}


def _common_curve(data: HeldOut) -> Curve:
    """Return the curve of all labels' scores together."""
    scores, labels = data.scores.reshape(-1), data.labels.reshape(-1)
    weights = data.weights
    if weights is not None:
        weights = np.repeat(weights, data.scores.shape[1])
    return curve_of(*_known(data, scores, labels, weights))


def _columns(data: HeldOut) -> Iterator[Any]:
    """Yield scores, whether they are a positive's, and weights, of one label after another."""
    for first in range(0, data.scores.shape[1], LABELS_AT_ONCE):
        part = slice(first, first + LABELS_AT_ONCE)
        scores = np.ascontiguousarray(data.scores[:, part].T)
        labels = np.ascontiguousarray(data.labels[:, part].T)
        for column in zip(scores, labels, strict=True):
            yield _known(data, *column, data.weights)


def _known(data: HeldOut, scores: Any, labels: Any, weights: Any) -> Any:
    known = data.known(labels)
    if known is not None and not known.all():
        scores, labels = scores[known], labels[known]
        weights = None if weights is None else weights[known]
    return scores, labels > 0.5, weights


def _weight(rows: np.ndarray, weights: np.ndarray | None) -> float:
    return float(rows.sum() if weights is None else weights[rows].sum())


def _sums_from_the_top(weights: np.ndarray) -> np.ndarray:
    """Return the sum of the weights from each place on, and 0 behind the last."""
    return np.append(np.cumsum(weights[::-1])[::-1], 0.0)


def _midway(ordered: np.ndarray, place: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Return what lies midway between scores and the next lower ones."""
    lower = ordered[np.maximum(place - 1, 0)]
    middle = (upper.astype("float64") / 2 + lower.astype("float64") / 2).astype(ordered.dtype)
    # Where nothing lies between the two, or what a device takes for 0, the lower one parts them.
    between = (middle < upper) & (np.abs(middle) >= np.finfo(ordered.dtype).tiny)
    middle = np.where(between | (middle == 0) & (upper > 0), middle, lower)
    lowest = np.finfo(upper.dtype).min
    below = np.minimum(upper - 1, np.nextafter(upper, lowest))
    return np.where((place > 0) & (lower > lowest), middle, below)  # A fill is no neighbour.


def _above(highest: np.ndarray) -> np.ndarray:
    """Return what is not below any score: of the highest number, that number."""
    return np.maximum(highest + 1, np.nextafter(highest, np.finfo(highest.dtype).max))


def _nearest(thresholds: np.ndarray, preferred: float) -> int:
    return int(np.argmin(np.abs(thresholds / 2 - preferred / 2)))  # The halves do not overflow.
