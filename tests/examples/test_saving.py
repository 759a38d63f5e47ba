"""Models that were saved, in another process and in other formats."""

import importlib
import json
import shutil
import subprocess
import sys
import zipfile

from support.predictor import Predictor
from support.served import has_model, read_model
from support.table import DataError

import keras
import numpy as np
import pytest

from backends import BACKEND, skip_where_keras_is_too_old_to_export, tensorflow_only
from full_table import ROWS
from saved_models import ASPECTS, LABELS, OFFSET, SCALE, TEXTS, save_row

if BACKEND == "jax":  # a model of each kind, since all of them compile for long
    ROWS = ["sigmoid", "fgm", "r_drop", "text_cnn", "bilstm_attention", "fine_grained"]
THRESHOLDS = [-0.7, -100.0, 100.0]  # the first is near the scores
# what a program needs that has no file of this repository but the model
LOAD = """
import sys
import keras, keras_hub, keras_mlc
import numpy as np

@keras.saving.register_keras_serializable(package="keras_mlc_examples")
def gelu_tanh(x):
    return keras.activations.gelu(x, approximate=True)

inputs = dict(np.load(sys.argv[1]))
for folder in sys.argv[2:]:
    model = keras.saving.load_model(f"{folder}/model.keras")
    np.savez(f"{folder}/outputs.npz", **model.predict_on_batch(inputs))
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Each row's folder, the model as it was built, and its inputs."""
    folder = tmp_path_factory.mktemp("saved")
    with pytest.MonkeyPatch.context() as patch:
        return {
            row: (folder / row, *save_row(row, folder / row, folder / "encoder", patch, THRESHOLDS))
            for row in ROWS
        }


def outputs(model, inputs):
    return np.asarray(getattr(model, "model", model).predict_on_batch(inputs))


def served_outputs(model, inputs, fine_grained=False):
    """What a saved model should give, by NumPy from the outputs of the model as it was built."""
    values = outputs(model, inputs)
    if fine_grained:
        return {"probabilities": values}
    return {
        "labels": values > THRESHOLDS,
        "probabilities": 1 / (1 + np.exp(-SCALE * values - OFFSET)),
        "scores": values,
    }


def same(found, expected, near):
    """Compare outputs by name; labels where the score is not at its threshold."""
    assert found.keys() == expected.keys()
    for name in found.keys() - {"labels"}:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=near)
    if "labels" in found:
        sure = np.abs(expected["scores"] - THRESHOLDS) > near
        assert sure.mean() > 0.6
        np.testing.assert_array_equal(found["labels"][sure], expected["labels"][sure])


def test_a_fresh_process_gives_the_same_outputs(saved, tmp_path):
    _, _, task = saved["sigmoid"]
    np.savez(tmp_path / "inputs.npz", **task.train[0])
    folders = [str(folder) for folder, *_ in saved.values()]
    command = [sys.executable, "-c", LOAD, str(tmp_path / "inputs.npz"), *folders]
    subprocess.run(command, check=True, cwd=tmp_path)
    given = set()
    for folder, model, task in saved.values():
        expected = served_outputs(model, task.train[0], task.fine_grained)
        same(dict(np.load(folder / "outputs.npz")), expected, near=1e-6)
        given |= {*expected.get("labels", np.empty(0)).ravel()}
    assert given == {True, False}


@pytest.mark.parametrize("row", ["gradient_penalty", "fgm", "r_drop"])
def test_nothing_of_the_training_is_in_the_model(saved, row):
    if row not in saved:
        pytest.skip("not among the rows that are saved on JAX")
    with zipfile.ZipFile(saved[row][0] / "model.keras") as archive:
        config = archive.read("config.json").decode()
        assert archive.testzip() is None
    assert json.loads(config)["class_name"] == "Functional"
    assert not any(word in config for word in ("Trainer", "Penalty", "RDrop", "optimizer"))


