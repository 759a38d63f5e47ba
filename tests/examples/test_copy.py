"""The scripts to copy, run on small encoders that are saved here."""

import ast
import itertools
import json
import re
import runpy
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import joblib
import keras
import keras_hub
import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

SCRIPTS = sorted((Path(__file__).parents[2] / "examples/copy").glob("*.py"))
PACKAGES = {"joblib", "keras", "keras_hub", "keras_mlc", "numpy", "pandas", "sklearn"}
PACKAGES |= {"fastapi", "uvicorn"}
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


@pytest.fixture
def rows(tmp_path):
    """Texts that name things of one or two kinds, and the kinds; the last text has none."""
    kinds = [*itertools.combinations(range(3), 1), *itertools.combinations(range(3), 2)]
    table = [
        (" and ".join(f"the {thing}" for thing in things), chosen)
        for chosen in kinds
        for things in itertools.product(*(THINGS[kind] for kind in chosen))
    ]
    table.append(("and", ()))
    cells = [
        separator.join(NAMES[kind] for kind in chosen)
        for (_, chosen), separator in zip(table, itertools.cycle([",", "，", " , "]), strict=False)
    ]
    path = tmp_path / "rows.csv"
    pd.DataFrame({"text": [text for text, _ in table], "labels": cells}).to_csv(path, index=False)
    return path


def script(name):
    return next(path for path in SCRIPTS if path.stem == name)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a script in this process; return what it prints."""

    def run(name, *options):
        monkeypatch.setattr(sys, "argv", [name, *map(str, options)])
        runpy.run_path(str(script(name)), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.fixture
def last_words(run):
    """What a script says where a user is at fault."""

    def last_words(name, *options):
        with pytest.raises(SystemExit) as ended:
            run(name, *options)
        assert isinstance(ended.value.code, str) and "\n" not in ended.value.code
        return ended.value.code

    return last_words


def texts_of(rows):
    return list(pd.read_csv(rows)["text"])


def known(rows):
    """The labels of a table, (texts, 3)."""
    cells = pd.read_csv(rows, keep_default_na=False)["labels"]
    return np.array([[name in cell for name in NAMES] for cell in cells])


def right(rows, decisions):
    """The share of right decisions on the texts of a table; a constant gets 0.58."""
    assert np.shape(decisions) == known(rows).shape  # and no label beside those three
    return (known(rows) == np.asarray(decisions)).mean()


def predict(folder, texts):
    preprocessor = keras.saving.load_model(folder / "preprocessor.keras").layers[0]
    model = keras.saving.load_model(folder / "model.keras")
    return model.predict(preprocessor(texts), verbose=0)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_short_and_needs_public_packages_only(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 95
    nodes = list(ast.walk(ast.parse(text)))
    modules = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    modules |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    tops = {module.partition(".")[0] for module in modules}
    assert tops - set(sys.stdlib_module_names) <= PACKAGES


GIVEN = {  # to each script that reads labels, before its options
    "texts_to_service": lambda rows, folder: [folder, "--train", rows],
    "few_labels": lambda rows, folder: [rows, rows, folder],
    "many_labels": lambda rows, folder: [rows, folder],
    "from_scikit_learn": lambda rows, folder: [rows, folder],
    "fine_grained_sentiment": lambda rows, folder: [rows, folder],
}
WITH_LABELS = list(GIVEN)[:-1]


@pytest.mark.parametrize("name", WITH_LABELS)
def test_labels_are_counted_and_a_name_with_a_separator_stops_a_script(
    name, rows, tmp_path, last_words, capsys
):
    nowhere = "--encoder", tmp_path / "nowhere"
    given = GIVEN[name](rows, tmp_path / "trained")
    assert "nowhere" in last_words(name, *given, "--separator", ",", *nowhere)
    printed = capsys.readouterr().out
    counts = dict(zip(NAMES, known(rows).sum(axis=0), strict=True))
    found = re.findall(r"^(\w+) +(\d+)$", printed, re.MULTILINE)
    assert {name: int(count) for name, count in found if name != "labels"} == counts
    for separator in ("|", ";"):
        told = last_words(name, *given, "--separator", separator, *nowhere)
        assert re.match(r"'(\w+) ?[,，] ?(\w+)' holds a separator: change --separator", told)


@pytest.mark.parametrize("name", list(GIVEN))
def test_what_a_user_can_cause_is_one_line(name, rows, preset, tmp_path, last_words):
    separator = ["--separator", ","] if name in WITH_LABELS else []

    def told(rows, encoder=preset, folder=tmp_path / "trained"):
        return last_words(name, *GIVEN[name](rows, folder), *separator, "--encoder", encoder)

    assert "nothing.csv" in told(tmp_path / "nothing.csv")
    (empty := tmp_path / "empty.csv").write_text("")
    assert "No columns" in told(empty)
    (other := tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert "text" in told(other)
    (latin := tmp_path / "latin.csv").write_bytes("text,labels\né,à\n".encode("latin-1"))
    assert "codec can't decode" in told(latin)
    (file := tmp_path / "file").write_text("")
    assert "file/folder" in told(rows, folder=file / "folder")

    (folder := tmp_path / "hugging_face").mkdir()  # as many are: tokenizer.json alone
    (folder / "config.json").write_text('{"model_type": "bert"}')
    for name_of_file in ("tokenizer_config.json", "tokenizer.json"):
        (folder / name_of_file).write_text("{}")
    assert "vocab.txt" in told(rows, encoder=folder)


def test_a_service_needs_a_model_and_training_a_separator(tmp_path, run, last_words, capsys):
    assert "holds no model" in last_words("texts_to_service", tmp_path)
    with pytest.raises(SystemExit):
        run("texts_to_service", tmp_path, "--train=rows.csv")
    assert "--train needs --separator" in capsys.readouterr().err


def test_texts_to_service(rows, preset, tmp_path, run):
    folder, texts = tmp_path / "served", texts_of(rows)
    options = ["--train", rows, "--separator", ",", "--encoder", preset]
    run("texts_to_service", folder, *options, *TRAINING)
    assert json.loads((folder / "names.json").read_text()) == NAMES
    found = predict(folder, texts)
    assert right(rows, found["labels"]) > 0.7
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    start = [sys.executable, script("texts_to_service"), folder, f"--port={port}"]
    with subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as served:
        try:
            address = f"http://localhost:{port}"
            while ask(address, []) is None:
                assert served.poll() is None, served.stderr.read()
                time.sleep(0.2)
            assert ask(address, []) == (200, [])
            status, answers = ask(address, texts)
            for wrong in ("fish", {"text": "fish"}, ["fish", 1], None):
                assert 400 <= ask(address, wrong)[0] < 500
            assert ask(address) == (405, {"detail": "Method Not Allowed"})
        finally:
            served.terminate()
    assert status == 200
    assert [[name in a for name in NAMES] for a in answers] == (found["labels"] == 1).tolist()
    number, name = next((n, name) for n, answer in enumerate(answers) for name in answer)
    expected = found["probabilities"][number, NAMES.index(name)]
    assert answers[number][name] == pytest.approx(expected, abs=1e-3)


def ask(address, *content):
    """A service's status and answer to POST, or to GET where there is no content; None at first."""
    body = json.dumps(content[0]).encode() if content else None
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except urllib.error.URLError:
        return None


