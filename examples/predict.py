"""Label texts with a trained model.

    python examples/sigmoid.py --save --output runs/mine
    python examples/predict.py runs/mine/models/sigmoid-seed0 texts.txt > labels.tsv

FILE, or standard input without it, has one text a line. For each a line is printed, in the same
order: its labels, separated by tabs, or with `--top N` the N likeliest labels, each followed by its
probability. A fine-grained model prints the likeliest level of every aspect: aspect::level, ….
"""

import argparse
import json
import os
import re
import shutil
from itertools import islice
from pathlib import Path

from support import UserError, one_line_errors
from support.tokens import load_tokens

import numpy as np

MODEL, ONNX, NAMES = "model.keras", "model.onnx", "names.json"


def save_model(folder, model, outputs, tokens, names):
    """Write a model with a dictionary of outputs, its tokenizer, and the outputs' names.

    Whoever reads sees a whole folder or none, and a failure, as of a full disk, leaves nothing.
    """
    import keras

    model = keras.Model(model.input, outputs)
    # every processor computes in float32, and so does ONNX Runtime
    served = keras.models.model_from_json(re.sub("mixed_b?float16", "float32", model.to_json()))
    served.set_weights(model.get_weights())
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        partial.mkdir(parents=True)
        served.save(partial / MODEL)
        tokens.save(partial)
        (partial / NAMES).write_text(json.dumps(names, ensure_ascii=False), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class Predictor:
    """A saved model: a function from texts to a dictionary of arrays; `names` are the outputs'."""

    def __init__(self, folder, onnx=False):
        if not (folder / NAMES).is_file():
            raise UserError(f"{folder}: no model that a row has saved with --save.")
        self.names = json.loads((folder / NAMES).read_text(encoding="utf-8"))
        self.tokens = load_tokens(folder)
        try:
            self.load_onnx(folder / ONNX) if onnx else self.load(folder / MODEL)
        except Exception as error:  # of many classes, as what is damaged is a zip, JSON or HDF5
            raise UserError(f"{folder}: the model cannot be loaded: {error}") from None

    def load(self, path):
        from support import encoder  # noqa: F401 (registers what models are made of)

        import keras

        import keras_mlc  # noqa: F401

        self.model = keras.saving.load_model(path, compile=False)
        self.inputs, self.compute = list(self.model.input), self.model.predict_on_batch

    def load_onnx(self, path):
        import onnxruntime

        session = onnxruntime.InferenceSession(path)
        outputs = [value.name for value in session.get_outputs()]
        self.inputs = [value.name for value in session.get_inputs()]
        self.compute = lambda x: dict(zip(outputs, session.run(outputs, x), strict=True))

    def __call__(self, texts):
        inputs = self.tokens(texts, self.names["max_length"])
        longest = int(inputs["padding_mask"].sum(axis=1).max())
        width = 16 * -(-longest // 16)  # few shapes to compile for
        return self.compute({name: inputs[name][:, :width] for name in self.inputs})


def lines_of(names, outputs, top):
    """The line of each text."""
    probabilities = outputs.get("probabilities")
    if "aspects" in names:
        for levels in probabilities.argmax(axis=-1):
            pairs = zip(names["aspects"].items(), levels, strict=True)
            yield "\t".join(f"{aspect}::{each[level]}" for (aspect, each), level in pairs)
    elif top and probabilities is None:
        raise UserError("The model gives no probabilities: no validation row showed any.")
    elif top:
        for row in probabilities:
            best = np.argsort(-row, kind="stable")[:top]
            yield "\t".join(f"{names['labels'][i]}\t{row[i]:.4f}" for i in best)
    else:
        for row in outputs["labels"]:
            yield "\t".join(names["labels"][i] for i in np.flatnonzero(row))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("model", metavar="MODEL_FOLDER", type=Path, help="a folder below OUTPUT/models")
    add("file", metavar="FILE", nargs="?", help="UTF-8; standard input by default")
    add("--top", type=int, metavar="N", help="the N likeliest labels, with probabilities")
    add("--batch-size", type=int, default=32, help="lines that are read, and answered, together")
    add("--onnx", action="store_true", help="use what export_onnx.py wrote; without Keras")
    arguments = parser.parse_intermixed_args()  # FILE may follow options
    predict = Predictor(arguments.model, arguments.onnx)
    with open(arguments.file or 0, encoding="utf-8") as lines:  # 0 is standard input
        while batch := [line.strip() for line in islice(lines, arguments.batch_size)]:
            # of one size, or the last one would be compiled for again
            outputs = predict(batch + [""] * (arguments.batch_size - len(batch)))
            answers = lines_of(predict.names, outputs, arguments.top)
            for text, answer in zip(batch, answers, strict=False):
                print(answer if text else "", flush=True)


if __name__ == "__main__":
    with one_line_errors():
        main()
