"""Train with FGM and R-Drop on several devices of one machine, on TensorFlow.

    python mirrored.py --replicas 2

Without GPUs the CPU is split into as many devices. Each replica gets an equal share of a batch, in
order; the shares must be even, or `RDropLoss` refuses the pairs that a split would tear apart.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # before Keras is imported

import keras
import numpy as np
import tensorflow as tf
from texts import classifier, load, parse

from keras_mlc import FGMTrainer, RDropLoss, multilabel_categorical_crossentropy, repeat_pairs

BATCH = 64  # over all replicas

options = parse(__doc__, replicas=2)
kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
if kind == "CPU":
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * options.replicas,
    )
x, y = load(options.rows)
data = repeat_pairs(tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH // 2))

devices = [f"{kind}:{number}" for number in range(options.replicas)]
with tf.distribute.MirroredStrategy(devices).scope():
    trainer = FGMTrainer(classifier(y.shape[1], options.dropout), "tokens", epsilon=0.5)
    loss = RDropLoss(multilabel_categorical_crossentropy, from_logits=True)
    trainer.compile(keras.optimizers.Adam(1e-3), loss)
trainer.fit(data, epochs=options.epochs, verbose=2)
options.output.mkdir(parents=True, exist_ok=True)
np.savez(options.output / "weights.npz", *trainer.model.get_weights())
