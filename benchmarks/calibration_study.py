"""Do probabilities that were fitted on held-out rows hold on the test rows?

Expected calibration error: all cells of (rows, labels), in 15 bins of as many cells each by their
probability; the mean over the bins of how far the mean probability lies from the share of true
labels. Before: σ(s); after: `ScoreCalibration`, one pair for all labels, or one for each.

    python benchmarks/calibration_study.py --duee FOLDER --scores NAME=FILE.npz

A linear model on word counts scores the corpora: logistic regression, whose scores a sigmoid turns
into probabilities, and a linear SVM, whose margins nothing does. So does a network of one hidden
layer on the same counts, trained by a sigmoid's loss and by the multi-label cross-entropy. Scores
of other models come from files with the arrays adapt_scores, adapt_labels, test_scores and
test_labels, all (rows, labels).
"""

import argparse
import shlex
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
from corpora_scores import ADAPT, CHOOSE, debian, duee, generated, goemotions, scores_of
from results import as_markdown, write_result
from sklearn.linear_model import LogisticRegression

from keras_mlc.layers import ScoreCalibration
from keras_mlc.losses import MultilabelCategoricalCrossentropy

BINS = 15
PARTS = "adapt", "test"
NETWORKS = {
    "network, sigmoid": keras.losses.BinaryCrossentropy(from_logits=True),
    "network, multi-label cross-entropy": MultilabelCategoricalCrossentropy(),
}
WORDS, EPOCHS = 4000, 10


def network_scores(corpus, loss):
    """Return (scores, labels) to adapt on and of the test rows, by one hidden layer."""
    (x, y), (test_x, test_y) = corpus
    common = np.argsort(-x.getnnz(axis=0), kind="stable")[:WORDS]
    x, test_x = (part[:, common].toarray().astype("float32") for part in (x, test_x))
    adapt, _, fit = np.split(np.random.default_rng(0).permutation(len(y)), [ADAPT, ADAPT + CHOOSE])
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Dense(128, activation="relu"),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(y.shape[1]),
    ]
    model = keras.Sequential([keras.Input(x.shape[1:]), *layers])
    model.compile("adam", loss)
    model.fit(x[fit], y[fit].astype("float32"), batch_size=64, epochs=EPOCHS, verbose=0)
    parts = (x[adapt], y[adapt]), (test_x, test_y)
    return [(model.predict(words, batch_size=512, verbose=0), labels) for words, labels in parts]


def calibration_error(probabilities, labels):
    order = np.argsort(probabilities, axis=None, kind="stable")
    bins = [np.array_split(array.reshape(-1)[order], BINS) for array in (probabilities, labels)]
    cells = zip(*bins, strict=True)
    return sum(len(p) * abs(p.mean() - y.mean()) for p, y in cells) / probabilities.size


def measure(name, model, adapt, test):
    scores, labels = test
    line = {"corpus": name, "scores of": model, "adapted on": f"{len(adapt[0]):,}"}
    line["error of σ(s)"] = f"{calibration_error(1 / (1 + np.exp(-scores)), labels):.4f}"
    for per_label in (False, True):
        layer = ScoreCalibration(per_label)
        layer.adapt(*adapt)
        probabilities = keras.ops.convert_to_numpy(layer(scores.astype("float32")))
        error = calibration_error(probabilities.astype("float64"), labels)
        line["one for each label" if per_label else "one pair"] = f"{error:.4f}"
        if not per_label:
            line["a, b"] = f"{layer.scale[0]:.2f}, {layer.offset[0]:.2f}"
    return line


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--duee", help="folder with train.csv and test.csv")
    parser.add_argument("--goemotions", help="folder with train.tsv and test.tsv")
    parser.add_argument("--scores", nargs="*", default=[], metavar="NAME=FILE.npz")
    parser.add_argument("--output", type=Path, help="a JSON file that keeps what is printed")
    options = parser.parse_args()
    corpora = {"Debian": debian}
    if options.duee:
        corpora["DuEE-65"] = lambda: duee(options.duee)
    if options.goemotions:
        corpora["GoEmotions"] = lambda: goemotions(options.goemotions)
    corpora["generated"] = generated
    models = {
        "logistic regression": LogisticRegression(C=10.0, solver="liblinear"),
        "linear SVM": None,
    }
    lines = []
    for name, load in corpora.items():
        corpus = load()
        for model, classifier in models.items():
            adapt, _, test = scores_of(corpus, 0, classifier)
            lines.append(measure(name, model, adapt, test))
        for model, loss in NETWORKS.items():
            lines.append(measure(name, model, *network_scores(corpus, loss)))
    command = ["python", "benchmarks/calibration_study.py"]
    for name in ("duee", "goemotions"):
        if getattr(options, name):
            command += [f"--{name}", name.upper()]
    for given in options.scores:
        name, _, file = given.partition("=")
        arrays = np.load(file)
        parts = [[arrays[f"{part}_{kind}"] for kind in ("scores", "labels")] for part in PARTS]
        lines.append(measure(*name.partition(": ")[::2], *parts))
        command += ["--scores", f"{name}={Path(file).name}"]
    result = {
        "command": shlex.join(command),
        "table": [list(lines[0]), *(list(line.values()) for line in lines)],
        "note": (
            f"Expected calibration error on test rows, {BINS} bins of equal mass, all labels "
            f"together. scikit-learn {version('scikit-learn')}."
        ),
    }
    print(as_markdown(result))
    if options.output:
        write_result(result, options.output)


if __name__ == "__main__":
    main()
