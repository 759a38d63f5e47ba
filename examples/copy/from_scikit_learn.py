"""From a scikit-learn pipeline to a pretrained encoder, and back: the same labels in and out.

    pip install keras-mlc keras-hub pandas scikit-learn safetensors
    python from_scikit_learn.py rows.csv trained

`rows.csv` has a column `text` and a column `labels`, in which they are joined by `|`. The pipeline
comes first: what does not beat it is not worth its time.
"""

import argparse
from pathlib import Path

import joblib
import keras
import keras_hub
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import classification_report
from sklearn.model_selection import train_test_split
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.svm import LinearSVC

import keras_mlc

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("rows", help="a CSV file with text and labels")
parser.add_argument("folder", type=Path, help="of the model")
parser.add_argument("--encoder", default="bert_base_en_uncased", help="a preset or a folder")
for name, default in {"length": 128, "epochs": 3, "learning-rate": 5e-5}.items():
    parser.add_argument(f"--{name}", type=type(default), default=default)
options = parser.parse_args()

rows = pd.read_csv(options.rows, dtype=str, keep_default_na=False)
binarizer = MultiLabelBinarizer()
y = binarizer.fit_transform([set(cell.split("|")) - {""} for cell in rows["labels"]])
texts, test_texts, y, y_test = train_test_split(
    list(rows["text"]), y, test_size=0.2, random_state=0
)


def report(title, decisions):
    names = binarizer.classes_
    print(title, classification_report(y_test, decisions, target_names=names, zero_division=0))


pipeline = make_pipeline(TfidfVectorizer(sublinear_tf=True), OneVsRestClassifier(LinearSVC()))
report("TF-IDF and a linear SVM", pipeline.fit(texts, y).predict(test_texts))

keras.utils.set_random_seed(0)
preprocessor = keras_hub.models.TextClassifierPreprocessor.from_preset(
    options.encoder, sequence_length=options.length
)
encoder = keras_hub.models.Backbone.from_preset(options.encoder)
sequence = encoder.output
sequence = sequence["sequence_output"] if isinstance(sequence, dict) else sequence
scores = keras.layers.Dense(y.shape[1])(sequence[:, 0])  # of [CLS]; no activation
model = keras.Model(encoder.input, scores)
optimizer = keras.optimizers.AdamW(options.learning_rate)
model.compile(optimizer, keras_mlc.MultilabelCategoricalCrossentropy())
trained, held_out, y, y_held_out = train_test_split(texts, y, test_size=0.1, random_state=0)
model.fit(preprocessor(trained), y, 16, options.epochs, 2)

thresholds = keras_mlc.LabelThresholds(shrinkage=20)
thresholds.adapt(model.predict(preprocessor(held_out), verbose=0), y_held_out)
classifier = keras.Model(encoder.input, thresholds(scores))
decisions = classifier.predict(preprocessor(test_texts), verbose=0).astype(int)
report("The encoder", decisions)
print(test_texts[0], binarizer.inverse_transform(decisions)[0])

options.folder.mkdir(parents=True, exist_ok=True)
classifier.save(options.folder / "model.keras")
keras.Sequential([preprocessor]).save(options.folder / "preprocessor.keras")  # has no weights
joblib.dump(binarizer, options.folder / "binarizer.joblib")
