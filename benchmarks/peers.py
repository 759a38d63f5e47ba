"""What do adversarial training, the gradient penalty and R-Drop cost in bert4torch, and here?

Each library trains its own albert-tiny of the same sizes (21,128 token ids, 65 classes, one a
text) on the same batch with Adam. All steps of both are taken in turn, without data loaders and
callbacks, and a ratio is to the library's own plain step of the same turn. For R-Drop both have
the dropout of 0.1 and every text twice, and the plain step beside it the same dropout and every
text once. The last column compares the embedding, bit by bit, before and after three steps with a
learning rate of 0.

bert4torch's penalty is a constant when it is added to the loss: no gradient flows through it, and
`backward` is called once more on the loss alone. It is timed here, but trains on twice the plain
gradient. Its FGM and its PGD, of three steps, add the clean gradient, as `clean_weight=1` does. Its
VAT looks for the worst direction in three steps, ours in one.

bert4torch 0.5.3 was measured: it needs torch4keras 0.2.6, and packaging and requests, which it
does not declare. Later ones do not import beside torch 2.13 for CPUs: 0.5.4 stops with "name
'List' is not defined", and 0.6.2 needs torchvision with operators that match torch, and tokenizers
undeclared. Two other peers cannot stand in this table:

- Neural Structured Learning 1.4.0 installs, but does not import beside TensorFlow 2.21:
  "cannot import name 'estimator' from 'tensorflow'". It does with 2.15, where Keras is 2; and it
  perturbs inputs of floating point, no embedding matrix.
- bert4keras 0.11.5 installs; its models import Keras 2 only ("module 'keras' has no attribute
  'engine'"), so with `TF_KERAS=1 TF_USE_LEGACY_KERAS=1` and the package tf-keras. It contains
  neither FGM nor the penalty: they are scripts in its repository's examples, written for
  TensorFlow 1, which has no package for Python 3.8 or newer.

    pip install --no-deps bert4torch==0.5.3 torch4keras==0.2.6
    pip install packaging requests tqdm six
    KERAS_BACKEND=torch python benchmarks/peers.py
"""

import keras
import numpy as np
import torch
from measure import arguments, in_turn, milliseconds, print_table, ratios, spread
from step_cost import DROPOUT, LABELS, classifier, taking_steps, texts, with_second_derivatives

from keras_mlc.data import repeat_pairs
from keras_mlc.losses import GradientPenaltyLoss, RDropLoss
from keras_mlc.training import FGMTrainer, PGDTrainer, VATTrainer

METHODS = {
    # name: the step, the plain step beside it
    "FGM": "plain",
    "FGM, with the clean gradient": "plain",
    "PGD, with the clean gradient": "plain",
    "VAT": "plain",
    "penalty": "plain",
    "R-Drop": "plain, dropout",
}


def ours(once, twice, learning_rate):
    """Return a call for every kind of step, and one that returns its embedding."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    divergence = RDropLoss(loss, alpha=4.0, divergence="categorical", from_logits=True)

    def step(model, loss=loss, data=once):
        optimizer = keras.optimizers.Adam(learning_rate)
        take = taking_steps(model, *data, loss, False, optimizer)
        matrix = getattr(model, "model", model).get_layer("token_embedding").embeddings
        return with_second_derivatives(take) if loss is penalty else take, lambda: matrix.value

    penalized = classifier()
    penalty = GradientPenaltyLoss(loss, penalized.get_layer("token_embedding"))
    return {
        "plain": step(classifier()),
        "FGM": step(FGMTrainer(classifier(), "token_embedding")),
        "FGM, with the clean gradient": step(
            FGMTrainer(classifier(), "token_embedding", clean_weight=1.0)
        ),
        "PGD, with the clean gradient": step(
            PGDTrainer(classifier(), "token_embedding", clean_weight=1.0)
        ),
        "VAT": step(VATTrainer(classifier(), "token_embedding", divergence="categorical")),
        "penalty": step(penalized, penalty),
        "plain, dropout": step(classifier(DROPOUT)),
        "R-Drop": step(classifier(DROPOUT), divergence, twice),
    }


def is_unchanged(take, embedding):
    before = embedding().detach().clone()
    for _ in range(3):
        take()
    return torch.equal(before, embedding().detach())


def main():
    options = arguments(__doc__, batch_size=32)
    once = (
        texts(options.batch_size),
        np.random.default_rng(1).integers(0, LABELS, options.batch_size),
    )
    data = once, repeat_pairs(once)
    libraries = {"keras-mlc": ours}
    try:
        from bert4torch_steps import theirs

        libraries["bert4torch"] = theirs
    except ImportError as error:
        print(f"bert4torch does not import: {error}\n")
    calls = {
        (library, name): take
        for library, steps in libraries.items()
        for name, (take, _) in steps(*data, learning_rate=1e-4).items()
    }
    seconds = in_turn(calls, options.repeats)
    rows = []
    for library, steps in libraries.items():
        still = steps(*data, learning_rate=0.0)
        for name, plain in METHODS.items():
            if name not in still:
                continue
            rows.append(
                {
                    "library": library,
                    "step": name,
                    "ms": milliseconds(seconds[library, name]),
                    "its plain step, ms": milliseconds(seconds[library, plain]),
                    "ratio": spread(ratios(seconds[library, name], seconds[library, plain])),
                    "embedding unchanged": "yes" if is_unchanged(*still[name]) else "no",
                }
            )
    print_table(rows, f"{options.repeats} turns, {options.batch_size} × 64.", options)


if __name__ == "__main__":
    main()
