"""albert-tiny + sigmoid: the plain way.

A Dense layer turns the [CLS] vector into one score per label. Each label is a yes-or-no question
of its own: binary cross-entropy, and a label is predicted where its score is above 0 (a
probability above 0.5).

    python examples/sigmoid.py
"""

from support.run import run

import keras

TITLE = "sigmoid"
LOSS = "binary cross-entropy"


def build(task):
    encoder = task.encoder()
    cls = encoder.output[:, 0]
    scores = keras.layers.Dense(
        task.num_labels, bias_initializer=task.label_bias(), name="classifier"
    )(cls)
    model = keras.Model(encoder.input, scores)
    model.compile(
        optimizer=task.optimizer(),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
    )
    return model


if __name__ == "__main__":
    run("sigmoid")
