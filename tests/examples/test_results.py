import json
from io import StringIO

from support.report import show, to_markdown
from support.results import Results
from support.settings import BUNDLED_SAMPLES, Settings
from support.table import DataError

import pytest
from rich.console import Console


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


@pytest.mark.parametrize("content", ['{"epochs": ', "null", "[]", None])
def test_rows_without_readable_settings_are_no_one_elses(tmp_path, content):
    path = tmp_path / "settings.json"

    def damage():
        path.unlink() if content is None else path.write_text(content)

    Results(tmp_path, Settings(epochs=2))
    damage()
    results = Results(tmp_path, Settings(epochs=3))  # there are no rows yet
    assert json.loads(path.read_text())["epochs"] == 3
    results.keep("row", 0, lambda: scored(0.5))
    damage()
    for epochs in (2, 3):
        with pytest.raises(DataError, match=r"missing or damaged.*row-seed0.json.*Choose another"):
            Results(tmp_path, Settings(epochs=epochs))


def test_a_changed_file_is_named(tmp_path):
    Results(tmp_path, Settings(files={"train": "a", "test": "b", "vocab.txt": "c"}))
    with pytest.raises(DataError, match=r"settings \(train: another file or content now\)"):
        Results(tmp_path, Settings(files={"train": "A", "test": "b", "vocab.txt": "c"}))


def broken(**changes):
    return {"row": "row", "seed": 0, **scored(0.5), **changes}


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        None,
        broken(row="sigmoid"),
        broken(seed=1),
        broken(title=None),
        broken(averages={}),
        broken(labels={"a": {}}),
        broken(subset_accuracy=float("nan")),
        broken(hamming_loss="0.5"),
        broken(tuned={"averages": {}}),
        broken(curve=[[1.0, 0.5]]),
        broken(curve=[[1.0, None]], seconds_per_epoch=1.0, step_ratio=None),
    ],
)
def test_a_row_that_a_report_could_not_show_runs_again(tmp_path, content):
    Results(tmp_path, Settings())
    (tmp_path / "rows" / "row-seed0.json").write_text(json.dumps(content))
    results = Results(tmp_path, Settings())
    assert results.finished("row", 0) is None
    (note,) = results.notes
    assert note.startswith("row-seed0.json ") and note.endswith("the row runs again.")
    good = scored(0.5, curve=[[1.0, 0.5]], seconds_per_epoch=1.0, step_ratio=None)
    results.keep("row", 0, lambda: good)
    assert Results(tmp_path, Settings()).keep("row", 0, never)["step_ratio"] is None


@pytest.mark.parametrize("width", [30, 60, 200])
def test_a_table_is_readable_in_a_terminal_of_any_width(width):
    rows = [["a row of a long name", "0.123 ± 0.004", "[/INST] 1\nb 2"], ["another", "–", "x 3"]]
    console = Console(width=width, force_terminal=True, record=True, file=StringIO())
    show("Scores", ["row", "micro F1", "head"], rows, console)
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    if width < 110:
        assert lines == [
            "Scores", "", "a row of a long name", "  micro F1  0.123 ± 0.004",
            "  head      [/INST] 1", "  head      b 2", "", "another", "  micro F1  –",
            "  head      x 3",
        ]  # fmt: skip
    else:
        assert "│ a row of a long name │ 0.123 ± 0.004 │ [/INST] 1 │" in lines


def test_what_thresholds_change_is_told_where_they_are_tuned(tmp_path):
    results = Results(tmp_path, Settings())
    results.keep("old", 0, lambda: scored(0.25))
    results.keep("levels", 0, lambda: scored(0.25, tuned=None))
    assert "Tuned thresholds" not in to_markdown(results)
    tuned = scored(0.75, thresholds={"a": -1.0}, validation_rows=175)
    results.keep("new", 0, lambda: scored(0.5, tuned=tuned))
    assert "what suits the 175 validation rows" in to_markdown(results)
    assert "| a row | 0.500 | 0.750 | 0.500 | 0.750 |" in to_markdown(results)


def test_the_command_of_the_results_is_told(tmp_path):
    suited = Settings().suited
    settings = Settings(samples=BUNDLED_SAMPLES, epochs=4, text_column="a b", per_row=suited)
    results = Results(tmp_path, settings)
    results.keep("tfidf", 0, lambda: scored(0.5))
    for seed in (1, 2):
        results.keep("r_drop", seed, lambda: scored(0.5))
        results.keep("sigmoid", seed, lambda: scored(0.5))
    told = (
        "python examples/full_table.py --epochs 4 --dtype-policy float32 --text-column 'a b' "
        "--rows sigmoid r_drop --seeds 1 2 --no-tune-thresholds\n"
    )
    assert told in to_markdown(results)
