"""albert-tiny + BiLSTM + multi-label cross-entropy.

The model of bilstm_sigmoid.py with the loss of multilabel_crossentropy.py.

    python examples/bilstm_multilabel_crossentropy.py
"""

from support.run import run

import keras

from keras_mlc.losses import MultilabelCategoricalCrossentropy

TITLE = "BiLSTM, multi-label cross-entropy"
LOSS = "multi-label cross-entropy"


def build(task):
    encoder = task.encoder()
    sequence, mask = task.sequence(encoder)
    states = keras.layers.Bidirectional(keras.layers.LSTM(128), name="bilstm")(sequence, mask=mask)
    scores = keras.layers.Dense(task.num_labels, name="classifier")(states)
    model = keras.Model(encoder.input, scores)
    model.compile(
        optimizer=task.optimizer(),
        loss=MultilabelCategoricalCrossentropy(),
    )
    return model


if __name__ == "__main__":
    run("bilstm_multilabel_crossentropy")
