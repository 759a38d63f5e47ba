import json

from support import intervals
from support.intervals import AT_ZERO, TUNED, gain, packed, unpacked
from support.report import to_markdown
from support.results import Runs
from support.scores import scores
from support.settings import Settings

import numpy as np
import pytest
from sklearn.metrics import f1_score

TEXTS, LABELS = 300, 4


@pytest.fixture
def truth():
    return np.random.default_rng(0).integers(0, 2, (TEXTS, LABELS), dtype="uint8")


def guessed(truth, wrong, seed):
    """Predictions of which a share is wrong."""
    flipped = np.random.default_rng(seed).random(truth.shape) < wrong
    return (truth ^ flipped).astype("uint8")


def run(row, truth, at_zero, tuned=None, seed=0):
    found = {"title": row.upper(), **scores(truth, at_zero, list("abcd"))}
    return {"row": row, "seed": seed, **found, "predictions": packed(truth, at_zero, tuned)}


def test_predictions_survive_their_form(truth):
    at_zero, tuned = guessed(truth, 0.2, 1), guessed(truth, 0.1, 2)
    kept = json.loads(json.dumps(packed(truth, at_zero, tuned)))
    for which, predicted in ((AT_ZERO, at_zero), (TUNED, tuned)):
        for found, expected in zip(unpacked(kept, which), (truth, predicted), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_a_gain_is_the_difference_of_scikit_learns_scores(truth):
    pairs = [(guessed(truth, 0.1, seed), guessed(truth, 0.3, seed + 9)) for seed in range(3)]
    runs = [run("fgm", truth, own, seed=seed) for seed, (own, _) in enumerate(pairs)]
    controls = [run("sigmoid", truth, other, seed=seed) for seed, (_, other) in enumerate(pairs)]
    ends, seeds = gain(runs, controls[::-1], AT_ZERO)
    assert seeds == 3
    for (value, low, high), average in zip(ends, ("micro", "macro"), strict=True):
        by_hand = [
            np.subtract(*(f1_score(truth, p, average=average) for p in pair)) for pair in pairs
        ]
        assert value == pytest.approx(np.mean(by_hand))
        assert 0 < low < value < high


def test_nothing_is_gained_by_the_same_predictions(truth):
    both = (
        [run("fgm", truth, guessed(truth, 0.2, 1))],
        [run("sigmoid", truth, guessed(truth, 0.2, 1))],
    )
    ends, _ = gain(*both, AT_ZERO)
    np.testing.assert_array_equal(ends, 0)


def test_an_interval_holds_what_further_texts_would_show():
    """Of 200 pairs of equally good models, 95 % of the intervals of 95 % hold 0."""
    held = []
    for seed in range(200):
        truth = np.random.default_rng(seed).integers(0, 2, (TEXTS, LABELS), dtype="uint8")
        own, other = (guessed(truth, 0.2, seed + shift) for shift in (1000, 2000))
        (_, low, high), _ = gain([run("fgm", truth, own)], [run("sigmoid", truth, other)], AT_ZERO)[
            0
        ]
        held.append(low <= 0 <= high)
    assert 0.9 < np.mean(held) < 0.99


def test_blocks_of_draws_are_the_draws_in_one(monkeypatch):
    whole = np.concatenate(list(intervals.draws(TEXTS)))
    monkeypatch.setattr(intervals, "BLOCK", 7 * TEXTS)
    blocks = list(intervals.draws(TEXTS))
    assert max(map(len, blocks)) == 7
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    assert len(whole) == 1 + intervals.DRAWS
    np.testing.assert_array_equal(whole.sum(axis=1), TEXTS)


def test_a_control_without_seeds_stands_beside_every_seed(truth):
    runs = [run("sigmoid", truth, guessed(truth, 0.1, seed), seed=seed) for seed in range(2)]
    baseline = guessed(truth, 0.3, 7)
    controls = [run("tfidf", truth, baseline, baseline)]
    assert gain(runs, controls, AT_ZERO)[1] == 2
    assert gain(runs, controls, TUNED) is None


def test_what_cannot_be_compared_is_left_out(truth):
    ours = [run("fgm", truth, guessed(truth, 0.1, 1))]
    assert gain(ours, [run("sigmoid", truth, guessed(truth, 0.1, 1), seed=4)], AT_ZERO) is None
    assert gain(ours, [run("sigmoid", 1 - truth, guessed(truth, 0.1, 1))], AT_ZERO) is None
    older = run("sigmoid", truth, guessed(truth, 0.1, 1))
    del older["predictions"]
    assert gain(ours, [older], AT_ZERO) is None


def test_the_report_has_the_gains_and_where_the_time_went(tmp_path, truth):
    runs = [run("sigmoid", truth, guessed(truth, 0.3, 1)), run("fgm", truth, truth, truth)]
    runs.insert(1, run("multilabel_crossentropy", truth, guessed(truth, 0.3, 2)))
    runs[2]["spent"] = {"model": 1.6, "steps": 20.0}
    runs[1]["spent"] = {"model": 1.0, "steps": 10.0}
    page = to_markdown(Runs(tmp_path, Settings(), runs))
    (line,) = [line for line in page.splitlines() if line.startswith("| FGM | MULTILABEL")]
    assert line.split("|")[3].strip().startswith("+") and line.endswith("| – | 1 |"), line
    assert "| all | 3 | 30 | 33 |" in page
