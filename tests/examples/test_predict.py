import json
import shutil
import sys

from support import UserError

import keras
import numpy as np
import pytest

import export_onnx
import predict
from backends import BACKEND
from example_runs import ROWS

TEXTS = ["word1 word4 word1", "", "word9 word3", "word0"] * 3


@pytest.fixture(scope="module")
def model(table):
    return table / "models" / "sigmoid-seed0"


def answers(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, arguments)])
    predict.main()
    return capsys.readouterr().out.split("\n")[:-1]


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TEXTS), encoding="utf-8")
    return path


def test_each_text_gets_a_line(model, texts, monkeypatch, capsys):
    lines = answers(monkeypatch, capsys, model, texts, "--top", 2, "--batch-size", 5)
    assert len(lines) == len(TEXTS) and lines[1] == ""
    assert lines[0] == lines[4] == lines[8]
    first, high, second, low = lines[0].split("\t")
    assert {first, second} < {"tool", "game", "library"} and 1 >= float(high) >= float(low) >= 0
    given = answers(monkeypatch, capsys, model, texts)
    saved = predict.Predictor(model)
    outputs = saved(TEXTS)
    expected = [
        [saved.names["labels"][i] for i in np.flatnonzero(row)] for row in outputs["labels"]
    ]
    assert given == [
        "\t".join(names) if text else "" for names, text in zip(expected, TEXTS, strict=True)
    ]


def test_the_saved_model_gives_what_was_scored(table, model):
    kept = json.loads((table / "rows" / "sigmoid-seed0.json").read_text())["predicted"]["tuned"]
    labels = predict.Predictor(model)([row["text"] for row in ROWS])["labels"]
    assert [np.flatnonzero(row).tolist() for row in labels] == kept


def test_levels(table, texts, monkeypatch, capsys):
    lines = answers(monkeypatch, capsys, table / "models" / "fine_grained-seed0", texts)
    assert len(lines) == len(TEXTS) and lines[1] == ""
    assert {line for line in lines if line} <= {"mood::0", "mood::1", "mood::2"}


def test_what_is_no_model_is_told(tmp_path, model):
    with pytest.raises(UserError, match="no model that a row has saved"):
        predict.Predictor(tmp_path)
    shutil.copytree(model, tmp_path / "cut")
    path = tmp_path / "cut" / "model.keras"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot be loaded"):
        predict.Predictor(tmp_path / "cut")
    with pytest.raises(UserError, match="no probabilities"):
        list(predict.lines_of({"labels": ["a"]}, {"labels": np.ones((1, 1))}, top=1))


def test_a_model_in_half_precision_is_saved_in_float32(tmp_path):
    inputs = keras.Input((3,))
    scores = keras.layers.Dense(2, dtype="mixed_bfloat16")(inputs)
    scores = keras.layers.Dense(2)(scores)
    model = keras.Model(inputs, scores)

    class Tokens:
        def save(self, folder):
            (folder / "vocab.txt").write_text("word")

    predict.save_model(tmp_path / "model", model, {"labels": scores}, Tokens(), {"labels": ["a"]})
    again = keras.saving.load_model(tmp_path / "model" / "model.keras")
    assert {layer.compute_dtype for layer in again.layers} == {"float32"}
    for mine, theirs in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the export goes through TensorFlow")
def test_onnx_gives_what_keras_gives(model, tmp_path, monkeypatch):
    pytest.importorskip("tf2onnx")
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    with pytest.raises(UserError, match="cannot be loaded"):
        predict.Predictor(folder, onnx=True)
    expected = predict.Predictor(folder)(TEXTS)
    for options, near in (((), 1e-5), (("--int8",), 0.05)):
        monkeypatch.setattr(sys, "argv", ["export_onnx.py", str(folder), *options])
        export_onnx.main()
        found = predict.Predictor(folder, onnx=True)(TEXTS)
        assert found.keys() == expected.keys() == {"labels", "probabilities"}
        far = np.abs(found["probabilities"] - np.asarray(expected["probabilities"])).max()
        assert (0 if options else -1) < far < near
    assert not list(folder.glob("*.partial"))
