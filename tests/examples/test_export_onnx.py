"""`export_onnx.py` and `predict.py --onnx` on small saved models."""

import json
import os
import subprocess
import sys

from support.predictor import Predictor
from support.served import OnnxModel, read_model
from support.table import DataError

import numpy as np
import pytest

import export_onnx
import predict
from backends import skip_where_keras_is_too_old_to_export, tensorflow_only
from saved_models import OFFSET, SCALE, TEXTS, save_row

onnx = pytest.importorskip("onnx")
for package in ("onnxruntime", "tf2onnx"):
    pytest.importorskip(package)
pytestmark = tensorflow_only
THRESHOLDS = [-0.7, -100.0, 100.0]  # the first is near the scores


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    with pytest.MonkeyPatch.context() as patch:
        for row in ("sigmoid", "text_cnn", "bilstm_attention", "fine_grained"):
            save_row(row, folder / row, folder / "encoder", patch, THRESHOLDS)
    # three, so that a batch is filled up to four
    (folder / "texts.txt").write_text("\n".join(TEXTS[:3]), encoding="utf-8")
    return folder


def answers(folder, monkeypatch, capsys, *options):
    call(predict, monkeypatch, folder, folder.parent / "texts.txt", "--json", *options)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def call(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["x", *map(str, arguments)])
    module.main()


def export(monkeypatch, folder, *options):
    try:
        call(export_onnx, monkeypatch, folder, *options)
    except DataError as error:
        skip_where_keras_is_too_old_to_export(error)


@pytest.mark.parametrize(
    "row",
    [
        "sigmoid",
        pytest.param("text_cnn", marks=pytest.mark.slow),
        pytest.param("bilstm_attention", marks=pytest.mark.slow),
        "fine_grained",
    ],
)
@pytest.mark.parametrize(("options", "near"), [([], 2e-4), (["--int8"], 0.05)])
def test_labels_are_those_of_keras(folders, monkeypatch, capsys, row, options, near):
    export(monkeypatch, folders / row, folders / "texts.txt", *options)
    told = capsys.readouterr().out
    assert "3 texts: probabilities within " in told
    assert (", scores within " in told) == (row != "fine_grained")
    every = [] if row == "fine_grained" else ["--top", "3"]
    expected = answers(folders / row, monkeypatch, capsys, *every)
    found = answers(folders / row, monkeypatch, capsys, *every, "--onnx")
    assert len(found) == len(expected) == 3
    for scores, wanted in zip(found, expected, strict=True):
        assert scores == pytest.approx(wanted, abs=near)


@pytest.mark.parametrize("options", [[], ["--int8"]])
def test_labels_and_probabilities_follow_from_the_scores(folders, monkeypatch, options):
    export(monkeypatch, folders / "sigmoid", *options)
    served = read_model(folders / "sigmoid")
    served.use_onnx()
    outputs = Predictor(served, 2)(TEXTS)
    given = outputs["scores"] > np.float32(THRESHOLDS)
    assert 0 < given.mean() < 1
    np.testing.assert_array_equal(outputs["labels"], given)
    wanted = 1 / (1 + np.exp(-SCALE * outputs["scores"] - OFFSET))
    np.testing.assert_allclose(outputs["probabilities"], wanted, rtol=0, atol=1e-6)


def test_8_bits_are_used_for_every_dense_layer(folders, monkeypatch):
    export(monkeypatch, folders / "sigmoid", "--int8")
    graph = onnx.load(folders / "sigmoid" / "model.onnx").graph
    weights = {tensor.name for tensor in graph.initializer}
    multiplied = [node for node in graph.node if node.op_type == "MatMulInteger"]
    assert len([node for node in multiplied if weights & {*node.input}]) >= 14
    left = [node for node in graph.node if node.op_type in ("MatMul", "Gemm")]
    assert not [node.name for node in left if weights & {*node.input}]


