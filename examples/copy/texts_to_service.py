"""From texts and labels to a service that labels texts, with a pretrained encoder.

    pip install keras-mlc keras-hub pandas scikit-learn safetensors fastapi uvicorn
    python texts_to_service.py served --train rows.csv --separator ","
    python texts_to_service.py served
    curl --json '["fish swim in the lake"]' http://localhost:8000

`rows.csv` has a column `text` and a column `labels`, in which the separator stands between names.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import fastapi
import keras
import keras_hub
import pandas as pd
import uvicorn
from sklearn.model_selection import train_test_split

import keras_mlc


def train(options):
    try:
        rows = pd.read_csv(options.train, usecols=["text", "labels"], dtype=str, na_filter=False)
        either = f"[{re.escape(options.separator)}{chr(ord(options.separator) + 0xFEE0)}]"
        names = rows["labels"].str.split(either, regex=True).explode().str.strip()
        labels = pd.crosstab(names.index, names).clip(upper=1).drop(columns="", errors="ignore")
        print(labels.sum().to_string())
        for name in labels.columns[labels.columns.str.contains("[|,;、｜，；]")]:
            raise ValueError(f"{name!r} holds a separator: change --separator, or this check")
        split = train_test_split(rows["text"], labels.to_numpy(), test_size=0.1, random_state=0)
        preprocessor = keras_hub.models.TextClassifierPreprocessor.from_preset(options.encoder)
        preprocessor.sequence_length = options.length
        encoder = keras_hub.models.Backbone.from_preset(options.encoder)
        options.folder.mkdir(parents=True, exist_ok=True)
    except (OSError, TypeError, KeyError, ValueError) as error:
        sys.exit(" ".join(str(error).split()))

    keras.utils.set_random_seed(0)
    sequence = encoder.output
    sequence = sequence["sequence_output"] if isinstance(sequence, dict) else sequence
    scores = keras.layers.Dense(labels.shape[1])(sequence[:, 0])  # of [CLS]; no activation
    model = keras.Model(encoder.input, scores)
    loss, f1 = keras_mlc.MultilabelCategoricalCrossentropy(), keras_mlc.MultilabelF1Score(name="f1")
    model.compile(keras.optimizers.AdamW(options.learning_rate), loss, metrics=[f1])
    x, held_out = (preprocessor(list(texts)) for texts in split[:2])
    y, y_held_out = split[2:]
    model.fit(x, y, 16, options.epochs, 2, validation_data=(held_out, y_held_out))

    thresholds, calibration = keras_mlc.LabelThresholds(shrinkage=20), keras_mlc.ScoreCalibration()
    for layer in (thresholds, calibration):
        layer.adapt(model.predict(held_out, verbose=0), y_held_out)
    outputs = {"labels": thresholds(scores), "probabilities": calibration(scores)}
    keras.Model(encoder.input, outputs).save(options.folder / "model.keras")
    keras.Sequential([preprocessor]).save(options.folder / "preprocessor.keras")  # has no weights
    (options.folder / "names.json").write_text(json.dumps(list(labels)))


def serve(options):
    if not (options.folder / "names.json").exists():
        sys.exit(f"{options.folder} holds no model. Train one first, with --train.")
    model = keras.saving.load_model(options.folder / "model.keras")
    preprocessor = keras.saving.load_model(options.folder / "preprocessor.keras").layers[0]
    names = json.loads((options.folder / "names.json").read_text())
    app = fastapi.FastAPI()

    @app.post("/")
    async def answer(texts: list[str]) -> list[dict[str, float]]:
        answers = [{} for _ in texts]
        found = model.predict(preprocessor(texts or [""]), verbose=0)
        for row, label in zip(*found["labels"][: len(texts)].nonzero(), strict=True):
            answers[row][names[label]] = round(float(found["probabilities"][row, label]), 4)
        return answers

    uvicorn.run(app, host="localhost", port=options.port)


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("folder", type=Path, help="of the model")
parser.add_argument("--train", help="train on this CSV file; without it, the model is served")
parser.add_argument("--separator", help="a character; ',' stands for '，' as well")
parser.add_argument("--encoder", default="bert_base_en_uncased", help="a preset or a folder")
for name, default in {"length": 128, "epochs": 3, "learning-rate": 5e-5, "port": 8000}.items():
    parser.add_argument(f"--{name}", type=type(default), default=default)
options = parser.parse_args()
if options.train and not options.separator:
    parser.error("--train needs --separator, which stands between the labels of a text")
train(options) if options.train else serve(options)
