"""The scripts of `examples/distributed`, in as many processes as they are for."""

import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from backends import BACKEND

SMALL = ["--rows", "256", "--dropout", "0"]


def command(pytestconfig, script, output, *options):
    path = pytestconfig.rootpath / "examples" / "distributed" / script
    return [sys.executable, str(path), *SMALL, "--output", str(output), *options]


def same_weights(first, second, tolerance):
    first, second = np.load(first / "weights.npz"), np.load(second / "weights.npz")
    assert len(first) == len(second) > 0
    for name in first:
        scale = np.abs(first[name]).max()
        np.testing.assert_allclose(second[name], first[name], rtol=0, atol=tolerance * scale)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "script", "option"),
    [
        ("tensorflow", "mirrored.py", "--replicas"),
        ("torch", "torch_ddp.py", "--processes"),
        ("torch", "torch_ddp.py", "--method=fgm --processes"),
    ],
)
def test_two_train_like_one(backend, script, option, tmp_path, pytestconfig):
    if backend != BACKEND:
        pytest.skip(f"runs on {backend}")
    for number in ("1", "2"):
        options = "--epochs", "2", *option.split(), number
        subprocess.run(command(pytestconfig, script, tmp_path / number, *options), check=True)
    same_weights(tmp_path / "1", tmp_path / "2", 1e-4)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "jax", reason="runs on JAX")
def test_two_processes_of_which_one_dies_go_on_together(tmp_path, pytestconfig):
    epochs = "--epochs", "8"
    subprocess.run(command(pytestconfig, "jax_processes.py", tmp_path / "1", *epochs), check=True)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    both = *epochs, "--processes", "2", "--address", address

    def start():
        return [
            subprocess.Popen(
                command(pytestconfig, "jax_processes.py", tmp_path / "2", *both, "--process", n),
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                text=True,
            )
            for n in "01"
        ]

    checkpoint = tmp_path / "2" / "checkpoint.keras"
    first, second = start()
    while not checkpoint.exists():
        assert first.poll() is None and second.poll() is None
        time.sleep(0.01)
    second.send_signal(signal.SIGKILL)
    second.wait()
    assert not (tmp_path / "2" / "weights.npz").exists()
    first.kill()
    first.wait()

    processes = start()
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert all("going on after epoch" in output for output in outputs)
    same_weights(tmp_path / "1", tmp_path / "2", 1e-4)
