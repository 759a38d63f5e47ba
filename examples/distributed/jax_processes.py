"""Train with FGM on several machines, on JAX: one process a machine, each with its share of rows.

Start the same script everywhere, with another `--process` on each machine:

    python jax_processes.py --address 10.0.0.1:12345 --processes 2 --process 0
    python jax_processes.py --address 10.0.0.1:12345 --processes 2 --process 1

`--address` is that of process 0. Process 0 writes a checkpoint after every epoch, which all
processes must be able to read. If a process dies, stop the others, and start all of them again:
they go on from the checkpoint.
"""

import argparse
import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"  # before Keras is imported

import jax
import keras
import numpy as np
from texts import classifier, load

from keras_mlc.losses import MultilabelCategoricalCrossentropy
from keras_mlc.training import FGMTrainer

BATCH = 64  # over all processes


class Shard(keras.utils.PyDataset):
    """The rows of each batch that belong to one process."""

    def __init__(self, x, y, process, processes):
        super().__init__()
        size = BATCH // processes
        self.x, self.y, self.rows = x, y, slice(process * size, (process + 1) * size)

    def __len__(self):
        return len(self.x) // BATCH

    def __getitem__(self, index):
        batch = slice(index * BATCH, (index + 1) * BATCH)
        return self.x[batch][self.rows], self.y[batch][self.rows]


class Checkpoint(keras.callbacks.Callback):
    """Writes the trainer, its optimizer included; never leaves a file that is cut off.

    All processes save, since Keras creates variables when it does, and JAX wants these created by
    all. One file is kept.
    """

    def __init__(self, path, process):
        super().__init__()
        self.path, self.process = path, process

    def on_epoch_end(self, epoch, logs=None):
        own = self.path.with_name(f"process{self.process}.keras")
        self.model.save(own)
        if self.process == 0:
            os.replace(own, self.path)
        else:
            own.unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", default="127.0.0.1:12345")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--process", type=int, default=0)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--output", type=Path, default=Path("jax_processes"))
    options = parser.parse_args()

    if options.processes > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")  # without a GPU
        keras.distribution.initialize(options.address, options.processes, options.process)
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(auto_shard_dataset=False)
        )

    x, y = load(options.rows)
    data = Shard(x, y, options.process, options.processes)
    options.output.mkdir(parents=True, exist_ok=True)
    checkpoint = options.output / "checkpoint.keras"
    if checkpoint.exists():
        trainer = keras.saving.load_model(checkpoint)
        done = int(trainer.optimizer.iterations.numpy()) // len(data)
        print(f"going on after epoch {done}", flush=True)
    else:
        trainer = FGMTrainer(classifier(y.shape[1], options.dropout), "tokens", epsilon=0.5)
        trainer.compile(keras.optimizers.Adam(1e-3), MultilabelCategoricalCrossentropy())
        done = 0
    is_first = options.process == 0
    trainer.fit(
        data,
        initial_epoch=done,
        epochs=options.epochs,
        shuffle=False,
        verbose=2 if is_first else 0,
        callbacks=[Checkpoint(checkpoint, options.process)],
    )
    if is_first:
        np.savez(options.output / "weights.npz", *trainer.model.get_weights())


if __name__ == "__main__":
    main()
