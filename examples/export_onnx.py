"""Export a trained model to ONNX, for `predict.py --onnx` and whatever else runs it.

    python examples/export_onnx.py runs/mine/models/sigmoid-seed0 --int8
    python examples/predict.py runs/mine/models/sigmoid-seed0 texts.txt --onnx

This writes `model.onnx` into the model's folder, with the outputs of the model by their names. It
computes in float32. With `--int8` the matrices of dense layers are rounded to 8 bits, in which most
processors multiply faster, and what they are multiplied with by one scale a batch: the outputs of a
text then depend a little on the texts beside it.
"""

import argparse
import os
from pathlib import Path

from support import UserError, one_line_errors

import numpy as np

from predict import ONNX, Predictor


def teach_erfc():
    """Tell tf2onnx what erfc is, which Keras's exact GELU calls: 1 - erf."""
    from tf2onnx.handler import tf_op
    from tf2onnx.utils import make_name

    @tf_op("Erfc")
    class Erfc:
        @classmethod
        def version_9(cls, graph, node, **_):
            shapes, dtypes = [[of(node.output[0])] for of in (graph.get_shape, graph.get_dtype)]
            erf = graph.make_node("Erf", node.input, shapes=shapes, dtypes=dtypes)
            one = graph.make_const(make_name("one"), np.ones((), "float32"))
            graph.remove_node(node.name)
            parts = [one.output[0], erf.output[0]]
            graph.make_node("Sub", parts, outputs=node.output, shapes=shapes, dtypes=dtypes)


def quantize(path):
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
    quantize_dynamic(graph, path, weight_type=QuantType.QInt8, per_channel=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL_FOLDER", type=Path, help="below OUTPUT/models")
    parser.add_argument("--int8", action="store_true", help="round matrices to 8 bits")
    arguments = parser.parse_args()
    predict = Predictor(arguments.model)
    predict(["a text"])  # Keras exports no model before a call
    partial = arguments.model / f"{ONNX}.partial"
    try:
        teach_erfc()
        predict.model.export(partial, format="onnx", verbose=False)
        if arguments.int8:
            quantize(partial)
        os.replace(partial, arguments.model / ONNX)
    except (ImportError, ValueError, NotImplementedError) as error:
        raise UserError(
            f"Needs KERAS_BACKEND=tensorflow and `pip install onnx tf2onnx onnxruntime`: {error}"
        ) from None
    finally:
        partial.unlink(missing_ok=True)


if __name__ == "__main__":
    with one_line_errors():
        main()
