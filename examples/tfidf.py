"""TF-IDF with logistic regression: the thing to beat.

One logistic regression a label on the weighted word counts of the text. It knows no word order
and no pretraining, takes seconds, and is hard to beat on a few thousand rows.

    python examples/tfidf.py --rows 4000
"""

import argparse
import re
import warnings
from dataclasses import asdict

from support.data import load_corpus
from support.file_options import FileOptions, add_file_options
from support.scores import scores

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from threadpoolctl import threadpool_limits

CHINESE = "\u3400-\u9fff"


def tokens(text):
    """Words of letters and digits; Chinese characters and their pairs, as no space parts them."""
    words = re.findall(rf"[^\W{CHINESE}]+|[{CHINESE}]", text.lower())
    return words + re.findall(rf"(?=([{CHINESE}]{{2}}))", text)


def tfidf_predictions(train, test):
    """Fit on a training `Corpus`, return 0/1 predictions (N, C) for a test `Corpus`."""
    classifier = OneVsRestClassifier(LogisticRegression(C=10.0, solver="liblinear"))
    features, test_features = word_weights(train.texts, test.texts)
    # With more than one BLAS thread the many short products take twenty times as long.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.filterwarnings("ignore", message="Label (not )?.* is present in all")
        classifier.fit(features, with_two_columns(train.labels))
    return classifier.predict(test_features)[:, : train.labels.shape[1]]


def word_weights(texts, test_texts):
    """TF-IDF of the words that stand in two texts or more; of all words where none does."""
    for least in (2, 1):
        vectorizer = TfidfVectorizer(analyzer=tokens, min_df=least, sublinear_tf=True)
        try:
            return vectorizer.fit_transform(texts), vectorizer.transform(test_texts)
        except ValueError:  # no such word, or fewer texts
            continue
    return np.zeros((len(texts), 1)), np.zeros((len(test_texts), 1))


def with_two_columns(labels):
    """Labels (N, C); a single one would be taken for two classes."""
    return np.pad(labels, ((0, 0), (0, 1))) if labels.shape[1] == 1 else labels


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_file_options(parser)
    parser.add_argument("--rows", type=int, help="training rows to use; all by default")
    args = parser.parse_args()
    options = asdict(FileOptions.of(args))
    train, test = load_corpus(args.train, args.test, rows=args.rows, **options)
    print(*train.notes, *test.notes, sep="\n")
    result = scores(test.labels, tfidf_predictions(train, test), train.label_names)
    print(f"{len(train):,} training rows, {len(test):,} test rows, {len(train.label_names)} labels")
    for average, values in result["averages"].items():
        print(f"{average:9s} F1 {values['f1-score']:.3f}")
    print(f"subset accuracy {result['subset_accuracy']:.3f}")


if __name__ == "__main__":
    main()
