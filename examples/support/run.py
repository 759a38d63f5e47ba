"""Run rows of the table: what `full_table.py` and every single script call."""

import argparse
import hashlib
import importlib
import json
import os
import shutil
import sys
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from support import UserError, one_line_errors
from support.data import FOLDER, add_file_options, files_of, load_labels, load_levels

import filelock
import numpy as np

BUNDLED_SAMPLES = 3500
VALIDATION_SHARE = 0.05
# what suits the weights that training starts from: chosen on rows that the table does not report
BUNDLED = {"learning_rate": 1e-3, "epochs": 3, "max_length": 48, "r_drop_dropout": 0.1}
STRENGTHS = {"fgm": 0.25, "gradient_penalty": 0.5, "r_drop": 0.1}
# as the public checkpoints' authors advise; R-Drop's rate as in the experiments with them
CHECKPOINT = {"learning_rate": 1e-4, "epochs": 5, "max_length": 64, "r_drop_dropout": 0.3}
POSITIVE = ("batch_size", "epochs", "max_length", "samples", "test_samples", "learning_rate")
FREE = ("rows", "seeds", "output", "save", "checkpoint_hash")  # may differ between runs in a folder


def parse_arguments(row_names):
    parser = argparse.ArgumentParser(
        description=sys.modules["__main__"].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--rows", nargs="+", choices=row_names, default=row_names, metavar="ROW", help="of several")
    add("--seeds", nargs="+", type=int, default=[0], help="one run of every row for each seed")
    add("--output", type=Path, help="folder of the results; by default one for the settings")
    add("--save", action="store_true", help="keep each trained model, in OUTPUT/models")
    add(
        "--checkpoint", help="encoder to start from: a folder, a KerasHub preset, albert_tiny_zh, …"
    )
    add("--checkpoint-hash", help="SHA-256 of the archive of albert_tiny_zh or another such name")
    add("--learning-rate", type=float, help="peak of the schedule")
    add("--epochs", type=int, help="passes over the training rows")
    add("--max-length", type=int, help="tokens a text, [CLS] and [SEP] among them")
    add("--batch-size", type=int, default=32, help="texts a step")
    add("--dropout", type=float, help="rate in every row's encoder; by default in R-Drop's alone")
    add("--strength", type=float, help=f"times the epsilon or alpha of {', '.join(STRENGTHS)}")
    add("--samples", type=int, help=f"training rows; {BUNDLED_SAMPLES:,} of the bundled ones")
    add("--test-samples", type=int, help="test rows; all by default")
    add("--view", choices=["sequence", "cls"], default="sequence", help="tokens that heads see")
    add("--no-tune-thresholds", dest="tune", action="store_false", help="score at 0 alone")
    add("--dtype-policy", help="of the encoder in training: float32 or mixed_bfloat16")
    add_file_options(parser)
    arguments = parser.parse_args()
    for name, value in (CHECKPOINT if arguments.checkpoint else BUNDLED).items():
        if getattr(arguments, name, None) is None:
            setattr(arguments, name, value)
    if arguments.samples is None and not arguments.train:
        arguments.samples = BUNDLED_SAMPLES
    for name in POSITIVE:
        if (value := getattr(arguments, name)) is not None and value <= 0:
            parser.error(f"--{name.replace('_', '-')} must be above 0")
    arguments.dtype_policy = arguments.dtype_policy or fastest_policy()
    return arguments


def fastest_policy():
    """The policy in which an encoder trains fastest.

    On a processor with AMX a step of TensorFlow takes 0.7 of its time in float32; those of JAX and
    torch take longer than theirs.
    """
    import keras
    import tensorflow as tf

    processor = Path("/proc/cpuinfo")
    amx = processor.is_file() and "amx_bf16" in processor.read_text(encoding="utf-8")
    if keras.backend.backend() == "tensorflow" and not tf.config.list_physical_devices("GPU"):
        return "mixed_bfloat16" if amx else "float32"
    return "float32"


def run(*row_names):
    """Train and score the rows for every seed, keeping what is finished."""
    with one_line_errors():
        arguments = parse_arguments(list(row_names))
        files = files_of(arguments)
        checkpoint = arguments.checkpoint or str(FOLDER / "encoder")
        paths = {"train": files.train, "test": files.test, "checkpoint": checkpoint}
        settings = {name: v for name, v in vars(arguments).items() if name not in FREE}
        settings |= asdict(files) | {name: content(Path(path)) for name, path in paths.items()}
        name = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:10]
        output = arguments.output or Path("runs", name)
        with alone_in(output):
            refuse_other_settings(output / "settings.json", settings)
            make_rows(arguments, files, checkpoint, output)
        print(f"Results are in {output}.")


