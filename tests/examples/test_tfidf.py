from types import SimpleNamespace

from support.data import Corpus, load_corpus
from support.scores import scores
from support.settings import Settings
from support.splits import Data
from support.training import run_tfidf

import numpy as np
import pytest
from sklearn.metrics import f1_score

import sigmoid
from tfidf import CLASS_WEIGHTS, STRENGTHS, margins, tfidf_predictions, tokens


def test_it_learns_from_the_bundled_corpus():
    train, test = load_corpus(rows=1500, test_rows=300)
    predictions, choice = tfidf_predictions(train, test)
    assert predictions.shape == test.labels.shape and set(np.unique(predictions)) == {0, 1}
    micro = f1_score(test.labels, predictions, average="micro")
    always = np.tile(train.labels.mean(axis=0) > 0.5, (300, 1))
    assert micro > 0.55 > f1_score(test.labels, always, average="micro") + 0.1
    assert choice.strength in STRENGTHS and choice.class_weight in CLASS_WEIGHTS
    assert f"{choice.strength:g}, " in str(choice) and "1,500 training rows" in str(choice)
    again, _ = tfidf_predictions(train, test)
    np.testing.assert_array_equal(again, predictions)


def test_no_test_row_has_a_say():
    train, test = load_corpus(rows=300, test_rows=50)
    _, choice = tfidf_predictions(train, test)
    flipped = Corpus(test.texts, 1 - test.labels, test.label_names)
    predictions, other = tfidf_predictions(train, flipped)
    np.testing.assert_array_equal(other.thresholds.thresholds, choice.thresholds.thresholds)
    few, _ = tfidf_predictions(train, Corpus(test.texts[:5], test.labels[:5], test.label_names))
    np.testing.assert_array_equal(few, predictions[:5])


def test_the_table_scores_it_on_the_same_rows_in_the_same_order():
    data = Data(Settings(samples=300, test_samples=50), [sigmoid])
    row = run_tfidf(data, SimpleNamespace(say=print))
    train, test = load_corpus(rows=300, test_rows=50)
    alone = scores(test.labels, tfidf_predictions(train, test)[0], test.label_names)
    assert row["averages"] == alone["averages"]


def test_labels_with_one_value_are_constant():
    texts = ["red apple", "red pear", "green apple", "green pear"] * 3
    labels = np.array([[1, 0, 1], [1, 0, 1], [0, 0, 1], [0, 0, 1]] * 3, dtype="uint8")
    corpus = Corpus(texts, labels, ["red", "never", "always"])
    np.testing.assert_array_equal(tfidf_predictions(corpus, corpus)[0], labels)


@pytest.mark.parametrize("value", [0, 1])
def test_what_all_training_rows_share_is_certain(value):
    vectors, labels = np.eye(3), np.full((3, 1), value)
    assert (np.sign(margins(vectors, labels, vectors, 1.0, None)) == 2 * value - 1).all()


def test_chinese_needs_no_spaces():
    expected = ["用", "训", "练", "keras", "gpt2", "keras gpt2", "训练"]
    assert sorted(tokens("用Keras训练 GPT2")) == sorted(expected)
