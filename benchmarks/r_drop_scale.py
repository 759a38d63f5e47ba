"""Is σ(s) the right probability for R-Drop's divergence where s are multi-label scores?

The optimum of the multi-label cross-entropy lies between logit(p) / 2 and logit(p) of a label's
probability p, so σ(s) is too soft, at most by a factor of two in s. This compares the divergence
of σ(s), of σ(2 s), and of σ(a s + b) with a and b fitted to the scores of the held-out rows by
`ScoreCalibration` after training without R-Drop. Word weights (TF-IDF) of the bundled corpus, one
hidden layer with dropout 0.3, the same rows, epochs and first weights for all. Learning rate and
alpha are those with the highest average precision on the held-out rows of the first seed. All rows
train on pairs, also the one without R-Drop.

    nice python benchmarks/r_drop_scale.py
"""

import argparse
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
from class_imbalance import precision
from corpora_scores import debian
from keras import ops
from results import as_markdown, write_result
from sklearn.metrics import f1_score

from keras_mlc import (
    LabelThresholds,
    MultilabelCategoricalCrossentropy,
    RDropLoss,
    ScoreCalibration,
    repeat_pairs,
)

ROWS, HELD_OUT, WORDS, SEEDS, EPOCHS, LEARNING_RATE = 3500, 700, 4000, (0, 1, 2), 20, 0.001
ALPHAS = 0.01, 0.03, 0.1, 0.3, 1.0


def loss_of(alpha, scale, offset):
    """R-Drop on multi-label scores whose divergence is that of σ(scale * s + offset)."""
    base = MultilabelCategoricalCrossentropy(reduction=None)
    none = lambda y_true, y_pred: ops.zeros(ops.shape(y_pred)[:-1])  # noqa: E731
    divergence = RDropLoss(none, alpha=alpha, from_logits=True, reduction=None)

    def r_drop(y_true, y_pred):
        return base(y_true, y_pred) + divergence(y_true, scale * y_pred + offset)

    return r_drop


def scores(train, others, alpha, scale, offset, seed):
    """Fit on pairs of the training rows, and return the scores of others."""
    x, y = train
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input(x.shape[1:]),
            layers.Dropout(0.3),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.3),
            layers.Dense(y.shape[1]),
        ]
    )
    model.compile(keras.optimizers.Adam(LEARNING_RATE), loss_of(alpha, scale, offset))
    for epoch in range(EPOCHS):
        order = np.random.default_rng([seed, epoch]).permutation(len(x))
        model.fit(*repeat_pairs((x[order], y[order])), batch_size=128, shuffle=False, verbose=0)
    return [model.predict(other, batch_size=512, verbose=0) for other in others]


def study(seeds):
    """Return {way: (alpha, (seeds, 3) average precision, micro and macro F1)}."""
    (words, labels), (test_words, test_labels) = debian()
    common = np.argsort(-words.getnnz(axis=0), kind="stable")[:WORDS]
    test_x = test_words[:, common].toarray().astype("float32")
    alphas, found = {}, {}
    for seed in seeds:
        rows = np.random.default_rng(seed).permutation(len(labels))[:ROWS]
        x, y = words[rows][:, common].toarray().astype("float32"), labels[rows]
        train, held_out = (x[HELD_OUT:], y[HELD_OUT:]), (x[:HELD_OUT], y[:HELD_OUT])
        ways = {"none": (0.0, 0.0), "σ(s)": (1.0, 0.0), "σ(2 s)": (2.0, 0.0)}
        while ways:
            name, (scale, offset) = next(iter(ways.items()))
            del ways[name]
            tried = {}
            candidates = [alphas[name]] if name in alphas else [0.0] if name == "none" else ALPHAS
            for alpha in candidates:
                tried[alpha] = scores(train, (held_out[0], test_x), alpha, scale, offset, seed)
            quality = {a: precision(held_out[1], kept) for a, (kept, _) in tried.items()}
            alphas[name] = max(quality, key=quality.get)
            kept, test = tried[alphas[name]]
            if name == "none":
                calibration = ScoreCalibration()
                calibration.adapt(kept, held_out[1])
                fitted = float(calibration.scale[0]), float(calibration.offset[0])
                ways["σ(a s + b), fitted"] = fitted
                print(f"seed {seed}: a = {fitted[0]:.2f}, b = {fitted[1]:.2f}", flush=True)
            thresholds = LabelThresholds(shrinkage=20)
            thresholds.adapt(kept, held_out[1])
            given = test > thresholds.thresholds
            values = [
                precision(test_labels, test),
                f1_score(test_labels, given, average="micro"),
                f1_score(test_labels, given, average="macro", zero_division=0),
            ]
            found.setdefault(name, []).append(values)
            print(f"seed {seed}, {name}: {quality}, {np.round(values, 4).tolist()}", flush=True)
    return {name: (alphas[name], np.array(values)) for name, values in found.items()}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--output", type=Path, help="a JSON file that keeps what is printed")
    options = parser.parse_args()
    names = "average precision", "micro F1", "macro F1"
    rows = []
    for way, (alpha, values) in study(options.seeds).items():
        cells = [f"{each.mean():.3f} ± {each.std():.3f}" for each in values.T]
        rows.append([way, f"{alpha:g}", *cells])
    result = {
        "command": "python benchmarks/r_drop_scale.py",
        "table": [["divergence of", "alpha", *names], *rows],
        "note": (
            f"Test rows, mean ± deviation over {len(options.seeds)} seeds; F1 with thresholds from "
            f"{HELD_OUT} held-out rows. keras {version('keras')}."
        ),
    }
    print(as_markdown(result))
    if options.output:
        write_result(result, options.output)


if __name__ == "__main__":
    main()
