"""The rows of the table as small models with random weights, saved as `--save` does."""

import importlib
import sys

from support.data import Corpus
from support.decisions import Decisions
from support.fine_grained import FineGrained
from support.saving import write_model
from support.settings import parse_arguments
from support.task import Task, vocabulary_of

import keras
import numpy as np

from albert_checkpoints import SMALL, write_folder
from keras_mlc.layers import LabelThresholds, ScoreCalibration

LABELS = ["a::x", "b", "标签"]
SCALE, OFFSET = 2.0, -1.0
ASPECTS = {"joy": ["none", "some", "much"], "anger": ["none", "some"]}
TEXTS = [
    "word1 word2 unheard",
    "word3",
    "word4 word5 word6 word7 word8 word9 word10",
    "word11 " * 20,
]


def small_task(folder, monkeypatch, fine_grained=False):
    """A task on a small encoder with random weights, which is written to a folder."""
    if not folder.exists():
        write_folder(folder, "brightmart", **SMALL)
    options = ["--checkpoint", str(folder), "--max-length", "12", "--epochs", "2"]
    monkeypatch.setattr(sys, "argv", ["x", *options])
    settings, _ = parse_arguments("", ["sigmoid"])
    if fine_grained:
        levels = np.array([[0, 1], [2, 0], [1, 1], [0, 0]])
        corpus = FineGrained(TEXTS, levels, list(ASPECTS), list(ASPECTS.values()))
    else:
        corpus = Corpus(TEXTS, np.eye(4, 3, dtype="uint8"), LABELS)
    return Task(settings, corpus, corpus, corpus)


def decisions_of(thresholds):
    """Layers with these thresholds, and with probabilities σ(SCALE * score + OFFSET)."""
    labels = LabelThresholds(thresholds, name="labels", dtype="float32")
    probabilities = ScoreCalibration(name="probabilities", dtype="float32")
    probabilities.build((None, len(thresholds)))
    probabilities.set_weights([np.array([SCALE]), np.array([OFFSET])])
    return Decisions(labels, probabilities, "")


def save_row(name, folder, encoder, monkeypatch, thresholds=(0.0, 0.0, 0.0)):
    """Save a row's model; return it, as it was built, and its task."""
    keras.utils.set_random_seed(0)  # so that it stays as it is whether a label is given
    row = importlib.import_module(name)
    task = small_task(encoder, monkeypatch, getattr(row, "FINE_GRAINED", False))
    model = row.build(task)
    decisions = None if task.fine_grained else decisions_of(thresholds)
    write_model(folder, model, vocabulary_of(task.settings), task.meaning(row.TITLE), decisions)
    return model, task
