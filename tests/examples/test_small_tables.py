"""Small and odd tables: one label, two rows, the same row again, labels that look like markup."""

from types import SimpleNamespace

from support.data import Corpus
from support.progress import Live
from support.report import markdown_table, print_summary
from support.scores import micro_f1, scores
from support.settings import Settings
from support.splits import Data
from support.table import DataError
from support.training import run_row, run_tfidf

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, hamming_loss

import sigmoid
from albert_checkpoints import SMALL, write_folder
from tfidf import tfidf_predictions

AVERAGES = ("micro", "macro", "weighted", "samples")


def test_one_label_is_scored_as_a_label_and_not_as_two_classes():
    labels, predicted = np.array([[1, 0, 0, 0, 1], [1, 1, 0, 0, 0]], "uint8")[:, :, None]
    found = scores(labels, predicted, ["spam"])
    f1 = 0.5  # one hit, one miss, one false alarm
    assert micro_f1(labels, predicted) == f1
    assert [found["averages"][a]["f1-score"] for a in AVERAGES] == [f1, f1, f1, 0.2]
    assert found["labels"] == {
        "spam": {"precision": 0.5, "recall": 0.5, "f1-score": 0.5, "support": 2}
    }
    assert found["subset_accuracy"] == 0.6 and found["hamming_loss"] == 0.4


def test_several_labels_are_scored_as_scikit_learn_does():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 2, (2, 50, 3)).astype("uint8")
    found = scores(labels, predicted, ["a", "b", "c"])
    for average in AVERAGES:
        expected = f1_score(labels, predicted, average=average, zero_division=0)
        assert found["averages"][average]["f1-score"] == pytest.approx(expected, rel=1e-12)
    assert micro_f1(labels, predicted) == pytest.approx(
        f1_score(labels, predicted, average="micro"), rel=1e-12
    )
    assert found["subset_accuracy"] == accuracy_score(labels, predicted)
    assert found["hamming_loss"] == hamming_loss(labels, predicted)


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (["one", "two"], [[1, 0], [1, 1]]),
        (["same", "same"], [[1, 0], [0, 1]]),
        (["!!!", "?"], [[1, 0], [0, 1]]),
        (["good word", "bad word", "good thing", "bad thing"], [[1], [0], [1], [0]]),
        (["only"], [[1]]),
    ],
)
def test_tfidf_on_next_to_nothing(texts, labels):
    corpus = Corpus(texts, np.array(labels, "uint8"), [str(i) for i in range(len(labels[0]))])
    predictions, _ = tfidf_predictions(corpus, corpus)
    assert predictions.shape == corpus.labels.shape and set(np.unique(predictions)) <= {0, 1}
    if len(texts) == 4:
        np.testing.assert_array_equal(predictions, labels)


@pytest.fixture
def train(tmp_path, capsys):
    """Run TF-IDF and the first row of the table on a file; return scores and what is printed."""
    write_folder(tmp_path / "encoder", "brightmart", **SMALL)

    def train(content):
        path = tmp_path / "rows.csv"
        path.write_text(content)
        settings = Settings(
            train=str(path),
            test=str(path),
            checkpoint=str(tmp_path / "encoder"),
            max_length=8,
            epochs=1,
        )
        data = Data(settings, [sigmoid])
        results = SimpleNamespace(notes=[], folder=tmp_path, finished=lambda *run: None)
        with Live(results, [("sigmoid", 0)]) as live:
            live.say(*data.notes)
            runs = [run_tfidf(data, live), run_row(sigmoid, settings, data, 0, live, tune=True)]
            live.finish({**runs[1], "seed": 0})
        print_summary(settings, data, {"sigmoid": sigmoid})
        return runs, " ".join(capsys.readouterr().out.split())

    return train


@pytest.mark.parametrize(
    ("content", "labels", "said"),
    [
        ("text,label\nword1,a\nword2,\n", ["a"], "1 label (a)"),
        ("text,label\nword1,a\nword1,a\n", ["a"], "One training row: it validates, too."),
        (
            "text,label\nword1,[/INST]\nword2,[OTHER]|b\nword3,b\n[/b] word4,[red]\n",
            ["[/INST]", "[OTHER]", "[red]", "b"],
            "4 labels ([/INST], [OTHER], [red], b)",
        ),
    ],
)
def test_a_row_trains_on_next_to_nothing(train, content, labels, said):
    runs, printed = train(content)
    assert said in printed
    for run in runs:
        assert list(run["labels"]) == labels
        assert all(0 <= values["f1-score"] <= 1 for values in run["averages"].values())


def test_reasons_and_labels_are_printed_as_they_are(capsys):
    row = SimpleNamespace(TITLE="a row", __name__="row")
    data = SimpleNamespace(cannot=lambda row: DataError("labels [/INST] and [red]"))
    print_summary(None, data, {"row": row})
    assert "labels [/INST] and [red]" in " ".join(capsys.readouterr().out.split())
    assert markdown_table(["label", "F1"], [["a|b", "0.1"]])[-1] == r"| a\|b | 0.1 |"
