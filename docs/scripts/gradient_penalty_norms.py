"""Draw the embedding's gradient during training, with and without the gradient penalty."""

import keras
import numpy as np
import tensorflow as tf
from pictures import (
    BLUE,
    GREY,
    LENGTH,
    ORANGE,
    load_tokens,
    pretrained_vectors,
    save,
    subplots,
)

from keras_mlc.layers import AttentionPooling
from keras_mlc.losses import GradientPenaltyLoss, MultilabelCategoricalCrossentropy

EPOCHS, EVERY, WATCHED = 4, 20, 256
CHINESE = {
    "no penalty": "不加惩罚",
    "penalty, ε = 1": "梯度惩罚，ε = 1",
    "step": "训练步",
    "‖∂L/∂E‖ on held-out texts": "留出文本上的 ‖∂L/∂E‖",
    "texts in the batch": "batch 里的文本数",
    "merged ÷ separate occurrences": "合并重复 token ÷ 不合并",
}
BASE = MultilabelCategoricalCrossentropy()


class Watch(keras.callbacks.Callback):
    """Keep the loss of held-out texts, and the norm of its gradient by the embedding."""

    def __init__(self, tokens, labels):
        super().__init__()
        self.data, self.step, self.curve = (tokens, labels), 0, []

    def on_train_batch_end(self, batch, logs=None):
        """Look every few steps."""
        if self.step % EVERY == 0:
            loss, gradient = gradient_of(self.model, *self.data)
            self.curve.append((self.step, float(loss), norm(gradient)))
        self.step += 1


def gradient_of(model, tokens, labels):
    """Return the loss and its gradient by the embedding, as slices of the tokens."""
    with tf.GradientTape() as tape:
        loss = BASE(labels, model(tokens, training=False))
    return loss, tape.gradient(loss, model.get_layer("tokens").embeddings.value)


def norm(gradient):
    """Return the norm of a gradient by the matrix."""
    return float(np.linalg.norm(tf.convert_to_tensor(gradient)))


def main():
    """Draw the norms, and the penalty with merged and with separate occurrences."""
    (tokens, labels), (test_tokens, test_labels), _ = load_tokens()
    figure, (left, right) = subplots(2, 5)
    for epsilon, colour in ((0.0, ORANGE), (1.0, BLUE)):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((LENGTH,), dtype="int32")
        embedding = pretrained_vectors()
        scores = keras.layers.Dense(labels.shape[1])(AttentionPooling()(embedding(inputs)))
        model = keras.Model(inputs, scores)
        model.compile(keras.optimizers.Adam(2e-3), GradientPenaltyLoss(BASE, embedding, epsilon))
        watch = Watch(test_tokens[:WATCHED], test_labels[:WATCHED])
        model.fit(tokens, labels, batch_size=64, epochs=EPOCHS, verbose=0, callbacks=[watch])
        steps, losses, norms = zip(*watch.curve, strict=True)
        print(f"epsilon {epsilon}: loss {losses[-1]:.3f}, norm {norms[-1]:.3f}")
        name = f"penalty, ε = {epsilon:g}" if epsilon else "no penalty"
        left.plot(steps, norms, color=colour, label=name)
        if not epsilon:
            plain = model
    left.set_xlabel("step")
    left.set_ylabel("‖∂L/∂E‖ on held-out texts")
    left.set_ylim(0)
    left.legend()

    sizes = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256])
    ratios = []
    for size in sizes:
        _, slices = gradient_of(plain, tokens[:size], labels[:size])
        ratios.append(norm(slices) ** 2 / float(tf.reduce_sum(tf.square(slices.values))))
    print("merged / separate:", np.round(ratios, 2))
    right.axhline(1, color=GREY, linewidth=1, linestyle="--")
    right.plot(sizes, ratios, color=BLUE, marker="o", markersize=3)
    right.set_xscale("log", base=2)
    right.set_xticks(sizes, sizes)
    right.set_ylim(0)
    right.set_xlabel("texts in the batch")
    right.set_ylabel("merged ÷ separate occurrences")
    save(figure, "gradient_penalty_norms", CHINESE)


if __name__ == "__main__":
    main()
