"""albert-tiny + BiLSTM + sigmoid.

A bidirectional LSTM reads the encoder's token vectors; its two last states are classified. The
mask makes "last" mean the last real token.

    python examples/bilstm_sigmoid.py
"""

from support.run import run

import keras

TITLE = "BiLSTM, sigmoid"
LOSS = "binary cross-entropy"


def build(task):
    encoder = task.encoder()
    sequence, mask = task.sequence(encoder)
    states = keras.layers.Bidirectional(keras.layers.LSTM(128), name="bilstm")(sequence, mask=mask)
    scores = keras.layers.Dense(
        task.num_labels, bias_initializer=task.label_bias(), name="classifier"
    )(states)
    model = keras.Model(encoder.input, scores)
    model.compile(
        optimizer=task.optimizer(),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
    )
    return model


if __name__ == "__main__":
    run("bilstm_sigmoid")
