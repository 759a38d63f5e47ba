"""albert-tiny + FGM: adversarial training on the token embedding.

Every step moves the token vectors a little in the direction that hurts most, and learns from the
gradient there. The model is the one of multilabel_crossentropy.py; the trainer wraps it and is
compiled and fitted in its place. `trainer.model` is what one saves for serving.

    python examples/fgm.py
"""

from support.run import run

import keras

from keras_mlc.losses import MultilabelCategoricalCrossentropy
from keras_mlc.training import FGMTrainer

TITLE = "multi-label cross-entropy, FGM"
LOSS = "multi-label cross-entropy"


def build(task):
    encoder = task.encoder()
    cls = encoder.output[:, 0]
    scores = keras.layers.Dense(task.num_labels, name="classifier")(cls)
    model = keras.Model(encoder.input, scores)
    trainer = FGMTrainer(model, task.embedding, epsilon=0.5 * task.settings.strength)
    trainer.compile(
        optimizer=task.optimizer(),
        loss=MultilabelCategoricalCrossentropy(),
    )
    return trainer


if __name__ == "__main__":
    run("fgm")
