import importlib
import json
import sys
from functools import partial
from types import SimpleNamespace

from support import splits, training
from support.data import Corpus
from support.fine_grained import FineGrained
from support.run import run
from support.scores import micro_f1, scores
from support.settings import Settings, parse_arguments
from support.splits import Data, a_batch
from support.task import Task
from support.training import parameters, step_ratio

import keras
import numpy as np
import pytest

import sigmoid
from albert_checkpoints import SMALL, write_folder
from backends import BACKEND
from full_table import ROWS

TEXTS = ["a tool that converts images", "the C library for graphs", "a game", "python module"]
LSTM, DENSE_256 = 451_584, 14_135
PUBLISHED_HEADS = {
    "sigmoid": [17_215],
    "multilabel_crossentropy": [17_215],
    "gradient_penalty": [17_215],
    "fgm": [17_215],
    "bilstm_sigmoid": [LSTM, DENSE_256],
    "bilstm_multilabel_crossentropy": [LSTM, DENSE_256],
    "bilstm_attention": [LSTM, 66_048, DENSE_256],
    "text_cnn": [292_344, 389_688, 487_032, 51_535],
    "r_drop": [17_215],
}


def corpus(num_labels=55):
    labels = np.zeros((len(TEXTS), num_labels), "uint8")
    labels[range(4), [0, 1, 2, 1]] = 1
    return Corpus(TEXTS, labels, [f"label {i}" for i in range(num_labels)])


def levels():
    return FineGrained(
        TEXTS,
        np.array([[0, 1], [2, 0], [1, 1], [0, 0]]),
        ["joy", "anger"],
        [["0", "1", "2"], ["0", "1"]],
    )


def task(data, **settings):
    settings = {"init": "random", "batch_size": 2, "max_length": 8, "epochs": 1, **settings}
    return Task(Settings(**settings), data, data, data)


@pytest.mark.parametrize("name", PUBLISHED_HEADS)
def test_published_parameter_counts(name):
    published = task(corpus(), view="cls", variant="brightmart", vocabulary_size=21128)
    counts = parameters(importlib.import_module(name).build(published), published)
    assert counts["encoder"] == 4_077_496
    assert list(counts["heads"].values()) == PUBLISHED_HEADS[name]
    assert counts["total"] == 4_077_496 + sum(PUBLISHED_HEADS[name])


def test_every_row_is_in_the_table():
    assert set(ROWS) == {*PUBLISHED_HEADS, "attention", "fine_grained"}
    for name in ROWS:
        row = importlib.import_module(name)
        assert row.TITLE and row.LOSS and f"examples/{name}.py" in row.__doc__


@pytest.mark.parametrize("view", ["cls", "sequence"])
def test_views(view):
    small = task(corpus(), view=view)
    encoder = small.encoder()
    sequence, mask = small.sequence(encoder)
    assert sequence.shape == ((None, 1, 312) if view == "cls" else (None, None, 312))
    assert (mask is None) == (view == "cls")


def test_the_policy_is_the_encoders_alone():
    mixed = task(corpus(), dtype_policy="mixed_bfloat16")
    model = importlib.import_module("sigmoid").build(mixed)
    encoder = [model.get_layer(name) for name in mixed.encoder_layers]
    assert {layer.compute_dtype for layer in encoder if layer.weights} == {"bfloat16"}
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert model.output.dtype == "float32"


def test_label_bias_starts_at_the_frequencies():
    bias = task(corpus(3)).label_bias()((3,))
    np.testing.assert_allclose(1 / (1 + np.exp(-bias)), np.array([2, 3, 2]) / 6, rtol=1e-5)


def test_levels_are_scored_as_labels_above_none():
    fine = task(levels())
    assert fine.indicator_names() == ["joy::1", "joy::2", "anger::1"]
    indicators = fine.indicators(levels().levels)
    np.testing.assert_array_equal(indicators, [[0, 0, 1], [0, 1, 0], [1, 0, 1], [0, 0, 0]])
    probabilities = np.zeros((1, 2, 3))
    probabilities[0, 0, 2] = probabilities[0, 1, 0] = 1
    np.testing.assert_array_equal(fine.predicted_labels(probabilities), [[0, 1, 0]])


