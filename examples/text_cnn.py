"""albert-tiny + TextCNN + sigmoid.

Convolutions three, four and five tokens wide look for telling phrases; the strongest match of
each filter counts, wherever it stands. Padding cannot change the result.

    python examples/text_cnn.py
"""

from support.run import run

import keras

from keras_mlc.layers import TextCNNHead

TITLE = "TextCNN, sigmoid"
LOSS = "binary cross-entropy"


def build(task):
    encoder = task.encoder()
    sequence, mask = task.sequence(encoder)
    features = TextCNNHead(kernel_sizes=(3, 4, 5), dropout=0.2, name="text_cnn")(
        sequence, mask=mask
    )
    scores = keras.layers.Dense(
        task.num_labels, bias_initializer=task.label_bias(), name="classifier"
    )(features)
    model = keras.Model(encoder.input, scores)
    model.compile(
        optimizer=task.optimizer(),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
    )
    return model


if __name__ == "__main__":
    run("text_cnn")
