from support.data import Corpus, load_corpus

import numpy as np
from sklearn.metrics import f1_score

from tfidf import tfidf_predictions, tokens


def test_it_learns_from_the_bundled_corpus():
    train, test = load_corpus(rows=2000, test_rows=300)
    predictions = tfidf_predictions(train, test)
    assert predictions.shape == test.labels.shape and set(np.unique(predictions)) == {0, 1}
    always = np.tile(train.labels.mean(axis=0) > 0.5, (300, 1))
    micro = f1_score(test.labels, predictions, average="micro")
    assert micro > 0.5 > f1_score(test.labels, always, average="micro") + 0.1


def test_labels_with_one_value_are_constant(recwarn):
    texts = ["red apple", "red pear", "green apple", "green pear"]
    labels = np.array([[1, 0, 1], [1, 0, 1], [0, 0, 1], [0, 0, 1]], dtype="uint8")
    corpus = Corpus(texts, labels, ["red", "never", "always"])
    np.testing.assert_array_equal(tfidf_predictions(corpus, corpus), labels)
    assert not recwarn.list


def test_chinese_needs_no_spaces():
    assert tokens("用Keras训练 GPT2") == ["用", "keras", "训", "练", "gpt2", "训练"]
