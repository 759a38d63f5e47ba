"""A hundred thousand labels and a pretrained encoder: labels are indices, in training and after it.

    pip install keras-mlc keras-hub pandas scikit-learn safetensors
    python many_labels.py rows.csv trained

`rows.csv` has a column `text` and a column `labels`, in which they are joined by `|`. `--labels` is
a text file with all labels, one a line; without it, those that occur count.
"""

import argparse
import json
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
parser.add_argument("--labels", type=Path, help="a text file with all labels, one a line")
parser.add_argument("--encoder", default="bert_base_en_uncased", help="a preset or a folder")
numbers = {"length": 128, "epochs": 3, "learning-rate": 5e-5, "best": 5, "bottleneck": 256}
for name, default in numbers.items():
    parser.add_argument(f"--{name}", type=type(default), default=default)
options = parser.parse_args()

rows = pd.read_csv(options.rows, dtype=str, keep_default_na=False)
sets = [sorted(set(cell.split("|")) - {""}) for cell in rows["labels"]]
occurring = sorted(set().union(*sets))
names = options.labels.read_text("utf-8").splitlines() if options.labels else occurring
index = {name: number for number, name in enumerate(names)}
y = np.full((len(sets), max(map(len, sets))), -1)  # a row holds indices, padded with -1
for row, labels in zip(y, sets, strict=True):
    row[: len(labels)] = [index[label] for label in labels]
texts, held_out, y, y_held_out = train_test_split(
    list(rows["text"]), y, test_size=0.1, random_state=0
)
preprocessor = keras_hub.models.TextClassifierPreprocessor.from_preset(
    options.encoder, sequence_length=options.length
)

keras.utils.set_random_seed(0)
encoder = keras_hub.models.Backbone.from_preset(options.encoder)
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
print(
    f"above 0: {(hits & given).sum()} right of {given.sum()}, of {(y_held_out >= 0).sum()} labels"
)
print(held_out[0], [names[n] for n, on in zip(found["labels"][0], given[0], strict=True) if on])

options.folder.mkdir(parents=True, exist_ok=True)
served.save(options.folder / "model.keras")
keras.Sequential([preprocessor]).save(options.folder / "preprocessor.keras")  # has no weights
(options.folder / "names.json").write_text(json.dumps(names), encoding="utf-8")
