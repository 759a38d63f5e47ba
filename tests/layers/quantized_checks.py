"""What layers with a dense product pass when their model is quantized."""

import keras
import numpy as np

from layers.layer_checks import FEATURES, sequences, to_numpy


def model_around(layer):
    x = keras.Input((None, FEATURES))
    return keras.Model(x, layer(x))


def check_quantized(layer, dense, tmp_path):
    """Check that `quantize` reaches a dense sublayer, and that files keep what it has done."""
    model = model_around(layer)
    expected = to_numpy(model(sequences()))
    model.quantize("int8")
    outputs = to_numpy(model(sequences()))
    assert getattr(layer, dense).quantization_mode == "int8"
    assert 0 < np.abs(outputs - expected).max() < 0.1
    for number in range(2):  # Saved, loaded, and saved again.
        model.save(tmp_path / f"{number}.keras")
        model = keras.saving.load_model(tmp_path / f"{number}.keras", safe_mode=True)
        np.testing.assert_array_equal(to_numpy(model(sequences())), outputs)
    assert "int8" in {str(weight.dtype) for weight in model.weights}
