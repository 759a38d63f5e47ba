"""albert-tiny + attention + sigmoid.

Attention pooling over the encoder's token vectors in place of [CLS]: what is summed is learned, and
padding gets a weight of exactly 0.

    python examples/attention.py
"""

from support.run import run

import keras

from keras_mlc.layers import AttentionPooling

TITLE = "attention, sigmoid"
LOSS = "binary cross-entropy"


def build(task):
    encoder = task.encoder()
    sequence, mask = task.sequence(encoder)
    pooled = AttentionPooling(name="attention")(sequence, mask=mask)
    scores = keras.layers.Dense(
        task.num_labels, bias_initializer=task.label_bias(), name="classifier"
    )(pooled)
    model = keras.Model(encoder.input, scores)
    model.compile(
        optimizer=task.optimizer(),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
    )
    return model


if __name__ == "__main__":
    run("attention")