def content(path):
    """The name of a file or a folder with a digest of its content; a name that is neither."""
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.read_bytes())
    return f"{path.name} {digest.hexdigest()[:16]}" if path.exists() else str(path)


@contextmanager
def alone_in(folder):
    """Keep other processes out of a folder, and remove what a killed one has left half written."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(folder / ".lock", blocking=False):
            for partial in folder.rglob("*.partial"):
                shutil.rmtree(partial) if partial.is_dir() else partial.unlink()
            yield
    except filelock.Timeout:
        raise UserError(
            f"{folder}: another process writes here. Choose another --output."
        ) from None


def refuse_other_settings(path, settings):
    there = json.loads(path.read_text(encoding="utf-8")) if path.exists() else settings
    other = [name for name, value in settings.items() if there.get(name) != value]
    if other:
        told = "; ".join(f"{name}: {there.get(name)!r}, now {settings[name]!r}" for name in other)
        raise UserError(f"{path.parent} has rows of other settings ({told}). Use another --output.")
    write(path, settings)


def write(path, value):
    """Write a JSON file in one move: a reader sees the old content or the new."""
    path.parent.mkdir(exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    os.replace(partial, path)


def make_rows(arguments, files, checkpoint, output):
    """Train and score what the output folder lacks, and write the report after each row."""
    # here, so that a wrong option, or a folder in use, is told at once
    from support.encoder import open_encoder
    from support.report import write_report
    from support.task import Task
    from support.training import train_row

    from tfidf import tfidf_row

    source = open_encoder(checkpoint, arguments.checkpoint_hash)
    if arguments.max_length > (source.positions or arguments.max_length):
        raise UserError(f"--max-length: the encoder reads at most {source.positions} tokens.")
    rows = {name: importlib.import_module(name) for name in arguments.rows}
    if arguments.train and not files.aspects and len(rows) > 1 and rows.pop("fine_grained", None):
        print("The fine-grained row is left out: --aspects names no columns of levels.")
    levels = {name: hasattr(row, "FINE_GRAINED") for name, row in rows.items()}
    data = {
        kind: load(arguments, files, kind, source, output) for kind in {*levels.values()} or {False}
    }
    todo = [("tfidf", 0)] if False in data else []
    for name, seed in [*todo, *((name, seed) for seed in arguments.seeds for name in rows)]:
        path = output / "rows" / f"{name}-seed{seed}.json"
        folder = output / "models" / path.stem if arguments.save and name in rows else None
        if path.exists() and (folder is None or folder.exists()):
            continue
        print(f"{name}, seed {seed}", flush=True)
        if name == "tfidf":
            found = tfidf_row(data[False]["whole"], data[False]["test"][0])
        else:
            parts, settings = data[levels[name]], argparse.Namespace(**vars(arguments))
            if settings.strength is None:
                settings.strength = 1.0 if arguments.checkpoint else STRENGTHS.get(name, 1.0)
            task = Task(settings, source, *parts["train"], seed)
            parts = parts["validation"], parts["test"]
            found = train_row(rows[name], task, *parts, arguments.tune, folder)
        write(path, {"row": name, "seed": seed, **found})
        write_report(output)
    print(write_report(output))


def load(arguments, files, levels, source, output):
    """Read the rows that are trained on, validated on and tested on, each with inputs."""
    from support.training import indices

    whole, test, notes = (load_levels if levels else load_labels)(files)
    print(*notes, sep="\n")
    whole, test = drawn(whole, arguments.samples), drawn(test, arguments.test_samples)
    kept = {"label_names": test.label_names, "labels": indices(test.as_labels()), "notes": notes}
    write(output / f"test{'_fine_grained' * levels}.json", kept)
    if len(whole.texts) < 2:
        raise UserError(f"{files.train}: one row to train on, and none to validate on.")
    order = np.random.default_rng(0).permutation(len(whole.texts))
    held_out = max(1, int(VALIDATION_SHARE * len(order)))
    parts = {"train": np.sort(order[held_out:]), "validation": np.sort(order[:held_out])}
    ready = {"whole": whole}
    for name, part in [(name, whole.of(rows)) for name, rows in parts.items()] + [("test", test)]:
        inputs = source.tokens(part.texts, arguments.max_length)
        ready[name] = part, {each: inputs[each] for each in source.inputs}
    return ready


def drawn(corpus, number):
    """At most `number` rows in their order, always the same ones."""
    chosen = np.random.default_rng(0).permutation(len(corpus.texts))[:number]
    return corpus.of(np.sort(chosen))
