"""albert-tiny + one softmax per aspect: not whether, but which or how much.

Each aspect of a text has one level, from "none" (level 0) upwards, and aspects may differ in
their number of levels. In the bundled corpus an aspect is a facet ("implemented in") and its
levels are the facet's values ("none", "C", "Python", …); in your own files it is an integer
column, such as an emotion from 0, absent, to 3, strong.

    python examples/fine_grained.py
"""

from support.data import Corpus
from support.run import run

import keras
import numpy as np

from keras_mlc.layers import FineGrainedSoftmaxHead

TITLE = "fine-grained softmax"
LOSS = "categorical cross-entropy per aspect"
FINE_GRAINED = True
FACETS = ("role", "implemented-in", "interface", "uitoolkit", "use", "works-with")


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


def from_facets(corpus, train):
    """Make levels of labels such as "uitoolkit::gtk".

    Where a text has several values of one facet, the rarest in training counts: it says most.
    """
    counts = train.targets.sum(axis=0, dtype="float64")
    levels, columns = [], []
    for facet in FACETS:
        places = [i for i, name in enumerate(corpus.names) if name.startswith(f"{facet}::")]
        present = corpus.targets[:, places] == 1  # (texts, values)
        rarest = np.where(present, -counts[places], -np.inf).argmax(axis=1)
        columns.append(np.where(present.any(axis=1), rarest + 1, 0))
        levels.append(["none", *(corpus.names[i].split("::", 1)[1] for i in places)])
    return Corpus(corpus.texts, np.stack(columns, 1).astype("int32"), list(FACETS), levels)


if __name__ == "__main__":
    run("fine_grained")
