from support.thresholds import FEWEST_POSITIVES, best_threshold, tune_thresholds

import numpy as np
import pytest
from sklearn.metrics import f1_score


def test_no_threshold_has_a_better_f1():
    rng = np.random.default_rng(0)
    for _ in range(50):
        labels = rng.random(30) < rng.random()
        labels[0] = True
        scores = np.round(rng.normal(labels, 1), 1)  # with ties
        tuned = best_threshold(labels.astype("uint8"), scores)
        cuts = [*(scores - 1e-6), scores.max() + 1]
        best = max(f1_score(labels, scores > cut) for cut in cuts)
        assert f1_score(labels, scores > tuned) == pytest.approx(best)


def test_the_threshold_lies_between_two_scores():
    assert best_threshold(np.array([0, 1, 0, 1]), np.array([-9.0, -3, -5, -1])) == -4
    assert best_threshold(np.array([1, 1]), np.array([-2.0, -3])) == -3.5


def test_zero_stays_where_nothing_is_better():
    assert best_threshold(np.array([0, 1, 1]), np.array([-0.1, 2.0, 5.0])) == 0
    assert best_threshold(np.array([0, 0]), np.array([1.0, 2.0])) == 0


def test_of_equals_the_nearest_to_zero_is_taken():
    labels, scores = np.array([0, 1, 0, 0, 1]), np.array([-5.0, -4, -3, -2, -1])
    assert f1_score(labels, scores > -4.5) == f1_score(labels, scores > -1.5)
    assert best_threshold(labels, scores) == -1.5


def test_rare_labels_share_a_threshold_and_others_have_their_own():
    rng = np.random.default_rng(0)
    labels = np.zeros((100, 4), "uint8")
    for label, positives in enumerate((60, FEWEST_POSITIVES, FEWEST_POSITIVES - 1, 0)):
        labels[:positives, label] = 1
    scores = rng.normal(3.0 * labels - [1, 6, 4, 5], 1)
    tuned = tune_thresholds(labels, scores)
    common = best_threshold(labels.ravel(), scores.ravel())
    assert tuned[2:] == [common, common]
    assert tuned[:2] == [best_threshold(labels[:, i], scores[:, i]) for i in (0, 1)]
    assert len(set(tuned)) == 3


def test_a_corpus_without_labels_keeps_zero():
    assert tune_thresholds(np.zeros((3, 2), "uint8"), np.ones((3, 2))) == [0, 0]
