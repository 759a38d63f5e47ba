"""albert-tiny + BiLSTM + attention + sigmoid.

The BiLSTM returns a vector per token; attention pooling learns which of them matter. Padding gets
an attention weight of exactly 0.

    python examples/bilstm_attention.py
"""

from support.run import run

import keras

from keras_mlc.layers import AttentionPooling

TITLE = "BiLSTM, attention, sigmoid"
LOSS = "binary cross-entropy"


def build(task):
    encoder = task.encoder()
    sequence, mask = task.sequence(encoder)
    lstm = keras.layers.LSTM(128, return_sequences=True)
    states = keras.layers.Bidirectional(lstm, name="bilstm")(sequence, mask=mask)
    pooled = AttentionPooling(name="attention")(states, mask=mask)
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
    run("bilstm_attention")
