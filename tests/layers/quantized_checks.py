"""What layers with a dense product pass when their model is quantized, and when files are old."""

import h5py
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


def check_file_of_version_0_1(make, weights, tmp_path):
    """Check that weights which a file holds in the layer itself, in their order, are loaded."""
    layer = make()
    model = model_around(layer)
    arrays = [np.random.default_rng(3).normal(size=weight.shape) for weight in layer.weights]
    path = tmp_path / "old.weights.h5"
    model.save_weights(path)
    with h5py.File(path, "r+") as file:
        (group,) = (each for name, each in file["layers"].items() if "input" not in name)
        for name in list(group):
            del group[name]
        group.create_group("vars")
        for number, array in enumerate(arrays):
            group["vars"][str(number)] = array.astype("float32")
    model.load_weights(path)
    for weight, array in zip(weights(layer), arrays, strict=True):
        np.testing.assert_allclose(to_numpy(weight), array, rtol=1e-6)
    model.save_weights(path)  # As files are now.
    other = model_around(make())
    other.load_weights(path)
    np.testing.assert_array_equal(to_numpy(other(sequences())), to_numpy(model(sequences())))
