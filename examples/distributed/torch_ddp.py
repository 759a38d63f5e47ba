"""Train in several processes, on torch: with R-Drop, or with adversarial vectors.

    python torch_ddp.py --processes 2
    python torch_ddp.py --processes 2 --method fgm

Keras's `fit` does not distribute on torch, so the loop is torch's own. With R-Drop the Keras model
is a torch module in `DistributedDataParallel`, and the losses of keras-mlc are functions of
tensors. Each process repeats its own rows, so pairs stay together.

`FGMTrainer`, `PGDTrainer`, `FreeLBTrainer` and `VATTrainer` have their own train step, which
`DistributedDataParallel` does not see, so here the optimizer takes the mean of all processes'
gradients. With `norm="sample"`, a norm per text, nothing else is shared, and the steps are those of
one process on all rows. With `norm="batch"` and for `GradientPenaltyTrainer`, which need the
gradient of all rows, use JAX (`jax_processes.py`).
"""

import os

os.environ["KERAS_BACKEND"] = "torch"  # before Keras is imported

import keras
import numpy as np
import torch
from texts import classifier, load, parse
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from keras_mlc import FGMTrainer, RDropLoss, multilabel_categorical_crossentropy, repeat_pairs

BATCH = 32  # samples over all processes


class Averaging(keras.optimizers.Adam):
    """Adam on the mean of the gradients of all processes."""

    def apply(self, grads, trainable_variables=None):
        for gradient in grads:
            distributed.all_reduce(gradient)
            gradient /= distributed.get_world_size()
        super().apply(grads, trainable_variables)


def with_r_drop(model):
    """Return a function that takes a step with R-Drop."""
    parallel = DistributedDataParallel(model)
    optimizer = torch.optim.Adam(parallel.parameters(), lr=1e-3)
    loss = RDropLoss(multilabel_categorical_crossentropy, from_logits=True)

    def step(x, y):
        tokens, labels = repeat_pairs((torch.tensor(x), torch.tensor(y)))
        optimizer.zero_grad()
        value = loss(labels, parallel(tokens, training=True))
        value.backward()
        optimizer.step()
        return value.item()

    return step


def with_fgm(model):
    """Return a function that takes an adversarial step."""
    trainer = FGMTrainer(model, "tokens", epsilon=0.5, norm="sample")
    trainer.compile(Averaging(1e-3), multilabel_categorical_crossentropy)
    return trainer.train_on_batch


def train(process, options):
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "12346")
    distributed.init_process_group("gloo", rank=process, world_size=options.processes)
    x, y = load(options.rows)
    model = classifier(y.shape[1], options.dropout)
    model(x[:2])
    step = {"r_drop": with_r_drop, "fgm": with_fgm}[options.method](model)
    size = BATCH // options.processes
    for epoch in range(options.epochs):
        losses = []
        for first in range(0, len(x), BATCH):
            own = slice(first + process * size, first + (process + 1) * size)
            losses.append(step(x[own], y[own]))
        print(f"process {process}, epoch {epoch + 1}: loss {np.mean(losses):.4f}", flush=True)
    if process == 0:
        options.output.mkdir(parents=True, exist_ok=True)
        np.savez(options.output / "weights.npz", *model.get_weights())
    distributed.destroy_process_group()


if __name__ == "__main__":
    options = parse(__doc__, processes=2, method="r_drop")
    torch.multiprocessing.spawn(train, (options,), options.processes)
