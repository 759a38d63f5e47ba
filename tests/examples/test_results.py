import json

from support.report import to_markdown
from support.results import Results
from support.settings import BUNDLED_SAMPLES, Settings
from support.table import DataError

import pytest


def scored(f1, **more):
    average = {"precision": 1.0, "recall": 1.0, "f1-score": f1, "support": 3}
    averages = {name: average for name in ("micro", "macro", "weighted", "samples")}
    return {
        "title": "a row",
        "averages": averages,
        "labels": {"a": average},
        "subset_accuracy": f1,
        "hamming_loss": 0.0,
        **more,
    }


def never():
    raise AssertionError("a finished run was made again")


def test_a_finished_run_is_kept(tmp_path):
    run = Results(tmp_path, Settings()).keep("row", 3, lambda: scored(0.5))
    assert run == {"row": "row", "seed": 3, **scored(0.5)}
    assert Results(tmp_path, Settings()).keep("row", 3, never) == run


def test_a_run_that_fails_leaves_nothing(tmp_path):
    results = Results(tmp_path, Settings())
    with pytest.raises(AssertionError):
        results.keep("row", 0, never)
    assert results.finished("row", 0) is None
    assert list((tmp_path / "rows").iterdir()) == []


def test_a_file_that_was_cut_off_is_noticed_and_made_again(tmp_path):
    Results(tmp_path, Settings()).keep("row", 0, lambda: scored(0.5))
    path = tmp_path / "rows" / "row-seed0.json"
    path.write_text(path.read_text()[:20])
    results = Results(tmp_path, Settings())
    assert results.finished("row", 0) is None
    assert results.keep("row", 0, lambda: scored(0.7))["subset_accuracy"] == 0.7
    assert results.notes == ["row-seed0.json was cut off; the row runs again."]
    assert json.loads(path.read_text())["subset_accuracy"] == 0.7


def test_a_run_that_lacks_what_is_asked_for_is_made_again(tmp_path):
    Results(tmp_path, Settings()).keep("row", 0, lambda: scored(0.5))

    def lacking(run):
        return None if "tuned" in run else "tuned thresholds"

    results = Results(tmp_path, Settings(), lacking)
    run = results.keep("row", 0, lambda: scored(0.5, tuned=None))
    assert results.notes == ["row-seed0.json has no tuned thresholds; the row runs again."]
    assert Results(tmp_path, Settings(), lacking).keep("row", 0, never) == run


def test_other_settings_are_refused_and_named(tmp_path):
    Results(tmp_path, Settings(epochs=2)).keep("row", 0, lambda: scored(0.5))
    before = (tmp_path / "settings.json").read_text()
    with pytest.raises(DataError, match=r"epochs: 2 there, 3 now.*--output"):
        Results(tmp_path, Settings(epochs=3))
    assert (tmp_path / "settings.json").read_text() == before


def test_settings_have_a_folder_of_their_own():
    assert Settings(epochs=2).folder() == Settings(epochs=2).folder()
    assert Settings(epochs=2).folder() != Settings(epochs=3).folder()


def test_unreadable_settings_are_written_again(tmp_path):
    (tmp_path / "settings.json").write_text('{"epochs": ')
    Results(tmp_path, Settings(epochs=3))
    assert json.loads((tmp_path / "settings.json").read_text())["epochs"] == 3


def test_what_thresholds_change_is_told_where_they_are_tuned(tmp_path):
    results = Results(tmp_path, Settings())
    results.keep("old", 0, lambda: scored(0.25))
    results.keep("levels", 0, lambda: scored(0.25, tuned=None))
    assert "Tuned thresholds" not in to_markdown(results)
    tuned = scored(0.75, thresholds={"a": -1.0})
    results.keep("new", 0, lambda: scored(0.5, tuned=tuned))
    assert "| a row | 0.500 | 0.750 | 0.500 | 0.750 |" in to_markdown(results)


def test_the_command_of_the_results_is_told(tmp_path):
    results = Results(tmp_path, Settings(samples=BUNDLED_SAMPLES, epochs=3, text_column="a b"))
    results.keep("tfidf", 0, lambda: scored(0.5))
    for seed in (1, 2):
        results.keep("r_drop", seed, lambda: scored(0.5))
        results.keep("sigmoid", seed, lambda: scored(0.5))
    told = (
        "python examples/full_table.py --epochs 3 --text-column 'a b' --rows sigmoid r_drop "
        "--seeds 1 2\n"
    )
    assert told in to_markdown(results)
