"""From texts and labels to a service that labels texts, with a pretrained encoder.

    pip install keras-mlc keras-hub pandas scikit-learn safetensors
    python texts_to_service.py served --train rows.csv
    python texts_to_service.py served
    curl --data '["fish swim in the lake"]' http://localhost:8000

`rows.csv` has a column `text` and a column `labels`, in which they are joined by `|`.
"""

import argparse
import json
from pathlib import Path
from wsgiref.simple_server import make_server

import keras
import keras_hub
import pandas as pd
from sklearn.model_selection import train_test_split

import keras_mlc

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("folder", type=Path, help="of the model")
parser.add_argument("--train", help="train on this CSV file; without it, the model is served")
parser.add_argument("--encoder", default="bert_base_en_uncased", help="a preset or a folder")
for name, default in {"length": 128, "epochs": 3, "learning-rate": 5e-5, "port": 8000}.items():
    parser.add_argument(f"--{name}", type=type(default), default=default)
options = parser.parse_args()


def train():
    rows = pd.read_csv(options.train, dtype=str, keep_default_na=False)
    y = rows["labels"].str.get_dummies("|")
    split = train_test_split(rows["text"], y.to_numpy("int32"), test_size=0.1, random_state=0)
    preprocessor = keras_hub.models.TextClassifierPreprocessor.from_preset(
        options.encoder, sequence_length=options.length
    )
    x, x_held_out = (preprocessor(list(texts)) for texts in split[:2])
    keras.utils.set_random_seed(0)
    encoder = keras_hub.models.Backbone.from_preset(options.encoder)
    sequence = encoder.output
    sequence = sequence["sequence_output"] if isinstance(sequence, dict) else sequence
    scores = keras.layers.Dense(y.shape[1])(sequence[:, 0])  # of [CLS]; no activation
    model = keras.Model(encoder.input, scores)
    loss, f1 = keras_mlc.MultilabelCategoricalCrossentropy(), keras_mlc.MultilabelF1Score(name="f1")
    model.compile(keras.optimizers.AdamW(options.learning_rate), loss, metrics=[f1])
    model.fit(x, split[2], 16, options.epochs, 2, validation_data=(x_held_out, split[3]))

    outputs = {"labels": keras_mlc.LabelThresholds(shrinkage=20)}
    outputs["probabilities"] = keras_mlc.ScoreCalibration()
    for layer in outputs.values():
        layer.adapt(model.predict(x_held_out, verbose=0), split[3])
    served = keras.Model(encoder.input, {name: layer(scores) for name, layer in outputs.items()})
    options.folder.mkdir(parents=True, exist_ok=True)
    served.save(options.folder / "model.keras")
    keras.Sequential([preprocessor]).save(options.folder / "preprocessor.keras")  # has no weights
    (options.folder / "names.json").write_text(json.dumps(list(y)), encoding="utf-8")


def serve():
    model = keras.saving.load_model(options.folder / "model.keras")
    preprocessor = keras.saving.load_model(options.folder / "preprocessor.keras").layers[0]
    names = json.loads((options.folder / "names.json").read_text(encoding="utf-8"))

    def answer(request, start):
        texts = json.loads(request["wsgi.input"].read(int(request["CONTENT_LENGTH"])))
        found = model.predict(preprocessor(texts), verbose=0)
        answers = [{} for _ in texts]
        for row, label in zip(*found["labels"].nonzero(), strict=True):
            answers[row][names[label]] = round(float(found["probabilities"][row, label]), 4)
        start("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(answers, ensure_ascii=False).encode()]

    print(f"POST a list of texts to http://localhost:{options.port}", flush=True)
    make_server("localhost", options.port, answer).serve_forever()


train() if options.train else serve()
