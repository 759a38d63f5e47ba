"""Export a trained model to ONNX.

    python examples/export_onnx.py runs/mine/models/sigmoid-seed0 --int8
    python examples/predict.py runs/mine/models/sigmoid-seed0 texts.txt --onnx

This writes `model.onnx` into the model's folder. It gives what the model gives, by name: `labels`
(0 and 1), `probabilities` and `scores`. The file computes in float32; with `--int8` the
matrices of dense layers are rounded to 8 bits, in which most processors multiply faster. The scale
of what they are multiplied with is that of the batch, so a text's scores depend a little on the
texts that are computed with it.

With FILE, texts one a line, it says how far scores and probabilities are from those of Keras in
float32, and how many answers are others: labels, or levels of aspects.
"""

import argparse
import importlib.util
import logging
import os
import tempfile
from itertools import islice
from pathlib import Path

from support.endings import writing
from support.predictor import Predictor
from support.served import MADE_FROM, MODEL, ONNX, PROBABILITIES, OnnxModel, read_model
from support.settings import fingerprint
from support.table import DataError, read_lines

import numpy as np

PACKAGES = "onnx", "tf2onnx", "onnxruntime"
TEXTS = 10_000  # that are compared at most


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL_FOLDER", help="a folder below OUTPUT/models")
    parser.add_argument("file", metavar="FILE", nargs="?", help="texts to compare the scores on")
    parser.add_argument("--int8", action="store_true", help="round matrices to 8 bits")
    return parser.parse_intermixed_args()  # FILE may follow options


def check_environment():
    import keras

    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise DataError(f"Not installed: {', '.join(missing)}. pip install {' '.join(PACKAGES)}")
    if keras.backend.backend() != "tensorflow":
        raise DataError(
            f"The export goes through TensorFlow, and the backend is {keras.backend.backend()}. "
            "Run it with KERAS_BACKEND=tensorflow: a saved model is the same on every backend."
        )


def teach_erfc():
    """Tell tf2onnx what erfc is, which Keras's exact GELU calls: 1 - erf."""
    from tf2onnx.handler import tf_op
    from tf2onnx.utils import make_name

    @tf_op("Erfc")
    class Erfc:
        @classmethod
        def version_9(cls, graph, node, **_):
            told = {
                "dtypes": [graph.get_dtype(node.output[0])],
                "shapes": [graph.get_shape(node.output[0])],
            }
            erf = graph.make_node("Erf", node.input, **told)
            one = graph.make_const(make_name("one"), np.ones((), "float32"))
            graph.remove_node(node.name)
            parts = [one.output[0], erf.output[0]]
            graph.make_node("Sub", parts, outputs=node.output, **told)


def export(model, path):
    import keras

    teach_erfc()
    one = np.ones((1, 3), "int32")
    model.predict_on_batch(dict.fromkeys(model.input, one))  # Keras exports no model before a call
    try:
        model.export(path, format="onnx", verbose=False)
    except ValueError as error:
        raise DataError(
            f"Keras {keras.__version__} cannot export it (3.15 was tested): {error}"
        ) from None


def quantize(path):
    """Round the matrices of dense layers to 8 bits, each column with its own scale.

    Embeddings and convolutions get one scale each. An LSTM's matrices are rounded too, but it goes
    on multiplying in float32. Activations are rounded while the model computes, with one scale for
    a batch. ("Dynamic quantization" in ONNX Runtime.)
    """
    import onnx
    from onnxruntime.quantization import QuantType, quant_pre_process, quantize_dynamic

    # without constants folded, matrices that are reshaped in the graph would stay as they are
    quant_pre_process(path, path, skip_symbolic_shape=True)
    graph = onnx.load(path)
    # Gemm with beta = 0, as tf2onnx writes it where there is no bias, would stay as well
    for node in graph.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Gemm" and len(node.input) == 2 and attribute.name == "beta":
                attribute.f = 1.0
    logging.disable(logging.WARNING)  # it prints the loop of an LSTM, which it leaves alone
    try:
        quantize_dynamic(graph, path, weight_type=QuantType.QInt8, per_channel=True)
    finally:
        logging.disable(logging.NOTSET)


def sign(path, model):
    """Write into the file which Keras model it was made from."""
    import onnx

    file = onnx.load(path)
    onnx.helper.set_model_props(file, {MADE_FROM: fingerprint(model)})
    onnx.save(file, path)


def compare(served, model, texts):
    """The largest difference of each output, and the share of answers that are others."""
    expected = Predictor(served, 32)(texts)
    served.model = model
    found = Predictor(served, 32)(texts)
    if served.labels.aspects:
        others = found[PROBABILITIES].argmax(-1) != expected[PROBABILITIES].argmax(-1)
    else:
        others = found.pop("labels") != expected.pop("labels")
    differences = {n: np.abs(found[n] - values).max() for n, values in expected.items()}
    return differences, others.mean()


def main():
    arguments = parse_arguments()
    served = read_model(arguments.model)
    texts = []
    if arguments.file:
        texts = [line for line in islice(read_lines(arguments.file), TEXTS) if line.strip()]
        if not texts:
            raise DataError(f"{arguments.file}: there is no text in it to compare scores on.")
    check_environment()
    path = served.folder / ONNX
    folder = tempfile.TemporaryDirectory(prefix=".partial", dir=served.folder)
    with writing(path), folder as partial:
        partial = Path(partial) / ONNX
        export(served.model, partial)
        if arguments.int8:
            quantize(partial)
        sign(partial, served.folder / MODEL)
        model = OnnxModel(partial)
        if texts:
            differences, others = compare(served, model, texts)
            near = ", ".join(f"{name} within {d:.2g}" for name, d in sorted(differences.items()))
            print(f"{len(texts):,} texts: {near} of Keras's, {others:.2%} of answers are others")
        os.replace(partial, path)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
