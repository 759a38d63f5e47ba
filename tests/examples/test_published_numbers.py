import json
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

sys.path.append(str(Path(__file__).parents[2] / "docs/scripts"))

import benchmark_tables
import result_tables
from marks import fill, marks
from result_tables import PAGES, ROOT, filled, gain, put

TEXTS, LABELS, SEEDS = 200, 4, 3


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(result_tables, "DRAWS", 200)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_pages_show_what_the_files_have(page):
    text = page.read_text(encoding="utf-8")
    assert marks(text)
    assert filled(page) == text, "run docs/scripts/result_tables.py"


def test_the_page_of_benchmarks_shows_every_file():
    page = benchmark_tables.PAGE.read_text(encoding="utf-8")
    assert benchmark_tables.filled() == page, "run docs/scripts/benchmark_tables.py"
    assert sorted(marks(page)) == sorted(file.name for file in benchmark_tables.RESULTS.glob("*"))


@pytest.mark.parametrize("page", ["<!-- a -->\n", "<!-- a -->\n<!-- b -->\n<!-- end -->"])
def test_a_mark_without_an_end_is_refused(page):
    with pytest.raises(ValueError, match="of its own"):
        fill(page, str)


def trained(truth, wrong, random):
    """Predictions of one seed: its share of wrong cells is its own."""
    return truth ^ (random.random(truth.shape) < wrong + random.normal(0, 0.02))


def rows(seed, wrong, others_wrong):
    random = np.random.default_rng(seed)
    truth = random.random((TEXTS, LABELS)) < 0.4
    own, others = ([trained(truth, w, random) for _ in range(SEEDS)] for w in (wrong, others_wrong))
    return truth, own, others


def test_a_row_beside_itself_shows_no_difference():
    """Two rows of equally good seeds: at most one in twenty intervals of 95 % excludes 0."""
    excluded = []
    for seed in range(60):
        found = gain(*rows(seed, 0.2, 0.2))
        excluded.append(found[:, 1] * found[:, 2] > 0)
    assert np.mean(excluded) <= 1 / 20


def test_a_gain_is_the_difference_of_scikit_learns_scores():
    truth, own, other = rows(0, 0.1, 0.3)
    averages = "micro", "macro"
    for (value, low, high), average in zip(gain(truth, own, other), averages, strict=True):
        scores = [[f1_score(truth, x, average=average) for x in side] for side in (own, other)]
        assert value == pytest.approx(np.subtract(*np.mean(scores, axis=1)))
        assert 0 < low < value < high


def test_one_seed_of_a_trained_row_has_no_interval():
    truth, own, other = rows(0, 0.1, 0.3)
    for alone in (gain(truth, own[:1], other), gain(truth, own, other[:1])):
        assert np.isnan(alone[:, 1:]).all() and (alone[:, 0] > 0).all()
    assert (gain(truth, own, other[:1], is_trained=False)[:, 1] > 0).all()  # a linear model


def test_output_folders_become_files_and_tables(tmp_path, monkeypatch):
    truth, own, other = rows(0, 0.1, 0.2)
    folder = tmp_path / "results"
    (folder / "rows").mkdir(parents=True)

    def indices(cells):
        return [np.flatnonzero(text).tolist() for text in cells]

    def write(row, seed, at_zero, tuned, step_ms):
        def scored(cells):
            return {a: f1_score(truth, cells, average=a) for a in ("micro", "macro")}

        cells = {"at_0": at_zero, "tuned": tuned}
        run = {
            "row": row,
            "seed": seed,
            "scores": {at: None if x is None else scored(x) for at, x in cells.items()},
            "predicted": {at: None if x is None else indices(x) for at, x in cells.items()},
            "step_ms": step_ms,
        }
        (folder / f"rows/{row}-seed{seed}.json").write_text(json.dumps(run), encoding="utf-8")

    names = [f"label {label}" for label in range(LABELS)]
    test = {"label_names": names, "labels": indices(truth)}
    (folder / "test.json").write_text(json.dumps(test), encoding="utf-8")
    write("tfidf", 0, other[0], None, None)
    for seed in range(SEEDS):
        write("sigmoid", seed, other[seed], own[seed], 10.0)
        write("r_drop", seed, own[seed], None, 21.0)
    monkeypatch.setattr(result_tables, "RESULTS", tmp_path)
    for name in ("results.csv", "gains.csv"):
        header = (ROOT / "docs/results" / name).read_text(encoding="utf-8").splitlines()[0]
        (tmp_path / name).write_text(f"{header}\nelsewhere{',' * header.count(',')}\n")
    for _ in range(2):  # the second replaces the first
        put("mine", folder)
    scores = result_tables.table("scores-mine").splitlines()
    micro = f"{f1_score(truth, other[0], average='micro'):.3f}"
    assert scores[2].startswith(f"| TF-IDF + linear SVM, tuned | – | – | {micro} |")
    assert len(scores) == 5 and scores[4].endswith("| 2.10 ± 0.00 | 3 |")
    tuned, at_zero = result_tables.table("gains-mine").splitlines()[2:]
    assert tuned.startswith("| sigmoid | TF-IDF + linear SVM, tuned | – | – | +")
    assert at_zero.startswith("| R-Drop, sigmoid | sigmoid | +") and at_zero.endswith("| – | – |")
    assert (tmp_path / "gains.csv").read_text().count("elsewhere") == 1
