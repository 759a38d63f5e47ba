"""What a piece gains over its control, with paired bootstrap intervals over the test rows.

Both rows are scored on the same drawn texts, so what makes a text hard for either does not count:
Koehn, Statistical Significance Tests for Machine Translation Evaluation, EMNLP 2004.
"""

import base64
import functools
import zlib

import numpy as np

CONTROLS = {
    "sigmoid": "tfidf",
    "multilabel_crossentropy": "sigmoid",
    "gradient_penalty": "multilabel_crossentropy",
    "fgm": "multilabel_crossentropy",
    "attention": "sigmoid",
    "bilstm_sigmoid": "sigmoid",
    "bilstm_multilabel_crossentropy": "multilabel_crossentropy",
    "bilstm_attention": "bilstm_sigmoid",
    "text_cnn": "sigmoid",
    "r_drop": "sigmoid",
}
"""For each row, the row that has all but its piece; for the plain one, the thing to beat."""
DRAWS = 2000
BLOCK = 10_000_000  # cells of a block of draws: 80 MB
LEVEL = 95
TRUE, AT_ZERO, TUNED = 1, 2, 4


def packed(truth, at_zero, tuned=None):
    """Keep (N, C) labels and predictions, each of 0 and 1, as a string, and its shape."""
    cells = truth * TRUE + at_zero * AT_ZERO + (0 if tuned is None else tuned * TUNED)
    content = base64.b64encode(zlib.compress(cells.astype("uint8").tobytes(), 9)).decode()
    return {"shape": list(truth.shape), "cells": content, "tuned": tuned is not None}


def unpacked(predictions, which):
    """Return (N, C) labels and predictions, as booleans; `which` is `AT_ZERO` or `TUNED`."""
    cells = np.frombuffer(zlib.decompress(base64.b64decode(predictions["cells"])), "uint8")
    cells = cells.reshape(predictions["shape"])
    return cells & TRUE > 0, cells & which > 0


def f1(right, either):
    """Micro and macro F1 of each draw; a label that is neither given nor true counts as 0."""
    each = np.divide(2 * right, either, out=np.zeros_like(either), where=either > 0)
    return np.stack([2 * right.sum(1) / np.maximum(either.sum(1), 1), each.mean(1)])


def draws(texts):
    """Yield blocks of how often each draw has each text, (B, N); first the texts as they are."""
    yield np.ones((1, texts))
    random = np.random.default_rng(0)
    block = max(1, BLOCK // texts)
    for start in range(0, DRAWS, block):
        drawn = random.multinomial(texts, np.full(texts, 1 / texts), min(block, DRAWS - start))
        yield drawn.astype("float64")


@functools.lru_cache(maxsize=1000)
def drawn_f1(cells, shape, which):
    """Micro and macro F1 of predictions in each draw, the same draws for each row, (2, R)."""
    truth, given = unpacked({"cells": cells, "shape": shape}, which)
    right, either = (truth & given).astype("float64"), truth.astype("float64") + given
    found = [f1(drawn @ right, drawn @ either) for drawn in draws(len(truth))]
    return np.concatenate(found, axis=1)


def gain(runs, controls, which):
    """Return the mean gain in micro and in macro F1 over seeds, and the ends of its intervals.

    Args:
        runs, controls: the runs of a row and of its control. Those of the same seed are compared; a
            control without seeds is compared with each.
        which: `AT_ZERO` or `TUNED`.

    Returns:
        An array of (gain, low, high) for micro and macro F1, and the number of seeds; None where
        no two runs can be compared.
    """
    others = {run["seed"]: run for run in controls}
    if controls and controls[0]["row"] == "tfidf":
        others = {run["seed"]: controls[0] for run in runs}
    pairs = [(run, others[run["seed"]]) for run in runs if run["seed"] in others]
    pairs = [pair for pair in pairs if comparable(*pair, which)]
    if not pairs:
        return None
    predictions = [[each["predictions"] for each in pair] for pair in pairs]
    scored = [
        [drawn_f1(each["cells"], tuple(each["shape"]), which) for each in pair]
        for pair in predictions
    ]
    gains = np.mean([own - control for own, control in scored], axis=0)
    ends = np.percentile(gains[:, 1:], [50 - LEVEL / 2, 50 + LEVEL / 2], axis=1)
    return np.stack([gains[:, 0], *ends], axis=1), len(pairs)


def comparable(run, control, which):
    """Whether two runs have such predictions for the same texts."""
    both = [each.get("predictions") for each in (run, control)]
    if not all(both) or (which == TUNED and not all(each["tuned"] for each in both)):
        return False
    one, other = (unpacked(each, which)[0] for each in both)
    return one.shape == other.shape and bool((one == other).all())
