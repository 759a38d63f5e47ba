"""Scores of held-out rows for the benchmarks of thresholds and of calibration.

A linear model on word counts scores each corpus in seconds: the bundled one, one that scikit-learn
generates, and those in the given folders.
"""

import csv
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import make_multilabel_classification
from sklearn.feature_extraction.text import TfidfTransformer, TfidfVectorizer
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.svm import LinearSVC

BUNDLED = Path(__file__).resolve().parents[1] / "examples/data"
ADAPT, CHOOSE = 2000, 2000
CHINESE = "\u3400-\u9fff"


def tokens(text):
    """Words of letters and digits; Chinese characters and their pairs, as no space parts them."""
    words = re.findall(rf"[^\W{CHINESE}]+|[{CHINESE}]", text.lower())
    return words + re.findall(rf"(?=([{CHINESE}]{{2}}))", text)


def read(path):
    """Return texts and lists of labels: a CSV file, or GoEmotions's TSV without a header."""
    if path.suffix == ".tsv":
        names = ["content", "label", "id"]
        form = {"sep": "\t", "names": names, "quoting": csv.QUOTE_NONE, "dtype": str}
        rows, separator = pd.read_csv(path, keep_default_na=False, **form), ","
    else:
        rows, separator = pd.read_csv(path, keep_default_na=False), "|"
    return rows["content"], rows["label"].str.split(separator)


def corpus(folder):
    """Return word weights and 0/1 labels of training and test rows; unseen labels are left out."""
    paths = (next(Path(folder).glob(f"{part}.[ct]sv*")) for part in ("train", "test"))
    (texts, labels), (test_texts, test_labels) = map(read, paths)
    vectorizer = TfidfVectorizer(analyzer=tokens, min_df=2, sublinear_tf=True)
    binarizer = MultiLabelBinarizer()
    train = vectorizer.fit_transform(texts), binarizer.fit_transform(labels)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="unknown class")
        return train, (vectorizer.transform(test_texts), binarizer.transform(test_labels))


def generated():
    """50 labels on counts of 500 words, from scikit-learn's generator, some of them rare."""
    words, labels = make_multilabel_classification(
        12_000, 500, n_classes=50, n_labels=3, length=40, random_state=0
    )
    words = TfidfTransformer(sublinear_tf=True).fit_transform(words)
    return (words[:10_000], labels[:10_000]), (words[10_000:], labels[10_000:])


def corpora(folders):
    """Return {name: (training rows, test rows)}, given NAME=FOLDER of each further corpus."""
    named = {"Debian": BUNDLED, **dict(given.split("=", 1) for given in folders)}
    return {name: corpus(folder) for name, folder in named.items()} | {"generated": generated()}


def split(corpus, seed=0):
    """Return (words, labels) of rows to fit a model on, of rows to adapt on, and of test rows.

    Further rows, on which the default of `LabelThresholds` was chosen, are left out.
    """
    (x, y), test = corpus
    order = np.random.default_rng(seed).permutation(len(y))
    adapt, _, fit = np.split(order, [ADAPT, ADAPT + CHOOSE])
    return (x[fit], y[fit]), (x[adapt], y[adapt]), test


def linear_scores(corpus, seed=0, model=None):
    """Return (scores, labels) of a linear model for rows to adapt on, and for test rows."""
    (x, y), *others = split(corpus, seed)
    classifier = OneVsRestClassifier(model or LinearSVC(C=0.5))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Label (not )?.* is present in all")
        classifier.fit(x, y)
    return [(classifier.decision_function(words), labels) for words, labels in others]
