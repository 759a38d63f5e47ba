"""albert-tiny + one softmax per aspect: not whether, but which or how much.

Each aspect of a text has one level, from "none" (level 0) upwards, and aspects may differ in
their number of levels. In the bundled corpus an aspect is a facet ("implemented in") and its
levels are the facet's values ("none", "C", "Python", …); in your own files it is an integer
column, such as an emotion from 0, absent, to 3, strong.

    python examples/fine_grained.py
"""

from support.run import run

import keras

from keras_mlc.layers import FineGrainedSoftmaxHead

TITLE = "fine-grained softmax"
LOSS = "categorical cross-entropy per aspect"
FINE_GRAINED = True


def build(task):
    encoder = task.encoder()
    cls = encoder.output[:, 0]
    levels = FineGrainedSoftmaxHead(
        num_aspects=len(task.num_levels), num_levels=task.num_levels, name="classifier"
    )(cls)
    model = keras.Model(encoder.input, levels)
    model.compile(
        optimizer=task.optimizer(),
        loss=keras.losses.SparseCategoricalCrossentropy(),
    )
    return model


if __name__ == "__main__":
    run("fine_grained")
