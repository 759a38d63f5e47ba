"""Train, score and time one row."""

import statistics
import time

from support.decisions import learn
from support.intervals import packed
from support.saving import write_model
from support.scores import micro_f1, scores
from support.splits import a_batch, batches
from support.task import vocabulary_of

import keras
import numpy as np

import sigmoid
from tfidf import tfidf_predictions

CURVE_POINTS = 8  # in all, and one at least an epoch
TIMED_STEPS = 7
EVALUATED_TEXTS = 64  # at once; the last batch is filled up to it


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
        steps: seconds of each step.
        validating: seconds of all predictions for validation rows.
    """

    def __init__(self, task, live):
        super().__init__()
        self.task, self.live = task, live
        self.curve, self.losses, self.epochs = [], [], []
        self.steps, self.validating = [], 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        self.epochs.append(0.0)

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        self.epochs[-1] += self.seconds
        self.steps.append(self.seconds)
        loss = self.loss
        epochs = self.task.settings.epochs
        steps = self.task.steps // epochs
        self.live.step(self.epoch, epochs, batch + 1, steps, loss)
        done = self.epoch + (batch + 1) / steps
        if (len(self.curve) + 1) / max(1, CURVE_POINTS // epochs) <= done:
            inputs, targets = self.task.validation
            began = time.perf_counter()
            self.outputs = outputs_of(self.model, inputs)
            self.validating += time.perf_counter() - began
            predicted = self.task.predicted_labels(self.outputs)
            score = micro_f1(self.task.indicators(targets), predicted)
            self.curve.append([done, score])
            self.losses.append([done, loss])


class Spent:
    """Where the seconds of a row go: what each part took, in `seconds`."""

    def __init__(self):
        self.seconds, self.last = {}, time.perf_counter()

    def until_now(self, part):
        now = time.perf_counter()
        self.seconds[part], self.last = now - self.last, now

    def move(self, part, other, seconds):
        self.seconds[part] -= seconds
        self.seconds[other] = seconds


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
    spent = Spent()
    keras.utils.set_random_seed(seed)
    task = data.task(row, seed)
    model = row.build(task)
    model.optimizer.build(model.trainable_variables)  # or TensorFlow traces the first step twice
    spent.until_now("model")
    watch = Watch(task, live)
    model.fit(
        batches(row, task), epochs=settings.epochs, shuffle=False, verbose=0, callbacks=[watch]
    )
    spent.until_now("first step")
    step = statistics.median(watch.steps)
    spent.move("first step", "steps", sum(watch.steps[1:]) + step)
    spent.move("first step", "validation rows", watch.validating)
    inputs, targets = task.test
    outputs = outputs_of(model, inputs)
    spent.until_now("test rows")
    labels, names = task.indicators(targets), task.indicator_names()
    at_zero, decisions, given = task.predicted_labels(outputs), None, None
    if (tune or folder) and not task.fine_grained:
        decisions = learn(watch.outputs, task.validation[1], tune)
        live.say(f"{row.TITLE}, seed {seed}: {decisions.note}.")
    if tune and decisions:
        given = decisions.labels(outputs)
    tuned = {"tuned": tuned_scores(decisions, task, given)} if tune else {}
    if folder:  # before the steps are timed, which train on
        write_model(folder, model, vocabulary_of(settings), task.meaning(row.TITLE), decisions)
    live.timing()
    spent.until_now("scores")
    ratio = step_ratio(row, model, task, data, live)
    spent.until_now("step time")
    return {
        "title": row.TITLE,
        "loss": row.LOSS,
        "parameters": parameters(model, task),
        **scores(labels, at_zero, names),
        **tuned,
        "predictions": packed(labels, at_zero, given),
        "seconds_per_epoch": statistics.median(watch.epochs),
        "step_ratio": ratio,
        "spent": spent.seconds,
        "curve": watch.curve,
        "loss_curve": watch.losses,
    }


def tuned_scores(decisions, task, given):
    """Each label's tuned threshold, and the scores of what is given; None for levels."""
    if decisions is None:
        return None
    names = task.indicator_names()
    thresholds = decisions.thresholds.thresholds.tolist()
    return {
        "thresholds": dict(zip(names, thresholds, strict=True)),
        "validation_rows": len(task.validation[1]),
        **scores(task.test[1], given, names),
    }


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
        "predictions": packed(test.labels, predicted, predicted),
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
