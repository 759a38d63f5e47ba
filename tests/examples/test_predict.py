"""`predict.py` on small saved models, as a program of its own and within this process."""

import gzip
import json
import os
import subprocess
import sys
import threading
import time

from support.predictor import Predictor
from support.saving import write_model
from support.served import Labels, read_model
from support.table import DataError

import keras
import numpy as np
import pytest

from predict import in_chunks, main, named_labels
from saved_models import LABELS, OFFSET, SCALE, TEXTS, decisions_of, save_row

THRESHOLDS = [0.0, -100.0, 100.0]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    with pytest.MonkeyPatch.context() as patch:
        for row, thresholds in (("sigmoid", THRESHOLDS), ("fine_grained", ())):
            save_row(row, folder / row, folder / "encoder", patch, thresholds)
    return folder


@pytest.fixture
def predict(folders, monkeypatch, capsys, tmp_path):
    """Run `main` on texts; return its lines."""

    def predict(texts, *options, row="sigmoid"):
        path = tmp_path / "texts.txt"
        path.write_bytes(texts if isinstance(texts, bytes) else "\n".join(texts).encode())
        monkeypatch.setattr(sys, "argv", ["x", str(folders / row), str(path), *options])
        main()
        return capsys.readouterr().out.split("\n")[:-1]

    return predict


@pytest.fixture(scope="module")
def scores(folders):
    return Predictor(read_model(folders / "sigmoid"), 4)(TEXTS)["scores"]


def pairs(line):
    fields = line.split("\t") if line else []
    return list(zip(fields[::2], map(float, fields[1::2]), strict=True))


def probability(score):
    return 1 / (1 + np.exp(-SCALE * score - OFFSET))


def expected(scores, thresholds, top=None, shown=probability):
    """Labels above their thresholds, the highest first."""
    given = [(n, s) for n, s, t in zip(LABELS, scores, thresholds, strict=True) if s > t]
    return [(name, shown(s)) for name, s in sorted(given, key=lambda pair: -pair[1])[:top]]


def same(line, pairs_expected):
    found = pairs(line)
    assert [name for name, _ in found] == [name for name, _ in pairs_expected]
    np.testing.assert_allclose([s for _, s in found], [s for _, s in pairs_expected], atol=1e-4)


@pytest.mark.parametrize(
    ("options", "thresholds", "top"),
    [
        ([], THRESHOLDS, None),
        (["--threshold", str(probability(-0.7))], [-0.7] * 3, None),
        (["--top", "2"], [-np.inf] * 3, 2),
        (["--top", "1", "--threshold", str(probability(-1))], [-1] * 3, 1),
        (["--batch-size", "1"], THRESHOLDS, None),
    ],
)
def test_labels_above_their_thresholds_are_printed(predict, scores, options, thresholds, top):
    lines = predict(TEXTS, *options)
    assert len(lines) == len(TEXTS)
    for line, row in zip(lines, scores, strict=True):
        same(line, expected(row, thresholds, top))


@pytest.mark.parametrize(
    ("options", "thresholds", "top"),
    [
        ([], THRESHOLDS, None),
        (["--threshold", "-0.7"], [-0.7] * 3, None),
        (["--top", "1", "--threshold", "-1"], [-1] * 3, 1),
    ],
)
def test_scores_are_printed_instead(predict, scores, options, thresholds, top):
    lines = predict(TEXTS, "--scores", *options)
    assert any(lines)
    for line, row in zip(lines, scores, strict=True):
        same(line, expected(row, thresholds, top, shown=float))


def test_a_threshold_of_scores_is_no_probability(predict, capsys):
    for value in ("-0.1", "1.5"):
        with pytest.raises(SystemExit):
            predict(TEXTS, "--threshold", value)
        told = f"--threshold: probabilities lie between 0 and 1, received {value}; with --scores"
        assert told in capsys.readouterr().err


def test_labels_are_ordered_where_all_probabilities_are_1():
    outputs = {
        "labels": np.ones((1, 3)),
        "scores": np.array([[50.0, 70.0, 60.0]]),
        "probabilities": np.ones((1, 3), "float32"),
    }
    (found,) = named_labels(LABELS, "probabilities", None, None)(outputs)
    assert [name for name, _ in found] == [LABELS[1], LABELS[2], LABELS[0]]


def test_a_model_without_probabilities_prints_scores(predict, folders, scores):
    served, decisions = read_model(folders / "sigmoid"), decisions_of(THRESHOLDS)
    model = keras.Model(served.model.input, served.model.output["scores"])
    decisions.calibration = None
    labels = Labels("x", 12, LABELS)
    write_model(folders / "scores", model, served.folder / "vocab.txt", labels, decisions)
    with pytest.raises(DataError, match=r"gives no probabilities: .*`--scores` prints scores"):
        predict(TEXTS, row="scores")
    for line, row in zip(predict(TEXTS, "--scores", row="scores"), scores, strict=True):
        same(line, expected(row, THRESHOLDS, shown=float))


