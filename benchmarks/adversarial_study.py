"""What is adversarial training worth, beside plain training that costs as much?

Two models: the encoder of the examples, and one that learns its words from the training rows alone,
token vectors under attention pooling and a hidden layer, whose run takes half a minute.
Multi-label cross-entropy, AdamW with warm-up and cosine decay. A seed draws the training rows and
first weights. 1,000 further rows are held out: each method's perturbation, of four, is the one
with the highest average precision on them at the first seed, and they choose the thresholds
(`LabelThresholds(shrinkage=20)`). Test rows only report.

Plain training stands beside each method twice: with as many passes over the rows, and with as many
epochs as fit into the method's time by its count of passes through the model (a forward pass 1, a
backward pass 1 for the vectors and 1 for the weights). VAT reads as many unlabelled rows a step as
labelled ones: all rows of the training file that are neither trained on nor held out.

Finished runs are kept in `--runs`, and the same command goes on from there.

    nice python benchmarks/adversarial_study.py
    nice python benchmarks/adversarial_study.py --model words
    nice python benchmarks/adversarial_study.py --train train.csv --test test.csv \\
        --samples 10000 --max-length 128 --checkpoint FOLDER
"""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from class_imbalance import precision
from results import as_markdown, write_result
from sklearn.metrics import f1_score

from keras_mlc import AttentionPooling, LabelThresholds, MultilabelCategoricalCrossentropy
from keras_mlc.training import FGMTrainer, FreeLBTrainer, PGDTrainer, VATTrainer

sys.path.append(str(Path(__file__).parents[1] / "examples"))
from support.data import load_corpus
from support.settings import Settings
from support.task import Task

HELD_OUT, MISSING = 1000, -1
EMBEDDING = "token_embedding"

METHODS = {
    "FGM, a norm a batch": (
        lambda model, size, batch: FGMTrainer(model, EMBEDDING, size * batch**0.5),
        5 / 3,
    ),
    "FGM, a norm a text": (
        lambda model, size, batch: FGMTrainer(model, EMBEDDING, size, norm="sample"),
        5 / 3,
    ),
    "PGD, 3 steps": (
        lambda model, size, batch: PGDTrainer(
            model, EMBEDDING, size, step_size=0.4 * size, norm="sample"
        ),
        3.0,
    ),
    "FreeLB, 3 steps": (
        lambda model, size, batch: FreeLBTrainer(
            model, EMBEDDING, size, step_size=0.4 * size, initial_norm=0.25 * size
        ),
        3.0,
    ),
    "VAT, unlabelled rows too": (
        lambda model, size, batch: VATTrainer(model, EMBEDDING, size),
        5.0,
    ),
}
"""A trainer for a perturbation a text and a batch size, and its passes in those of a plain step.

A norm a batch is that of all texts together, so it is √B times as long.
"""
SIZES = 0.03, 0.1, 0.3, 1.0
BATCHES = 8, 32, 128


def encoder(task):
    encoder = task.encoder(dropout=0.1)
    scores = keras.layers.Dense(task.num_labels, dtype="float32")(encoder.output[:, 0])
    return keras.Model(encoder.input, scores)


def words(task):
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in task.train[0]}
    size = task.tokenizer.get_vocab_size()
    x = keras.layers.Embedding(size, 128, name=EMBEDDING)(inputs["token_ids"])
    mask = keras.ops.cast(inputs["padding_mask"], "bool")
    x = AttentionPooling()(keras.layers.Dropout(0.3)(x), mask=mask)
    x = keras.layers.Dropout(0.3)(keras.layers.Dense(256, activation="relu")(x))
    return keras.Model(inputs, keras.layers.Dense(task.num_labels)(x))


class Model(NamedTuple):
    """How to build a model, and what suits it."""

    build: Callable
    learning_rate: float
    epochs: int


MODELS = {"encoder": Model(encoder, 6e-4, 5), "words": Model(words, 2e-3, 8)}


