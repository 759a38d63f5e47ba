"""Draw two dropout draws of the same texts against each other, with and without R-Drop."""

import keras
import numpy as np
from pictures import BLUE, GREY, LENGTH, ORANGE, load_tokens, pretrained_vectors, save, subplots

from keras_mlc.data import repeat_pairs
from keras_mlc.layers import AttentionPooling
from keras_mlc.losses import RDropLoss
from keras_mlc.metrics import MultilabelF1Score

TEXTS, SHOWN = 200, 3000
CHINESE = {
    "without R-Drop\nroot mean square\ndifference {}": "不用 R-Drop\n均方根差 {}",
    "R-Drop, alpha = {}\nroot mean square\ndifference {}": "R-Drop，alpha = {}\n均方根差 {}",
    "probability in one draw": "一次 Dropout 的概率",
    "probability in another draw": "另一次 Dropout 的概率",
}


def trained(alpha, data, num_labels):
    """Return a model trained on pairs; with alpha 0 the two draws may differ as they like."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((LENGTH,), dtype="int32")
    hidden = keras.layers.Dropout(0.3)(AttentionPooling()(pretrained_vectors()(inputs)))
    hidden = keras.layers.Dropout(0.3)(keras.layers.Dense(128, activation="relu")(hidden))
    outputs = keras.layers.Dense(num_labels, activation="sigmoid")(hidden)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(2e-3), RDropLoss(alpha=alpha))
    model.fit(*repeat_pairs(data), batch_size=128, epochs=3, shuffle=False, verbose=0)
    return model


def main():
    """Draw the probabilities of one draw against those of another."""
    data, (test_tokens, test_labels), _ = load_tokens()
    num_labels = data[1].shape[1]
    figure, axes = subplots(2, 3.4, beside=True, sharey=True)
    for axis, alpha, colour in zip(axes, (0.0, 4.0 / num_labels), (ORANGE, BLUE), strict=True):
        model = trained(alpha, data, num_labels)
        draws = [np.array(model(test_tokens[:TEXTS], training=True)).ravel() for _ in range(2)]
        difference = np.sqrt(np.mean((draws[0] - draws[1]) ** 2))
        f1 = MultilabelF1Score(threshold=0.5)
        f1.update_state(test_labels, model.predict(test_tokens, verbose=0))
        print(f"alpha {alpha:.3f}: rms difference {difference:.4f}, micro F1 {f1.result():.3f}")
        shown = np.random.default_rng(0).permutation(draws[0].size)[:SHOWN]
        axis.plot([0, 1], [0, 1], color=GREY, linewidth=1)
        axis.plot(*(draw[shown] for draw in draws), ".", color=colour, markersize=2.5, alpha=0.5)
        axis.set_aspect("equal")
        axis.set_xlabel("probability in one draw")
        title = "without R-Drop" if alpha == 0 else f"R-Drop, alpha = 4 / {num_labels}"
        axis.set_title(f"{title}\nroot mean square\ndifference {difference:.3f}")
    axes[0].set_ylabel("probability in another draw")
    save(figure, "r_drop_draws", CHINESE)


if __name__ == "__main__":
    main()
