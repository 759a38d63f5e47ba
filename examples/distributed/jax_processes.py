"""Train with FGM on several machines, on JAX: one process a machine, each with its share of rows.

Start the same script everywhere, with another `--process` on each machine:

    python jax_processes.py --address 10.0.0.1:12345 --processes 2 --process 0
    python jax_processes.py --address 10.0.0.1:12345 --processes 2 --process 1

`--address` is that of process 0. Process 0 writes a checkpoint after every epoch, which all
processes must be able to read. If a process dies, stop the others, and start all of them again:
they go on from the checkpoint.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"  # before Keras is imported

import jax
import keras
import numpy as np
from texts import classifier, load, parse

from keras_mlc import FGMTrainer, MultilabelCategoricalCrossentropy

BATCH = 64  # over all processes

options = parse(__doc__, address="127.0.0.1:12345", processes=1, process=0)
if options.processes > 1:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")  # without a GPU
    keras.distribution.initialize(options.address, options.processes, options.process)
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))

x, y = load(options.rows)
batches, size = len(x) // BATCH, BATCH // options.processes
# of each batch, the rows of this process
own = np.arange(batches * BATCH).reshape(batches, options.processes, size)[:, options.process]
options.output.mkdir(parents=True, exist_ok=True)
checkpoint = options.output / "checkpoint.keras"
if checkpoint.exists():
    trainer = keras.saving.load_model(checkpoint)
    done = int(trainer.optimizer.iterations.numpy()) // batches
    print(f"going on after epoch {done}", flush=True)
else:
    trainer = FGMTrainer(classifier(y.shape[1], options.dropout), "tokens", epsilon=0.5)
    trainer.compile(keras.optimizers.Adam(1e-3), MultilabelCategoricalCrossentropy())
    done = 0


def save(epoch, logs):
    """Write the trainer, its optimizer included; never leave a file that is cut off.

    All processes save, since Keras creates variables when it does, and JAX wants these created by
    all. One file is kept.
    """
    written = checkpoint.with_name(f"process{options.process}.keras")
    trainer.save(written)
    if options.process == 0:
        os.replace(written, checkpoint)
    else:
        written.unlink()


trainer.fit(
    x[own.ravel()],
    y[own.ravel()],
    batch_size=size,
    initial_epoch=done,
    epochs=options.epochs,
    shuffle=False,
    verbose=0 if options.process else 2,
    callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=save)],
)
if options.process == 0:
    np.savez(options.output / "weights.npz", *trainer.model.get_weights())
