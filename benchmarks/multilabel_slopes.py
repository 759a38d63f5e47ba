"""What are scores of the multi-label loss, where the probabilities of the labels are known?

A row has C labels with known probabilities p. The best scores for it are where the expected loss,
log(1 + Σ₋ e^s) + log(1 + Σ₊ e^-s), is lowest: where for every label

    e^(2s) = E[y / (1 + Σ₊ e^-s)] / E[(1 - y) / (1 + Σ₋ e^s)],

which is solved by repeating it, over draws of the labels. Then s is compared with logit(p).

    python benchmarks/multilabel_slopes.py
"""

import argparse
import shlex
import sys
from pathlib import Path

import keras
import numpy as np
from results import as_markdown, write_result

from keras_mlc.layers import ScoreCalibration

INDEPENDENT = {1: 2000, 20: 200, 65: 60, 300: 20}
"""How many labels, and how many rows of probabilities."""
DRAWS, ROUNDS = 10_000, 25


def logit(p):
    return np.log(p) - np.log1p(-p)


def best_scores(labels, weights):
    """Return the best scores (C,) for draws of labels (D, C) with weights (D,) that add up to 1."""
    s, negatives = np.zeros(labels.shape[1], "float32"), 1 - labels
    for _ in range(ROUNDS):
        others = weights / (1 + negatives @ np.exp(s))
        targets = weights / (1 + labels @ np.exp(-s))
        s = 0.5 * (np.log(targets @ labels) - np.log(others @ negatives))
    return s


def independent(num_labels, rows, rng):
    """Return probabilities and best scores, (rows, C), of independent labels."""
    p = 1 / (1 + np.exp(-rng.normal(-2.5, 1.5, (rows, num_labels))))
    weights = np.full(DRAWS, 1 / DRAWS, "float32")
    scores, exact = [], []
    for row in p:
        labels = (rng.random((DRAWS, num_labels)) < row).astype("float32")
        occurs = labels.any(axis=0) & ~labels.all(axis=0)
        labels[:2] = np.where(occurs, labels[:2], [[0], [1]])  # Or its score would be infinite.
        scores.append(best_scores(labels, weights))
        exact.append(labels.mean(axis=0))  # What the draws say, whose best scores these are.
    return np.array(exact), np.array(scores)


def one_of(num_labels, rows, rng):
    """Return the same where exactly one label is true: each draw once, with its probability."""
    logits = rng.normal(0, 2.5, (rows, num_labels))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    scores = [best_scores(np.eye(num_labels, dtype="float32"), row.astype("float32")) for row in p]
    return p, np.array(scores)


def line_for(name, p, scores, rng):
    slope, offset = np.polyfit(logit(p).ravel(), scores.ravel(), 1)
    drawn = rng.random((100, *p.shape)) < p
    layer = ScoreCalibration()
    layer.adapt(np.broadcast_to(scores, drawn.shape), drawn)
    found = keras.ops.convert_to_numpy(layer(scores.astype("float32")))
    line = {
        "labels": name,
        "s on logit(p)": f"{slope:.2f}·logit(p) {offset:+.2f}",
        "probability": f"σ({layer.scale[0]:.2f}·s {layer.offset[0]:+.2f})",
    }
    guesses = {"σ(s)": 1 / (1 + np.exp(-scores)), "σ(2s)": 1 / (1 + np.exp(-2 * scores))}
    for guess, values in (guesses | {"fitted": found}).items():
        line[f"mean error of {guess}"] = f"{np.abs(values - p).mean():.4f}"
    return line


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, help="a JSON file that keeps what is printed")
    options = parser.parse_args()
    rng, lines = np.random.default_rng(0), []
    for number, rows in INDEPENDENT.items():
        lines.append(line_for(f"{number}, independent", *independent(number, rows, rng), rng))
        print(number, file=sys.stderr, flush=True)
    lines.append(line_for("65, exactly one of them true", *one_of(65, 200, rng), rng))
    result = {
        "command": shlex.join(["python", "benchmarks/multilabel_slopes.py"]),
        "table": [list(lines[0]), *(list(line.values()) for line in lines)],
        "note": f"Logits of mean -2.5 and deviation 1.5; {DRAWS:,} draws of labels a row.",
    }
    print(as_markdown(result))
    if options.output:
        write_result(result, options.output)


if __name__ == "__main__":
    main()
