"""What does the multi-label loss cost, forward and backward, from 100 to a million labels?

Five losses are computed in turn on the same scores, with their gradient by the scores:

- BCE: Keras's `BinaryCrossentropy(from_logits=True)`;
- seed: the formula that this library starts from, as it was written;
- dense, with labels in float32 as Keras's casts leave them, and in bool;
- sparse, with the indices of 8 targets a row.

The floor is the time in which this machine moves the bytes that must move. A loss whose gradient
needs a sum over the row reads scores and labels once for the sum and once more for the gradient,
which it writes: 5 arrays, 3 where labels are indices, and 3 for BCE, which needs no sum. The
bandwidth is measured in the same turn: an addition reads two arrays of this size and writes one.

Peak memory counts in arrays of (batch, labels) in float32, the scores included (1) and the labels
not: the least possible is 2, scores and gradient. It is measured in a process for each loss, and
only where such an array has at least a megabyte. What sparse labels save in the input pipeline
stands in the last column.

    python benchmarks/label_scale.py
"""

import keras
import numpy as np
from keras import ops
from measure import (
    MODES,
    arguments,
    forward_and_backward,
    in_fresh_process,
    in_turn,
    milliseconds,
    peak_growth,
    print_table,
    ratios,
    spread,
)

from keras_mlc.losses import (
    multilabel_categorical_crossentropy,
    sparse_multilabel_categorical_crossentropy,
)

TARGETS = 8
BATCH_SIZES = {100: 128, 1_000: 128, 10_000: 128, 100_000: 32, 1_000_000: 8}


def seed(y_true, y_pred):
    y_pred = (1 - 2 * y_true) * y_pred
    y_pred_neg = y_pred - y_true * 1e12
    y_pred_pos = y_pred - (1 - y_true) * 1e12
    zeros = ops.zeros_like(y_pred[..., :1])
    y_pred_neg = ops.concatenate([y_pred_neg, zeros], axis=-1)
    y_pred_pos = ops.concatenate([y_pred_pos, zeros], axis=-1)
    return ops.logsumexp(y_pred_neg, axis=-1) + ops.logsumexp(y_pred_pos, axis=-1)


def bce(y_true, y_pred):
    return keras.losses.binary_crossentropy(y_true, y_pred, from_logits=True)


LOSSES = {
    # name: the loss, the dtype of its labels, how many arrays must move
    "BCE": (bce, "float32", 3),
    "seed": (seed, "float32", 5),
    "dense": (multilabel_categorical_crossentropy, "float32", 5),
    "dense, bool": (multilabel_categorical_crossentropy, "bool", 3.5),
    "sparse": (sparse_multilabel_categorical_crossentropy, "int32", 3),
}


def call(name, num_labels, batch_size, jit_compile):
    """Return a call that computes a loss and its gradient by the scores."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(batch_size, num_labels)).astype("float32")
    loss, dtype, _ = LOSSES[name]
    labels = rng.integers(0, num_labels, (batch_size, TARGETS)).astype("int32")
    if dtype != "int32":
        dense = np.zeros((batch_size, num_labels), dtype)
        np.put_along_axis(dense, labels, 1, axis=-1)
        labels = dense
    scores, labels = ops.convert_to_tensor(scores), ops.convert_to_tensor(labels)
    return forward_and_backward(
        lambda values, labels: ops.mean(loss(labels, values[0])),
        [scores],
        labels,
        jit_compile=jit_compile,
    )


def peak(*which):
    return peak_growth(call(*which))


def addition(num_labels, batch_size):
    """Return a call that moves three arrays."""
    one, other = ops.ones((batch_size, num_labels)), ops.ones((batch_size, num_labels))
    return lambda: ops.convert_to_numpy(ops.add(one, other)[0, 0])


def main():
    options = arguments(__doc__, labels=list(BATCH_SIZES), modes=list(MODES))
    rows = []
    for num_labels in options.labels:
        batch_size = BATCH_SIZES.get(num_labels, 8)
        array_bytes = 4 * num_labels * batch_size
        for mode in options.modes:
            shape = (num_labels, batch_size, MODES[mode])
            calls = {name: call(name, *shape) for name in LOSSES}
            calls["addition"] = addition(num_labels, batch_size)
            seconds = in_turn(calls, options.repeats)
            del calls
            for name, (_, dtype, moved) in LOSSES.items():
                floor = [moved / 3 * s for s in seconds["addition"]]
                arrays = "too small"
                if array_bytes >= 1e6:
                    arrays = f"{1 + in_fresh_process(peak, name, *shape) / array_bytes:.2f}"
                targets = TARGETS * 4 if dtype == "int32" else num_labels * np.dtype(dtype).itemsize
                rows.append(
                    {
                        "batch × labels": f"{batch_size} × {num_labels:,}",
                        "mode": mode,
                        "loss": name,
                        "ms": milliseconds(seconds[name]),
                        "÷ BCE": spread(ratios(seconds[name], seconds["BCE"])),
                        "÷ seed": spread(ratios(seconds[name], seconds["seed"])),
                        "÷ floor": spread(ratios(seconds[name], floor), digits=1),
                        "peak, arrays": arrays,
                        "bytes of labels a row": f"{targets:,}",
                    }
                )
    note = f"Medians (quartiles) of {options.repeats} turns."
    print_table(rows, note, options)


if __name__ == "__main__":
    main()
