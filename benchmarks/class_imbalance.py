"""What helps rare labels: another loss, weights of the labels, or thresholds?

The bundled corpus, whose texts are word weights (TF-IDF, computed once), and one hidden layer on
them, so that a fit takes seconds. Every loss gets the same rows, epochs and first weights. Its
learning rate, of four, is the one with the highest average precision on the held-out rows of the
first seed, since losses differ in how large a step they need. A seed draws the rows: 3,500, of
which a fifth is held out from training and chooses the thresholds. Test rows only report, each
loss twice: with a threshold of 0, and with `LabelThresholds(shrinkage=20)`.

    nice python benchmarks/class_imbalance.py
"""

import argparse
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
from corpora_scores import debian
from results import as_markdown, write_result
from sklearn.metrics import average_precision_score, f1_score

from keras_mlc import AsymmetricLoss, LabelThresholds, MultilabelCategoricalCrossentropy

ROWS, HELD_OUT, WORDS, SEEDS = 3500, 700, 4000, (0, 1, 2)
LEARNING_RATES = 0.0003, 0.001, 0.003, 0.01


def losses(frequency):
    """Return the losses by their names, and whether the last bias starts at the log-odds."""
    binary = keras.losses.BinaryCrossentropy(from_logits=True)
    inverse = np.median(frequency) / frequency
    return {
        "binary cross-entropy": (binary, False),
        "binary cross-entropy, bias at the log-odds": (binary, True),
        "multi-label cross-entropy": (MultilabelCategoricalCrossentropy(), False),
        "multi-label cross-entropy, bias at the log-odds": (
            MultilabelCategoricalCrossentropy(),
            True,
        ),
        "multi-label cross-entropy, label weights 1/√n": (
            MultilabelCategoricalCrossentropy(label_weights=np.sqrt(inverse)),
            False,
        ),
        "multi-label cross-entropy, label weights 1/n": (
            MultilabelCategoricalCrossentropy(label_weights=inverse),
            False,
        ),
        "asymmetric, γ 4 and 1, clip 0.05": (AsymmetricLoss(from_logits=True), False),
        "asymmetric, γ 4 and 0, clip 0.05": (AsymmetricLoss(4, 0, from_logits=True), False),
        "asymmetric, γ 2 and 0, no clip": (AsymmetricLoss(2, 0, 0, from_logits=True), False),
    }


def scores(train, others, loss, bias, learning_rate, epochs, seed):
    """Fit on the training rows, and return the scores of others."""
    x, y = train
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input(x.shape[1:]),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(y.shape[1], bias_initializer=bias),
        ]
    )
    model.compile(keras.optimizers.Adam(learning_rate), loss)
    model.fit(x, y, batch_size=64, epochs=epochs, verbose=0)
    return [model.predict(other, batch_size=512, verbose=0) for other in others]


def f1(labels, decisions, rare):
    """Return micro F1, macro F1, and the mean F1 of the rare labels."""
    each = f1_score(labels, decisions, average=None, zero_division=0)
    return f1_score(labels, decisions, average="micro"), each.mean(), each[rare].mean()


def precision(labels, scores):
    """Return the mean average precision of the labels that occur."""
    occurs = labels.any(axis=0)
    return average_precision_score(labels[:, occurs], scores[:, occurs])


def study(seeds, epochs):
    """Return {loss: (learning rate, (seeds, 2 ways to decide, 3) F1 scores)}."""
    (words, labels), (test_words, test_labels) = debian()
    common = np.argsort(-words.getnnz(axis=0), kind="stable")[:WORDS]
    test_x = test_words[:, common].toarray().astype("float32")
    rare = np.argsort(labels.sum(axis=0), kind="stable")[: labels.shape[1] // 3]
    rates, found = {}, {}
    for seed in seeds:
        rows = np.random.default_rng(seed).permutation(len(labels))[:ROWS]
        x, y = words[rows][:, common].toarray().astype("float32"), labels[rows]
        train, held_out = (x[HELD_OUT:], y[HELD_OUT:]), (x[:HELD_OUT], y[:HELD_OUT])
        frequency = (train[1].sum(axis=0) + 1) / (len(train[1]) + 2)
        log_odds = keras.initializers.Constant(np.log(frequency / (1 - frequency)))
        for name, (loss, at_log_odds) in losses(frequency).items():
            tried = {}
            for rate in [rates[name]] if name in rates else LEARNING_RATES:
                others = held_out[0], test_x
                bias = log_odds if at_log_odds else "zeros"
                tried[rate] = scores(train, others, loss, bias, rate, epochs, seed)
            quality = {rate: precision(held_out[1], kept) for rate, (kept, _) in tried.items()}
            rates[name] = max(quality, key=quality.get)
            kept, test = tried[rates[name]]
            thresholds = LabelThresholds(shrinkage=20)
            thresholds.adapt(kept, held_out[1])
            ways = test > 0, test > thresholds.thresholds
            values = [f1(test_labels, decisions, rare) for decisions in ways]
            found.setdefault(name, []).append(values)
            print(f"seed {seed}, {name}: {quality}, {np.round(values, 3).tolist()}", flush=True)
    return {name: (rates[name], np.array(values)) for name, values in found.items()}


def table(found):
    rows = []
    for name, (rate, values) in found.items():
        row = {"loss": name, "learning rate": f"{rate:g}"}
        for way, numbers in zip(("0", "thresholds"), values.swapaxes(0, 1), strict=True):
            for average, each in zip(("micro", "macro", "rare"), numbers.T, strict=True):
                row[f"{average}, {way}"] = f"{each.mean():.3f} ± {each.std():.3f}"
        rows.append(row)
    return rows


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--output", type=Path, help="a JSON file that keeps what is printed")
    options = parser.parse_args()
    rows = table(study(options.seeds, options.epochs))
    command = "python benchmarks/class_imbalance.py"
    if tuple(options.seeds) != SEEDS:
        command += f" --seeds {' '.join(map(str, options.seeds))}"
    if options.epochs != parser.get_default("epochs"):
        command += f" --epochs {options.epochs}"
    result = {
        "command": command,
        "table": [list(rows[0]), *(list(row.values()) for row in rows)],
        "note": (
            f"F1 on the test rows, mean ± deviation over {len(options.seeds)} seeds; rare: "
            "mean F1 of the rarest third of the 55 labels. Left with a threshold of 0, right with "
            f"thresholds from {HELD_OUT} held-out rows. keras {version('keras')}."
        ),
    }
    print(as_markdown(result))
    if options.output:
        write_result(result, options.output)


if __name__ == "__main__":
    main()
