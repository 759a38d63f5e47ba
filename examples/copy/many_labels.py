"""A hundred thousand labels and a pretrained encoder: labels are indices, in training and after it.

    pip install keras-mlc keras-hub pandas scikit-learn safetensors
    python many_labels.py rows.csv trained --separator ","

`rows.csv` has a column `text` and a column `labels`, in which the separator stands between names.
`--labels` is a text file with all names, one per line; without it, those that occur count.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import keras
import keras_hub
import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

import keras_mlc

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("rows", help="a CSV file with text and labels")
parser.add_argument("folder", type=Path, help="of the model")
parser.add_argument("--separator", required=True, help="a character; ',' stands for '，' as well")
parser.add_argument("--labels", type=Path, help="a text file with all labels, one per line")
parser.add_argument("--encoder", default="bert_base_en_uncased", help="a preset or a folder")
numbers = {"length": 128, "epochs": 3, "learning-rate": 5e-5, "best": 5, "bottleneck": 256}
for name, default in numbers.items():
    parser.add_argument(f"--{name}", type=type(default), default=default)
options = parser.parse_args()

try:
    rows = pd.read_csv(options.rows, usecols=["text", "labels"], dtype=str, na_filter=False)
    either = f"[{re.escape(options.separator)}{chr(ord(options.separator) + 0xFEE0)}]"
    cells = rows["labels"].str.split(either, regex=True)
    sets = cells.map(lambda parts: sorted({*map(str.strip, parts)} - {""}))
    counts = sets.explode().value_counts()
    print(counts)
    for name in counts.index[counts.index.str.contains("[|,;、｜，；]")]:
        raise ValueError(f"{name!r} holds a separator: change --separator, or this check")
    lines = options.labels.read_text("utf-8").splitlines() if options.labels else counts.index
    names = list(filter(None, map(str.strip, lines)))
    if unknown := sorted(set(counts.index) - set(names)):
        raise ValueError(f"{options.labels}: {unknown[0]!r} is missing, which {options.rows} has")
    index = {name: number for number, name in enumerate(names)}
    y = np.full((len(sets), sets.map(len).max()), -1)  # a row holds indices, padded with -1
    for row, labels in zip(y, sets, strict=True):
        row[: len(labels)] = [index[label] for label in labels]
    split = train_test_split(list(rows["text"]), y, test_size=0.1, random_state=0)
    preprocessor = keras_hub.models.TextClassifierPreprocessor.from_preset(options.encoder)
    preprocessor.sequence_length = options.length
    encoder = keras_hub.models.Backbone.from_preset(options.encoder)
    options.folder.mkdir(parents=True, exist_ok=True)
except (OSError, TypeError, KeyError, ValueError) as error:
    sys.exit(" ".join(str(error).split()))

texts, held_out, y, y_held_out = split
keras.utils.set_random_seed(0)
sequence = encoder.output
sequence = sequence["sequence_output"] if isinstance(sequence, dict) else sequence
vector = keras.layers.Dense(options.bottleneck, "gelu")(sequence[:, 0])  # of [CLS]; the last layer
scores = keras.layers.Dense(len(names))(vector)  # has as many weights as this is wide, a label
model = keras.Model(encoder.input, scores)
optimizer = keras.optimizers.AdamW(options.learning_rate)
model.compile(optimizer, keras_mlc.SparseMultilabelCategoricalCrossentropy())
model.fit(preprocessor(texts), y, 16, options.epochs, 2)

best, labels = keras.ops.top_k(scores, options.best)  # no array (texts, labels) leaves the model
served = keras.Model(encoder.input, {"scores": best, "labels": labels})
found = served.predict(preprocessor(held_out), verbose=0)
hits = (found["labels"][:, :, None] == y_held_out[:, None]).any(axis=-1)
given = found["scores"] > 0
print(f"precision at {options.best}: {hits.mean():.3f}")
right, present = (hits & given).sum(), (y_held_out >= 0).sum()
print(f"above 0: {right} right of {given.sum()}, of {present} labels")
print(held_out[0], [names[n] for n, on in zip(found["labels"][0], given[0], strict=True) if on])

served.save(options.folder / "model.keras")
keras.Sequential([preprocessor]).save(options.folder / "preprocessor.keras")  # has no weights
(options.folder / "names.json").write_text(json.dumps(names))
