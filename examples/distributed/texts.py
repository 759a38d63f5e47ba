"""The data, the model and the options of the scripts in this folder."""

import argparse
import zlib
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from keras_mlc import AttentionPooling

CORPUS = Path(__file__).parents[1] / "data" / "train.csv.gz"
NUM_WORDS, LENGTH = 20_000, 48


def parse(description, **defaults):
    """Return what a script is told: the options that all have, and those of its own."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    defaults = {"rows": 2048, "epochs": 2, "dropout": 0.1, "output": Path("weights")} | defaults
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    return parser.parse_args()


def load(num_rows):
    """Return hashed words (rows, 48), 0 for padding, and labels (rows, labels)."""
    rows = pd.read_csv(CORPUS, nrows=num_rows)
    x = np.zeros((len(rows), LENGTH), "int32")
    for row, text in zip(x, rows["content"], strict=True):
        words = text.lower().split()[:LENGTH]
        row[: len(words)] = [1 + zlib.crc32(word.encode()) % (NUM_WORDS - 1) for word in words]
    return x, rows["label"].str.get_dummies("|").to_numpy("float32")


def classifier(num_labels, dropout):
    """Return a model from words to scores, with the same first weights at every call."""
    keras.utils.set_random_seed(0)
    tokens = keras.Input((LENGTH,), dtype="int32")
    vectors = keras.layers.Embedding(NUM_WORDS, 64, mask_zero=True, name="tokens")(tokens)
    vectors = keras.layers.Dropout(dropout, seed=1)(AttentionPooling()(vectors))
    return keras.Model(tokens, keras.layers.Dense(num_labels)(vectors))
