import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

import pieces
from backends import tensorflow_only


@tensorflow_only
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_training_gives_the_same_weights_on_another_backend(backend, tmp_path, pytestconfig):
    if not find_spec(backend):
        pytest.skip(f"{backend} is not installed")
    file = tmp_path / "weights.npz"
    script = pytestconfig.rootpath / "tests" / "pieces.py"
    environment = {**os.environ, "KERAS_BACKEND": backend}
    subprocess.run([sys.executable, script, file], check=True, env=environment)
    expected = np.load(file)
    for piece in pieces.pieces():
        found = pieces.train(*piece)
        pieces.same(found, {name: expected[name] for name in found})
