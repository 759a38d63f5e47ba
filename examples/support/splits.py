"""The rows of the files, split into those to train on, to validate on and to test on."""

from dataclasses import asdict, replace
from functools import cached_property

from support.data import load_corpus
from support.file_options import FileOptions
from support.fine_grained import load_fine_grained
from support.table import DataError
from support.task import Task, encoder_of, tokenizer_of
from support.tokenizer import unknown_note

import numpy as np
import tensorflow as tf

import sigmoid

VALIDATION_SHARE = 0.05


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


def batches(row, task):
    """A row's own training batches, such as R-Drop's pairs, or the plain ones."""
    return row.batches(task) if hasattr(row, "batches") else task.batches()


def a_batch(row, task):
    """A full batch, as a dataset of the same types as in training, for which nothing is traced."""
    batch = next(iter(batches(row, task)))
    return tf.data.Dataset.from_tensor_slices(batch).batch(len(batch[1]))
