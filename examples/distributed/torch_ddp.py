"""Train with R-Drop in several processes, on torch, by `DistributedDataParallel`.

    python torch_ddp.py --processes 2

Keras's `fit` does not distribute on torch, so the loop is torch's own; the Keras model is a torch
module, and the losses of keras-mlc are functions of tensors. Each process repeats its own rows, so
pairs stay together. `FGMTrainer` has its own train step, which `DistributedDataParallel` does not
see: for adversarial training in several processes use JAX (`jax_processes.py`).
"""

import argparse
import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"  # before Keras is imported

import numpy as np
import torch
from texts import classifier, load
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from keras_mlc.data import repeat_pairs
from keras_mlc.losses import RDropLoss, multilabel_categorical_crossentropy

BATCH = 32  # samples over all processes, each of them twice


def train(process, options):
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "12346")
    distributed.init_process_group("gloo", rank=process, world_size=options.processes)
    x, y = load(options.rows)
    model = classifier(y.shape[1], options.dropout)
    model(x[:2])
    parallel = DistributedDataParallel(model)
    optimizer = torch.optim.Adam(parallel.parameters(), lr=1e-3)
    loss = RDropLoss(multilabel_categorical_crossentropy, from_logits=True)
    size = BATCH // options.processes
    for epoch in range(options.epochs):
        losses = []
        for first in range(0, len(x), BATCH):
            own = slice(first + process * size, first + (process + 1) * size)
            tokens, labels = repeat_pairs((torch.tensor(x[own]), torch.tensor(y[own])))
            optimizer.zero_grad()
            value = loss(labels, parallel(tokens, training=True))
            value.backward()
            optimizer.step()
            losses.append(value.item())
        print(f"process {process}, epoch {epoch + 1}: loss {np.mean(losses):.4f}", flush=True)
    if process == 0:
        options.output.mkdir(parents=True, exist_ok=True)
        np.savez(options.output / "weights.npz", *model.get_weights())
    distributed.destroy_process_group()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--output", type=Path, default=Path("torch_ddp"))
    options = parser.parse_args()
    torch.multiprocessing.spawn(train, (options,), options.processes)


if __name__ == "__main__":
    main()