def test_scores_of_a_perfect_and_an_empty_prediction():
    labels = corpus(3).labels
    perfect = scores(labels, labels, ["a", "b", "c"])
    nothing = scores(labels, np.zeros_like(labels), ["a", "b", "c"])
    for average in ("micro", "macro", "weighted", "samples"):
        assert perfect["averages"][average]["f1-score"] == 1
        assert nothing["averages"][average]["f1-score"] == 0
    assert (perfect["subset_accuracy"], nothing["subset_accuracy"]) == (1, 0)
    assert nothing["hamming_loss"] == pytest.approx(4 / 12)


def test_one_label_is_scored_as_a_label_and_not_as_two_classes():
    labels = np.array([[1], [0], [0], [1]], "uint8")
    predicted = np.array([[1], [0], [1], [0]], "uint8")
    found = scores(labels, predicted, ["a"])
    assert {values["f1-score"] for values in found["averages"].values()} <= {0.5, 0.25}
    assert found["averages"]["micro"]["f1-score"] == found["labels"]["a"]["f1-score"] == 0.5
    assert (found["subset_accuracy"], found["hamming_loss"]) == (0.5, 0.5)
    assert list(found["labels"]) == ["a"]
    assert micro_f1(labels, 0 * labels) == 0  # half of the classes would be right


class Quiet:
    """A live view that keeps what is said."""

    def __init__(self):
        self.said = []

    def say(self, *lines):
        self.said += lines

    def start(self, *_):
        pass

    step = timing = start


class CountedLoss(keras.losses.BinaryCrossentropy):
    """Counts how often it is called: once for each trace where steps are compiled."""

    calls = 0

    def call(self, y_true, y_pred):
        type(self).calls += 1
        return super().call(y_true, y_pred)


@pytest.mark.skipif(BACKEND == "torch", reason="steps are not compiled on torch")
def test_timing_a_row_traces_no_step_again(folder, monkeypatch):
    small = encoder_task(folder)
    model = sigmoid.build(small)
    model.compile("sgd", CountedLoss(from_logits=True))
    monkeypatch.setattr(CountedLoss, "calls", 0)
    model.fit(small.batches(), verbose=0)
    traced = CountedLoss.calls
    plain = sigmoid.build(small)
    data = SimpleNamespace(cannot=lambda row: None, plain=(plain, a_batch(sigmoid, small)))
    row, live = SimpleNamespace(TITLE="a row"), Quiet()
    assert step_ratio(row, model, small, data, live) > 0
    assert CountedLoss.calls == traced and not live.said


def test_a_row_whose_steps_cannot_be_timed_is_kept(folder):
    small = encoder_task(folder)
    data = SimpleNamespace(cannot=lambda row: None, plain=(None, None))
    live = Quiet()
    assert step_ratio(sigmoid_like(), sigmoid.build(small), small, data, live) is None
    assert live.said[0].startswith("a row: its steps could not be timed (AttributeError: ")


def sigmoid_like():
    return SimpleNamespace(TITLE="a row")


@pytest.fixture
def folder(tmp_path):
    write_folder(tmp_path / "encoder", "google", **SMALL)
    return tmp_path / "encoder"


def encoder_task(folder):
    settings = {"init": "pretrained", "checkpoint": str(folder)}
    return task(corpus(3), batch_size=4, **settings)


def test_outputs_are_those_of_each_text(folder, monkeypatch):
    small = encoder_task(folder)
    model = sigmoid.build(small)
    inputs, _ = small.train
    expected = np.asarray(model.predict_on_batch(inputs))
    for size in (1, 3, 4, 128):
        monkeypatch.setattr(training, "EVALUATED_TEXTS", size)
        np.testing.assert_allclose(training.outputs_of(model, inputs), expected, atol=1e-6)


@pytest.mark.parametrize(
    "rows",
    [
        ["a cat,x", "a dog,x", "a cow,x", "a hen,x"],  # one label
        ["a cat,x|y", "a dog,[/INST]"],  # nothing occurs twice, and what looks like markup
    ],
)
def test_small_and_odd_tables_train(folder, tmp_path, monkeypatch, capsys, rows):
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *rows]))
    options = ["--train", tmp_path / "train.csv", "--test", tmp_path / "test.csv", "--epochs", 1]
    options += ["--checkpoint", folder, "--max-length", 8, "--output", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", ["x", *map(str, options)])
    run("sigmoid")
    assert "sigmoid, seed 0: F1 micro" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "results.json").read_text())["runs"][-1]["labels"]


