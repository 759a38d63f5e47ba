"""Draw how far FGM moves the vectors of real texts, and what that does to the loss."""

import keras
import numpy as np
import tensorflow as tf
from pictures import (
    BLUE,
    GREEN,
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
SIZES, DRAWS = (4, 8, 16, 32, 64, 128, 256), 10
CHINESE = {
    "norm of the row of δ, ε = 1": "δ 各行的范数，ε = 1",
    "{} of the {} rows that move; {} in all": "被挪动的 {1} 行里的前 {0} 行；共 {2} 行",
    "along the gradient, {}": "沿梯度方向，{}",
    "random, mean of 10 draws": "随机方向，10 次平均",
    "ε, the norm of δ": "ε，即 δ 的范数",
    "increase of the loss, from {}": "损失的上升量，原为 {}",
    "texts in the batch": "batch 里的文本数",
    "increase of the loss, ε = 0.5": "损失的上升量，ε = 0.5",
}


def main():
    """Draw delta's rows, and the loss uphill, against epsilon and against the batch size."""
    (tokens, labels), _, _ = load_tokens()
    embedding, pooling = pretrained_vectors(), AttentionPooling()
    inputs = keras.Input((LENGTH,), dtype="int32")
    classify = keras.layers.Dense(labels.shape[1])
    model = keras.Model(inputs, classify(pooling(embedding(inputs))))
    loss = MultilabelCategoricalCrossentropy()
    model.compile(keras.optimizers.Adam(2e-3), loss)
    model.fit(tokens, labels, batch_size=64, epochs=2, verbose=0)

    def loss_at(shift, batch, targets):
        vectors = embedding(batch) + shift
        scores = classify(pooling(vectors, mask=embedding.compute_mask(batch)))
        return loss(targets, scores)

    def uphill(batch, targets):
        """Return the gradient of the matrix, what both norms add to vectors, and the loss."""
        shift = tf.zeros((*batch.shape, embedding.output_dim))
        with tf.GradientTape() as tape:
            tape.watch(shift)
            value = loss_at(shift, batch, targets)
        slope = tape.gradient(value, shift).numpy()
        rows = np.zeros(embedding.embeddings.shape, slope.dtype)
        np.add.at(rows, batch, slope)
        whole = rows[batch] * (batch != 0)[..., None] / np.linalg.norm(rows)
        each = slope / np.linalg.norm(slope, axis=(1, 2), keepdims=True)
        return rows, whole, each, float(value)

    batch, targets = tokens[:BATCH], labels[:BATCH]
    gradient, whole, each, value = uphill(batch, targets)
    size = np.linalg.norm(gradient)
    delta = gradient / (size + 1e-8)
    norms = np.linalg.norm(delta, axis=1)
    lengths = np.linalg.norm(embedding.embeddings.numpy()[norms > 0], axis=1)
    print(f"{len(lengths)} of {len(norms)} rows move, {lengths.mean():.2f} long on average")

    def rises(shift):
        return [float(loss_at(e * shift, batch, targets)) - value for e in EPSILONS]

    rng = np.random.default_rng(0)
    draws = []
    for _ in range(10):  # Of the same norm, over the same rows.
        draw = rng.normal(size=delta.shape) * (norms > 0)[:, None]
        draws.append((draw / np.linalg.norm(draw)).astype("float32")[batch])
    whole, each = rises(whole), rises(each)
    anywhere = [rises(draw) for draw in draws]
    by_size = np.zeros((2, len(SIZES), DRAWS))
    for column, number in enumerate(SIZES):
        for turn in range(DRAWS):
            chosen = rng.permutation(len(tokens))[:number]
            ids, wanted = tokens[chosen], labels[chosen]
            _, *both, start = uphill(ids, wanted)
            for norm, shift in enumerate(both):
                rise = float(loss_at(0.5 * shift, ids, wanted)) - start
                by_size[norm, column, turn] = rise

    figure, (left, middle, right) = subplots(3, 9, height_ratios=[1.3, 1, 1])
    top = np.argsort(-norms)[:SHOWN]
    left.barh(range(SHOWN), norms[top], color=BLUE)
    names = [TOKENIZER.id_to_token(int(token)) for token in top]
    left.set_yticks(range(SHOWN), names, fontsize=8)
    left.set_ylim(SHOWN - 0.4, -0.6)
    left.set_xlabel("norm of the row of δ, ε = 1")
    rows = np.count_nonzero(norms)
    title = f"{SHOWN} of the {rows} rows that move; {len(norms):,} in all"
    left.set_title(title)

    line = "along the gradient"
    middle.plot(EPSILONS, each, color=GREEN, marker="o", markersize=3, label=f'{line}, "sample"')
    middle.plot(EPSILONS, whole, color=ORANGE, marker="o", markersize=3, label=f'{line}, "batch"')
    middle.plot(EPSILONS, EPSILONS * size, "--", color=BLUE, linewidth=1, label="ε · ‖g‖")
    mean, low, high = (take(anywhere, axis=0) for take in (np.mean, np.min, np.max))
    middle.plot(EPSILONS, mean, color=GREY, label="random, mean of 10 draws")
    middle.fill_between(EPSILONS, low, high, color=GREY, alpha=0.3, linewidth=0)
    middle.set_xlabel("ε, the norm of δ")
    middle.set_ylabel(f"increase of the loss, from {value:.2f}")
    middle.legend(loc="upper left")

    lines = ((by_size[1], GREEN, '"sample"'), (by_size[0], ORANGE, '"batch"'))
    for rise, color, label in lines:
        mean = rise.mean(axis=1)
        right.plot(SIZES, mean, color=color, marker="o", markersize=3, label=label)
        low, high = rise.min(axis=1), rise.max(axis=1)
        right.fill_between(SIZES, low, high, color=color, alpha=0.25, linewidth=0)
    right.set_xscale("log", base=2)
    right.set_xticks(SIZES, SIZES)
    right.set_ylim(0)
    right.set_xlabel("texts in the batch")
    right.set_ylabel("increase of the loss, ε = 0.5")
    right.legend(loc="center right")
    save(figure, "perturbation", CHINESE)
    for name, rise in (("batch", whole), ("sample", each), ("random", np.mean(anywhere, axis=0))):
        print(name, [f"{e}: {v:.3f}" for e, v in zip(EPSILONS, rise, strict=True)])
    for name, rise in zip(("batch", "sample"), by_size.mean(axis=2), strict=True):
        print(name, [f"{n} texts: {v:.3f}" for n, v in zip(SIZES, rise, strict=True)])


if __name__ == "__main__":
    main()
