"""Few labelled texts and many without labels: virtual adversarial training of a pretrained encoder.

    pip install keras-mlc keras-hub pandas scikit-learn safetensors
    python few_labels.py labelled.csv unlabelled.txt trained --separator ","

`labelled.csv` has a column `text` and a column `labels`, in which the separator stands between
names. `unlabelled.txt` has a text per line. `texts_to_service.py trained` serves the model.
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
parser.add_argument("labelled", help="a CSV file with text and labels")
parser.add_argument("unlabelled", type=Path, help="a text file with a text per line")
parser.add_argument("folder", type=Path, help="of the model")
parser.add_argument("--separator", required=True, help="a character; ',' stands for '，' as well")
parser.add_argument("--encoder", default="bert_base_en_uncased", help="a preset or a folder")
numbers = {"length": 128, "epochs": 3, "learning-rate": 5e-5, "epsilon": 0.3, "weight": 1.0}
for name, default in numbers.items():
    parser.add_argument(f"--{name}", type=type(default), default=default)
options = parser.parse_args()

try:
    rows = pd.read_csv(options.labelled, usecols=["text", "labels"], dtype=str, na_filter=False)
    either = f"[{re.escape(options.separator)}{chr(ord(options.separator) + 0xFEE0)}]"
    names = rows["labels"].str.split(either, regex=True).explode().str.strip()
    labels = pd.crosstab(names.index, names).clip(upper=1).drop(columns="", errors="ignore")
    print(labels.sum().to_string())
    for name in labels.columns[labels.columns.str.contains("[|,;、｜，；]")]:
        raise ValueError(f"{name!r} holds a separator: change --separator, or this check")
    split = train_test_split(rows["text"], labels.to_numpy(), test_size=0.25, random_state=0)
    unlabelled = list(filter(str.strip, options.unlabelled.read_text("utf-8").splitlines()))
    preprocessor = keras_hub.models.TextClassifierPreprocessor.from_preset(options.encoder)
    preprocessor.sequence_length = options.length
    encoder = keras_hub.models.Backbone.from_preset(options.encoder)
    options.folder.mkdir(parents=True, exist_ok=True)
except (OSError, TypeError, KeyError, ValueError) as error:
    sys.exit(" ".join(str(error).split()))
texts, held_out, y, y_held_out = split
x = preprocessor([*texts, *unlabelled])
x = {name: keras.ops.convert_to_numpy(array) for name, array in x.items()}
x_held_out = preprocessor(list(held_out))

# At least a third of the rows have labels: each is repeated as often as that takes.
keras.utils.set_random_seed(0)
unknown = np.arange(len(texts), len(texts) + len(unlabelled))
repeated = np.resize(np.arange(len(texts)), max(len(texts), len(unlabelled) // 2))
order = np.random.permutation(np.concatenate([repeated, unknown]))
known = np.concatenate([y, np.full((len(unlabelled), y.shape[1]), -1)])  # -1: unknown
x, known = {name: array[order] for name, array in x.items()}, known[order]

sequence = encoder.output
sequence = sequence["sequence_output"] if isinstance(sequence, dict) else sequence
scores = keras.layers.Dense(y.shape[1])(sequence[:, 0])  # of [CLS]; no activation
trainer = keras_mlc.VATTrainer(
    keras.Model(encoder.input, scores), "token_embedding", options.epsilon, options.weight
)
trainer.compile(
    keras.optimizers.AdamW(options.learning_rate),
    keras_mlc.MultilabelCategoricalCrossentropy(missing_label=-1),
    metrics=[keras_mlc.MultilabelF1Score(name="f1", missing_label=-1)],
)
trainer.fit(x, known, 16, options.epochs, 2, validation_data=(x_held_out, y_held_out))

thresholds, calibration = keras_mlc.LabelThresholds(shrinkage=20), keras_mlc.ScoreCalibration()
for layer in (thresholds, calibration):
    layer.adapt(trainer.model.predict(x_held_out, verbose=0), y_held_out)
outputs = {"labels": thresholds(scores), "probabilities": calibration(scores)}
keras.Model(encoder.input, outputs).save(options.folder / "model.keras")
keras.Sequential([preprocessor]).save(options.folder / "preprocessor.keras")  # has no weights
(options.folder / "names.json").write_text(json.dumps(list(labels)))
