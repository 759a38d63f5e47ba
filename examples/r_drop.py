"""albert-tiny + R-Drop: two dropout draws of a text should agree.

`repeat_pairs` puts every text twice in a row into its batch. Dropout makes the two predictions
differ, and the loss adds how much they do. The pairs are made after shuffling and batching, so
nothing tears them apart. Twice the rows a step is what R-Drop costs.

The divergence is a sum over the labels, while binary cross-entropy is a mean over them: alpha is
divided by their number, or the divergence would drown the labels.

    python examples/r_drop.py
"""

from support.run import run

import keras

from keras_mlc.data import repeat_pairs
from keras_mlc.losses import RDropLoss

TITLE = "R-Drop, sigmoid"
LOSS = "binary cross-entropy + divergence"


def build(task):
    encoder = task.encoder(dropout=task.r_drop_dropout)
    cls = encoder.output[:, 0]
    scores = keras.layers.Dense(
        task.num_labels, bias_initializer=task.label_bias(), name="classifier"
    )(cls)
    model = keras.Model(encoder.input, scores)
    model.compile(
        optimizer=task.optimizer(),
        loss=RDropLoss(
            "binary_crossentropy",
            alpha=4.0 / task.num_labels * task.settings.strength,
            from_logits=True,
        ),
    )
    return model


def batches(task):
    return repeat_pairs(task.batches())


if __name__ == "__main__":
    run("r_drop")
