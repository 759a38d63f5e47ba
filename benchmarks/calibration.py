"""Do probabilities that were fitted on held-out rows hold on the test rows?

Expected calibration error: all cells of (rows, labels), in 15 bins of as many cells each by their
probability; the mean over the bins of how far the mean probability lies from the share of true
labels. Before: σ(s); after: `ScoreCalibration`, one pair for all labels, or one for each.

Scores are those of a logistic regression and a linear SVM on word counts, and of a network of one
hidden layer on the same counts, trained by a sigmoid's loss and by the multi-label cross-entropy.

    python benchmarks/calibration.py
    python benchmarks/calibration.py --corpora DuEE-65=FOLDER GoEmotions=FOLDER
"""

import keras
import numpy as np
from corpora import corpora, linear_scores, split
from measure import arguments, print_table
from sklearn.linear_model import LogisticRegression

from keras_mlc.layers import ScoreCalibration
from keras_mlc.losses import MultilabelCategoricalCrossentropy

BINS, WORDS, EPOCHS = 15, 4000, 10
SCORES = {
    "logistic regression": lambda corpus: linear_scores(
        corpus, model=LogisticRegression(C=10.0, solver="liblinear")
    ),
    "linear SVM": linear_scores,
    "network, sigmoid": lambda corpus: network_scores(
        corpus, keras.losses.BinaryCrossentropy(from_logits=True)
    ),
    "network, multi-label cross-entropy": lambda corpus: network_scores(
        corpus, MultilabelCategoricalCrossentropy()
    ),
}


def network_scores(corpus, loss):
    """Return (scores, labels) of rows to adapt on and of test rows, by one hidden layer."""
    common = np.argsort(-corpus[0][0].getnnz(axis=0), kind="stable")[:WORDS]
    (x, y), *others = [
        (words[:, common].toarray().astype("float32"), labels) for words, labels in split(corpus)
    ]
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Dense(128, activation="relu"),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(y.shape[1]),
    ]
    model = keras.Sequential([keras.Input(x.shape[1:]), *layers])
    model.compile("adam", loss)
    model.fit(x, y.astype("float32"), batch_size=64, epochs=EPOCHS, verbose=0)
    return [(model.predict(words, batch_size=512, verbose=0), labels) for words, labels in others]


def calibration_error(probabilities, labels):
    order = np.argsort(probabilities, axis=None, kind="stable")
    bins = [np.array_split(array.reshape(-1)[order], BINS) for array in (probabilities, labels)]
    cells = zip(*bins, strict=True)
    return sum(len(p) * abs(p.mean() - y.mean()) for p, y in cells) / probabilities.size


def measure(adapt, test):
    """Return the errors of scores before and after."""
    scores, labels = test
    cells = {"error of σ(s)": f"{calibration_error(1 / (1 + np.exp(-scores)), labels):.4f}"}
    for heading, per_label in (("one pair", False), ("one for each label", True)):
        layer = ScoreCalibration(per_label)
        layer.adapt(*adapt)
        probabilities = keras.ops.convert_to_numpy(layer(scores.astype("float32")))
        cells[heading] = f"{calibration_error(probabilities.astype('float64'), labels):.4f}"
        if not per_label:
            cells["a, b"] = f"{layer.scale[0]:.2f}, {layer.offset[0]:.2f}"
    return cells


def main():
    options = arguments(__doc__, corpora=[""])
    table = [
        {"corpus": name, "scores of": model, **measure(*scores_of(corpus))}
        for name, corpus in corpora(filter(None, options.corpora)).items()
        for model, scores_of in SCORES.items()
    ]
    note = f"Expected calibration error on test rows, {BINS} bins of equal mass, all labels."
    print_table(table, note, options)


if __name__ == "__main__":
    main()