@pytest.mark.slow
def test_few_labels(rows, preset, tmp_path, run):
    table = pd.read_csv(rows, keep_default_na=False)
    table[::2].to_csv(labelled := tmp_path / "labelled.csv", index=False)
    (unlabelled := tmp_path / "unlabelled.txt").write_text("\n".join(["", *table["text"][1::2]]))
    weak = ["--epsilon=0.01", "--weight=0.3"]  # the vectors of this encoder are short
    folder = tmp_path / "trained"
    options = ["--separator", ",", "--encoder", preset, *TRAINING, *weak]
    run("few_labels", labelled, unlabelled, folder, *options)
    assert json.loads((folder / "names.json").read_text()) == NAMES
    assert right(labelled, predict(folder, texts_of(labelled))["labels"]) > 0.7


@pytest.mark.slow
def test_fine_grained_sentiment(preset, tmp_path, run):
    pairs = [pair for pair in itertools.product(LEVELS, LEVELS[::2]) if pair != ("fair", "good")]
    table = pd.DataFrame(pairs * 8, columns=["food", "service"])
    table.insert(0, "text", table["food"] + " food and " + table["service"] + " service")
    table.loc[::9, "service"] = ""  # not annotated
    table.loc[1::9, "food"] += " "
    table.to_csv(reviews := tmp_path / "reviews.csv", index=False)
    folder = tmp_path / "trained"
    printed = run("fine_grained_sentiment", reviews, folder, f"--encoder={preset}", *TRAINING)
    assert "food: macro F1" in printed and "service: macro F1" in printed
    levels = json.loads((folder / "levels.json").read_text())
    assert levels == {"food": LEVELS, "service": LEVELS[::2]}
    for aspect, names in levels.items():
        for name in names:
            count = (table[aspect].str.strip() == name).sum()
            assert re.search(rf"^{name} +{count}$", printed, re.MULTILINE)
    (found,) = predict(folder, ["good food and bad service"])
    assert found.shape == (2, 3) and found.argmax(axis=-1).tolist() == [2, 0] and found[1, 2] == 0


