"""TF-IDF with logistic regression: the thing to beat.

One logistic regression a label on the weighted word counts of the text. It knows no word order
and no pretraining, takes seconds, and is hard to beat on a few thousand rows.

    python examples/tfidf.py --rows 4000
"""

import argparse
import re
import warnings

from support.data import load_corpus
from support.scores import scores

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
    vectorizer = TfidfVectorizer(analyzer=tokens, min_df=2, sublinear_tf=True)
    classifier = OneVsRestClassifier(LogisticRegression(C=10.0, solver="liblinear"))
    # With more than one BLAS thread the many short products take twenty times as long.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.filterwarnings("ignore", message="Label (not )?.* is present in all")
        classifier.fit(vectorizer.fit_transform(train.texts), train.labels)
    predictions = classifier.predict(vectorizer.transform(test.texts))
    return predictions.reshape(test.labels.shape)  # of one label it makes a vector


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", help="CSV or TSV file; the bundled corpus by default")
    parser.add_argument("--test", help="CSV or TSV file; the bundled corpus by default")
    parser.add_argument("--rows", type=int, help="training rows to use; all by default")
    args = parser.parse_args()
    train, test = load_corpus(args.train, args.test, rows=args.rows)
    print(*train.notes, *test.notes, sep="\n")
    predictions = tfidf_predictions(train, test)
    print(f"{len(train):,} training rows, {len(test):,} test rows, {len(train.label_names)} labels")
    found = scores(test.labels, predictions, test.label_names)
    for average, values in found["averages"].items():
        print(f"{average:9s} F1 {values['f1-score']:.3f}")
    print(f"subset accuracy {found['subset_accuracy']:.3f}")


if __name__ == "__main__":
    main()