class Study:
    """The rows, and every run that has been made on them."""

    def __init__(self, options):
        self.options = options
        self.all, self.test = load_corpus(options.train, options.test)
        self.path = options.runs
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()
        lines = self.path.read_text().splitlines()
        self.done = {line["run"]: line for line in map(json.loads, lines)}

    def settings(self, epochs, batch):
        options = self.options
        return Settings(
            init="pretrained" if options.model == "encoder" else "random",
            vocabulary=options.vocabulary,
            learning_rate=MODELS[options.model].learning_rate * (batch / 32) ** 0.5,
            epochs=epochs,
            batch_size=batch,
            max_length=options.max_length,
            checkpoint=options.checkpoint,
            dtype_policy=options.dtype_policy,
        )

    def rows(self, seed):
        """Rows to train on, held-out rows, and the rest."""
        order = np.random.default_rng(seed).permutation(len(self.all))
        held_out, train = order[:HELD_OUT], order[HELD_OUT:][: self.options.samples]
        rest = order[HELD_OUT + len(train) :]
        return [
            replace(self.all, texts=[self.all.texts[i] for i in rows], labels=self.all.labels[rows])
            for rows in (train, held_out, rest if len(rest) else train)
        ]

    def run(self, method, seed, epochs, size=0.0, batch=32):
        """Return what a run has scored; make it if it is not there."""
        name = f"{self.options.model}: {method}, size {size:g}, {epochs} epochs, batch {batch}"
        name += f", seed {seed}"
        if name not in self.done:
            line = {"run": name, **self.made(method, seed, epochs, size, batch)}
            with open(self.path, "a") as file:
                file.write(json.dumps(line) + "\n")
            self.done[name] = line
            print(line, flush=True)
        return self.done[name]

    def made(self, method, seed, epochs, size, batch):
        keras.utils.set_random_seed(seed)
        train, held_out, rest = self.rows(seed)
        settings = self.settings(epochs, batch)
        task = Task(settings, train, held_out, self.test, seed=seed)
        model = trained = MODELS[self.options.model].build(task)
        batches = task.batches()
        if method != "plain":
            trained = METHODS[method][0](model, size, batch)
        if method.startswith("VAT"):
            others = Task(settings, rest, held_out, self.test, seed=seed).train[0]
            batches = with_unlabelled(batches, others, task.num_labels, batch, seed)
        loss = MultilabelCategoricalCrossentropy(missing_label=MISSING)
        trained.compile(task.optimizer(), loss)
        began = time.perf_counter()
        trained.fit(batches, epochs=epochs, shuffle=False, verbose=0)
        seconds = time.perf_counter() - began
        kept, test = (
            model.predict(x, batch_size=128, verbose=0) for x, _ in (task.validation, task.test)
        )
        thresholds = LabelThresholds(shrinkage=20)
        thresholds.adapt(kept, task.validation[1])
        labels, given = task.test[1], test > thresholds.thresholds
        return {
            "held-out precision": precision(task.validation[1], kept),
            "precision": precision(labels, test),
            "micro": f1_score(labels, given, average="micro"),
            "macro": f1_score(labels, given, average="macro", zero_division=0),
            "micro, 0": f1_score(labels, test > 0, average="micro"),
            "macro, 0": f1_score(labels, test > 0, average="macro", zero_division=0),
            "seconds": seconds,
        }

    def best_size(self, method, epochs):
        quality = {size: self.run(method, 0, epochs, size)["held-out precision"] for size in SIZES}
        return max(quality, key=quality.get)


def with_unlabelled(batches, others, labels, batch_size, seed):
    """Follow each labelled batch by as many unlabelled rows."""
    rows = tf.data.Dataset.from_tensor_slices(others)
    rows = rows.shuffle(len(others["token_ids"]), seed=seed).repeat().batch(batch_size)

    def together(labelled, unlabelled):
        x, y = labelled
        y = tf.cast(y, "int32")  # labels come without a sign
        missing = tf.fill((batch_size, labels), MISSING)
        x = tf.nest.map_structure(lambda a, b: tf.concat([a, b], 0), x, unlabelled)
        return x, tf.concat([y, missing], 0)

    return tf.data.Dataset.zip(batches, rows).map(together).prefetch(2)


def methods_table(study, epochs, seeds):
    """Each method, between plain training with its passes over the rows and with its time."""
    controls = {epochs, *(round(epochs * passes) for _, passes in METHODS.values())}
    rows = []
    for number in sorted(controls):
        runs = [study.run("plain", seed, number) for seed in seeds]
        rows.append(["plain", "", str(number), f"{number / epochs:.1f}", *cells(runs)])
    for method, (_, passes) in METHODS.items():
        size = study.best_size(method, epochs)
        runs = [study.run(method, seed, epochs, size) for seed in seeds]
        rows.append([method, f"{size:g}", str(epochs), f"{passes:.1f}", *cells(runs)])
    head = ["training", "perturbation a text", "epochs", "passes", *MEASURES]
    return [head, *rows]


MEASURES = "precision", "micro", "macro"


def cells(runs):
    values = np.array([[run[name] for name in MEASURES] for run in runs])
    return [f"{each.mean():.3f} ± {each.std():.3f}" for each in values.T]


def batches_table(study, epochs):
    """Held-out average precision of every perturbation at every batch size."""
    rows = []
    for method in list(METHODS)[:2]:
        for batch in BATCHES:
            found = [study.run("plain", 0, epochs, batch=batch)]
            found += [study.run(method, 0, epochs, size, batch) for size in SIZES]
            values = [run["held-out precision"] for run in found]
            rows.append([method, str(batch), *(f"{value:.3f}" for value in values)])
    return [["norm", "batch", "plain", *(f"{size:g} a text" for size in SIZES)], *rows]


def main():
    files = argparse.ArgumentParser(add_help=False)
    files.add_argument("--runs", type=Path, default=Path("runs/adversarial_study.jsonl"))
    files.add_argument("--output", type=Path, help="a JSON file that keeps what is printed")
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[files],
    )
    add = parser.add_argument
    add("--train")
    add("--test")
    add("--checkpoint")
    add("--samples", type=int, default=3500)
    add("--max-length", type=int, default=48)
    add("--model", choices=MODELS, default="encoder")
    add("--vocabulary", help="a vocab.txt for `--model words`; the bundled one by default")
    add("--dtype-policy", default="float32")
    add("--epochs", type=int, help="of the model, by default")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--batches", action="store_true", help="the perturbation at several batch sizes instead")
    options = parser.parse_args()
    study = Study(options)
    epochs = options.epochs or MODELS[options.model].epochs
    if options.batches:
        table, what = batches_table(study, epochs), "Average precision of held-out rows."
    else:
        table = methods_table(study, epochs, options.seeds)
        what = f"Test rows, mean ± deviation over {len(options.seeds)} seeds; F1 with thresholds."
    result = {
        "command": shlex.join(
            ["python", "benchmarks/adversarial_study.py", *files.parse_known_args()[1]]
        ),
        "table": table,
        "note": f"{what} keras {version('keras')}.",
    }
    print(as_markdown(result))
    if options.output:
        write_result(result, options.output)


if __name__ == "__main__":
    main()
