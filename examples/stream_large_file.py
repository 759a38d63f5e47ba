"""Train on a file that is larger than memory, read as a stream.

    python examples/stream_large_file.py --train rows.csv --steps 20000 --output runs/large

Rows are read, split into tokens and shuffled on other threads while the model trains; only a buffer
of them is in memory. Rows that stand together in the file stay near each other: mix the file first
(`shuf`, below its first line). The labels are those of the first `--label-rows` rows. At the end it
says how much memory was used at most, and for what share of the time a step waited for its batch.
OUTPUT is a model's folder as examples/predict.py reads it. The first rows of the file, 5 % of those
whose labels are learned and 1,000 at most, are not trained on: probabilities are fitted to them.

`--read-only` reads the file once, without a model, and says how fast.
"""

import argparse
import itertools
import resource
import sys
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from support.columns import find_roles
from support.data import default_files, place_of_cell, switched, texts_in, with_text
from support.decisions import learn
from support.encoders import load_encoder, open_encoder
from support.file_options import FileOptions, add_file_options
from support.files import open_table
from support.labels import CellReader
from support.saving import write_model
from support.separators import listing
from support.served import Labels
from support.settings import BUNDLED_ENCODER
from support.table import DataError
from support.task import optimizer
from support.tokenizer import load_tokenizer, padded, padding_id

import keras
import numpy as np

from keras_mlc.losses import MultilabelCategoricalCrossentropy

BLOCK = 1024  # rows that are split into tokens together
THREADS = 2
VALIDATION_ROWS = 1000  # at most


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add_file_options(parser, test=False)
    add("--label-rows", type=int, default=100_000, help="rows whose labels are learned")
    add("--checkpoint", default=BUNDLED_ENCODER, help="encoder to start from: a folder or a name")
    add("--steps", type=int, default=1000)
    add("--batch-size", type=int, default=32)
    add("--max-length", type=int, default=48, help="tokens a text")
    add("--learning-rate", type=float, default=6e-4, help="peak of the schedule")
    add("--buffer", type=int, default=50_000, help="rows that are shuffled among each other")
    add("--seed", type=int, default=0)
    add("--output", type=Path, help="folder of the trained model; not kept by default")
    add("--read-only", action="store_true", help="read the file once, train nothing")
    return parser.parse_args()


