"""Pooling layers in ONNX, where `where` may be a product."""

import keras
import numpy as np
import pytest

from backends import skip_where_keras_is_too_old_to_export, tensorflow_only
from keras_mlc.layers import AttentionPooling, TextCNNHead
from layers.layer_checks import FEATURES, MASK, sequences

pytestmark = [tensorflow_only, pytest.mark.slow]


@pytest.mark.parametrize("layer", [AttentionPooling, TextCNNHead])
def test_a_sample_without_steps_is_zeros_in_onnx_too(layer, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    inputs = [keras.Input((None, FEATURES), name="x"), keras.Input((None,), name="mask")]
    model = keras.Model(inputs, layer()(inputs[0], mask=inputs[1]))
    values = [array.astype("float32") for array in (sequences(), MASK * [[0], [1], [0]])]
    expected = model.predict_on_batch(values)
    path = str(tmp_path / "model.onnx")
    try:
        model.export(path, format="onnx", verbose=False)
    except ValueError as error:
        skip_where_keras_is_too_old_to_export(error)
    found = runtime.InferenceSession(path).run(None, dict(zip(("x", "mask"), values, strict=True)))
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-5)
    assert (found[0][[0, 2]] == 0).all() and (found[0][1] != 0).any()


def test_a_batch_without_steps_in_onnx_too(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    x = keras.Input((None, FEATURES), name="x")
    model = keras.Model(x, TextCNNHead(3, filters=2)(x))
    model.predict_on_batch(np.ones((2, 4, FEATURES), "float32"))
    path = str(tmp_path / "model.onnx")
    try:
        model.export(path, format="onnx", verbose=False)
    except ValueError as error:
        skip_where_keras_is_too_old_to_export(error)
    session = runtime.InferenceSession(path)
    for steps in (0, 1, 5):
        values = np.ones((2, steps, FEATURES), "float32")
        expected = np.asarray(model(values))
        np.testing.assert_allclose(session.run(None, {"x": values})[0], expected, atol=1e-5)