def test_the_file_may_follow_options_and_nan_is_no_threshold(
    folders, monkeypatch, capsys, tmp_path
):
    (tmp_path / "texts").write_text("\n".join(TEXTS))
    model, texts = str(folders / "sigmoid"), str(tmp_path / "texts")
    outputs = []
    for order in ([model, texts, "--top", "1"], [model, "--top", "1", texts]):
        monkeypatch.setattr(sys, "argv", ["x", *order])
        main()
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] and len(outputs[0].splitlines()) == len(TEXTS)
    monkeypatch.setattr(sys, "argv", ["x", model, "--threshold", "nan", texts])
    with pytest.raises(SystemExit):
        main()
    assert "--threshold: must be a number, received NaN" in capsys.readouterr().err


def test_json(predict, scores):
    for line, row in zip(predict(["", *TEXTS], "--json"), [None, *scores], strict=True):
        wanted = {} if row is None else dict(expected(row, THRESHOLDS))
        assert json.loads(line) == pytest.approx(wanted, abs=1e-4)


@pytest.mark.slow
def test_levels_are_printed_for_every_aspect(predict, folders):
    lines = predict([TEXTS[0], "", TEXTS[1]], row="fine_grained")
    outputs = Predictor(read_model(folders / "fine_grained"), 4)(TEXTS[:2])["probabilities"]
    assert lines[1] == ""
    for line, (joy, anger) in zip([lines[0], lines[2]], outputs, strict=True):
        joys, angers = ("none", "some", "much"), ("none", "some")
        same(
            line,
            [
                (f"joy::{joys[joy.argmax()]}", joy.max()),
                (f"anger::{angers[anger[:2].argmax()]}", anger.max()),
            ],
        )


def test_levels_have_no_threshold(predict):
    for option in (["--threshold", "0"], ["--top", "1"], ["--scores"]):
        with pytest.raises(DataError, match="one level an aspect"):
            predict(TEXTS, *option, row="fine_grained")


def test_order_and_empty_lines_are_kept_across_chunks(predict, monkeypatch, scores):
    monkeypatch.setattr("predict.CHUNK", 7)
    texts = [TEXTS[i % 4] if i % 5 else " " * (i % 2) for i in range(100)]
    lines = predict(texts, "--batch-size", "2", "--top", "3")
    assert len(lines) == 100
    for i, line in enumerate(lines):
        same(line, expected(scores[i % 4], [-np.inf] * 3) if i % 5 else [])


@pytest.mark.slow
def test_files_come_with_a_mark_or_windows_line_ends_or_gzipped(predict):
    plain = predict(TEXTS)
    assert predict(b"\xef\xbb\xbf" + "\r\n".join(TEXTS).encode()) == plain
    assert predict(gzip.compress("\n".join(TEXTS).encode())) == plain
    assert predict(("\n".join(TEXTS) + "\n").encode()) == plain
    assert predict(b"") == []


def test_a_line_that_is_not_utf8_is_named_after_the_lines_before_it(predict, capsys):
    with pytest.raises(DataError, match=r"line 3: not UTF-8 .byte 0xc4 at position 7"):
        predict(b"word1\nword2\nword3 \xc4\xe3\nword4\n", "--top", "1")
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_lines_are_taken_as_they_come():
    more = threading.Event()

    def lines():
        yield from "ab"
        more.wait(10)
        yield "c"

    chunks = in_chunks(lines(), 100)
    assert next(chunks) == ["a", "b"]
    more.set()
    assert list(chunks) == [["c"]]


def test_reading_ahead_is_bounded():
    taken = []

    def lines():
        for number in range(9_999):
            taken.append(number)
            yield "text"

    chunks = in_chunks(lines(), 10)
    assert [len(next(chunks)) for _ in range(3)] == [10, 10, 10]
    time.sleep(0.1)
    assert len(taken) <= 30 + 10 + 1
    assert sum(map(len, chunks)) == 9_999 - 30


def start(folders, pytestconfig, *options, **streams):
    script = pytestconfig.rootpath / "examples" / "predict.py"
    command = [sys.executable, str(script), str(folders / "sigmoid"), *options]
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0"}
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, **streams}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, **streams)


def test_a_pipe_is_answered_before_it_ends_and_may_break(folders, pytestconfig):
    process = start(folders, pytestconfig, "--top", "3")
    process.stdin.write(f"{TEXTS[0]}\n\n".encode())
    process.stdin.flush()
    assert {name for name, _ in pairs(process.stdout.readline().decode().rstrip("\n"))} == {*LABELS}
    assert process.stdout.readline() == b"\n"
    process.stdout.close()
    process.stdin.write(b"word1\n" * 10)
    process.stdin.flush()
    error = process.stderr.read().decode()
    assert process.wait() == 0
    assert "Error" not in error and "Traceback" not in error
    process.stdin.close()


def test_errors_are_one_sentence(folders, pytestconfig):
    process = start(folders / "sigmoid", pytestconfig)
    out, error = process.communicate(b"word1\n")
    assert (process.returncode, out) == (1, b"")
    assert (
        error.decode()
        .splitlines()[-1]
        .endswith("sigmoid: there is no such folder. Training with `--save` makes one.")
    )
