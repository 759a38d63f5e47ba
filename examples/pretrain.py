"""Pretrain albert-tiny on any text by masked language modelling.

    python examples/pretrain.py TEXT_FILE --output FOLDER

TEXT_FILE holds one document a line. The folder receives a checkpoint in the public TensorFlow
format of its variant (`albert_model.ckpt.*`, `albert_config.json`, `vocab.txt`) and `log.csv`; the
examples start from it by `--checkpoint FOLDER`. The same command resumes a run that was stopped;
with another `--steps` the learning rate follows the new schedule from there on.

`--start ENCODER` goes on from an encoder, a folder or a public name, to adapt it to your texts, or
with a larger `--max-length` to longer ones; variant, vocabulary and positions are kept.
"""

import argparse
import csv
import json
import math
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from support.albert_tiny import albert_tiny
from support.albert_tiny import build as build_encoder
from support.architecture import CheckpointError, to_configuration
from support.comparisons import check_vocabulary, compare_vocabulary
from support.locking import locked
from support.results import read, write
from support.settings import fingerprint, length, positive, rate, seed, whole_encoder
from support.table import DataError, read_lines
from support.tokenizer import SPECIAL_TOKENS, load_tokenizer, train_tokenizer
from support.write_checkpoint import write_checkpoint

import keras
import keras_hub
import numpy as np
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from keras_mlc.losses import SparseMultilabelCategoricalCrossentropy

MASKED_SHARE = 0.15
CLS_WEIGHT = 0.5


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", type=Path, help="UTF-8 text, one document a line")
    parser.add_argument("--output", type=Path, required=True, help="folder of the encoder")
    parser.add_argument("--start", metavar="ENCODER", help="an encoder to go on from")
    parser.add_argument("--vocabulary", type=Path, help="a vocab.txt; learned from TEXT if absent")
    parser.add_argument(
        "--vocabulary-size", type=positive, help="of a learned one; 8192 by default"
    )
    parser.add_argument(
        "--variant", choices=("google", "brightmart"), help="architecture; google by default"
    )
    parser.add_argument("--max-length", type=length, default=64, help="tokens a sequence")
    parser.add_argument("--batch-size", type=positive, default=64)
    parser.add_argument("--steps", type=positive, default=2800)
    parser.add_argument("--learning-rate", type=rate, default=1e-3, help="peak")
    parser.add_argument("--warmup", type=positive, default=300, help="steps to the peak")
    parser.add_argument("--minutes", type=minutes, default=math.inf, help="stop after; resumable")
    parser.add_argument(
        "--save-every", type=positive, default=100, help="steps between checkpoints"
    )
    parser.add_argument(
        "--dtype-policy",
        choices=("float32", "mixed_bfloat16"),
        default="float32",
        help="mixed_bfloat16 is faster on CPUs with AVX512-BF16 or AMX",
    )
    parser.add_argument(
        "--float16", action="store_true", help="write the checkpoint in half precision"
    )
    parser.add_argument("--seed", type=seed, default=0)
    arguments = parser.parse_args()
    shape = arguments.variant, arguments.vocabulary, arguments.vocabulary_size
    if arguments.start and any(shape):
        parser.error(
            "--start brings variant and vocabulary along; leave out --variant, --vocabulary and "
            "--vocabulary-size"
        )
    if arguments.start and Path(arguments.start).resolve() == arguments.output.resolve():
        parser.error("--output must be another folder than --start, which stays as it is")
    return arguments


def minutes(text):
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"must be above 0, received {text}")
    return value


