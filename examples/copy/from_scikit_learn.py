"""From a scikit-learn pipeline to a pretrained encoder, and back: the same labels in and out.

    pip install keras-mlc keras-hub pandas scikit-learn safetensors
    python from_scikit_learn.py rows.csv trained --separator ","

`rows.csv` has a column `text` and a column `labels`, in which the separator stands between names.
The pipeline comes first, with thresholds like the encoder's: what does not beat it is not worth its
time. It splits texts into words, which Chinese does not: `--characters`.
"""

import argparse
import re
import sys
from pathlib import Path

import joblib
import keras
import keras_hub
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import classification_report
from sklearn.model_selection import cross_val_predict, train_test_split
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.svm import LinearSVC

import keras_mlc

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("rows", help="a CSV file with text and labels")
parser.add_argument("folder", type=Path, help="of the model")
parser.add_argument("--separator", required=True, help="a character; ',' stands for '，' as well")
parser.add_argument("--characters", action="store_true", help="in place of words")
parser.add_argument("--encoder", default="bert_base_en_uncased", help="a preset or a folder")
for name, default in {"length": 128, "epochs": 3, "learning-rate": 5e-5}.items():
    parser.add_argument(f"--{name}", type=type(default), default=default)
options = parser.parse_args()

try:
    rows = pd.read_csv(options.rows, usecols=["text", "labels"], dtype=str, na_filter=False)
    either = f"[{re.escape(options.separator)}{chr(ord(options.separator) + 0xFEE0)}]"
    cells = rows["labels"].str.split(either, regex=True)
    binarizer = MultiLabelBinarizer()
    y = binarizer.fit_transform([{*map(str.strip, cell)} - {""} for cell in cells])
    print(pd.Series(y.sum(axis=0), binarizer.classes_).to_string())
    for name in filter(re.compile("[|,;、｜，；]").search, binarizer.classes_):
        raise ValueError(f"{name!r} holds a separator: change --separator, or this check")
    split = train_test_split(list(rows["text"]), y, test_size=0.2, random_state=0)
    preprocessor = keras_hub.models.TextClassifierPreprocessor.from_preset(options.encoder)
    preprocessor.sequence_length = options.length
    encoder = keras_hub.models.Backbone.from_preset(options.encoder)
    options.folder.mkdir(parents=True, exist_ok=True)
except (OSError, TypeError, KeyError, ValueError) as error:
    sys.exit(" ".join(str(error).split()))
texts, test_texts, y, y_test = split
report = {"target_names": binarizer.classes_, "zero_division": 0}

analyzer = "char" if options.characters else "word"
vectorizer = TfidfVectorizer(sublinear_tf=True, analyzer=analyzer, ngram_range=(1, 2))  # and pairs
pipeline = make_pipeline(vectorizer, OneVsRestClassifier(LinearSVC()))
thresholds = keras_mlc.LabelThresholds(shrinkage=20)
thresholds.adapt(cross_val_predict(pipeline, texts, y, method="decision_function"), y)
decisions = thresholds(pipeline.fit(texts, y).decision_function(test_texts))
decisions = keras.ops.convert_to_numpy(decisions)
print("TF-IDF and a linear SVM", classification_report(y_test, decisions, **report))

keras.utils.set_random_seed(0)
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
print("The encoder", classification_report(y_test, decisions, **report))
print(test_texts[0], binarizer.inverse_transform(decisions)[0])

classifier.save(options.folder / "model.keras")
keras.Sequential([preprocessor]).save(options.folder / "preprocessor.keras")  # has no weights
joblib.dump(binarizer, options.folder / "binarizer.joblib")
