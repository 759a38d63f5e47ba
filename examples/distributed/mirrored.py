"""Train with FGM and R-Drop on several devices of one machine, on TensorFlow.

    python mirrored.py --replicas 2

Without GPUs the CPU is split into as many devices. Each replica gets an equal share of a batch, in
order; the shares must be even, or `RDropLoss` refuses the pairs that a split would tear apart.
"""

import argparse
import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"  # before Keras is imported

import keras
import numpy as np
import tensorflow as tf
from texts import classifier, load

from keras_mlc.data import repeat_pairs
from keras_mlc.losses import RDropLoss, multilabel_categorical_crossentropy
from keras_mlc.training import FGMTrainer

BATCH = 64  # over all replicas


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--output", type=Path, default=Path("mirrored"))
    options = parser.parse_args()

    if tf.config.list_physical_devices("GPU"):
        devices = [f"GPU:{number}" for number in range(options.replicas)]
    else:
        devices = [f"CPU:{number}" for number in range(options.replicas)]
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * options.replicas,
        )
    x, y = load(options.rows)
    data = repeat_pairs(tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH // 2))

    with tf.distribute.MirroredStrategy(devices).scope():
        trainer = FGMTrainer(classifier(y.shape[1], options.dropout), "tokens", epsilon=0.5)
        loss = RDropLoss(multilabel_categorical_crossentropy, from_logits=True)
        trainer.compile(keras.optimizers.Adam(1e-3), loss)
    trainer.fit(data, epochs=options.epochs, verbose=2)
    options.output.mkdir(parents=True, exist_ok=True)
    np.savez(options.output / "weights.npz", *trainer.model.get_weights())


if __name__ == "__main__":
    main()
