"""How good each aspect of a review is: a softmax per aspect over a pretrained encoder.

    pip install keras-mlc keras-hub pandas scikit-learn safetensors
    python fine_grained_sentiment.py reviews.csv trained

`reviews.csv` has a column `text` and one for each aspect with its level, in words: `good`, say, or
`not mentioned`. An empty cell is an aspect that is not annotated.
"""

import argparse
import json
import sys
from pathlib import Path

import keras
import keras_hub
import numpy as np
import pandas as pd
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split

import keras_mlc

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("reviews", help="a CSV file with text and a column for each aspect")
parser.add_argument("folder", type=Path, help="of the model")
parser.add_argument("--encoder", default="bert_base_en_uncased", help="a preset or a folder")
for name, default in {"length": 128, "epochs": 3, "learning-rate": 5e-5}.items():
    parser.add_argument(f"--{name}", type=type(default), default=default)
options = parser.parse_args()

try:
    rows = pd.read_csv(options.reviews, dtype=str, na_filter=False)
    columns = rows.drop(columns="text").apply(lambda column: column.str.strip())
    levels = {aspect: sorted(set(column) - {""}) for aspect, column in columns.items()}
    for aspect in levels:
        print(columns[aspect].value_counts().to_string())
    y = [[names.index(n) if n else -1 for n in columns[aspect]] for aspect, names in levels.items()]
    y = np.transpose(y)  # (texts, aspects), -1 where nothing is annotated
    split = train_test_split(list(rows["text"]), y, test_size=0.1, random_state=0)
    preprocessor = keras_hub.models.TextClassifierPreprocessor.from_preset(options.encoder)
    preprocessor.sequence_length = options.length
    encoder = keras_hub.models.Backbone.from_preset(options.encoder)
    options.folder.mkdir(parents=True, exist_ok=True)
except (OSError, KeyError, ValueError) as error:
    sys.exit(" ".join(str(error).split()))

texts, held_out, y, y_held_out = split
keras.utils.set_random_seed(0)
sequence = encoder.output
sequence = sequence["sequence_output"] if isinstance(sequence, dict) else sequence
pooled = keras_mlc.AttentionPooling()(sequence, mask=encoder.input.get("padding_mask"))
head = keras_mlc.FineGrainedSoftmaxHead(len(levels), [len(names) for names in levels.values()])
model = keras.Model(encoder.input, head(pooled))  # (texts, aspects, levels of the largest)
optimizer = keras.optimizers.AdamW(options.learning_rate)
model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy())
annotated = (y >= 0).astype("float32")  # the weight of an aspect of a text
model.fit(preprocessor(texts), np.maximum(y, 0), 16, options.epochs, 2, sample_weight=annotated)

found = model.predict(preprocessor(held_out), verbose=0).argmax(axis=-1)
for number, aspect in enumerate(levels):
    known = y_held_out[:, number] >= 0
    truth, given = y_held_out[known, number], found[known, number]
    macro = f1_score(truth, given, average="macro", zero_division=0) if len(truth) else np.nan
    print(f"{aspect}: macro F1 {macro:.3f} on {len(truth)} held-out reviews")
print(held_out[0], {a: names[n] for (a, names), n in zip(levels.items(), found[0], strict=True)})

model.save(options.folder / "model.keras")
keras.Sequential([preprocessor]).save(options.folder / "preprocessor.keras")  # has no weights
(options.folder / "levels.json").write_text(json.dumps(levels))
