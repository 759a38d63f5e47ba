"""The scripts to copy, each run as its reader runs it, on small encoders that are saved here."""

import ast
import itertools
import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import joblib
import keras
import keras_hub
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

import keras_mlc  # noqa: F401  (saved models need its layers)

SCRIPTS = sorted((Path(__file__).parents[2] / "examples/copy").glob("*.py"))
PACKAGES = {"joblib", "keras", "keras_hub", "keras_mlc", "numpy", "pandas", "sklearn"}
NAMES = ["animal", "home", "water"]
THINGS = [["cat", "dog", "fish"], ["table", "sofa", "lamp"], ["lake", "river", "sea"]]
LEVELS = ["bad", "fair", "good"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIAL, "and", "food", "service", "the", *LEVELS, *itertools.chain(*THINGS)]
TRAINING = ["--length=10", "--epochs=40", "--learning-rate=0.01"]
SIZES = {
    "num_layers": 1,
    "num_heads": 2,
    "hidden_dim": 32,
    "intermediate_dim": 64,
    "max_sequence_length": 16,
    "dropout": 0.0,
}


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """A small encoder as KerasHub saves one."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("preset")
    tokenizer = keras_hub.models.BertTokenizer(WORDS, lowercase=True)
    keras_hub.models.BertTextClassifierPreprocessor(tokenizer).save_to_preset(folder)
    keras_hub.models.BertBackbone(vocabulary_size=len(WORDS), **SIZES).save_to_preset(folder)
    return folder


@pytest.fixture(scope="module")
def hugging_face_folder(tmp_path_factory):
    """A small encoder as Hugging Face publishes one."""
    folder, rng = tmp_path_factory.mktemp("hugging_face"), np.random.default_rng(0)
    size, inner = SIZES["hidden_dim"], SIZES["intermediate_dim"]

    def weights(*shape):
        return rng.normal(0, 0.1, shape).astype("float32")

    def dense(name, inputs, outputs):
        return {f"{name}.weight": weights(outputs, inputs), f"{name}.bias": weights(outputs)}

    def norm(name):
        return {f"{name}.weight": 1 + weights(size), f"{name}.bias": weights(size)}

    layer = "encoder.layer.0"
    embeddings = {"word": len(WORDS), "position": SIZES["max_sequence_length"], "token_type": 2}
    tensors = {
        **{f"embeddings.{k}_embeddings.weight": weights(n, size) for k, n in embeddings.items()},
        **norm("embeddings.LayerNorm"),
        **dense(f"{layer}.attention.self.query", size, size),
        **dense(f"{layer}.attention.self.key", size, size),
        **dense(f"{layer}.attention.self.value", size, size),
        **dense(f"{layer}.attention.output.dense", size, size),
        **norm(f"{layer}.attention.output.LayerNorm"),
        **dense(f"{layer}.intermediate.dense", size, inner),
        **dense(f"{layer}.output.dense", inner, size),
        **norm(f"{layer}.output.LayerNorm"),
        **dense("pooler.dense", size, size),
    }
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    configuration = {
        "model_type": "bert",
        "vocab_size": len(WORDS),
        "num_hidden_layers": SIZES["num_layers"],
        "num_attention_heads": SIZES["num_heads"],
        "hidden_size": size,
        "intermediate_size": inner,
        "max_position_embeddings": SIZES["max_sequence_length"],
        "hidden_act": "gelu",
    }
    (folder / "config.json").write_text(json.dumps(configuration))
    return folder


@pytest.fixture
def rows(tmp_path):
    """Texts that name things of one or two kinds, and the kinds."""
    pairs = [*itertools.combinations(range(3), 1), *itertools.combinations(range(3), 2)]
    texts = [
        (" and ".join(f"the {thing}" for thing in things), "|".join(NAMES[k] for k in kinds))
        for kinds in pairs
        for things in itertools.product(*(THINGS[k] for k in kinds))
    ]
    path = tmp_path / "rows.csv"
    pd.DataFrame(texts, columns=["text", "labels"]).to_csv(path, index=False)
    return path


def command(script, *options):
    return [sys.executable, next(path for path in SCRIPTS if path.name == script), *options]


def run(script, *options):
    """Return what a script prints."""
    ran = subprocess.run(command(script, *options), capture_output=True, text=True)
    assert not ran.returncode, ran.stderr
    return ran.stdout


def predict(folder, texts):
    preprocessor = keras.saving.load_model(folder / "preprocessor.keras").layers[0]
    model = keras.saving.load_model(folder / "model.keras")
    return model.predict(preprocessor(texts), verbose=0)


def right(rows, decisions):
    """Return the share of right decisions on the texts of the table; a constant gets 0.58."""
    known = pd.read_csv(rows)["labels"].str.get_dummies("|")[NAMES]
    return (known.to_numpy() == np.asarray(decisions)).mean()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_short_and_needs_public_packages_only(script):
    text = script.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 80
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import)]
    modules = {alias.name for node in nodes for alias in node.names}
    modules |= {n.module for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ImportFrom)}
    tops = {module.partition(".")[0] for module in modules}
    assert tops - set(sys.stdlib_module_names) <= PACKAGES


def test_texts_to_service(rows, preset, tmp_path):
    folder, texts = tmp_path / "served", list(pd.read_csv(rows)["text"])
    run("texts_to_service.py", folder, f"--train={rows}", f"--encoder={preset}", *TRAINING)
    assert json.loads((folder / "names.json").read_text()) == NAMES
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    start = command("texts_to_service.py", folder, f"--port={port}")
    with subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as served:
        try:
            answers = ask(f"http://localhost:{port}", texts, served)
        finally:
            served.terminate()
    found = predict(folder, texts)
    assert [[name in a for name in NAMES] for a in answers] == (found["labels"] == 1).tolist()
    assert right(rows, found["labels"]) > 0.7
    (number, name) = next((n, name) for n, answer in enumerate(answers) for name in answer)
    expected = found["probabilities"][number, NAMES.index(name)]
    assert answers[number][name] == pytest.approx(expected, abs=1e-3)


def ask(address, texts, process, seconds=120):
    """Return a service's answer, once it is there."""
    for _ in range(seconds * 5):
        assert process.poll() is None, "the service has ended"
        try:
            with urllib.request.urlopen(address, json.dumps(texts).encode()) as answer:
                return json.load(answer)
        except urllib.error.URLError:
            time.sleep(0.2)
    raise AssertionError("the service never answered")


