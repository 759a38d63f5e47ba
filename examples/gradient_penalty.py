"""albert-tiny + gradient penalty: a loss that is flat around every token vector.

The loss adds half the squared norm of its own gradient with respect to the token embedding. The
model is the one of multilabel_crossentropy.py; only the loss is wrapped. On JAX and torch, where
a loss does not reach the embedding or its second derivative, a trainer wraps the model instead.

    python examples/gradient_penalty.py
"""

from support.run import run

import keras

from keras_mlc.losses import GradientPenaltyLoss, MultilabelCategoricalCrossentropy
from keras_mlc.training import GradientPenaltyTrainer

TITLE = "multi-label cross-entropy, gradient penalty"
LOSS = "multi-label cross-entropy + penalty"


def build(task):
    encoder = task.encoder()
    cls = encoder.output[:, 0]
    scores = keras.layers.Dense(task.num_labels, name="classifier")(cls)
    model = keras.Model(encoder.input, scores)
    loss = MultilabelCategoricalCrossentropy()
    embedding, epsilon = task.embedding, 1.0 * task.settings.strength
    if keras.backend.backend() == "tensorflow":
        loss = GradientPenaltyLoss(loss, embedding, epsilon)
    else:
        model = GradientPenaltyTrainer(model, embedding, epsilon)
    model.compile(optimizer=task.optimizer(), loss=loss)
    return model


if __name__ == "__main__":
    run("gradient_penalty")