def test_the_folder_says_what_the_outputs_mean(saved):
    labels = read_model(saved["sigmoid"][0]).labels
    assert (labels.labels, labels.aspects) == (LABELS, None)
    assert labels.outputs == ["labels", "probabilities", "scores"]
    assert (labels.title, labels.max_length) == ("sigmoid", 12)
    levels = read_model(saved["fine_grained"][0]).labels
    assert (levels.labels, levels.aspects) == (None, ASPECTS)
    assert levels.outputs == ["probabilities"]


@pytest.mark.parametrize("row", ["sigmoid", "fine_grained", "text_cnn", "bilstm_attention"])
def test_texts_in_any_company_get_the_same_outputs(saved, row):
    folder, model, task = saved[row]
    predictor = Predictor(read_model(folder), batch_size=2)
    expected = served_outputs(model, task.train[0], task.fine_grained)
    same(predictor(TEXTS), expected, near=1e-5)
    alone = [predictor([text]) for text in TEXTS]
    alone = {name: np.concatenate([each[name] for each in alone]) for name in expected}
    same(alone, expected, near=1e-5)


def test_shapes_are_few(saved, monkeypatch):
    served = read_model(saved["sigmoid"][0])
    shapes = set()

    def computed(inputs):
        shapes.add(inputs["token_ids"].shape)
        zeros = np.zeros((len(inputs["token_ids"]), 3))
        return {"labels": zeros, "probabilities": zeros, "scores": zeros}

    monkeypatch.setattr(served.model, "predict_on_batch", computed)
    predictor = Predictor(served, batch_size=8)
    for count in range(1, 40):
        predictor([f"{'word1 ' * (i % 30)}" for i in range(count)])
    assert {width for _, width in shapes} <= {4, 8, 12}
    assert {rows for rows, _ in shapes} == {1, 2, 4, 8}


def test_bfloat16_is_near(saved):
    folder, model, task = saved["sigmoid"]
    served = read_model(folder)
    served.use_bfloat16()
    layer = served.model.get_layer("transformer_layer")
    assert layer.compute_dtype == "bfloat16"
    expected = served_outputs(model, task.train[0])
    found = Predictor(served, 4)(TEXTS)
    same(found, expected, near=0.05)
    assert np.abs(found["scores"] - expected["scores"]).max() > 0


@pytest.mark.parametrize(
    "row", ["sigmoid", pytest.param("bilstm_attention", marks=pytest.mark.slow)]
)
def test_a_model_that_trained_in_mixed_precision_is_kept_in_float32(row, tmp_path, monkeypatch):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        folder = tmp_path / "model"
        model, task = save_row(row, folder, tmp_path / "encoder", monkeypatch, THRESHOLDS)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("classifier").compute_dtype == "bfloat16"
    served = read_model(folder)
    assert {layer.compute_dtype for layer in served.model.layers if layer.weights} == {"float32"}
    same(Predictor(served, 4)(TEXTS), served_outputs(model, task.train[0]), near=0.05)
    for kept, trained in zip(served.model.get_weights(), model.get_weights(), strict=False):
        np.testing.assert_array_equal(kept, trained)


