import importlib
from types import SimpleNamespace

from support.data import Corpus
from support.encoder import open_encoder, tiny_albert
from support.run import SUITED
from support.training import Task, f1, fitted

import keras
import numpy as np
import pytest

from albert_checkpoints import CONFIGS
from backends import BACKEND
from full_table import ROWS
from tfidf import tfidf_row, tokens

TEXTS = ["word1 word2", "word3 word4 word5", "word6", "word2"]
LSTM, DENSE_256 = 451_584, 14_135
PUBLISHED = {  # parameters after the encoder, of which there are 4,077,496 in each
    "sigmoid": 17_215,
    "multilabel_crossentropy": 17_215,
    "gradient_penalty": 17_215,
    "fgm": 17_215,
    "bilstm_sigmoid": LSTM + DENSE_256,
    "bilstm_multilabel_crossentropy": LSTM + DENSE_256,
    "bilstm_attention": LSTM + 66_048 + DENSE_256,
    "text_cnn": 292_344 + 389_688 + 487_032 + 51_535,
    "r_drop": 17_215,
}


def corpus(labels=55):
    targets = np.zeros((len(TEXTS), labels), "uint8")
    targets[range(4), [0, 1, 2, 1]] = 1
    return Corpus(TEXTS, targets, [f"label {i}" for i in range(labels)])


def levels():
    targets = np.array([[0, 1], [2, 0], [1, 1], [0, 0]])
    return Corpus(TEXTS, targets, ["joy", "anger"], [["0", "1", "2"], ["0", "1"]])


def task(source, data, **settings):
    given = {"batch_size": 2, "strength": 1.0, "dropout": None, "view": "sequence", "tune": True}
    given |= SUITED | {"epochs": 1, "max_length": 8, "dtype_policy": "float32"} | settings
    return Task(SimpleNamespace(**given), source, data, source.tokens(TEXTS, 8))


def test_published_parameter_counts():
    config = CONFIGS["brightmart"]
    source = SimpleNamespace(
        build=lambda dropout, dtype: tiny_albert(config, False, dropout, dtype),
        tokens=lambda texts, length: None,
    )
    for name, published in PUBLISHED.items():
        model = importlib.import_module(name).build(task(source, corpus(), view="cls"))
        model = getattr(model, "model", model)
        assert model.count_params() == 4_077_496 + published, name


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_every_row_learns(name, checkpoint):
    row = importlib.import_module(name)
    assert row.TITLE and row.LOSS and f"examples/{name}.py" in row.__doc__
    data = levels() if name == "fine_grained" else corpus(3)
    small = task(open_encoder(str(checkpoint)), data, learning_rate=0.01, epochs=4)
    keras.utils.set_random_seed(0)
    model = row.build(small)
    if BACKEND == "tensorflow":
        model.jit_compile = False  # XLA takes longer than these steps
    batches = row.batches(small) if hasattr(row, "batches") else small.batches()
    losses = model.fit(batches, epochs=4, shuffle=False, verbose=0).history["loss"]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]


def test_every_row_is_in_the_table():
    assert set(ROWS) == {*PUBLISHED, "attention", "fine_grained"}


def test_what_heads_see(checkpoint):
    source = open_encoder(str(checkpoint))
    for view, length in (("cls", 1), ("sequence", None)):
        small = task(source, corpus(3), view=view)
        sequence, mask = small.sequence(small.encoder())
        assert sequence.shape == (None, length, 12) and (mask is None) == (view == "cls")
    bias = task(source, corpus(3)).label_bias()((3,))
    np.testing.assert_allclose(1 / (1 + np.exp(-bias)), np.array([2, 3, 2]) / 6, rtol=1e-5)
    for chosen, expected in ((None, 0.3), (0.2, 0.2)):
        encoder = task(source, corpus(3), dropout=chosen).encoder(0.3)
        assert encoder.get_layer("embedding_dropout").rate == expected


def test_scores():
    labels = corpus(3).targets
    assert set(f1(labels, labels).values()) == {1.0}
    assert set(f1(labels, np.zeros_like(labels)).values()) == {0.0}
    single = np.array([[1], [0], [0], [1]])
    assert f1(single, np.array([[1], [0], [1], [0]]))["micro"] == 0.5  # not the accuracy of 2
    wider = np.pad(labels, ((0, 0), (0, 1)))
    wider[0, 3] = 1  # a label that training has not: missed
    assert f1(wider, labels) == f1(wider, np.pad(labels, ((0, 0), (0, 1))))
    assert f1(wider, labels)["micro"] == pytest.approx(8 / 9)


def test_what_validation_rows_do_not_show(capsys):
    scores = np.array([[2.0, -1.0], [-1.0, 0.5], [0.5, 3.0]], "float32")
    layers = fitted(scores, np.zeros((3, 2), "uint8"), tune=True)
    assert list(layers) == ["labels"]
    assert "show neither" in capsys.readouterr().out
    np.testing.assert_array_equal(layers["labels"](scores), scores > 0)
    labels = np.array([[1, 0], [0, 1], [1, 1]], "uint8")
    untuned = fitted(scores, labels, tune=False)
    assert list(untuned) == ["labels", "probabilities"]
    np.testing.assert_array_equal(untuned["labels"](scores), scores > 0)


def test_tfidf():
    assert tokens("The C++ library") == ["the", "c", "library", "the c", "c library"]
    assert tokens("中文x") == ["x", "中", "文", "中文"]
    texts = ["red fish", "blue fish", "red bird", "blue bird", "red red", "blue blue"] * 4
    targets = np.array([["red" in text, "bird" in text, True, False] for text in texts], "uint8")
    data = Corpus(texts, targets, ["red", "bird", "all", "none"])
    row = tfidf_row(data, data)
    assert row["scores"]["tuned"]["micro"] == row["scores"]["at_0"]["micro"] == 1
    assert row["predicted"]["tuned"][2] == [0, 1, 2]
    different = Corpus([f"word{i}" for i in range(6)], targets[:6], data.names)
    assert 0 <= tfidf_row(different, different)["scores"]["tuned"]["micro"] <= 1  # no shared word