def train_rows(names, folder, tmp_path, monkeypatch, header, *lines):
    """Train rows on a small encoder as the scripts do; return what is known of them."""
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text("\n".join([header, *lines]))
    options = ["--train", tmp_path / "train.csv", "--test", tmp_path / "test.csv", "--epochs", 1]
    options += ["--checkpoint", folder, "--max-length", 8, "--batch-size", 4]
    options += ["--save", "--output", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", ["x", *map(str, options)])
    run(*names)
    runs = json.loads((tmp_path / "out" / "results.json").read_text())["runs"]
    return {run["row"]: run for run in runs}


@pytest.mark.slow
def test_rows_train_and_are_timed_on_every_backend(folder, tmp_path, monkeypatch, capsys):
    names = [name for name in ROWS if name != "fine_grained"]
    if BACKEND != "torch":  # one of each kind, since all of them compile for long
        names = ["sigmoid", "gradient_penalty", "fgm", "text_cnn", "bilstm_attention", "r_drop"]
    texts = [f"word{i} word{2 * i},{'xyz'[i % 3]}|{'uv'[i % 2]}" for i in range(11)]
    runs = train_rows(names, folder, tmp_path, monkeypatch, "text,label", *texts)
    assert "could not be timed" not in capsys.readouterr().out
    assert set(runs) == {"tfidf", *names}
    for name in names:
        run = runs[name]
        assert run["step_ratio"] > 0 and len(run["tuned"]["thresholds"]) == 5
        assert [done for done, _ in run["curve"]] == pytest.approx([1 / 3, 2 / 3, 1])
        assert (tmp_path / "out" / "models" / f"{name}-seed0" / "model.keras").exists()


def test_levels_train_on_every_backend(folder, tmp_path, monkeypatch):
    texts = [f"word{i} word{2 * i},{i % 3},{i % 2}" for i in range(11)]
    header = "text,joy,anger"
    runs = train_rows(["fine_grained"], folder, tmp_path, monkeypatch, header, *texts)
    assert runs["fine_grained"]["step_ratio"] is None  # there is no sigmoid row on these files


def test_batches_are_shuffled_by_the_seed():
    def first(seed):
        small = task(corpus(3), batch_size=4)
        small.seed = seed
        return next(iter(small.batches()))[1].numpy().tolist()

    assert first(1) == first(1)
    assert len({str(first(seed)) for seed in range(5)}) > 1


@pytest.mark.parametrize("name", ["sigmoid", "r_drop"])
def test_no_thread_tunes_the_batches(name):
    row = importlib.import_module(name)
    assert splits.batches(row, task(corpus(3))).options().autotune.enabled is False


def test_the_command_line_reaches_the_loader(tmp_path, monkeypatch):
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text('body,why\n"a cat","x;y"\n"a dog","y"\n"a cow","z"\n')
    test.write_text("body,why\na hen,x;z\n")
    files = ["--train", str(train), "--test", str(test), "--text-column", "body"]
    monkeypatch.setattr(
        sys, "argv", ["x", *files, "--label-column", "why", "--separator", ";", "--epochs", "1"]
    )
    settings, _ = parse_arguments("", ["sigmoid"])
    train_part, _, test_part = Data(settings, [importlib.import_module("sigmoid")]).of(None)
    assert train_part.label_names == ["x", "y", "z"]
    assert test_part.texts == ["a hen"] and test_part.labels.tolist() == [[1, 0, 1]]


def test_a_row_trains_with_its_own_settings(monkeypatch):
    class Seen(Exception):
        pass

    def look(settings, *_, **__):
        raise Seen(settings.learning_rate)

    monkeypatch.setattr(splits, "Task", look)
    settings = Settings(init="random", per_row={"sigmoid": {"learning_rate": 0.5}})
    data = SimpleNamespace(settings=settings, of=lambda row: (), encoded={})
    data.task = partial(Data.task, data)
    live = SimpleNamespace(start=lambda *_: None)
    with pytest.raises(Seen, match=r"^0\.5$"):
        training.run_row(importlib.import_module("sigmoid"), settings, data, 0, live)
    with pytest.raises(Seen, match=r"^0\.5$"):
        Data.plain.func(data)