def test_a_folder_is_replaced_as_a_whole(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    save_row("sigmoid", folder, tmp_path / "encoder", monkeypatch)
    (folder / "old").write_text("")
    partial = tmp_path / "model.partial"
    partial.mkdir()  # as a kill leaves it
    (partial / "rubbish").write_text("")
    save_row("sigmoid", folder, tmp_path / "encoder", monkeypatch, [0.5, -1.0, 2.0])
    assert sorted(path.name for path in folder.iterdir()) == [
        "labels.json", "model.keras", "vocab.txt",
    ]  # fmt: skip
    layer = read_model(folder).model.get_layer("labels")
    np.testing.assert_array_equal(layer.thresholds, [0.5, -1, 2])
    assert not partial.exists()


def test_a_write_that_fails_leaves_the_old_folder(saved, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    save_row("sigmoid", folder, tmp_path / "encoder", monkeypatch)
    before = (folder / "model.keras").read_bytes()
    monkeypatch.setattr("support.saving.shutil.copyfile", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_row("sigmoid", folder, tmp_path / "encoder", monkeypatch)
    assert (folder / "model.keras").read_bytes() == before
    read_model(folder)


def test_a_folder_without_a_model_says_so(saved, tmp_path):
    with pytest.raises(DataError, match="nowhere: there is no such folder"):
        read_model(tmp_path / "nowhere")
    above = saved["sigmoid"][0].parent
    with pytest.raises(DataError, match=r"model.keras and .* are missing. Models are below .*fgm"):
        read_model(above)
    for name in ("model.keras", "vocab.txt"):
        (tmp_path / name).write_text("")
    with pytest.raises(DataError, match=r"labels.json is missing"):
        read_model(tmp_path)
    (tmp_path / "labels.json").write_text("{")
    with pytest.raises(DataError, match=r"labels.json: damaged"):
        read_model(tmp_path)


def copied(folder, to, **changes):
    """A copy of a model's folder with other entries in its labels.json; None takes one out."""
    shutil.copytree(folder, to, dirs_exist_ok=True)
    labels = json.loads((folder / "labels.json").read_text(encoding="utf-8")) | changes
    labels = {name: value for name, value in labels.items() if value is not None}
    (to / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    return to


@pytest.mark.parametrize(
    ("row", "changes", "told"),
    [
        ("sigmoid", {"thresholds": [0.0, 0.0, 0.0]}, "unexpected keyword argument 'thresholds'"),
        ("sigmoid", {"outputs": ["probabilities"]}, "outputs are .'probabilities'., not"),
        ("sigmoid", {"outputs": ["labels", "scores", "more"]}, "outputs are"),
        ("sigmoid", {"outputs": []}, "outputs are"),
        ("sigmoid", {"outputs": 3}, "not iterable"),
        ("fine_grained", {"outputs": ["labels"]}, "outputs are"),
        ("sigmoid", {"labels": ["a", "a", "b"]}, "a name stands twice"),
        ("sigmoid", {"labels": "abc"}, "a list of names is expected"),
        ("sigmoid", {"labels": []}, "a list of names is expected"),
        ("sigmoid", {"aspects": ASPECTS}, "either labels or aspects"),
        ("sigmoid", {"labels": None}, "either labels or aspects"),
        ("sigmoid", {"max_length": 2}, "max_length is 2, not 3 or more"),
        ("sigmoid", {"max_length": None}, "max_length"),
        ("sigmoid", {"files": []}, "files is"),
        ("fine_grained", {"aspects": {"joy": 3}}, "a list of names is expected"),
        ("fine_grained", {"aspects": ["joy"]}, "has no attribute"),
    ],
)
def test_labels_that_cannot_be_right_are_refused(saved, tmp_path, row, changes, told):
    with pytest.raises(DataError, match=f"labels.json: damaged, or of another version .*{told}"):
        read_model(copied(saved[row][0], tmp_path, **changes))


@pytest.mark.parametrize(
    ("row", "changes"),
    [
        ("sigmoid", {"labels": [*LABELS, "more"]}),
        ("sigmoid", {"labels": LABELS[:2]}),
        ("sigmoid", {"labels": LABELS[:1]}),
        ("sigmoid", {"outputs": ["labels", "scores"]}),
        ("sigmoid", {"labels": None, "outputs": ["probabilities"], "aspects": ASPECTS}),
        ("fine_grained", {"aspects": {**ASPECTS, "fear": ["none", "some"]}}),
        ("fine_grained", {"aspects": None, "outputs": ["labels", "scores"], "labels": LABELS}),
    ],
)
def test_names_for_other_outputs_are_refused(saved, tmp_path, row, changes):
    served = read_model(copied(saved[row][0], tmp_path, **changes))
    told = r"outputs for a text are \w+ \(.* has names for \w+ \(.*that of another model"
    with pytest.raises(DataError, match=told):
        Predictor(served, 2)(TEXTS)


@pytest.mark.parametrize("row", ["sigmoid", "fine_grained"])
def test_a_folder_of_an_earlier_version_is_refused(saved, tmp_path, row):
    thresholds = [0.0, 0.0, 0.0] if row == "sigmoid" else None
    folder = copied(saved[row][0], tmp_path, outputs=None, thresholds=thresholds)
    with pytest.raises(DataError, match=r"saved by an earlier version.*Train again with `--save`"):
        read_model(folder)
    assert has_model(saved[row][0]) and not has_model(folder)  # so the row runs again


def test_a_model_whose_outputs_have_no_names_is_refused(saved, tmp_path):
    folder = copied(saved["sigmoid"][0], tmp_path, files=None)
    model = read_model(folder).model
    keras.Model(model.input, model.output["scores"]).save(folder / "model.keras")
    with pytest.raises(DataError, match=r"outputs for a text are without a name \(3,\)"):
        Predictor(read_model(folder), 2)(TEXTS)


@pytest.mark.parametrize("name", ["model.keras", "vocab.txt", "labels.json"])
def test_files_of_another_model_with_as_many_labels_are_refused(saved, tmp_path, name):
    folder, other = copied(saved["sigmoid"][0], tmp_path), saved["text_cnn"][0]
    read_model(folder)
    content = (other / name).read_bytes()
    (folder / name).write_bytes(content + b"\nmore" if name == "vocab.txt" else content)
    with pytest.raises(DataError, match=r"labels.json was not written with this"):
        read_model(folder)
    read_model(copied(folder, tmp_path / "again", files=None))  # as the error says


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.999])
def test_a_model_that_was_cut_off_says_so(saved, tmp_path, share):
    folder = copied(saved["sigmoid"][0], tmp_path, files=None)
    content = (folder / "model.keras").read_bytes()
    (folder / "model.keras").write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"model.keras: cannot be loaded; it is cut off, damaged"):
        _ = read_model(folder).model


def saved_model(path):
    tf = pytest.importorskip("tensorflow")
    loaded = tf.saved_model.load(path)
    return lambda inputs: {name: value.numpy() for name, value in loaded.serve(inputs).items()}


def onnx(path):
    session = importlib.import_module("onnxruntime").InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))


