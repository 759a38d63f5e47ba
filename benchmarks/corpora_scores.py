"""Scores of held-out rows, from a linear model that takes seconds, for the studies of decisions.

Each corpus is read whole; its training rows are split into rows to fit, rows to adapt on, and rows
to choose rules by. Test rows only report.
"""

import csv
import gzip
import io
import re
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import make_multilabel_classification
from sklearn.feature_extraction.text import TfidfTransformer, TfidfVectorizer
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

BUNDLED = Path(__file__).resolve().parents[1] / "examples/data"
ADAPT, CHOOSE = 2000, 2000
CHINESE = "\u3400-\u9fff"


def tokens(text):
    """Words of letters and digits; Chinese characters and their pairs, as no space parts them."""
    words = re.findall(rf"[^\W{CHINESE}]+|[{CHINESE}]", text.lower())
    return words + re.findall(rf"(?=([{CHINESE}]{{2}}))", text)


def debian():
    """The bundled corpus: texts of packages, 55 tags."""
    return texts(*(table(BUNDLED / f"{part}.csv.gz") for part in ("train", "test")))


def duee(folder):
    """65 event types in Chinese news, from a folder with train.csv and test.csv."""
    return texts(*(table(Path(folder) / f"{part}.csv") for part in ("train", "test")))


def goemotions(folder):
    """28 emotions in English comments, from a folder with train.tsv and test.tsv."""
    parts = []
    for part in ("train", "test"):
        with open(Path(folder) / f"{part}.tsv", encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        parts.append([(text, labels.split(",")) for text, labels, _ in rows])
    return texts(*parts)


def generated():
    """50 labels on counts of 500 words, from scikit-learn's generator, some of them rare."""
    words, labels = make_multilabel_classification(
        12_000, 500, n_classes=50, n_labels=3, length=40, random_state=0
    )
    words = TfidfTransformer(sublinear_tf=True).fit_transform(words)
    return (words[:10_000], labels[:10_000]), (words[10_000:], labels[10_000:])


def table(path):
    """Return (text, labels) of the rows of a CSV file with the columns content and label."""
    data = path.read_bytes()
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    rows = csv.DictReader(io.StringIO(data.decode("utf-8"), newline=""))
    return [(row["content"], row["label"].split("|")) for row in rows]


def texts(train, test):
    """Return word weights and 0/1 labels of training and test rows; unseen labels are left out."""
    vectorizer = TfidfVectorizer(analyzer=tokens, min_df=2, sublinear_tf=True)
    binarizer = MultiLabelBinarizer().fit([labels for _, labels in train])
    vectorizer.fit([text for text, _ in train])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="unknown class")
        return [
            (
                vectorizer.transform([text for text, _ in rows]),
                binarizer.transform([labels for _, labels in rows]),
            )
            for rows in (train, test)
        ]


def scores_of(corpus, seed, model=None):
    """Return (scores, labels) to adapt on, to choose by, and of the test rows."""
    (x, y), (test_x, test_y) = corpus
    order = np.random.default_rng(seed).permutation(len(y))
    adapt, choose, fit = np.split(order, [ADAPT, ADAPT + CHOOSE])
    classifier = OneVsRestClassifier(model or LinearSVC(C=0.5))
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.filterwarnings("ignore", message="Label (not )?.* is present in all")
        classifier.fit(x[fit], y[fit])
    parts = (x[adapt], y[adapt]), (x[choose], y[choose]), (test_x, test_y)
    return [(classifier.decision_function(words), labels) for words, labels in parts]
