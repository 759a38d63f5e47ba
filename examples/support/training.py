"""What a row's `build(task)` is given, and how a row is trained and scored."""

import statistics
import sys
import time

from support.data import indices

import keras
import numpy as np
import tensorflow as tf
from sklearn.metrics import f1_score

from keras_mlc.layers import LabelThresholds, ScoreCalibration

AVERAGES = ("micro", "macro", "weighted", "samples")
WARMUP_SHARE = 0.1
SHRINKAGE = 20  # what docs/guides/label_thresholds.md advises for few rows


class Task:
    """One run of a row: the command line's options, an encoder's source, a `Corpus`, its inputs."""

    def __init__(self, settings, source, train, inputs, seed=0):
        self.settings, self.source, self.seed = settings, source, seed
        self.train, self.inputs = train, inputs
        self.num_labels = len(train.names)
        self.num_levels = [len(names) for names in train.levels or ()]
        self.r_drop_dropout = settings.r_drop_dropout  # R-Drop's pairs differ by nothing else

    def encoder(self, dropout=0.0):
        """The pretrained encoder. `dropout` is the row's rate; `--dropout` goes before it."""
        chosen = self.settings.dropout
        rate = dropout if chosen is None else chosen
        encoder = self.source.build(rate, self.settings.dtype_policy)
        # of tokens alone, or in a layer of tokens and positions
        layers = [getattr(layer, "token_embedding", layer) for layer in encoder.layers]
        self.embedding = next(layer for layer in layers if layer.name == "token_embedding")
        return encoder

    def sequence(self, encoder):
        """What the heads over time see, (B, T, D), and its mask (B, T)."""
        if self.settings.view == "cls":  # as a sequence of length 1
            return encoder.output[:, 0][:, None], None  # unlike [:, :1] of a static shape
        return encoder.output, keras.ops.cast(encoder.input["padding_mask"], "bool")

    def label_bias(self):
        """Start at the log-odds of the labels' frequencies, not with half of all for each text."""
        frequency = (self.train.targets.sum(axis=0) + 1) / (len(self.train.targets) + 2)
        return keras.initializers.Constant(np.log(frequency / (1 - frequency)))

    def optimizer(self):
        """AdamW with 10 % warm-up to the learning rate, then a cosine decay to 0."""
        steps = -(-len(self.train.texts) // self.settings.batch_size) * self.settings.epochs
        warmup, rate = max(1, int(WARMUP_SHARE * steps)), self.settings.learning_rate
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0, max(1, steps - warmup), warmup_target=rate, warmup_steps=warmup
        )
        return keras.optimizers.AdamW(schedule, weight_decay=0.01, global_clipnorm=1.0)

    def batches(self):
        """Shuffled training batches of (inputs, targets)."""
        # the thread that tunes buffers sleeps ever longer; `fit` may wait for it, up to a minute
        options = tf.data.Options()
        options.autotune.enabled = False
        rows = tf.data.Dataset.from_tensor_slices((self.inputs, self.train.targets))
        rows = rows.with_options(options).shuffle(len(self.train.texts), seed=self.seed)
        return rows.batch(self.settings.batch_size).prefetch(2)


def train_row(row, task, validation, test, folder):
    """Train the model of a row, a module, by its `Task`; return what is kept of it.

    `validation`, which thresholds and probabilities are fitted to, and `test` are each a `Corpus`
    and its inputs. The model is saved in `folder`, if there is one.
    """
    times = [time.perf_counter()]

    def note_time(batch, logs):
        float(logs["loss"])  # waits for the step
        times.append(time.perf_counter())

    keras.utils.set_random_seed(task.seed)
    model = row.build(task)
    model.optimizer.build(model.trainable_variables)  # or TensorFlow traces the first step twice
    batches = row.batches(task) if hasattr(row, "batches") else task.batches()
    callbacks = [keras.callbacks.LambdaCallback(on_train_batch_end=note_time)]
    options = {"epochs": task.settings.epochs, "verbose": 1 if sys.stdout.isatty() else 2}
    model.fit(batches, shuffle=False, callbacks=callbacks, **options)
    step = statistics.median(np.diff(times)[1:] if len(times) > 2 else np.diff(times))
    model = getattr(model, "model", model)  # inside a trainer
    found = model.predict(test[1], batch_size=64, verbose=0)
    names, tune = {"max_length": task.settings.max_length}, task.settings.tune
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
    if folder:
        from predict import save_model

        save_model(folder, model, served, task.source.tokens, names)
    return {
        "title": row.TITLE,
        "loss": row.LOSS,
        **scored(test[0].as_labels(), decided),
        "seconds": time.perf_counter() - times[0],
        "step_ms": 1000 * step,
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
