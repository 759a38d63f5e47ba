"""Run rows of the table: what `full_table.py` and every single script call."""

import argparse
import hashlib
import importlib
import json
import os
import shutil
import sys
from pathlib import Path

from support import UserError, data, one_line_errors

import filelock
import numpy as np

BUNDLED_SAMPLES = 3500
VALIDATION_SHARE = 0.05
# what suits the weights that training starts from: chosen on rows that the table does not report
SUITED = {"learning_rate": 1e-3, "epochs": 3, "max_length": 48, "r_drop_dropout": 0.1}
STRENGTHS = {"fgm": 0.25, "gradient_penalty": 0.5, "r_drop": 0.1}
# as the public checkpoints' authors advise; R-Drop's rate as in the experiments with them
CHECKPOINT = {"learning_rate": 1e-4, "epochs": 5, "max_length": 64, "r_drop_dropout": 0.3}
LEAST = {
    **dict.fromkeys(("batch_size", "epochs", "samples", "test_samples"), 1),
    **dict.fromkeys(("learning_rate", "dropout", "strength"), 0),
    "max_length": 3,  # [CLS], a token and [SEP]
}
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
    add("--checkpoint", help="encoder: a folder, a KerasHub preset, or albert_tiny_zh and the like")
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
    policies = ["float32", "mixed_bfloat16"]
    add("--dtype-policy", choices=policies, help="of the encoder in training")
    data.add_file_options(parser)
    arguments = parser.parse_args()
    data.complete(arguments)
    for name, value in (CHECKPOINT if arguments.checkpoint else SUITED).items():
        if getattr(arguments, name, None) is None:
            setattr(arguments, name, value)
    if arguments.samples is None and arguments.train == data.BUNDLED["train"]:
        arguments.samples = BUNDLED_SAMPLES
    for name, least in LEAST.items():
        if (value := getattr(arguments, name)) is not None and not least <= value:
            parser.error(f"--{name.replace('_', '-')} must be {least} or more")
    if min(arguments.seeds) < 0 or not (arguments.dropout or 0) < 1:
        parser.error("--seeds must be 0 or more, and --dropout below 1")
    arguments.dtype_policy = arguments.dtype_policy or fastest_policy()
    return arguments


def fastest_policy():
    """On a processor with AMX a step of TensorFlow takes 0.7 of its time in float32."""
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
        settings = {name: v for name, v in vars(arguments).items() if name not in FREE}
        for name in ("train", "test", "checkpoint"):
            settings[name] = content(Path(settings[name] or data.FOLDER / "encoder"))
        name = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:10]
        output = arguments.output or Path("runs", name)
        output.mkdir(parents=True, exist_ok=True)
        try:
            with filelock.FileLock(output / ".lock", blocking=False):
                make_rows(arguments, settings, output)
        except filelock.Timeout:
            raise UserError(
                f"{output}: another process writes here. Use another --output."
            ) from None
        print(f"Results are in {output}.")


def content(path):
    """The name of a file or a folder with a digest of its content; a name that is neither."""
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.read_bytes())
    return f"{path.name} {digest.hexdigest()[:16]}" if path.exists() else str(path)


def begin(output, settings):
    """Refuse rows of other settings, and remove what a killed process has left half written."""
    path = output / "settings.json"
    there = json.loads(path.read_text(encoding="utf-8")) if path.exists() else settings
    if other := [name for name, value in settings.items() if there.get(name) != value]:
        told = "; ".join(f"{name}: {there.get(name)!r}, now {settings[name]!r}" for name in other)
        raise UserError(f"{output} has rows of other settings ({told}). Use another --output.")
    for partial in output.rglob("*.partial"):
        shutil.rmtree(partial) if partial.is_dir() else partial.unlink()
    write(path, settings)


def write(path, value):
    """Write a JSON file in one move: a reader sees the old content or the new."""
    path.parent.mkdir(exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    os.replace(partial, path)


def make_rows(arguments, settings, output):
    """Train and score what the output folder lacks, and write the report after each row."""
    # here, so that a wrong option, or a folder in use, is told at once
    from support.encoder import open_encoder
    from support.training import Task, train_row

    from report import write_report
    from tfidf import tfidf_row

    begin(output, settings)
    checkpoint = arguments.checkpoint or str(data.FOLDER / "encoder")
    source = open_encoder(checkpoint, arguments.checkpoint_hash)
    if arguments.max_length > (source.positions or arguments.max_length):
        raise UserError(f"--max-length: the encoder reads at most {source.positions} tokens.")
    rows = {name: importlib.import_module(name) for name in arguments.rows}
    has_levels = arguments.aspects or arguments.train == data.BUNDLED["train"]
    if not has_levels and len(rows) > 1 and rows.pop("fine_grained", None):
        print("The fine-grained row is left out: --aspects names no columns of levels.")
    levels = {name: hasattr(row, "FINE_GRAINED") for name, row in rows.items()}
    kinds = {*levels.values()} or {False}
    loaded = {kind: load(arguments, kind, source, output) for kind in kinds}
    todo = [("tfidf", 0)] if False in kinds else []
    for name, seed in [*todo, *((name, seed) for seed in arguments.seeds for name in rows)]:
        path = output / "rows" / f"{name}-seed{seed}.json"
        folder = output / "models" / path.stem if arguments.save and name in rows else None
        if path.exists() and (folder is None or folder.exists()):
            continue
        print(f"{name}, seed {seed}", flush=True)
        parts = loaded[levels.get(name, False)]
        if name == "tfidf":
            found = tfidf_row(parts["whole"], parts["test"][0])
        else:
            own = argparse.Namespace(**vars(arguments))
            if own.strength is None:
                own.strength = 1.0 if arguments.checkpoint else STRENGTHS.get(name, 1.0)
            task = Task(own, source, *parts["train"], seed)
            found = train_row(rows[name], task, parts["validation"], parts["test"], folder)
        write(path, {"row": name, "seed": seed, **found})
        write_report(output)
    print(write_report(output))


def load(arguments, levels, source, output):
    """Read the rows that are trained on, validated on and tested on, each with inputs."""
    whole, test, notes = (data.load_levels if levels else data.load_labels)(arguments)
    print(*notes, sep="\n")
    whole, test = whole.drawn(arguments.samples), test.drawn(arguments.test_samples)
    kept = {"label_names": test.label_names, "labels": data.indices(test.as_labels())}
    write(output / f"test{'_fine_grained' * levels}.json", {**kept, "notes": notes})
    order = np.random.default_rng(0).permutation(len(whole.texts))
    held_out = max(1, int(VALIDATION_SHARE * len(order)))
    train, validation = whole.of(order[held_out:]), whole.of(order[:held_out])
    if not train.texts:
        raise UserError(f"{arguments.train}: one row to train on, and none to validate on.")
    parts = {"whole": whole}
    for name, part in {"train": train, "validation": validation, "test": test}.items():
        inputs = source.tokens(part.texts, arguments.max_length)
        parts[name] = part, {each: inputs[each] for each in source.inputs}
    return parts
