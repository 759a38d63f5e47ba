"""Pretrain albert-tiny on texts of your own, by masked language modelling.

    python examples/data/pretrain.py texts.txt --output encoder
    python examples/sigmoid.py --checkpoint encoder

A text file has one document per line. The folder receives, every 100 steps, an encoder in the
TensorFlow format of the public albert-tiny ("google"): `albert_model.ckpt.*`, `albert_config.json`
and `vocab.txt`; and `log.csv`.

`--start FOLDER` goes on from an encoder in that format and keeps its sizes and vocabulary: to adapt
it to your texts, to read longer ones (`--max-length`), or after a run that was stopped.
"""

import argparse
import json
import math
import os
import sys
import tempfile
from pathlib import Path

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from tokenizers import BertWordPieceTokenizer

from keras_mlc import SparseMultilabelCategoricalCrossentropy

BUNDLED = Path(__file__).parent / "encoder"  # whose sizes a new encoder has
SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
MASKED_SHARE = 0.15
SIZES = {  # the names of KerasHub, and those of the configuration
    "vocabulary_size": "vocab_size",
    "max_sequence_length": "max_position_embeddings",
    "num_segments": "type_vocab_size",
    "embedding_dim": "embedding_size",
    "hidden_dim": "hidden_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "intermediate_dim": "intermediate_size",
}
VARIABLES = {  # parts of names in KerasHub, and in a checkpoint
    "token_embedding/embeddings": "embeddings/word_embeddings",
    "position_embedding/embeddings": "embeddings/position_embeddings",
    "segment_embedding/embeddings": "embeddings/token_type_embeddings",
    "embeddings_layer_norm": "embeddings/LayerNorm",
    "embedding_projection": "encoder/embedding_hidden_mapping_in",
    "group_0_inner_layer_0": "encoder/transformer/group_0/inner_group_0",
    "self_attention_layer/attention_output": "attention_1/output/dense",
    "self_attention_layer/": "attention_1/self/",
    "self_attention_layer_norm": "LayerNorm",
    "feedforward_layer_norm": "LayerNorm_1",
    "feedforward_intermediate_dense": "ffn_1/intermediate/dense",
    "feedforward_output_dense": "ffn_1/intermediate/output/dense",
}


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", type=Path, nargs="+", help="UTF-8 text, one document per line")
    parser.add_argument("--output", type=Path, required=True, help="folder of the encoder")
    parser.add_argument("--start", type=Path, help="folder of an encoder to go on from")
    parser.add_argument("--vocabulary", type=Path, help="a vocab.txt; by default, it is learned")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="after the warm-up")
    parser.add_argument("--dtype-policy", default="float32", help="such as mixed_bfloat16")
    numbers = {"vocabulary-size": 8192, "max-length": 64, "batch-size": 64, "steps": 2800}
    for name, default in {**numbers, "warmup": 300, "seed": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{default} by default")
    options = parser.parse_args(arguments)
    if options.max_length < 3 or min(options.batch_size, options.steps, options.warmup) < 1:
        parser.error("--max-length must be at least 3, the other numbers must be positive")
    return options


def make_tokenizer(vocabulary, documents, size):
    """Read a `vocab.txt`, or learn a vocabulary without capitals."""
    if not vocabulary:
        tokenizer = BertWordPieceTokenizer()
        tokenizer.train_from_iterator(
            documents, vocab_size=size, special_tokens=SPECIAL_TOKENS, show_progress=False
        )
        return tokenizer
    entries = vocabulary.read_text("utf-8").rstrip("\n").split("\n")
    if missing := [token for token in SPECIAL_TOKENS if token not in entries]:
        raise ValueError(f"{vocabulary}: {', '.join(missing)} is missing; is it one of BERT's?")
    ids = {entry: number for number, entry in enumerate(entries)}
    return BertWordPieceTokenizer(ids, lowercase="A" not in ids)


def variables_of(backbone):
    """Map a checkpoint's names to the weights and the shapes that they have there."""
    variables = {}
    for weight in backbone.weights:
        name, shape = weight.path, tuple(weight.shape)
        for ours, theirs in VARIABLES.items():
            name = name.replace(ours, theirs)
        if "/attention_1/" in name:  # whose heads KerasHub keeps apart
            shape = (backbone.hidden_dim,) * (2 if name.endswith("kernel") else 1)
        if "pooled" not in name:
            variables[f"bert/{name}"] = weight, shape
    return variables


def make_encoder(start, vocabulary_size, max_length):
    """Return an encoder and its configuration; positions that it lacks repeat those it has."""
    path = next((start or BUNDLED).glob("*config*.json"))
    configuration = json.loads(path.read_text("utf-8"))
    for name, only in {"hidden_act": "gelu", "num_hidden_groups": 1, "inner_group_num": 1}.items():
        if configuration.get(name, only) != only:
            raise ValueError(f"{path}: {name} must be {only!r}")
    known = configuration["max_position_embeddings"] if start else 0
    configuration["max_position_embeddings"] = max(known, max_length)
    configuration["vocab_size"] = vocabulary_size
    sizes = {ours: configuration[theirs] for ours, theirs in SIZES.items()}
    backbone = keras_hub.models.AlbertBackbone(**sizes)
    backbone.pooled_dense.trainable = False  # it pools nothing here, and is not written
    if start:
        reader = tf.train.load_checkpoint(str(start / "albert_model.ckpt"))
        for name, (weight, shape) in variables_of(backbone).items():
            array = reader.get_tensor(name).astype("float32")
            if name.endswith("position_embeddings"):
                array = np.resize(array, (max(known, max_length), *array.shape[1:]))
            if array.shape != shape:
                raise ValueError(f"{start}: {name} is {array.shape}; expected {shape}")
            weight.assign(array.reshape(weight.shape))
    return backbone, configuration


def write_encoder(folder, backbone, configuration, tokenizer):
    """Write an encoder in half precision. A kill leaves the old files or the new ones."""
    arrays = {
        name: keras.ops.convert_to_numpy(weight).reshape(shape)
        for name, (weight, shape) in variables_of(backbone).items()
    }
    if not all(np.isfinite(array).all() for array in arrays.values()):
        sys.exit("The weights became NaN. Lower --learning-rate.")
    with tempfile.TemporaryDirectory(dir=folder) as partial:
        tf.raw_ops.SaveV2(
            prefix=f"{partial}/albert_model.ckpt",
            tensor_names=list(arrays),
            shape_and_slices=[""] * len(arrays),
            tensors=[tf.cast(array, "float16") for array in arrays.values()],
        )
        text = json.dumps(configuration, indent=2) + "\n"
        Path(partial, "albert_config.json").write_text(text, "utf-8")
        tokenizer.save_model(partial)
        for path in sorted(Path(partial).iterdir()):
            os.replace(path, folder / path.name)


def batches(documents, tokenizer, options):
    """Yield token ids and the places of those to predict, and what stands there (-1: nothing).

    A sequence is the beginning of a document. Where that is shorter than a sequence, others follow
    after [SEP], so that no computation is spent on padding.
    """
    rng = np.random.default_rng(options.seed)
    special = list(map(tokenizer.token_to_id, SPECIAL_TOKENS))
    size = min(options.batch_size, len(documents))
    masked = math.ceil(MASKED_SHARE * options.max_length)
    while True:
        rng.shuffle(documents)
        text = np.concatenate(documents)
        starts = np.cumsum([0, *map(len, documents)])
        for first in range(0, len(documents) - size + 1, size):
            places = starts[first : first + size, None] + np.arange(options.max_length - 1)
            tokens = np.take(text, places, mode="wrap")
            tokens = np.insert(tokens, 0, special[2], axis=1)  # [CLS]
            eligible = ~np.isin(tokens, special)
            positions = np.argsort(rng.random(tokens.shape) - eligible, axis=1)[:, :masked]
            original = np.take_along_axis(tokens, positions, axis=1)
            known = np.take_along_axis(eligible, positions, axis=1)
            # of the chosen tokens 80 % are masked, 10 % replaced, 10 % kept
            lot = rng.random(original.shape)
            others = rng.integers(tokenizer.get_vocab_size(), size=original.shape)
            shown = np.where(lot < 0.8, special[4], np.where(lot < 0.9, others, original))
            np.put_along_axis(tokens, positions, np.where(known, shown, original), axis=1)
            targets = np.where(known, original, -1)
            yield (tokens, positions), (targets, targets[:, None])


def make_model(backbone, frequencies, masked):
    """Predict each masked token from its place, and all of them from [CLS], as labels of a text.

    Masked language modelling alone would leave [CLS] without a meaning. Both predictions start from
    the tokens' frequencies: the encoder would else learn those first, as one vector for all tokens,
    and take long to tell the tokens apart again.
    """
    tokens, positions = (keras.Input((None,), dtype="int32") for _ in range(2))
    segments, padding_mask = keras.ops.zeros_like(tokens), keras.ops.ones_like(tokens)
    inputs = {"token_ids": tokens, "segment_ids": segments, "padding_mask": padding_mask}
    sequence = backbone(inputs)["sequence_output"]
    outputs = []
    for places, expected in ((positions, 1), (keras.ops.zeros_like(positions[:, :1]), masked)):
        head = keras_hub.layers.MaskedLMHead(
            token_embedding=backbone.token_embedding,
            intermediate_activation="gelu",
            dtype="float32",
            name="tokens" if expected == 1 else "text",
        )
        outputs.append(head(sequence, mask_positions=places))
        (bias,) = (weight for weight in head.weights if weight.name == "output_bias")
        bias.assign(np.log(expected * frequencies))
    return keras.Model((tokens, positions), outputs)


def pretrain(options, documents, tokenizer, backbone, configuration):
    end = tokenizer.token_to_id("[SEP]")
    encoded = tokenizer.encode_batch(documents, add_special_tokens=False)
    documents = [np.array([*document.ids, end], "int32") for document in encoded]
    counts = 1 + np.bincount(np.concatenate(documents), minlength=tokenizer.get_vocab_size())
    model = make_model(backbone, counts / counts.sum(), MASKED_SHARE * options.max_length)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0,
        max(1, options.steps - options.warmup),
        warmup_target=options.learning_rate,
        warmup_steps=options.warmup,
    )
    each = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=0.01, global_clipnorm=1.0),
        loss=[each, SparseMultilabelCategoricalCrossentropy()],
        loss_weights=[1.0, 0.5],
        metrics=[["accuracy"], []],
    )

    print(f"{len(documents):,} documents, {backbone.count_params():,} parameters", flush=True)
    parts = math.ceil(options.steps / 100)
    written = options.output, backbone, configuration, tokenizer
    model.fit(
        batches(documents, tokenizer, options),
        epochs=parts,
        steps_per_epoch=math.ceil(options.steps / parts),
        shuffle=False,
        callbacks=[
            keras.callbacks.CSVLogger(options.output / "log.csv"),
            keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: write_encoder(*written)),
        ],
        verbose=2,
    )
    print(f"Wrote {options.output}")


def main(arguments=None):
    options = parse(arguments)
    keras.utils.set_random_seed(options.seed)
    try:
        keras.config.set_dtype_policy(options.dtype_policy)
        lines = [line for path in options.texts for line in path.read_text("utf-8-sig").split("\n")]
        if not (documents := list(filter(str.strip, lines))):
            raise ValueError(f"{options.texts[0]}: there is no text in it")
        vocabulary = options.start / "vocab.txt" if options.start else options.vocabulary
        tokenizer = make_tokenizer(vocabulary, documents, options.vocabulary_size)
        encoder = make_encoder(options.start, tokenizer.get_vocab_size(), options.max_length)
        options.output.mkdir(parents=True, exist_ok=True)
        if any(options.output.glob("*.index")):
            raise ValueError(f"{options.output} holds an encoder; choose another --output")
        (options.output / "log.csv").touch()
    except (OSError, ValueError) as error:
        sys.exit(" ".join(str(error).split()))
    except (LookupError, StopIteration, RuntimeError, tf.errors.OpError) as error:
        sys.exit(f"{options.start}: no checkpoint of this format, or damaged ({error})")
    pretrain(options, documents, tokenizer, *encoder)


if __name__ == "__main__":
    main()
