"""Label texts with a trained model.

    python examples/sigmoid.py --save --output runs/mine
    python examples/predict.py runs/mine/models/sigmoid-seed0 texts.txt > labels.tsv

FILE, or standard input without it, has one text a line. For each a line is printed, in the same
order: label, probability, label, probability, ..., separated by tabs, the highest first. A line
without text gives an empty line, and so does a text without any label. A fine-grained model prints
the likeliest level of every aspect with its probability: aspect::level, probability, ...

Which labels a text gets the model itself decides: those whose score is above the label's threshold,
which training chose on held-out rows; it is 0 for a model that was trained with
`--no-tune-thresholds`. `--threshold` takes the place of that, and `--scores` prints what the
probabilities were made of. A threshold is one of what is printed: of probabilities, or with
`--scores` of scores.
"""

import argparse
import json
import math
import os
import queue
import sys
import threading
import time

from support.predictor import Predictor
from support.served import PROBABILITIES, read_model
from support.settings import positive
from support.table import DataError, decode, read_lines

import numpy as np

CHUNK = 4096  # lines that are sorted by length together
MOMENT = 0.02  # seconds to wait for more lines before the ones at hand are labelled


def threshold(text):
    value = float(text)
    if math.isnan(value):
        raise argparse.ArgumentTypeError("must be a number, received NaN")
    return value


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("model", metavar="MODEL_FOLDER", help="a folder below OUTPUT/models")
    add("file", metavar="FILE", nargs="?", help="UTF-8, gzipped or not; standard input by default")
    add(
        "--threshold",
        type=threshold,
        help="give the labels whose probability, or score with --scores, is above this number",
    )
    add("--top", type=positive, metavar="N", help="the N highest labels, above a threshold or not")
    add("--scores", action="store_true", help="print scores in place of probabilities")
    add("--batch-size", type=positive, default=32, help="texts that are computed at once")
    add(
        "--bfloat16",
        action="store_true",
        help="less exact scores, faster where the processor multiplies bfloat16",
    )
    add(
        "--onnx",
        action="store_true",
        help="compute what examples/export_onnx.py wrote, in ONNX Runtime; starts without Keras",
    )
    add("--json", action="store_true", help="print a JSON object {label: probability} a line")
    add("--summary", action="store_true", help="print the speed to standard error at the end")
    arguments = parser.parse_intermixed_args()  # FILE may follow options
    if arguments.bfloat16 and arguments.onnx:
        parser.error("--bfloat16 is for Keras; export_onnx.py has --int8 in its place")
    if arguments.threshold is not None and not (arguments.scores or 0 <= arguments.threshold <= 1):
        parser.error(
            f"--threshold: probabilities lie between 0 and 1, received {arguments.threshold}; "
            "with --scores it is a threshold of scores"
        )
    return arguments


def in_chunks(lines, size):
    """Group lines into lists of `size`, or shorter ones where no more come within a moment.

    A thread reads ahead, by one list at most. What `lines` raises comes after the lines before it.
    """
    waiting = queue.Queue(size)

    def read():
        end = StopIteration()
        try:
            for line in lines:
                waiting.put(line)
        except Exception as error:
            end = error
        waiting.put(end)

    threading.Thread(target=read, daemon=True).start()
    end = None
    while end is None:
        chunk, patience = [], None
        while len(chunk) < size:
            try:
                item = waiting.get(timeout=patience)
            except queue.Empty:
                break
            if isinstance(item, Exception):
                end = item
                break
            chunk.append(item)
            patience = MOMENT
        if chunk:
            yield chunk
    if not isinstance(end, StopIteration):
        raise end


def named_labels(names, shown, threshold, top):
    """A function from outputs (N, C) to N lists of (label, number), the highest first.

    Args:
        names: of the labels.
        shown: name of the output that is printed.
        threshold: what it must be above; None for the model's own labels.
        top: the highest that are taken; without a threshold, whether the model gives them or not.
    """
    names = np.array(names, dtype=object)

    def name(outputs):
        values = outputs[shown]
        if threshold is not None:
            given = values > np.float32(threshold)
        else:
            given = np.ones(values.shape, bool) if top else outputs["labels"] > 0
        # of scores, which are apart where probabilities are all 1.0
        order = np.argsort(-outputs["scores"], axis=1, kind="stable")[:, :top]
        for row, places in enumerate(order):
            places = places[given[row, places]]
            yield list(zip(names[places], values[row, places].tolist(), strict=True))

    return name


def named_levels(aspects):
    """A function from outputs (N, A, L) to N lists of (aspect::level, probability)."""
    names = [[f"{aspect}::{level}" for level in levels] for aspect, levels in aspects.items()]

    def name(outputs):
        probabilities = outputs[PROBABILITIES]
        best = probabilities.argmax(axis=-1).tolist()
        values = probabilities.max(axis=-1).tolist()
        for levels, row in zip(best, values, strict=True):
            chosen = [each[level] for each, level in zip(names, levels, strict=True)]
            yield list(zip(chosen, row, strict=True))

    return name


def as_tabs(found):
    return "\t".join(f"{name}\t{score:.4f}" for name, score in found)


def as_json(found):
    return json.dumps({name: round(score, 4) for name, score in found}, ensure_ascii=False)


def answers(texts, predict, name, write):
    """A line for each text."""
    places = [i for i, text in enumerate(texts) if text.strip()]
    lines = [write([]) if write is as_json else ""] * len(texts)
    if places:
        found = name(predict([texts[i] for i in places]))
        for place, each in zip(places, found, strict=True):
            lines[place] = write(each)
    return lines


def main():
    arguments = parse_arguments()
    sys.stdout.reconfigure(encoding="utf-8")
    served = read_model(arguments.model)
    labels = served.labels
    chosen = arguments.threshold is not None or arguments.top is not None or arguments.scores
    if labels.aspects and chosen:
        raise DataError(
            "--threshold, --top and --scores are for labels. This model gives one level an aspect."
        )
    if labels.aspects:
        name = named_levels(labels.aspects)
    else:
        shown = "scores" if arguments.scores else PROBABILITIES
        if shown not in labels.outputs:
            raise DataError(
                f"{served.folder}: the model gives no probabilities: no validation row showed how "
                "probable labels are. `--scores` prints scores."
            )
        name = named_labels(labels.labels, shown, arguments.threshold, arguments.top)
    if arguments.file:
        lines = read_lines(arguments.file)
    else:  # not sys.stdin, which the interpreter closes while a thread may still read it
        lines = decode("standard input", open(0, "rb", closefd=False))  # noqa: SIM115
    if arguments.bfloat16:
        served.use_bfloat16()
    if arguments.onnx:
        served.use_onnx()
    predict = Predictor(served, arguments.batch_size)
    write = as_json if arguments.json else as_tabs

    count, began = 0, time.perf_counter()
    try:
        for texts in in_chunks(lines, CHUNK):
            sys.stdout.write("".join(f"{line}\n" for line in answers(texts, predict, name, write)))
            sys.stdout.flush()
            count += len(texts)
    except BrokenPipeError:  # whoever read our lines has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if arguments.summary:
        seconds = time.perf_counter() - began
        print(f"{count:,} lines in {seconds:.1f} s: {count / seconds:,.0f}/s", file=sys.stderr)


if __name__ == "__main__":
    main()