def test_the_comparison_counts_other_answers(folders):
    served = read_model(folders / "sigmoid")
    outputs = Predictor(served, 4)(TEXTS[:1])

    class Moved:
        input = served.model.input

        def predict_on_batch(self, inputs):
            return {
                "labels": np.abs(outputs["labels"] - [[0, 1, 0]]),
                "probabilities": outputs["probabilities"] - [[0, 0, 0.25]],
                "scores": outputs["scores"] + [[0, 1, 0]],
            }

    differences, others = export_onnx.compare(served, Moved(), TEXTS[:1])
    assert differences == pytest.approx({"probabilities": 0.25, "scores": 1})
    assert others == pytest.approx(1 / 3)


@pytest.mark.slow
def test_labels_are_given_without_loading_keras(folders, monkeypatch, pytestconfig):
    export(monkeypatch, folders / "sigmoid")
    program = """
import sys, predict
predict.main()
assert not {"keras", "tensorflow"} & {*sys.modules}
"""
    command = [sys.executable, "-c", program, folders / "sigmoid", folders / "texts.txt", "--onnx"]
    path = str(pytestconfig.rootpath / "examples")
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 3


def test_what_is_missing_or_damaged_is_named(folders, tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    with pytest.raises(DataError, match=r"no such file. `python examples/export_onnx.py .*writes"):
        OnnxModel(path)
    path.write_bytes(b"no model")
    with pytest.raises(DataError, match=r"model.onnx: ONNX Runtime cannot read it"):
        OnnxModel(path)
    with pytest.raises(SystemExit):
        call(predict, monkeypatch, folders / "sigmoid", "--onnx", "--bfloat16")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DataError, match="pip install onnxruntime"):
        OnnxModel(path)


@pytest.mark.slow
def test_a_file_of_another_model_is_refused(folders, tmp_path, monkeypatch):
    export(monkeypatch, folders / "sigmoid")
    for name in ("model.keras", "labels.json", "vocab.txt"):
        (tmp_path / name).write_bytes((folders / "text_cnn" / name).read_bytes())
    (tmp_path / "model.onnx").write_bytes((folders / "sigmoid" / "model.onnx").read_bytes())
    with pytest.raises(DataError, match=r"made from another model.keras. .*export_onnx.py"):
        call(predict, monkeypatch, tmp_path, folders / "texts.txt", "--onnx")


def test_a_file_without_texts_is_refused(folders, tmp_path, monkeypatch):
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(DataError, match="no text in it to compare"):
        call(export_onnx, monkeypatch, folders / "sigmoid", tmp_path / "empty.txt")
    with pytest.raises(DataError, match=r"cannot be read .Is a directory"):
        call(export_onnx, monkeypatch, folders / "sigmoid", tmp_path)


@pytest.mark.slow
def test_an_export_that_fails_leaves_what_was_there(folders, monkeypatch):
    folder = folders / "text_cnn"
    export(monkeypatch, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr("export_onnx.sign", lambda path, _: path.write_bytes(b"half a model"))
        with pytest.raises(DataError, match="cannot read it"):
            call(export_onnx, patch, folder, "--int8", folders / "texts.txt")
    with monkeypatch.context() as patch:
        nothing = dict.fromkeys(("labels", "probabilities", "scores"), np.full((4, 3), np.nan))
        patch.setattr("support.served.OnnxModel.predict_on_batch", lambda *_: nothing)
        with pytest.raises(DataError, match="gives NaN for 'word1 word2 unheard'"):
            call(export_onnx, patch, folder, folders / "texts.txt")
    with monkeypatch.context() as patch:
        patch.setattr("keras.backend.backend", lambda: "torch")
        with pytest.raises(DataError, match="KERAS_BACKEND=tensorflow"):
            call(export_onnx, patch, folder)
    with monkeypatch.context() as patch:
        patch.setattr("export_onnx.PACKAGES", ("onnx", "no_such_package"))
        with pytest.raises(DataError, match=r"Not installed: no_such_package\. pip install"):
            call(export_onnx, patch, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