class Stream:
    """A file's rows as batches of token ids and labels.

    Attributes:
        label_names: the labels of the file's first rows, sorted.
        held_out: number of the file's first rows that are not trained on.
        unknown: number of labels of later rows that are not among them.
    """

    def __init__(self, path, source, arguments):
        self.source, self.arguments = source, arguments
        self.tokenizer = tokenizer = load_tokenizer(source.vocabulary)
        self.unknown = 0
        tokenizer.enable_truncation(arguments.max_length)
        tokenizer.no_padding()
        self.padding = padding_id(tokenizer)
        options = FileOptions.of(arguments)
        self.table = open_table(path, options)
        first = self.table.frame(arguments.label_rows)
        self.roles = find_roles(self.table, first, options)
        _, kept, _ = with_text(self.table, first, self.roles.text)
        first, self.notes = first.iloc[kept], [*self.table.notes]
        self.held_out = min(VALIDATION_ROWS, len(first) // 20)
        if self.roles.label is None:
            sets = switched(self.table, first, [self.table.columns[i] for i in self.roles.each])
            how = "a column of 0 and 1 for each"
        else:
            cells = first[self.roles.label].tolist()
            self.reader = CellReader(cells, options, partial(place_of_cell, [self.table], [first]))
            sets, how = self.reader.sets.values(), f"{self.column_name}, {self.reader.note}"
            self.notes += self.reader.warnings
        self.label_names = sorted(set().union(*sets))
        if not self.label_names:
            raise DataError(f"{path}: none of the first {len(first):,} rows has a label.")
        self.notes = [f"Labels: {how}: {listing(self.label_names, 8)}.", *self.notes]
        self.column = {name: i for i, name in enumerate(self.label_names)}

    @property
    def column_name(self):
        return f"column {self.table.columns[self.roles.label]!r}"

    def sets(self, frame):
        """The labels of each row."""
        if self.roles.label is None:
            names = [self.table.columns[i] for i in self.roles.each]
            return switched(self.table, frame, names)
        where = partial(place_of_cell, [self.table], [frame])
        return self.reader(frame[self.roles.label].tolist(), where)

    def blocks(self, passes, skipped=0):
        """Yield the texts and the labels of some rows at once; without end by default.

        A number of the file's first rows is passed over each time.
        """
        for _ in itertools.count() if passes is None else range(passes):
            left = skipped
            for frame in self.table.chunks():
                texts, kept = texts_in(self.table, frame, self.roles.text)
                sets = self.sets(frame.iloc[kept])
                start = min(left, len(texts))
                left -= start
                for first in range(start, len(texts), BLOCK):
                    yield texts[first : first + BLOCK], sets[first : first + BLOCK]

    def arrays(self, texts, sets):
        """Token ids (N, T) and labels (N, C) of a block."""
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        token_ids = padded(ids, self.arguments.max_length, self.padding)["token_ids"]
        labels = np.zeros((len(texts), len(self.label_names)), "uint8")
        for row, names in enumerate(sets):
            known = [self.column[name] for name in names if name in self.column]
            labels[row, known] = 1
            self.unknown += len(names) - len(known)
        return token_ids, labels

    def validation(self):
        """The inputs and labels of the rows that are not trained on."""
        texts, sets = [], []
        for some_texts, some_sets in self.blocks(passes=1):
            texts += some_texts
            sets += some_sets
            if len(texts) >= self.held_out:
                break
        token_ids, labels = self.arrays(texts[: self.held_out], sets[: self.held_out])
        return self.inputs(token_ids), labels

    def batches(self, passes=None, skipped=0):
        """Yield shuffled (inputs, labels), for a number of passes over the file."""
        blocks = ahead(lambda block: self.arrays(*block), self.blocks(passes, skipped))
        rng = np.random.default_rng(self.arguments.seed)
        for token_ids, labels in shuffled(blocks, self.arguments.buffer, rng):
            for first in range(0, len(labels), self.arguments.batch_size):
                rows = slice(first, first + self.arguments.batch_size)
                yield self.inputs(token_ids[rows]), labels[rows]

    def inputs(self, token_ids):
        """A model's inputs for token ids."""
        inputs = {
            "token_ids": token_ids,
            "segment_ids": np.zeros_like(token_ids),
            "padding_mask": (token_ids != self.padding).astype("int32"),
        }
        return {name: inputs[name] for name in self.source.inputs}


def ahead(function, items):
    """Yield the function's results in order; threads compute a few of them ahead."""
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def shuffled(blocks, buffer, rng):
    """Yield blocks of arrays whose rows are drawn at random from a buffer.

    The rows of each block that comes change places with as many in the buffer.
    """
    blocks, filling, held = iter(blocks), [], 0
    for block in blocks:
        filling.append(block)
        held += len(block[0])
        if held >= buffer:
            break
    kept = [np.concatenate(arrays) for arrays in zip(*filling, strict=True)]
    filling.clear()
    for block in blocks:
        places = rng.choice(held, len(block[0]), replace=False)
        yield [array[places] for array in kept]
        for array, new in zip(kept, block, strict=True):
            array[places] = new
    order = rng.permutation(held)
    for first in range(0, held, BLOCK):
        yield [array[order[first : first + BLOCK]] for array in kept]


def build(source, arguments, num_labels):
    encoder = load_encoder(source)
    scores = keras.layers.Dense(num_labels, name="classifier")(encoder.output[:, 0])
    model = keras.Model(encoder.input, scores)
    model.compile(
        optimizer(arguments.learning_rate, arguments.steps), MultilabelCategoricalCrossentropy()
    )
    return model


def train(model, batches, steps):
    """Train, and return the share of the time that steps waited for their batch.

    The first step does not count: it fills the buffer, and compiles.
    """
    waited = total = 0.0
    for step in range(1, steps + 1):
        began = time.perf_counter()
        batch = next(batches)
        ready = time.perf_counter()
        loss = model.train_on_batch(*batch)
        if step > 1:
            waited += ready - began
            total += time.perf_counter() - began
        if step % 100 == 0 or step == steps:
            print(f"step {step:,}/{steps:,}, loss {float(loss):.4f}", flush=True)
    return waited / max(total, 1e-9)


def decide(model, inputs, labels):
    """The layers after the scores; thresholds are 0."""
    if not len(labels):
        return learn(np.zeros(labels.shape, "float32"), labels, tune=False)
    return learn(model.predict(inputs, verbose=0), labels, tune=False)


def read(batches):
    """Read all batches, and print how fast."""
    rows = tokens = 0
    began = time.perf_counter()
    for inputs, labels in batches:
        rows += len(labels)
        tokens += int(inputs["padding_mask"].sum())
    seconds = time.perf_counter() - began
    print(
        f"{rows:,} rows, {tokens:,} tokens in {seconds:,.0f} s: "
        f"{rows / seconds:,.0f} rows/s, {tokens / seconds:,.0f} tokens/s"
    )


def peak_memory():
    """Largest resident memory so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e6 / 1024)


def main():
    arguments = parse_arguments()
    keras.utils.set_random_seed(arguments.seed)
    source = open_encoder(arguments.checkpoint)
    path = Path(arguments.train) if arguments.train else default_files(None, None)[0]
    stream = Stream(path, source, arguments)
    print(*stream.notes, f"{len(stream.label_names):,} labels", sep="\n", flush=True)
    if arguments.read_only:
        read(stream.batches(passes=1))
    else:
        model = build(source, arguments, len(stream.label_names))
        share = train(model, stream.batches(skipped=stream.held_out), arguments.steps)
        print(f"Steps waited {share:.1%} of the time for their batch.")
    if stream.unknown:
        print(f"{stream.unknown:,} labels do not occur in the first rows; they were passed over.")
    print(f"Peak memory {peak_memory():,.0f} MB")
    if arguments.output and not arguments.read_only:
        decisions = decide(model, *stream.validation())
        labels = Labels(path.name, arguments.max_length, stream.label_names)
        write_model(arguments.output, model, source.vocabulary, labels, decisions)
        print(f"Wrote {arguments.output}: {decisions.note}")


if __name__ == "__main__":
    main()