@pytest.mark.slow
def test_many_labels(rows, preset, tmp_path, run):
    names = [f"other {number}" for number in range(99_997)]
    names[500:500] = NAMES
    (labels := tmp_path / "labels.txt").write_text("\n".join([*names, "", ""]))
    folder = tmp_path / "trained"
    options = [f"--labels={labels}", "--bottleneck=32", "--best=4", f"--encoder={preset}"]
    slowly = ["--learning-rate=0.001", "--epochs=120"]  # so many scores first drown three labels
    run("many_labels", rows, folder, "--separator", ",", *options, *TRAINING, *slowly)
    assert json.loads((folder / "names.json").read_text()) == names
    found = predict(folder, texts_of(rows))
    assert found["labels"].shape[1] == 4 and (np.diff(found["scores"]) <= 0).all()
    # of 100,000 labels, those that occur are the best of every text, and no other is given
    assert {names[number] for number in found["labels"][:, :3].ravel()} == set(NAMES)
    assert (found["scores"][:, 3] < 0).all()
    best = zip(found["labels"], found["scores"], strict=True)
    given = [{names[n] for n, score in zip(*text, strict=True) if score > 0} for text in best]
    assert right(rows, [[name in labels for name in NAMES] for labels in given]) > 0.8


def test_a_label_that_a_list_of_labels_lacks(rows, preset, tmp_path, last_words):
    (labels := tmp_path / "labels.txt").write_text("animal\nhome\n")
    options = "--separator", ",", "--labels", labels, "--encoder", preset
    told = last_words("many_labels", rows, tmp_path / "trained", *options)
    assert told == f"{labels}: 'water' is missing, which {rows} has"


@pytest.mark.slow
def test_from_scikit_learn(rows, preset, tmp_path, run):
    folder = tmp_path / "trained"
    options = ["--separator", ",", "--encoder", preset, *TRAINING]
    printed = run("from_scikit_learn", rows, folder, *options)
    assert "TF-IDF and a linear SVM" in printed and "The encoder" in printed
    binarizer = joblib.load(folder / "binarizer.joblib")
    assert list(binarizer.classes_) == NAMES
    given = binarizer.inverse_transform(predict(folder, texts_of(rows)).astype(int))
    assert right(rows, [[name in found for name in NAMES] for found in given]) > 0.7


def test_the_linear_model_has_thresholds_and_characters(preset, tmp_path, run):
    """In sentences of Chinese, which have no spaces, of labels that are rare."""
    rng = np.random.default_rng(0)
    signs = ["猫", "湖", "桌"]
    others = list("我们今天在那里看见了很多不同的人和车")
    labels = rng.random((240, 3)) < [0.4, 0.15, 0.08]
    texts = [
        "".join(rng.permutation([*rng.choice(others, 12), *np.array(signs)[row]])) for row in labels
    ]
    cells = ["、".join(np.array(NAMES)[row]) for row in labels]
    rows = tmp_path / "rows.csv"
    pd.DataFrame({"text": texts, "labels": cells}).to_csv(rows, index=False)
    given = rows, tmp_path / "trained", "--separator", "、", "--encoder", preset
    printed = run("from_scikit_learn", *given, "--characters", "--length=4", "--epochs=0")
    found = float(re.search(r"macro avg +\S+ +\S+ +(\S+)", printed)[1])
    train, test, y, y_test = train_test_split(texts, labels, test_size=0.2, random_state=0)

    def at_zero(**terms):
        vectorizer = TfidfVectorizer(sublinear_tf=True, **terms)
        machine = make_pipeline(vectorizer, OneVsRestClassifier(LinearSVC())).fit(train, y)
        return f1_score(y_test, machine.predict(test), average="macro", zero_division=0)

    assert at_zero() < 0.4 and at_zero(analyzer="char", ngram_range=(1, 2)) < found - 0.02