class Trapezoid(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, a plateau, and a linear decay to 0 over the last 40 % of the steps."""

    def __init__(self, peak, warmup, steps):
        self.peak, self.warmup, self.steps = peak, warmup, steps

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        rise = (step + 1) / self.warmup
        fall = (self.steps - step) / (0.4 * self.steps)
        return self.peak * keras.ops.clip(keras.ops.minimum(rise, fall), 0.0, 1.0)

    def get_config(self):
        return {"peak": self.peak, "warmup": self.warmup, "steps": self.steps}


class MaskedText:
    """Batches for masked language modelling; batch `step` is the same in every run.

    A sequence is the beginning of a document. Where that is shorter than `length` tokens, others
    follow after [SEP], another one in every pass, so no computation is spent on padding.
    """

    def __init__(self, documents, tokenizer, length, batch_size, seed):
        tokenizer.no_truncation()
        tokenizer.no_padding()
        encodings = tokenizer.encode_batch(documents, add_special_tokens=False)
        self.pad, self.cls, self.sep, self.mask = map(
            tokenizer.token_to_id, ("[PAD]", "[CLS]", "[SEP]", "[MASK]")
        )
        self.documents = [np.array([*e.ids, self.sep], "int32") for e in encodings]
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.vocabulary_size = tokenizer.get_vocab_size()
        counts = np.bincount(np.concatenate(self.documents), minlength=self.vocabulary_size)
        self.frequencies = (counts + 1) / (counts + 1).sum()
        self.specials = np.array([self.pad, self.cls, self.sep, self.mask])
        self.batches_per_pass = len(documents) // batch_size
        if not self.batches_per_pass:
            raise DataError(
                f"{len(documents):,} documents do not fill one batch; lower `--batch-size`."
            )
        self.current_pass = None

    def sequences(self, number):
        """All sequences of pass `number`, (N, length)."""
        if number != self.current_pass:
            order = np.random.default_rng([self.seed, number]).permutation(len(self.documents))
            documents = [self.documents[i] for i in order]
            lengths = np.array([len(document) for document in documents])
            starts = np.cumsum(lengths) - lengths
            places = starts[:, None] + np.arange(self.length - 1)
            body = np.take(np.concatenate(documents), places, mode="wrap")
            self._sequences = np.insert(body, 0, self.cls, axis=1)
            self.current_pass = number
        return self._sequences

    def batch(self, step):
        """The inputs at a step, the masked tokens from their places and from [CLS], and weights.

        The tokens are (B, P); -1 stands for none.
        """
        number, index = divmod(step, self.batches_per_pass)
        rows = slice(index * self.batch_size, (index + 1) * self.batch_size)
        tokens = self.sequences(number)[rows].copy()
        rng = np.random.default_rng([self.seed, number, index])

        eligible = ~np.isin(tokens, self.specials)
        count = math.ceil(MASKED_SHARE * self.length)
        order = np.argsort(np.where(eligible, rng.random(tokens.shape), 2.0), axis=1)
        positions = np.sort(order[:, :count], axis=1)
        targets = np.take_along_axis(tokens, positions, axis=1)
        weights = np.take_along_axis(eligible, positions, axis=1).astype("float32")

        # of the chosen tokens 80 % are masked, 10 % replaced, 10 % kept
        lot = rng.random(positions.shape)
        strangers = rng.integers(len(self.specials), self.vocabulary_size, positions.shape)
        shown = np.where(lot < 0.8, self.mask, np.where(lot < 0.9, strangers, targets))
        shown = np.where(weights > 0, shown, targets)
        np.put_along_axis(tokens, positions, shown.astype("int32"), axis=1)
        inputs = {
            "token_ids": tokens,
            "segment_ids": np.zeros_like(tokens),
            "padding_mask": np.ones_like(tokens),
            "mask_positions": positions.astype("int32"),
        }
        together = np.where(weights > 0, targets, -1)
        return (
            inputs,
            {"each": targets, "together": together},
            {"each": weights, "together": np.ones(len(tokens), "float32")},
        )


def start_from(checkpoint, length):
    """An encoder from a checkpoint; where it has fewer positions, they are repeated."""
    encoder = albert_tiny(checkpoint)
    architecture = encoder.architecture
    if architecture.positions >= length:
        return encoder
    longer = build_encoder(replace(architecture, positions=length))
    shapes = [weight.shape for weight in longer.weights]
    longer.set_weights(list(map(np.resize, encoder.get_weights(), shapes)))
    return longer


def build(arguments, frequencies):
    """The encoder, and the model that predicts masked tokens with it.

    Each masked token is predicted from its place, and all of them together from [CLS], as a
    multi-label problem: masked language modelling alone would leave [CLS] without a meaning.

    Both predictions start from the tokens' frequencies. The encoder would else learn those first,
    as one vector for every token, and take long to part the tokens again.
    """
    if arguments.start:
        encoder = start_from(arguments.start, arguments.max_length)
    else:
        encoder = albert_tiny(
            variant=arguments.variant or "google",
            max_length=arguments.max_length,
            vocabulary_size=len(frequencies),
        )
    positions = keras.Input((None,), dtype="int32", name="mask_positions")

    def predict(places, name):
        return keras_hub.layers.MaskedLMHead(
            token_embedding=encoder.get_layer("token_embedding"),
            intermediate_activation="gelu",
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            dtype="float32",
            name=name,
        )(encoder.output, mask_positions=places)

    # Older Keras knows outputs by the names of their layers, not by their keys.
    each = predict(positions, "each")  # (B, P, V)
    first = predict(keras.ops.zeros_like(positions[:, :1]), "together_head")
    together = keras.layers.Reshape((len(frequencies),), name="together")(first)  # (B, V)
    outputs = {"each": each, "together": together}
    model = keras.Model({**encoder.input, "mask_positions": positions}, outputs)
    for name, tokens in (("each", 1), ("together_head", MASKED_SHARE * arguments.max_length)):
        weights = model.get_layer(name).weights
        bias = next(weight for weight in weights if weight.name == "output_bias")
        bias.assign(np.log(tokens * frequencies))
    model.compile(
        keras.optimizers.AdamW(
            Trapezoid(arguments.learning_rate, arguments.warmup, arguments.steps),
            weight_decay=0.01,
            global_clipnorm=1.0,
        ),
        loss={
            "each": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "together": SparseMultilabelCategoricalCrossentropy(),
        },
        loss_weights={"each": 1.0, "together": CLS_WEIGHT},
        weighted_metrics={"each": ["accuracy"]},
    )
    model.optimizer.build(model.trainable_variables)
    return encoder, model


def save(model, path):
    """Write weights and optimizer state so that a kill leaves the old file or the new one.

    Weights that are not numbers are refused, and the old file stays.
    """
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        raise DataError(
            f"The weights became NaN since the last save. {path.parent} keeps what was saved then, "
            "if anything was: go on from there with a lower --learning-rate."
        )
    partial = path.with_name("partial.weights.h5")
    model.save_weights(partial)
    os.replace(partial, path)


def load(model, path):
    try:
        model.load_weights(path)
    except Exception as error:  # of many classes, as what is damaged is HDF5
        raise DataError(
            f"{path}: damaged, or of another version ({type(error).__name__}). Remove it to begin "
            "again, or choose another --output."
        ) from None


def learn_vocabulary(documents, size, folder):
    """Write `vocab.txt` in one move."""
    with tempfile.TemporaryDirectory(dir=folder) as partial:
        train_tokenizer(documents, size).save_model(partial)
        os.replace(Path(partial) / "vocab.txt", folder / "vocab.txt")


def refuse_another_run(arguments, encoder, vocabulary):
    """End where the folder holds a run of another encoder, or one that could not be written."""
    try:
        configuration = to_configuration(encoder.architecture)
    except CheckpointError as error:
        raise CheckpointError(f"{arguments.start}: {error}") from None
    run = {
        "start": arguments.start,
        "vocabulary": fingerprint(vocabulary),
        "max_length": arguments.max_length,
        **configuration,
    }
    data = {"text": fingerprint(arguments.text)} | {
        name: getattr(arguments, name) for name in ("batch_size", "seed")
    }
    path = arguments.output / "run.json"
    there = read(path) if path.exists() else run
    if not isinstance(there, dict):
        raise DataError(f"{path} is damaged: nothing says what is in it. Choose another --output.")
    if changed := [name for name in run if there.get(name, run[name]) != run[name]]:
        changes = ", ".join(f"{n}: {there[n]!r} there, {run[n]!r} now" for n in changed)
        raise DataError(
            f"{arguments.output} holds another run ({changes}). Choose another --output, and "
            f"--start {arguments.output} if it is to go on from there."
        )
    for name in data:
        if there.get(name, data[name]) != data[name]:
            print(f"It goes on with another {name.replace('_', ' ')} than before.")
    write(path, json.dumps(run | data, indent=2))


def main():
    arguments = parse_arguments()
    keras.utils.set_random_seed(arguments.seed)
    keras.config.set_dtype_policy(arguments.dtype_policy)
    with locked(arguments.output):
        pretrain(arguments)


def pretrain(arguments):
    folder = arguments.output
    documents = [line.rstrip("\r\n") for line in read_lines(arguments.text)]
    if not any(map(str.strip, documents)):
        raise DataError(f"{arguments.text}: there is no text in it.")
    vocabulary = arguments.vocabulary or folder / "vocab.txt"
    if arguments.start:
        vocabulary = whole_encoder(arguments.start).vocabulary
        if vocabulary.name != "vocab.txt":
            raise DataError(
                f"{vocabulary}: what is written has a vocab.txt. Start from an ALBERT with one, "
                "such as albert_tiny_zh."
            )
    if not arguments.vocabulary and not vocabulary.exists():
        learn_vocabulary(documents, arguments.vocabulary_size or 8192, folder)
    check_vocabulary(vocabulary, SPECIAL_TOKENS)
    tokenizer = load_tokenizer(vocabulary)
    compare_vocabulary(vocabulary, tokenizer.get_vocab_size(), "the tokenizer")
    text = MaskedText(
        documents, tokenizer, arguments.max_length, arguments.batch_size, arguments.seed
    )
    encoder, model = build(arguments, text.frequencies)
    refuse_another_run(arguments, encoder, vocabulary)

    checkpoint = folder / "checkpoint.weights.h5"
    if checkpoint.exists():
        load(model, checkpoint)
    start = int(model.optimizer.iterations)
    print(
        f"{len(documents):,} documents, {text.batches_per_pass:,} batches a pass, "
        f"{model.count_params():,} parameters, from step {start:,}"
    )

    began = time.monotonic()
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with (
        Progress(*columns, TextColumn("loss {task.fields[loss]:.3f}")) as progress,
        open(folder / "log.csv", "a", newline="") as log_file,
    ):
        log = csv.writer(log_file)
        if not log_file.tell():
            log.writerow(["step", "loss", "accuracy", "cls_loss", "seconds"])
        task = progress.add_task("steps", total=arguments.steps, completed=start, loss=math.nan)
        recent = []
        for step in range(start, arguments.steps):
            inputs, targets, weights = text.batch(step)
            logs = model.train_on_batch(inputs, targets, sample_weight=weights, return_dict=True)
            recent.append([logs[n] for n in ("each_loss", "each_accuracy", "together_loss")])
            means = np.mean(recent, axis=0)
            progress.update(task, advance=1, loss=means[0])
            finished = (
                step + 1 == arguments.steps or (time.monotonic() - began) / 60 > arguments.minutes
            )
            if (step + 1) % arguments.save_every == 0 or finished:
                seconds = time.monotonic() - began
                log.writerow([step + 1, *(f"{mean:.4f}" for mean in means), f"{seconds:.0f}"])
                log_file.flush()
                recent.clear()
                save(model, checkpoint)
                if finished:
                    break
    write_checkpoint(encoder, folder, vocabulary, "float16" if arguments.float16 else "float32")
    print(f"Wrote {folder}")


if __name__ == "__main__":
    main()
