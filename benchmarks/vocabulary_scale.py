"""Does the cost of FGM follow the tokens of the batch, or the size of the vocabulary?

The model is an embedding of 128 columns, a mean and a dense layer, so that nothing hides the
embedding. A batch has the same number of tokens for every vocabulary. Plain and FGM steps are
taken in turn, with SGD, which touches the rows of the batch alone, and with Adam, whose moments
Keras updates for all rows: that cost is in the plain step too, and it is the difference of two
steps of the same turn that shows what FGM adds.

Memory is by how much a process grows at most in a step, beyond model, optimizer and batch:
measured for each kind of step in a process of its own.

    python benchmarks/vocabulary_scale.py
    python benchmarks/vocabulary_scale.py --vocabulary 21000 2000000 --mode XLA
    KERAS_BACKEND=jax python benchmarks/vocabulary_scale.py
    KERAS_BACKEND=torch python benchmarks/vocabulary_scale.py

On JAX and torch the plain step itself has a gradient as large as the embedding. At 2 million rows
the Adam steps need about 10 GB.
"""

import keras
import numpy as np
from measure import (
    MODES,
    arguments,
    in_fresh_process,
    in_turn,
    milliseconds,
    peak_growth,
    print_table,
    ratios,
    spread,
)

from keras_mlc.training import FGMTrainer

BATCH_SIZE, LENGTH, COLUMNS, LABELS = 32, 64, 128, 65


def step(vocabulary, optimizer, kind, jit_compile):
    """Return a call that trains on one batch."""
    tokens = keras.Input((LENGTH,), dtype="int32")
    vectors = keras.layers.Embedding(vocabulary, COLUMNS, name="tokens")(tokens)
    scores = keras.layers.Dense(LABELS)(keras.layers.GlobalAveragePooling1D()(vectors))
    model = keras.Model(tokens, scores)
    if kind == "FGM":
        model = FGMTrainer(model, "tokens")
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.get(optimizer), loss, jit_compile=jit_compile)
    rng = np.random.default_rng(0)
    x = keras.ops.convert_to_tensor(rng.integers(0, vocabulary, (BATCH_SIZE, LENGTH)))
    y = keras.ops.convert_to_tensor(rng.integers(0, 2, (BATCH_SIZE, LABELS)))
    return lambda: model.train_on_batch(x, y)


def peak(*kind_of_step):
    return peak_growth(step(*kind_of_step))


def main():
    options = arguments(
        __doc__,
        vocabulary=[21_128, 100_000, 500_000, 2_000_000],
        optimizers=["sgd", "adam"],
        mode=next(iter(MODES)),
    )
    rows = []
    for optimizer in options.optimizers:
        for vocabulary in options.vocabulary:
            kinds = {
                kind: (vocabulary, optimizer, kind, MODES[options.mode])
                for kind in ("plain", "FGM")
            }
            memory = {name: in_fresh_process(peak, *kind) for name, kind in kinds.items()}
            calls = {name: step(*kind) for name, kind in kinds.items()}
            seconds = in_turn(calls, options.repeats)
            plain, fgm = seconds["plain"], seconds["FGM"]
            rows.append(
                {
                    "optimizer": optimizer,
                    "rows": f"{vocabulary:,}",
                    "plain, ms": milliseconds(plain),
                    "FGM, ms": milliseconds(fgm),
                    "difference, ms": milliseconds(
                        [b - a for a, b in zip(plain, fgm, strict=True)]
                    ),
                    "ratio": spread(ratios(fgm, plain)),
                    "embedding, MB": round(4e-6 * COLUMNS * vocabulary),
                    "plain grows by, MB": round(memory["plain"] / 1e6),
                    "FGM grows by, MB": round(memory["FGM"] / 1e6),
                }
            )
            del calls
            keras.utils.clear_session()
    shape = f"{BATCH_SIZE} × {LENGTH} tokens"
    note = f"Medians (quartiles) of {options.repeats} turns, {options.mode}, {shape}."
    print_table(rows, note, options)


if __name__ == "__main__":
    main()
