"""Train, score and time one row."""

import statistics
import time
from dataclasses import asdict, replace
from functools import cached_property

from support.data import load_corpus
from support.decisions import learn
from support.file_options import FileOptions
from support.fine_grained import load_fine_grained
from support.saving import write_model
from support.scores import micro_f1, scores
from support.table import DataError
from support.task import Task, encoder_of, tokenizer_of, vocabulary_of
from support.tokenizer import unknown_note

import keras
import numpy as np
import tensorflow as tf

import sigmoid
from tfidf import tfidf_predictions

VALIDATION_SHARE = 0.05
CURVE_POINTS = 8  # in all, and one at least an epoch
TIMED_STEPS = 7
EVALUATED_TEXTS = 64  # at once; the last batch is filled up to it


class Data:
    """Training, validation and test rows, as labels and as levels of aspects.

    5 % of the training rows are set aside as validation rows, for learning curves and tuning.
    """

    def __init__(self, settings, rows):
        self.settings, self.splits, self.problems, self.notes = settings, {}, {}, []
        self.whole = {}  # training rows with those that are set aside, in the file's order
        self.encoded = {}
        for fine_grained in sorted({False, *(getattr(row, "FINE_GRAINED", False) for row in rows)}):
            try:
                train, test = load(settings, fine_grained)
            except DataError as error:
                self.problems[fine_grained] = error
                continue
            self.whole[fine_grained] = train
            train, validation = set_aside(train)
            self.splits[fine_grained] = (train, validation, test)
            self.notes += [note for note in train.notes + test.notes if note not in self.notes]
        if not self.splits:
            raise self.problems.get(False) or self.problems[True]
        texts = next(iter(self.splits.values()))[0].texts
        if settings.checkpoint:
            self.notes.append(encoder_of(settings).note)
        if note := unknown_note(tokenizer_of(settings), texts):
            self.notes.append(note)

    def of(self, row):
        return self.splits[getattr(row, "FINE_GRAINED", False)]

    def task(self, row, seed=0):
        """The `Task` of a row. Texts are split into tokens once for all rows."""
        kind = getattr(row, "FINE_GRAINED", False)
        settings = self.settings.of(row.__name__)
        task = Task(settings, *self.of(row), seed=seed, encoded=self.encoded.get(kind))
        self.encoded[kind] = task.encoded
        return task

    def cannot(self, row):
        """Why a row cannot run on these files; None if it can."""
        return self.problems.get(getattr(row, "FINE_GRAINED", False))

    @cached_property
    def plain(self):
        """The plain sigmoid model and a batch, beside which the steps of all others are timed.

        The sigmoid row leaves its own here, so that it is not traced twice.
        """
        task = self.task(sigmoid)
        return sigmoid.build(task), a_batch(sigmoid, task)


def load(settings, fine_grained):
    """Read the training and the test file, for labels or for levels of aspects."""
    files = {
        "train": settings.train,
        "test": settings.test,
        "rows": settings.samples,
        "test_rows": settings.test_samples,
        **asdict(FileOptions.of(settings)),
    }
    if fine_grained:
        return load_fine_grained(**files, aspects=settings.aspects)
    return load_corpus(**files)


def set_aside(corpus):
    """Split a corpus into training and validation rows, the same way every time."""
    if len(corpus) == 1:
        corpus = replace(corpus, notes=[*corpus.notes, "One training row: it validates, too."])
        return corpus, corpus
    order = np.random.default_rng(0).permutation(len(corpus))
    held_out = max(1, int(VALIDATION_SHARE * len(corpus)))
    targets = "levels" if hasattr(corpus, "levels") else "labels"

    def part(rows):
        texts = [corpus.texts[i] for i in rows]
        return replace(corpus, texts=texts, **{targets: getattr(corpus, targets)[rows]})

    return part(np.sort(order[held_out:])), part(np.sort(order[:held_out]))


class StepTimer(keras.callbacks.Callback):
    """Time the last step; its loss is waited for."""

    def on_train_batch_begin(self, batch, logs=None):
        self.began = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.loss = float(logs["loss"])
        self.seconds = time.perf_counter() - self.began


