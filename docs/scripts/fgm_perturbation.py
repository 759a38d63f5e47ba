"""Draw what FGM does to the token vectors of a real batch, and what that does to the loss."""

import keras
import numpy as np
import tensorflow as tf
from pictures import (
    BLUE,
    GREY,
    LENGTH,
    ORANGE,
    TOKENIZER,
    load_tokens,
    pretrained_vectors,
    save,
    subplots,
)

from keras_mlc.layers import AttentionPooling
from keras_mlc.losses import MultilabelCategoricalCrossentropy

BATCH, SHOWN = 32, 16
EPSILONS = np.array([0, 0.125, 0.25, 0.5, 0.75, 1, 1.5, 2])


def main():
    """Draw the norms of delta's rows, and the loss uphill and in random directions."""
    (tokens, labels), _, _ = load_tokens()
    embedding = pretrained_vectors()
    inputs = keras.Input((LENGTH,), dtype="int32")
    pooled = AttentionPooling()(embedding(inputs))
    model = keras.Model(inputs, keras.layers.Dense(labels.shape[1])(pooled))
    loss = MultilabelCategoricalCrossentropy()
    model.compile(keras.optimizers.Adam(2e-3), loss)
    model.fit(tokens, labels, batch_size=64, epochs=2, verbose=0)

    batch, targets = tokens[:BATCH], labels[:BATCH]
    matrix = tf.Variable(embedding.embeddings)
    with tf.GradientTape() as tape:
        value = loss(targets, model(batch, training=False))
    gradient = tf.convert_to_tensor(tape.gradient(value, embedding.embeddings.value)).numpy()
    size = np.linalg.norm(gradient)
    delta = gradient / (size + 1e-8)
    norms = np.linalg.norm(delta, axis=1)
    lengths = np.linalg.norm(matrix.numpy()[norms > 0], axis=1)
    print(f"{len(lengths)} of {len(norms)} rows move, {lengths.mean():.2f} long on average")

    def moved(direction, epsilon):
        embedding.embeddings.assign(matrix + epsilon * direction)
        return float(loss(targets, model(batch, training=False)) - value)

    rng = np.random.default_rng(0)
    draws = []
    for _ in range(10):  # Of the same norm, over the same rows.
        draw = rng.normal(size=delta.shape) * (norms > 0)[:, None]
        draws.append(draw / np.linalg.norm(draw))
    uphill = [moved(delta, epsilon) for epsilon in EPSILONS]
    anywhere = [[moved(draw, epsilon) for epsilon in EPSILONS] for draw in draws]

    figure, (left, right) = subplots(2, 8, 3.8)
    top = np.argsort(-norms)[:SHOWN]
    left.barh(range(SHOWN), norms[top], color=BLUE)
    left.set_yticks(range(SHOWN), [TOKENIZER.id_to_token(int(token)) for token in top], fontsize=8)
    left.set_ylim(SHOWN - 0.4, -0.6)
    left.set_xlabel("norm of the row of δ, ε = 1")
    rows = np.count_nonzero(norms)
    left.set_title(f"{SHOWN} of the {rows} rows that move; {len(norms):,} in all")

    right.plot(EPSILONS, uphill, color=ORANGE, marker="o", markersize=3, label="along the gradient")
    right.plot(EPSILONS, EPSILONS * size, "--", color=BLUE, linewidth=1, label="ε · ‖g‖")
    right.plot(EPSILONS, np.mean(anywhere, axis=0), color=GREY, label="random, mean of 10 draws")
    low, high = np.min(anywhere, axis=0), np.max(anywhere, axis=0)
    right.fill_between(EPSILONS, low, high, color=GREY, alpha=0.3, linewidth=0)
    right.set_xlabel("ε, the norm of δ over the whole matrix")
    right.set_ylabel(f"increase of the loss, from {float(value):.2f}")
    right.legend(loc="upper left")
    print("loss uphill:", [f"{e}: {v:.3f}" for e, v in zip(EPSILONS, uphill, strict=True)])
    print("random:", np.round(np.mean(anywhere, axis=0), 3))
    save(figure, "fgm_perturbation")


if __name__ == "__main__":
    main()
