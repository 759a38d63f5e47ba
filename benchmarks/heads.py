"""Are the heads slower than the same built from stock Keras layers?

Both sides have the same weights and read the same vectors, as an encoder gives them. The time is
that of the forward pass and of the gradients by the vectors and all weights, in turn. Without a
mask every step counts; with one, the second half of every other text does not, and the stock
layers are put together so that padding changes nothing, as the heads are.

    python benchmarks/heads.py
    KERAS_BACKEND=torch python benchmarks/heads.py --batch-size 128
"""

import keras
import numpy as np
from keras import layers, ops
from measure import (
    MODES,
    arguments,
    forward_and_backward,
    in_turn,
    milliseconds,
    print_table,
    ratios,
    spread,
)

from keras_mlc.layers import AttentionPooling, TextCNNHead

LENGTH, FEATURES, LABELS = 64, 312, 65


def attention_pooling(vectors, mask=None):
    return AttentionPooling()(vectors, mask=mask)


def stock_attention_pooling(vectors, mask=None):
    hidden = layers.Dense(FEATURES, activation="tanh")(vectors)
    scores = layers.Flatten()(layers.Dense(1, use_bias=False)(hidden))
    return layers.Dot(axes=1)([layers.Softmax()(scores, mask=mask), vectors])


def text_cnn(vectors, mask=None):
    return TextCNNHead(LABELS)(vectors, mask=mask)


def stock_text_cnn(vectors, mask=None):
    def without_padding(x):  # After a ReLU, 0 cannot win a maximum.
        return x if mask is None else layers.Multiply()([x, steps])

    if mask is not None:
        steps = ops.cast(ops.expand_dims(mask, -1), "float32")
    vectors = without_padding(vectors)
    maxima = []
    for size in (3, 4, 5):
        convolved = layers.Conv1D(FEATURES, size, padding="same", activation="relu")(vectors)
        maxima.append(layers.GlobalMaxPooling1D()(without_padding(convolved)))
    return layers.Dense(LABELS)(layers.Dropout(0.2)(layers.Concatenate()(maxima)))


HEADS = {
    "AttentionPooling": (attention_pooling, stock_attention_pooling),
    "TextCNNHead": (text_cnn, stock_text_cnn),
}


def model(head, with_mask):
    inputs = [keras.Input((None, FEATURES))]
    if with_mask:
        inputs.append(keras.Input((None,), dtype="bool"))
    return keras.Model(inputs, head(*inputs))


def call(model, batch_size, jit_compile):
    """Return a call that computes a number from the outputs, and all gradients."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(batch_size, LENGTH, FEATURES)).astype("float32")
    mask = np.ones((batch_size, LENGTH), bool)
    mask[::2, LENGTH // 2 :] = False
    others = [ops.convert_to_tensor(mask)] if len(model.inputs) == 2 else []
    weights = model.trainable_variables

    def function(values, *mask):
        with keras.StatelessScope(zip(weights, values[1:], strict=True)):
            return ops.mean(ops.square(model([values[0], *mask], training=True)))

    values = [ops.convert_to_tensor(vectors), *(ops.copy(v.value) for v in weights)]
    return forward_and_backward(function, values, *others, jit_compile=jit_compile)


def main():
    options = arguments(__doc__, batch_size=32)
    rows = []
    for mode, jit_compile in MODES.items():
        for name, heads in HEADS.items():
            for with_mask in (False, True):
                ours, stock = (model(head, with_mask) for head in heads)
                for weight, value in zip(stock.weights, ours.get_weights(), strict=True):
                    weight.assign(ops.reshape(value, weight.shape))
                calls = {
                    side: call(side_model, options.batch_size, jit_compile)
                    for side, side_model in {"ours": ours, "stock": stock}.items()
                }
                seconds = in_turn(calls, options.repeats)
                rows.append(
                    {
                        "head": name,
                        "mask": "yes" if with_mask else "no",
                        "mode": mode,
                        "ours, ms": milliseconds(seconds["ours"]),
                        "stock, ms": milliseconds(seconds["stock"]),
                        "ratio": spread(ratios(seconds["ours"], seconds["stock"])),
                    }
                )
    shape = f"{options.batch_size} × {LENGTH} × {FEATURES}"
    note = f"Medians (quartiles) of {options.repeats} turns, {shape}."
    print_table(rows, note, options)


if __name__ == "__main__":
    main()
