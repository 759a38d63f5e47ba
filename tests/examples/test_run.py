import json
import subprocess
import sys
from pathlib import Path

from support import UserError, run

import filelock
import pytest

import report
from example_runs import run_rows

EXAMPLES = Path(__file__).parents[2] / "examples"


def contents(folder):
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in paths}


def test_a_table_has_rows_models_and_a_report(table):
    names = {"tfidf-seed0", "sigmoid-seed0", "fine_grained-seed0"}
    assert {path.stem for path in table.glob("rows/*.json")} == names
    assert {path.name for path in table.glob("models/*")} == names - {"tfidf-seed0"}
    for name in names:
        row = json.loads((table / "rows" / f"{name}.json").read_text())
        assert {"row", "title", "loss", "seed", "scores", "predicted", "seconds", "step_ms"} == set(
            row
        )
        assert f"{row['row']}-seed{row['seed']}" == name
        assert set(row["scores"]["at_0"]) == {"micro", "macro", "weighted", "samples"}
        assert (row["scores"]["tuned"] is None) == name.startswith("fine_grained")
        assert len(row["predicted"]["at_0"]) == 40
    truth = json.loads((table / "test.json").read_text())
    assert truth["label_names"] == ["game", "library", "tool"]
    assert truth["labels"][:4] == [[2], [0, 2], [], [1]]
    levels = json.loads((table / "test_fine_grained.json").read_text())
    assert levels["label_names"] == ["mood::1", "mood::2"] and levels["labels"][:2] == [[], [0]]
    text = (table / "results.md").read_text()
    assert text.index("TF-IDF") < text.index("| sigmoid | binary cross-entropy | 1 | 0.")
    assert "fine-grained softmax" in text
    assert "±" not in text.split("F1 on the test rows")[0]  # of one seed
    assert all((table / chart).stat().st_size > 5_000 for chart in ("f1.png", "cost.png"))


def test_finished_rows_are_kept_and_more_are_added(table, small):
    before = contents(table)
    run_rows(*small, "--output", table, "--seeds", 0, 1, rows=["sigmoid"])
    after = contents(table)
    kept = {name for name in before if before[name] == after[name]}
    assert {name for name in before if name.startswith(("rows", "models"))} <= kept
    assert "rows/sigmoid-seed1.json" in after and "models/sigmoid-seed1" not in str(after)
    text = (table / "results.md").read_text()
    sigmoid = next(line for line in text.splitlines() if line.startswith("| sigmoid | "))
    assert "| 2 | 0." in sigmoid and sigmoid.count(" ± ") == 5 and "fine-grained softmax" in text


def test_other_settings_and_other_files_are_refused(table, small, tmp_path):
    with pytest.raises(UserError, match=r"\(learning_rate: 0.0001, now 0.1\)"):
        run_rows(*small, "--learning-rate", 0.1, "--output", table, rows=["sigmoid"])
    path = Path(small[small.index("--train") + 1])
    other = tmp_path / path.name
    other.write_text(path.read_text().replace("word1 ", "word2 "))
    changed = [str(other) if each == str(path) else each for each in small]
    with pytest.raises(UserError, match=r"train: 'rows.jsonl \w+', now 'rows.jsonl \w+'"):
        run_rows(*changed, "--output", table, rows=["sigmoid"])


def test_two_at_once_do_not_mix(tmp_path, small, monkeypatch):
    monkeypatch.setattr(run.data, "load_labels", None)  # told before anything is read
    with filelock.FileLock(tmp_path / ".lock"), pytest.raises(UserError, match="another process"):
        run_rows(*small, "--output", tmp_path, rows=["sigmoid"])


def test_a_full_disk_loses_no_finished_row(tmp_path, small, monkeypatch):
    def fails(*arguments):
        raise OSError(28, "No space left on device", "model.keras")

    monkeypatch.setattr("support.tokens.FileTokens.save", fails)
    with pytest.raises(UserError, match=r"model\.keras: No space left on device"):
        run_rows(*small, "--save", "--output", tmp_path, rows=["sigmoid"])
    assert [path.stem for path in tmp_path.glob("rows/*")] == ["tfidf-seed0"]
    assert not list(tmp_path.rglob("*.partial")) and not list(tmp_path.glob("models/*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--max-length", 17), "reads at most 16 tokens"),
        (("--checkpoint", "nowhere"), "nowhere cannot be loaded"),
        (("--train", "nowhere.csv", "--test", "nowhere.csv"), "nowhere.csv: No such file"),
        (("--separator", ";", "--label-columns", "x"), "in one cell"),
        (("--max-length", 2), "2"),  # argparse prints the reason, and exits with 2
        (("--seeds", -1), "2"),
        (("--dropout", 1), "2"),
    ],
)
def test_mistakes_are_one_line(tmp_path, small, arguments, message):
    with pytest.raises(SystemExit, match=message) as raised:
        run_rows(*small, *arguments, "--output", tmp_path, rows=["sigmoid"])
    assert "\n" not in str(raised.value)


def test_a_report_repeats_warnings(tmp_path):
    (tmp_path / "settings.json").write_text("{}")
    notes = {"notes": ["Warning: never in training, 3 times in test rows: ['x']", "other"]}
    (tmp_path / "test.json").write_text(json.dumps(notes))
    text = report.write_report(tmp_path)
    assert "never in training" in text and "other\n" not in text


def test_a_script_ends_in_one_line(tmp_path):
    command = [sys.executable, str(EXAMPLES / "predict.py"), str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, input="a text")
    expected = f"{tmp_path}: no model that a row has saved with --save.\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", expected)


@pytest.mark.slow
def test_a_killed_table_goes_on(tmp_path, small):
    """A finished row stays, and what was half written is removed."""
    rows = ["--rows", "sigmoid", "r_drop", "--save", "--output", str(tmp_path)]
    command = [sys.executable, str(EXAMPLES / "full_table.py"), *small, *rows]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("r_drop"):
                process.kill()
    finished = {name: time for name, time in contents(tmp_path).items() if "sigmoid" in name}
    assert set(finished) == {
        "rows/sigmoid-seed0.json",
        *(f"models/sigmoid-seed0/{each}" for each in ("model.keras", "names.json", "vocab.txt")),
    }
    (tmp_path / "models" / "r_drop-seed0.partial").mkdir()
    resumed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "sigmoid, seed 0" not in resumed.stdout and "r_drop, seed 0" in resumed.stdout
    assert finished.items() <= contents(tmp_path).items()
    assert not list(tmp_path.rglob("*.partial"))
    wrong = subprocess.run([*command, "--label-column", "x"], capture_output=True, text=True)
    assert wrong.returncode == 1 and wrong.stderr.strip().splitlines()[-1].startswith(str(tmp_path))
    assert "Traceback" not in wrong.stderr
