"""albert-tiny + gradient penalty: a loss that is flat around every token vector.

The loss adds half the squared norm of its own gradient with respect to the token embedding. The
model is the one of multilabel_crossentropy.py; only the loss is wrapped.

    python examples/gradient_penalty.py
"""

from support.run import run

import keras

from keras_mlc.losses import GradientPenaltyLoss, MultilabelCategoricalCrossentropy

TITLE = "multi-label cross-entropy, gradient penalty"
LOSS = "multi-label cross-entropy + penalty"


def build(task):
    encoder = task.encoder()
    cls = encoder.output[:, 0]
    scores = keras.layers.Dense(task.num_labels, name="classifier")(cls)
    model = keras.Model(encoder.input, scores)
    model.compile(
        optimizer=task.optimizer(),
        loss=GradientPenaltyLoss(
            MultilabelCategoricalCrossentropy(),
            embedding=encoder.get_layer("token_embedding"),
            epsilon=1.0 * task.settings.strength,
        ),
    )
    return model


if __name__ == "__main__":
    run("gradient_penalty")