class Watch(StepTimer):
    """Time the epochs, draw the learning curve, and keep the live view up to date.

    Attributes:
        outputs: those for the validation rows after the last step, which is a point of the curve.
    """

    def __init__(self, task, live):
        super().__init__()
        self.task, self.live = task, live
        self.curve, self.losses, self.epochs = [], [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        self.epochs.append(0.0)

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        self.epochs[-1] += self.seconds
        loss = self.loss
        epochs = self.task.settings.epochs
        steps = self.task.steps // epochs
        self.live.step(self.epoch, epochs, batch + 1, steps, loss)
        done = self.epoch + (batch + 1) / steps
        if (len(self.curve) + 1) / max(1, CURVE_POINTS // epochs) <= done:
            inputs, targets = self.task.validation
            self.outputs = outputs_of(self.model, inputs)
            predicted = self.task.predicted_labels(self.outputs)
            score = micro_f1(self.task.indicators(targets), predicted)
            self.curve.append([done, score])
            self.losses.append([done, loss])


def outputs_of(model, inputs):
    """A model's outputs for N texts, computed in batches of one size: nothing compiles twice."""
    (number,) = {len(value) for value in inputs.values()}
    filled = {
        name: np.pad(value, ((0, -number % EVALUATED_TEXTS), (0, 0)), mode="edge")
        for name, value in inputs.items()
    }
    return model.predict(filled, batch_size=EVALUATED_TEXTS, verbose=0)[:number]


def run_row(row, settings, data, seed, live, tune=False, folder=None):
    """Train a row's model and return everything that the table shows of it.

    `tune` chooses a threshold for each label; `folder` keeps the model there. Both learn from the
    validation rows.
    """
    live.start(row.TITLE, seed)
    keras.utils.set_random_seed(seed)
    task = data.task(row, seed)
    model = row.build(task)
    watch = Watch(task, live)
    model.fit(
        batches(row, task), epochs=settings.epochs, shuffle=False, verbose=0, callbacks=[watch]
    )

    live.timing()
    inputs, targets = task.test
    outputs = outputs_of(model, inputs)
    labels, names = task.indicators(targets), task.indicator_names()
    decisions = None
    if (tune or folder) and not task.fine_grained:
        decisions = learn(watch.outputs, task.validation[1], tune)
        live.say(f"{row.TITLE}, seed {seed}: {decisions.note}.")
    tuned = {"tuned": tuned_scores(decisions, task, outputs)} if tune else {}
    if folder:  # before the steps are timed, which train on
        write_model(folder, model, vocabulary_of(settings), task.meaning(row.TITLE), decisions)
    return {
        "title": row.TITLE,
        "loss": row.LOSS,
        "parameters": parameters(model, task),
        **scores(labels, task.predicted_labels(outputs), names),
        **tuned,
        "seconds_per_epoch": statistics.median(watch.epochs),
        "step_ratio": step_ratio(row, model, task, data, live),
        "curve": watch.curve,
        "loss_curve": watch.losses,
    }


def tuned_scores(decisions, task, outputs):
    """Each label's tuned threshold, and the test scores with them; None for levels."""
    if decisions is None:
        return None
    names = task.indicator_names()
    thresholds = decisions.thresholds.thresholds.tolist()
    return {
        "thresholds": dict(zip(names, thresholds, strict=True)),
        "validation_rows": len(task.validation[1]),
        **scores(task.test[1], decisions.labels(outputs), names),
    }


def batches(row, task):
    """A row's own training batches, such as R-Drop's pairs, or the plain ones."""
    return row.batches(task) if hasattr(row, "batches") else task.batches()


def run_tfidf(data, live):
    """The scores of the tuned linear model, which are those of `tfidf.py`."""
    train, test = data.whole[False], data.splits[False][-1]
    began = time.perf_counter()
    predicted, choice = tfidf_predictions(train, test)
    live.say(str(choice))
    return {
        "title": "TF-IDF + linear SVM, tuned",
        "loss": "squared hinge",
        "seconds": time.perf_counter() - began,
        **scores(test.labels, predicted, test.label_names),
    }


def step_ratio(row, model, task, data, live):
    """The model's step time over that of the plain sigmoid row, both measured in turn.

    None where nothing can be compared, or where the timing fails: the trained row is kept.
    """
    if row is sigmoid:
        data.plain = model, a_batch(row, task)
        return 1.0
    if data.cannot(sigmoid):
        return None
    try:
        batch = a_batch(row, task)
        ratios = [
            timed_step(model, batch) / timed_step(*data.plain) for _ in range(TIMED_STEPS + 1)
        ]
    except Exception as error:
        live.say(f"{row.TITLE}: its steps could not be timed ({type(error).__name__}: {error}).")
        return None
    return statistics.median(ratios[1:])  # the first may trace


def a_batch(row, task):
    """A full batch, as a dataset of the same types as in training, for which nothing is traced."""
    batch = next(iter(batches(row, task)))
    return tf.data.Dataset.from_tensor_slices(batch).batch(len(batch[1]))


def timed_step(model, batch):
    timer = StepTimer()
    model.fit(batch, shuffle=False, verbose=0, callbacks=[timer])
    return timer.seconds


def parameters(model, task):
    """Number of parameters of the encoder, of each layer after it, and in total."""
    model = getattr(model, "model", model)  # inside FGMTrainer
    heads = {}
    for layer in model.layers:
        if layer.name not in task.encoder_layers:
            for weight in layer.weights:
                part = "/".join(weight.path.split("/")[: 2 if "text_cnn" in weight.path else 1])
                heads[part] = heads.get(part, 0) + int(np.prod(weight.shape))
    total = model.count_params()
    return {"encoder": total - sum(heads.values()), "heads": heads, "total": total}
