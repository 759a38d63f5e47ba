"""Train, score and save one row."""

import json
import os
import re
import shutil
import statistics
import time

import keras
import numpy as np
from sklearn.metrics import f1_score

from keras_mlc.layers import LabelThresholds, ScoreCalibration

AVERAGES = ("micro", "macro", "weighted", "samples")
SHRINKAGE = 20  # what docs/guides/label_thresholds.md advises for few rows


class StepTimes(keras.callbacks.Callback):
    """Seconds of each step; its loss is waited for."""

    def on_train_begin(self, logs=None):
        self.seconds = []

    def on_train_batch_begin(self, batch, logs=None):
        self.began = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])
        self.seconds.append(time.perf_counter() - self.began)


def train_row(row, task, validation, test, tune, folder):
    """Train the model of a row, a module, by its `Task`; return what is kept of it.

    `validation` and `test` are each a `Corpus` and its inputs. Thresholds, unless `tune` is False,
    and probabilities are fitted to the former. The model is saved in `folder`, if there is one.
    """
    began = time.perf_counter()
    keras.utils.set_random_seed(task.seed)
    model = row.build(task)
    model.optimizer.build(model.trainable_variables)  # or TensorFlow traces the first step twice
    batches = row.batches(task) if hasattr(row, "batches") else task.batches()
    steps = StepTimes()
    model.fit(batches, epochs=task.settings.epochs, shuffle=False, callbacks=[steps])
    model = getattr(model, "model", model)  # inside a trainer
    found = model.predict(test[1], batch_size=64, verbose=0)
    names = {"max_length": task.settings.max_length}
    if task.train.levels:
        decided = {"at_0": task.train.as_labels(found.argmax(axis=-1)), "tuned": None}
        served = {"probabilities": model.output}
        names["aspects"] = dict(zip(task.train.names, task.train.levels, strict=True))
    else:
        scores = model.predict(validation[1], batch_size=64, verbose=0)
        served = fitted(scores, validation[0].targets, tune)
        tuned = keras.ops.convert_to_numpy(served["labels"](found)) if tune else None
        decided = {"at_0": found > 0, "tuned": tuned}
        served = {name: layer(model.output) for name, layer in served.items()}
        names["labels"] = task.train.names
    seconds = time.perf_counter() - began
    if folder:
        save_model(folder, model, served, task.source.tokens, names)
    return {
        "title": row.TITLE,
        "loss": row.LOSS,
        **scored(test[0].as_labels(), decided),
        "seconds": seconds,
        "step_ms": 1000 * statistics.median(steps.seconds[1:] or steps.seconds),
    }


def fitted(scores, labels, tune):
    """The layers that make `labels` of scores and, where rows show them, `probabilities`."""
    thresholds = LabelThresholds(shrinkage=SHRINKAGE, name="labels", dtype="float32")
    thresholds.build(scores.shape)
    if not labels.any() or labels.all() or not np.isfinite(scores).all():
        print(f"{len(scores):,} validation rows show neither thresholds nor probabilities.")
        return {"labels": thresholds}
    calibration = ScoreCalibration(name="probabilities", dtype="float32")
    calibration.adapt(scores, labels)
    if tune:
        thresholds.adapt(scores, labels)
        few = int((labels.sum(axis=0, dtype="int64") < thresholds.min_positives).sum())
        print(f"Thresholds from {len(scores):,} validation rows; {few:,} rare labels share one.")
    return {"labels": thresholds, "probabilities": calibration}


def scored(true, decided):
    """F1 scores and predicted labels of each way to decide, of which some may be None."""
    kept = {"scores": {}, "predicted": {}}
    for way, found in decided.items():
        kept["scores"][way] = None if found is None else f1(true, found)
        kept["predicted"][way] = None if found is None else indices(found)
    return kept


def f1(true, found):
    """The averages of F1. Labels that `found` has no column of are missed."""
    count = true.shape[1]
    # one more column, which does not count: a single one would be taken for two classes
    true = np.pad(true, ((0, 0), (0, 1))).astype("uint8")
    found = np.pad(found, ((0, 0), (0, count + 1 - found.shape[1]))).astype("uint8")
    options = {"labels": range(count), "zero_division": 0}
    return {each: float(f1_score(true, found, average=each, **options)) for each in AVERAGES}


def indices(labels):
    """The indices of each row's labels."""
    return [np.flatnonzero(row).tolist() for row in labels]


def save_model(folder, model, outputs, tokens, names):
    """Write a model with a dictionary of outputs, the tokenizer, and the outputs' names.

    Whoever reads sees a whole folder or none, and a failure, as of a full disk, leaves nothing.
    """
    model = keras.Model(model.input, outputs)
    # every processor computes in float32, and so does ONNX Runtime
    served = keras.models.model_from_json(re.sub("mixed_b?float16", "float32", model.to_json()))
    served.set_weights(model.get_weights())
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        partial.mkdir(parents=True)
        served.save(partial / "model.keras")
        tokens.save(partial)
        (partial / "names.json").write_text(json.dumps(names, ensure_ascii=False), "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
