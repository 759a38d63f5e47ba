import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

import pieces
from backends import tensorflow_only


@tensorflow_only
@pytest.mark.slow
def test_training_gives_the_same_weights_on_other_backends(tmp_path, pytestconfig):
    backends = [backend for backend in ("jax", "torch") if find_spec(backend)]
    if not backends:
        pytest.skip("there is no other backend")
    script = pytestconfig.rootpath / "tests" / "pieces.py"
    running = [
        subprocess.Popen(
            [sys.executable, script, tmp_path / f"{backend}.npz"],
            env={**os.environ, "KERAS_BACKEND": backend},
        )
        for backend in backends
    ]
    found = [pieces.train(*piece) for piece in pieces.pieces()]
    assert not any(process.wait() for process in running)
    for backend in backends:
        expected = np.load(tmp_path / f"{backend}.npz")
        for weights in found:
            pieces.same(weights, {name: expected[name] for name in weights})
