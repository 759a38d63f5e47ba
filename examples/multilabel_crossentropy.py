"""albert-tiny + multi-label cross-entropy: one loss over all labels at once.

The scores of a text's labels are pushed above 0 and all others below, and the hardest ones weigh
most, as in a softmax. A label is predicted where its score is above 0, which is a sound default;
the thresholds that the results show beside it are chosen on held-out rows. This is also the plain
row to compare FGM and the gradient penalty with: they add one line each.

    python examples/multilabel_crossentropy.py
"""

from support.run import run

import keras

from keras_mlc.losses import MultilabelCategoricalCrossentropy

TITLE = "multi-label cross-entropy"
LOSS = "multi-label cross-entropy"


def build(task):
    encoder = task.encoder()
    cls = encoder.output[:, 0]
    scores = keras.layers.Dense(task.num_labels, name="classifier")(cls)
    model = keras.Model(encoder.input, scores)
    model.compile(
        optimizer=task.optimizer(),
        loss=MultilabelCategoricalCrossentropy(),
    )
    return model


if __name__ == "__main__":
    run("multilabel_crossentropy")
