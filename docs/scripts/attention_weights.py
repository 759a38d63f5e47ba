"""Draw the weights that attention pooling gives to the tokens of two texts of one batch."""

import keras
import numpy as np
from pictures import BLUE, GREY, LENGTH, load_tokens, pieces_of, pretrained_vectors, save, subplots

from keras_mlc.layers import AttentionPooling
from keras_mlc.losses import MultilabelCategoricalCrossentropy

SHOWN = 30
CHINESE = {
    "weight": "权重",
    "predicted: {}": "预测：{}",
    "dashed: the weight of a plain mean": "虚线：普通平均时的权重",
}


def main():
    """Train a small model on the corpus, and draw its weights for two test texts."""
    (tokens, labels), (test_tokens, test_labels), names = load_tokens()
    inputs = keras.Input((LENGTH,), dtype="int32")
    pooled, weights = AttentionPooling(name="attention")(
        pretrained_vectors()(inputs), return_attention_scores=True
    )
    scores = keras.layers.Dense(labels.shape[1])(pooled)
    model = keras.Model(inputs, scores)
    model.compile(keras.optimizers.Adam(2e-3), MultilabelCategoricalCrossentropy())
    model.fit(tokens, labels, batch_size=64, epochs=5, verbose=0)

    lengths = (test_tokens != 0).sum(axis=1)
    scores = model.predict(test_tokens, verbose=0)
    is_right = ((scores > 0) == test_labels).all(axis=1)
    has_several = test_labels.sum(axis=1) > 2
    rows = np.flatnonzero(is_right & has_several & (lengths < SHOWN))[:2]
    weights = keras.Model(inputs, weights).predict(test_tokens[rows], verbose=0)
    assert (weights[test_tokens[rows] == 0] == 0).all()

    figure, axes = subplots(2, 5.8, beside=True)
    for axis, row, row_weights in zip(axes, rows, weights, strict=True):
        pieces = pieces_of(test_tokens[row][:SHOWN])
        places = np.arange(SHOWN)
        is_padding = test_tokens[row][:SHOWN] == 0
        axis.barh(places, row_weights[:SHOWN], color=BLUE)
        for place in places[is_padding]:
            axis.text(0.002, place, "0", va="center", color=GREY, fontsize=7)
        axis.axvline(1 / lengths[row], color=GREY, linestyle="--", linewidth=1)
        axis.set_yticks(places, pieces, fontsize=8)
        for label, padding in zip(axis.get_yticklabels(), is_padding, strict=True):
            label.set_color(GREY if padding else "black")
        axis.set_ylim(SHOWN - 0.4, -0.6)
        axis.set_xlabel("weight")
        predicted = [name for name, score in zip(names, scores[row], strict=True) if score > 0]
        axis.set_title("predicted: " + ",\n".join(predicted))
    figure.suptitle("dashed: the weight of a plain mean", x=0.01, ha="left", fontsize=9)
    save(figure, "attention_weights", CHINESE)


if __name__ == "__main__":
    main()
