"""Several replicas train like one device on the same batches."""

import os
import subprocess
import sys

import numpy as np
import pytest

import pieces
from backends import BACKEND, tensorflow_only

TWO_CPUS = """
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
"""
FGM = """
from training.fgm_models import LABELS, TOKENS, same, text_model, train, trainer_of, values

alone = text_model()
train(trainer_of(alone, clean_weight=0.5))
with strategy.scope():
    model, plain, unperturbed = text_model(), text_model(), text_model()
    train(trainer_of(model, clean_weight=0.5))
    same(train(trainer_of(unperturbed, epsilon=0)), train(plain), 1e-6)
same(values(model.variables), values(alone.variables), 1e-5)
"""
PIECES = """
import pieces

for name, *alone in pieces.pieces():
    # XLA knows no variables on several devices.
    expected = pieces.train(name, *alone, jit_compile=False)
    with strategy.scope():
        again = {piece[0]: piece for piece in pieces.pieces()}[name]
        found = pieces.train(*again, jit_compile=False)
    pieces.same(found, expected)
"""
WITHOUT_ROWS = """
import keras, numpy as np
from keras_mlc.training import VATTrainer
from training.fgm_models import LABELS, TOKENS, text_model

with strategy.scope():
    trainer = VATTrainer(text_model(activation=None), "tokens")
    trainer.compile("sgd", "mse")
history = trainer.fit(TOKENS[:9], LABELS[:9], batch_size=4, verbose=0).history
assert np.isfinite(history["loss"]).all()
"""
TORN_BY_THE_SPLIT = """
import keras, numpy as np, pytest
from keras_mlc.data import repeat_pairs
from keras_mlc.losses import RDropLoss

with strategy.scope():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, "sigmoid")])
    model.compile("sgd", RDropLoss())
before = model.get_weights()
with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="even batch"):
    model.fit(*repeat_pairs((np.ones((3, 2)), np.ones((3, 3)))), verbose=0)
for old, new in zip(before, model.get_weights()):
    np.testing.assert_array_equal(old, new)
"""


@tensorflow_only
@pytest.mark.slow
@pytest.mark.parametrize(
    "script", [FGM, PIECES, WITHOUT_ROWS, TORN_BY_THE_SPLIT], ids=["fgm", "pieces", "rows", "torn"]
)
def test_mirrored_strategy(script, pytestconfig):
    tests = pytestconfig.rootpath / "tests"
    subprocess.run([sys.executable, "-c", TWO_CPUS + script], check=True, cwd=tests)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "jax", reason="Keras distributes so on JAX")
def test_data_parallel(tmp_path, pytestconfig):
    file = tmp_path / "weights.npz"
    script = pytestconfig.rootpath / "tests" / "pieces.py"
    flags = "--xla_force_host_platform_device_count=2"
    environment = {**os.environ, "XLA_FLAGS": flags}
    subprocess.run([sys.executable, script, file, "parallel"], check=True, env=environment)
    found = np.load(file)
    for piece in pieces.pieces():
        expected = pieces.train(*piece)
        pieces.same({name: found[name] for name in expected}, expected)
