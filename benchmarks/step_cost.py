"""What does a training step of FGM, of the gradient penalty and of R-Drop cost?

Every step trains albert-tiny (random weights, 21,128 token ids, 65 labels, Adam) on the same
batch of 64 tokens a text, which lies ready on the device. The steps are taken by
`train_on_batch`, one of each kind in turn, and a ratio is that of two steps of the same turn. So
callbacks and data pipelines, which no method changes, are left out, and Keras's fixed costs are
in both sides of a ratio.

- FGM and the penalty, which is a loss and a trainer, stand beside the plain step and, on
  TensorFlow, beside the same passes written out in `by_hand.py`: what is above 1 there is the
  library's own. On torch both penalties need an attention with second derivatives, which torch's
  fused one has not: theirs is the unfused one, while the plain step has the fused.
- R-Drop needs dropout, and reads every text twice. It stands beside the plain step with the same
  dropout on as many distinct texts, and beside a plain step on the batch with every text twice:
  what is above 1 there is the divergence.

    python benchmarks/step_cost.py
    KERAS_BACKEND=jax python benchmarks/step_cost.py
    KERAS_BACKEND=torch python benchmarks/step_cost.py
"""

import sys
from pathlib import Path

import keras
import numpy as np
from measure import BACKEND, MODES, arguments, in_turn, milliseconds, print_table, ratios, spread

from keras_mlc.data import repeat_pairs
from keras_mlc.losses import GradientPenaltyLoss, RDropLoss
from keras_mlc.training import FGMTrainer, GradientPenaltyTrainer

sys.path.append(str(Path(__file__).parents[1] / "examples"))
from support.albert_tiny import albert_tiny

VOCABULARY, LABELS, LENGTH, DROPOUT = 21128, 65, 64, 0.1


def classifier(dropout=0.0):
    encoder = albert_tiny(vocabulary_size=VOCABULARY, dropout=dropout)
    scores = keras.layers.Dense(LABELS, name="classifier")(encoder.output[:, 0])
    return keras.Model(encoder.input, scores)


def texts(batch_size):
    """Return random tokens, all texts of full length."""
    shape = (batch_size, LENGTH)
    return {
        "token_ids": np.random.default_rng(0).integers(1, VOCABULARY, shape, dtype="int32"),
        "segment_ids": np.zeros(shape, "int32"),
        "padding_mask": np.ones(shape, "int32"),
    }


def taking_steps(model, x, y, loss, jit_compile, learning_rate=1e-4):
    """Return a call that trains `model` on one batch."""
    model.compile(keras.optimizers.Adam(learning_rate), loss, jit_compile=jit_compile)
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


def steps(batch_size, jit_compile):
    """Return a call for every kind of step."""
    once = texts(batch_size), np.random.default_rng(1).integers(0, 2, (batch_size, LABELS))
    twice = repeat_pairs(once)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    divergence = RDropLoss("binary_crossentropy", alpha=4.0 / LABELS, from_logits=True)

    def step(model, loss=loss, data=once):
        return taking_steps(model, *data, loss, jit_compile)

    calls = {
        "plain": step(classifier()),
        "FGM": step(FGMTrainer(classifier(), "token_embedding")),
        "penalty, trainer": with_second_derivatives(
            step(GradientPenaltyTrainer(classifier(), "token_embedding"))
        ),
        "plain, dropout": step(classifier(DROPOUT)),
        "plain, dropout, batch twice": step(classifier(DROPOUT), data=twice),
        "R-Drop": step(classifier(DROPOUT), divergence, twice),
    }
    if BACKEND != "jax":  # where a loss cannot reach the embedding
        model = classifier()
        penalty = GradientPenaltyLoss(loss, model.get_layer("token_embedding"))
        calls["penalty, loss"] = with_second_derivatives(step(model, penalty))
    if BACKEND == "tensorflow":
        import by_hand

        calls["FGM by hand"] = step(by_hand.FGM(classifier()))
        calls["penalty by hand"] = step(by_hand.Penalty(classifier()))
    return calls


COMPARED = [
    ("FGM", "plain"),
    ("FGM", "FGM by hand"),
    ("penalty, loss", "plain"),
    ("penalty, loss", "penalty by hand"),
    ("penalty, trainer", "plain"),
    ("penalty, trainer", "penalty by hand"),
    ("R-Drop", "plain, dropout"),
    ("R-Drop", "plain, dropout, batch twice"),
]


def main():
    options = arguments(__doc__, batch_sizes=[32, 128])
    rows = []
    for batch_size in options.batch_sizes:
        for mode, jit_compile in MODES.items():
            seconds = in_turn(steps(batch_size, jit_compile), options.repeats)
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
                for name, other in COMPARED
                if name in seconds and other in seconds
            ]
            keras.utils.clear_session()
    print_table(rows, f"{options.repeats} turns.", options)


if __name__ == "__main__":
    main()
