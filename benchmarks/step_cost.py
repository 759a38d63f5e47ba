"""What does a training step of each method cost, beside a plain step?

Every step trains albert-tiny (random weights, 21,128 token ids, 65 labels, Adam) on the same
batch of 64 tokens a text, which lies ready on the device. The steps are taken by
`train_on_batch`, one of each kind in turn, and a ratio is that of two steps of the same turn. So
callbacks and data pipelines, which no method changes, are left out, and Keras's fixed costs are
in both sides of a ratio.

All have the same dropout, of 0.1 as published encoders have: how random numbers are drawn is a
part of what compiled code costs. `--dropout 0` leaves it, and R-Drop, out.

- The trainers and the penalty, which is a loss and a trainer, stand beside the plain step and
  beside the same passes written out in `by_hand_tensorflow.py`, `by_hand_jax.py` or
  `by_hand_torch.py`: what is above 1 there is the library's own. PGD and FreeLB take three steps.
  On torch the penalties need an attention with second derivatives, which torch's fused one has
  not: theirs is the unfused one, also by hand, while the plain step has the fused.
- R-Drop reads every text twice. It stands beside the plain step on as many distinct texts, and
  beside a plain step on the batch with every text twice: what is above 1 there is the divergence.

    python benchmarks/step_cost.py
    python benchmarks/step_cost.py --methods FGM PGD --dropout 0
    KERAS_BACKEND=jax python benchmarks/step_cost.py
    KERAS_BACKEND=torch python benchmarks/step_cost.py
"""

import importlib

import keras
import numpy as np
from measure import (
    BACKEND,
    MODES,
    albert_tiny,
    arguments,
    in_turn,
    milliseconds,
    print_table,
    ratios,
    spread,
)

from keras_mlc.data import repeat_pairs
from keras_mlc.losses import GradientPenaltyLoss, RDropLoss
from keras_mlc.training import (
    FGMTrainer,
    FreeLBTrainer,
    GradientPenaltyTrainer,
    PGDTrainer,
    VATTrainer,
)

by_hand = importlib.import_module(f"by_hand_{BACKEND}")
VOCABULARY, LABELS, LENGTH, DROPOUT = 21128, 65, 64, 0.1


def classifier(dropout=0.0):
    encoder = albert_tiny(VOCABULARY, dropout)
    scores = keras.layers.Dense(LABELS, name="classifier")(encoder.output["sequence_output"][:, 0])
    return keras.Model(encoder.input, scores)


def texts(batch_size):
    """Return random tokens, all texts of full length."""
    shape = (batch_size, LENGTH)
    return {
        "token_ids": np.random.default_rng(0).integers(1, VOCABULARY, shape, dtype="int32"),
        "segment_ids": np.zeros(shape, "int32"),
        "padding_mask": np.ones(shape, "int32"),
    }


def taking_steps(model, x, y, loss, jit_compile, optimizer=None):
    """Return a call that trains `model` on one batch."""
    model.compile(optimizer or keras.optimizers.Adam(1e-4), loss, jit_compile=jit_compile)
    x, y = keras.tree.map_structure(keras.ops.convert_to_tensor, (x, y))
    return lambda: model.train_on_batch(x, y)


def with_second_derivatives(take):
    """Return a call that takes a step with an attention that can be differentiated twice."""
    if BACKEND != "torch":
        return take
    from torch.nn.attention import SDPBackend, sdpa_kernel

    def take_without_fused_attention():
        with sdpa_kernel(SDPBackend.MATH):
            take()

    return take_without_fused_attention


EMBEDDING = "token_embedding"
TRAINERS = {
    "FGM": lambda model: FGMTrainer(model, EMBEDDING),
    "FGM, a norm a text": lambda model: FGMTrainer(model, EMBEDDING, norm="sample"),
    "PGD": lambda model: PGDTrainer(model, EMBEDDING),
    "FreeLB": lambda model: FreeLBTrainer(model, EMBEDDING, initial_norm=0.0),
    "VAT": lambda model: VATTrainer(model, EMBEDDING, seed=0),
    "penalty, trainer": lambda model: GradientPenaltyTrainer(model, EMBEDDING),
}
BY_HAND = {
    "FGM": "FGM",
    "FGM, a norm a text": "FGMOfSamples",
    "PGD": "PGD",
    "FreeLB": "FreeLB",
    "VAT": "VAT",
    "penalty, trainer": "Penalty",
    "penalty, loss": "Penalty",
}
METHODS = [*BY_HAND, "R-Drop"]


def steps(batch_size, jit_compile, dropout, methods):
    """Return a call for every kind of step, and which of them to compare."""
    once = texts(batch_size), np.random.default_rng(1).integers(0, 2, (batch_size, LABELS))
    twice = repeat_pairs(once)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)

    def step(model, loss=loss, data=once):
        return taking_steps(model, *data, loss, jit_compile)

    calls, compared = {"plain": step(classifier(dropout))}, []
    for name in methods:
        if name == "R-Drop" and dropout:
            divergence = RDropLoss("binary_crossentropy", alpha=4.0 / LABELS, from_logits=True)
            calls[name] = step(classifier(dropout), divergence, twice)
            calls["plain, batch twice"] = step(classifier(dropout), data=twice)
            compared += [(name, "plain"), (name, "plain, batch twice")]
        elif name in TRAINERS:
            calls[name] = step(TRAINERS[name](classifier(dropout)))
            compared.append((name, "plain"))
        elif name == "penalty, loss" and BACKEND != "jax":  # where a loss reaches the embedding
            model = classifier(dropout)
            calls[name] = step(model, GradientPenaltyLoss(loss, model.get_layer(EMBEDDING)))
            compared.append((name, "plain"))
        if name in BY_HAND and name in calls:
            hand = f"{BY_HAND[name]} by hand"
            compared.append((name, hand))
            if hand not in calls:
                calls[hand] = step(getattr(by_hand, BY_HAND[name])(classifier(dropout)))
    for name, take in calls.items():
        if "penalty" in name.lower():
            calls[name] = with_second_derivatives(take)
    return calls, compared


def main():
    options = arguments(__doc__, batch_sizes=[32, 128], dropout=DROPOUT, methods=METHODS)
    if unknown := set(options.methods) - set(METHODS):
        raise SystemExit(f"--methods: {unknown} not among {METHODS}")
    rows = []
    for batch_size in options.batch_sizes:
        for mode, jit_compile in MODES.items():
            calls, compared = steps(batch_size, jit_compile, options.dropout, options.methods)
            seconds = in_turn(calls, options.repeats)
            del calls
            rows += [
                {
                    "batch": f"{batch_size} × {LENGTH}",
                    "mode": mode,
                    "step": name,
                    "ms": milliseconds(seconds[name]),
                    "beside": other,
                    "ms of that": milliseconds(seconds[other]),
                    "ratio": spread(ratios(seconds[name], seconds[other])),
                }
                for name, other in compared
            ]
            keras.utils.clear_session()
    note = f"Medians (quartiles) of {options.repeats} turns, dropout of {options.dropout}."
    print_table(rows, note, options)


if __name__ == "__main__":
    main()