def litert(path):
    interpreter = importlib.import_module("ai_edge_litert.interpreter").Interpreter(path)
    return lambda inputs: interpreter.get_signature_runner()(**inputs)


FORMATS = {
    "tf_saved_model": ("saved_model", saved_model, []),
    "onnx": ("model.onnx", onnx, ["onnx", "tf2onnx", "onnxruntime"]),
    "litert": ("model.tflite", litert, ["ai_edge_litert"]),
}


@pytest.mark.slow
@tensorflow_only
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("row", ["sigmoid", "text_cnn", "bilstm_attention", "fine_grained"])
def test_exported_models_give_the_same_labels_and_probabilities(saved, tmp_path, row, form):
    name, load, packages = FORMATS[form]
    for package in packages:
        pytest.importorskip(package)
    folder, _, task = saved[row]
    inputs = task.train[0]
    parts = [inputs, {key: value[:1, :5] for key, value in inputs.items()}]
    signature = None
    if (row, form) == ("bilstm_attention", "litert"):  # an LSTM there has fixed sizes
        parts = parts[:1]
        shape = inputs["token_ids"].shape
        signature = [{key: keras.InputSpec(shape=shape, dtype="int32", name=key) for key in inputs}]
    model = keras.saving.load_model(folder / "model.keras")
    expected = [
        model.predict_on_batch(part) for part in parts
    ]  # ONNX wants a model that was called
    path = str(tmp_path / name)
    try:
        model.export(path, format=form, verbose=False, input_signature=signature)
    except ValueError as error:
        skip_where_keras_is_too_old_to_export(error)
    run = load(path)
    for part, values in zip(parts, expected, strict=True):
        same(run(part), values, near=1e-5)