@pytest.mark.slow
def test_few_labels(rows, preset, tmp_path):
    table = pd.read_csv(rows)
    table[::2].to_csv(labelled := tmp_path / "labelled.csv", index=False)
    (unlabelled := tmp_path / "unlabelled.txt").write_text("\n".join(["", *table["text"][1::2]]))
    weak = ["--epsilon=0.01", "--weight=0.3"]  # the vectors of this encoder are short
    folder = tmp_path / "trained"
    run("few_labels.py", labelled, unlabelled, folder, f"--encoder={preset}", *TRAINING, *weak)
    assert json.loads((folder / "names.json").read_text()) == NAMES
    assert right(labelled, predict(folder, list(table["text"][::2]))["labels"]) > 0.7


def test_fine_grained_sentiment(preset, tmp_path):
    pairs = [pair for pair in itertools.product(LEVELS, LEVELS[::2]) if pair != ("fair", "good")]
    table = pd.DataFrame(pairs * 8, columns=["food", "service"])
    table.insert(0, "text", table["food"] + " food and " + table["service"] + " service")
    table.loc[::9, "service"] = ""  # nobody has annotated it
    table.to_csv(reviews := tmp_path / "reviews.csv", index=False)
    folder = tmp_path / "trained"
    printed = run("fine_grained_sentiment.py", reviews, folder, f"--encoder={preset}", *TRAINING)
    assert "food: macro F1" in printed and "service: macro F1" in printed
    levels = json.loads((folder / "levels.json").read_text())
    assert levels == {"food": LEVELS, "service": LEVELS[::2]}
    (found,) = predict(folder, ["good food and bad service"])
    assert found.shape == (2, 3) and found.argmax(axis=-1).tolist() == [2, 0] and found[1, 2] == 0


@pytest.mark.slow
def test_many_labels(rows, preset, tmp_path):
    names = [f"other {number}" for number in range(99_997)]
    names[500:500] = NAMES
    (labels := tmp_path / "labels.txt").write_text("\n".join(names))
    folder = tmp_path / "trained"
    options = [f"--labels={labels}", "--bottleneck=32", "--best=4", f"--encoder={preset}"]
    slowly = ["--learning-rate=0.001", "--epochs=120"]  # so many scores first drown three labels
    run("many_labels.py", rows, folder, *options, *TRAINING, *slowly)
    found = predict(folder, list(pd.read_csv(rows)["text"]))
    assert found["labels"].shape[1] == 4 and (np.diff(found["scores"]) <= 0).all()
    # of 100,000 labels, those that occur are the best of every text, and no other is given
    assert {names[number] for number in found["labels"][:, :3].ravel()} == set(NAMES)
    assert (found["scores"][:, 3] < 0).all()
    best = zip(found["labels"], found["scores"], strict=True)
    given = [{names[n] for n, score in zip(*text, strict=True) if score > 0} for text in best]
    assert right(rows, [[name in labels for name in NAMES] for labels in given]) > 0.8


def test_from_scikit_learn_with_an_encoder_of_hugging_face(rows, hugging_face_folder, tmp_path):
    folder = tmp_path / "trained"
    printed = run(
        "from_scikit_learn.py", rows, folder, f"--encoder={hugging_face_folder}", *TRAINING
    )
    assert "TF-IDF and a linear SVM" in printed and "The encoder" in printed
    binarizer = joblib.load(folder / "binarizer.joblib")
    table = pd.read_csv(rows)
    given = binarizer.inverse_transform(predict(folder, list(table["text"])).astype(int))
    assert right(rows, [[name in found for name in NAMES] for found in given]) > 0.7
