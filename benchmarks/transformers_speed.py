"""How many texts a second train and predict here, and in `transformers` on torch?

Both classify by a dense layer on [CLS], over encoders of the same sizes: albert-tiny (4 layers that
share weights, width 312) and a MiniLM-L6 (6 layers, width 384). Random weights, texts of 48 tokens,
65 labels, binary cross-entropy, AdamW, no dropout. Training takes batches of 32, prediction of 64.
What there is for each backend: float32, bfloat16 where matrices are multiplied (Keras's
`mixed_bfloat16`, torch's `autocast`), and whether a step is compiled.

Steps and predictions of both are taken in turn in one process, so each row of the table shares its
moments with the row of `transformers` above it. Reading and splitting texts is not in it.

    python benchmarks/transformers_speed.py
    KERAS_BACKEND=jax python benchmarks/transformers_speed.py
    KERAS_BACKEND=torch python benchmarks/transformers_speed.py
"""

import sys
from pathlib import Path

import keras
import numpy as np
import torch
from measure import BACKEND, MODES, arguments, in_turn, print_table, ratios, spread
from transformers import AlbertConfig, AlbertModel, BertConfig, BertModel

sys.path.append(str(Path(__file__).parents[1] / "examples"))
from support.albert_tiny import build
from support.architecture import Architecture

TRAINED, PREDICTED, LENGTH, LABELS = 32, 64, 48, 65
PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
ENCODERS = {
    "albert-tiny": Architecture(),
    "MiniLM-L6": Architecture(
        variant="bert", vocabulary_size=30522, embedding=384, hidden=384, layers=6, groups=6,
        feed_forward=1536, activation="gelu",
    ),
}  # fmt: skip


def batch(size):
    """Return token ids and labels."""
    rng = np.random.default_rng(0)
    return rng.integers(1, 20_000, (size, LENGTH), "int32"), rng.integers(0, 2, (size, LABELS))


def ours(architecture, precision, jit_compile):
    """Return a call that trains on a batch and one that predicts one."""
    encoder = build(architecture, dtype=PRECISIONS[precision])
    scores = keras.layers.Dense(LABELS, dtype="float32")(encoder.output[:, 0])
    model = keras.Model(encoder.input, scores)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1e-4), loss, jit_compile=jit_compile)

    def inputs(size):
        ids, labels = batch(size)
        zeros, ones = np.zeros_like(ids), np.ones_like(ids)
        names = {"token_ids": ids, "segment_ids": zeros, "padding_mask": ones}
        return keras.tree.map_structure(keras.ops.convert_to_tensor, (names, labels))

    (x, y), (new, _) = inputs(TRAINED), inputs(PREDICTED)
    return lambda: model.train_on_batch(x, y), lambda: model.predict_on_batch(new)


class Classifier(torch.nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.classifier = torch.nn.Linear(encoder.config.hidden_size, LABELS)

    def forward(self, ids):
        hidden = self.encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        return self.classifier(hidden[:, 0])


def theirs(architecture, precision):
    """Return a call that trains on a batch and one that predicts one, as their Trainer does it."""
    sizes = {
        "vocab_size": architecture.vocabulary_size,
        "hidden_size": architecture.hidden,
        "num_hidden_layers": architecture.layers,
        "num_attention_heads": architecture.heads,
        "intermediate_size": architecture.feed_forward,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    if architecture.variant == "bert":
        encoder = BertModel(BertConfig(**sizes, hidden_act="gelu"), add_pooling_layer=False)
    else:
        config = AlbertConfig(**sizes, embedding_size=architecture.embedding)
        encoder = AlbertModel(config, add_pooling_layer=False)
    model = Classifier(encoder)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    loss = torch.nn.BCEWithLogitsLoss()
    ids, labels = map(torch.as_tensor, batch(TRAINED))
    labels, new = labels.float(), torch.as_tensor(batch(PREDICTED)[0])
    lower = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")

    def train():
        optimizer.zero_grad()
        with lower:
            value = loss(model(ids).float(), labels)
        value.backward()
        optimizer.step()
        return value.item()

    def predict():
        with torch.inference_mode(), lower:
            return model(new).float().numpy()

    return train, predict


def main():
    options = arguments(__doc__, encoders=list(ENCODERS), repeats=10)
    rows = []
    for name in options.encoders:
        kinds = {("transformers", precision, "eager"): None for precision in PRECISIONS}
        kinds |= {
            (f"Keras, {BACKEND}", precision, mode): jit_compile
            for precision in PRECISIONS
            for mode, jit_compile in MODES.items()
        }
        both = {
            kind: theirs(ENCODERS[name], kind[1])
            if kind[0] == "transformers"
            else ours(ENCODERS[name], kind[1], jit_compile)
            for kind, jit_compile in kinds.items()
        }
        seconds = [
            in_turn({kind: calls[which] for kind, calls in both.items()}, options.repeats)
            for which in range(2)
        ]
        for kind in kinds:
            other = "transformers", kind[1], "eager"
            row = dict(zip(("library", "precision", "mode"), kind, strict=True))
            row = {"encoder": name, **row}
            for what, size, each in zip(
                ("trained", "predicted"), (TRAINED, PREDICTED), seconds, strict=True
            ):
                row[f"texts a second, {what}"] = spread([size / time for time in each[kind]], 0)
                row[f"times theirs, {what}"] = spread(ratios(each[other], each[kind]))
            rows.append(row)
        del both
        keras.utils.clear_session()
    print_table(rows, f"{options.repeats} turns, {LENGTH} tokens a text.", options)


if __name__ == "__main__":
    main()
