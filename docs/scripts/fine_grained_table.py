"""Draw the probabilities of every level of every aspect for one text."""

import textwrap

import keras
import numpy as np
from matplotlib.patches import Rectangle
from pictures import LENGTH, load_levels, pretrained_vectors, save, subplots

from keras_mlc.layers import AttentionPooling, FineGrainedSoftmaxHead

CHINESE = {"level": "等级"}


def main():
    """Train a small model on the corpus' facets, and draw its table for a test text."""
    (tokens, train), (test_tokens, test) = load_levels()
    inputs = keras.Input((LENGTH,), dtype="int32")
    pooled = AttentionPooling()(pretrained_vectors()(inputs))
    head = FineGrainedSoftmaxHead(len(train.num_levels), train.num_levels)
    model = keras.Model(inputs, head(pooled))
    model.compile(keras.optimizers.Adam(2e-3), keras.losses.SparseCategoricalCrossentropy())
    model.fit(tokens, train.levels, batch_size=64, epochs=4, verbose=0)

    tables = model.predict(test_tokens, verbose=0)
    right = (tables.argmax(axis=-1) == test.levels).all(axis=1)
    row = np.flatnonzero(right & ((test.levels > 0).sum(axis=1) >= 4))[0]
    table = tables[row]
    print(test.texts[row][:200])

    figure, axis = subplots(1, 5.4)
    axis.imshow(table.T, cmap="Blues", vmin=0, vmax=1.2, aspect="auto")
    for aspect, names in enumerate(train.level_names):
        for level in range(table.shape[1]):
            value = table[aspect, level]
            if level < len(names):
                text, colour = f"{names[level]}\n{value:.2f}", "white" if value > 0.6 else "black"
            else:
                assert value == 0
                text, colour = "0", "#4a5568"
                corner = (aspect - 0.5, level - 0.5)
                axis.add_patch(hatched(corner))
            axis.text(aspect, level, text, fontsize=7, ha="center", va="center", color=colour)
    names = [name.replace("-", "-\n") for name in train.aspect_names]
    axis.set_xticks(range(len(names)), names, fontsize=8)
    axis.set_yticks(range(table.shape[1]))
    axis.set_ylabel("level")
    axis.tick_params(length=0, labeltop=True, labelbottom=False)
    axis.spines[:].set_visible(False)
    axis.set_title(textwrap.fill(test.texts[row][:100] + " …", 52), pad=12)
    save(figure, "fine_grained_table", CHINESE)


def hatched(corner):
    """Return the cell of a level that the aspect does not have."""
    return Rectangle(corner, 1, 1, facecolor="#edf2f7", edgecolor="#cbd5e0", hatch="///", lw=0)


if __name__ == "__main__":
    main()
