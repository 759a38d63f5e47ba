"""The command line that the table and every single row share."""

import argparse
import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

BUNDLED_ENCODER = Path(__file__).resolve().parents[1] / "data" / "encoder"
BUNDLED_SAMPLES = 3500


@dataclass
class Settings:
    """What a table was made with. Two runs with equal settings may share finished rows."""

    train: str | None = None
    test: str | None = None
    samples: int | None = None
    test_samples: int | None = None
    epochs: int = 2
    max_length: int = 48
    batch_size: int = 32
    view: str = "sequence"
    init: str = "pretrained"
    variant: str = "google"
    vocabulary_size: int | None = None
    text_column: str | None = None
    label_column: str | None = None
    separator: str | None = None
    aspects: list[str] | None = None
    files: dict = field(default_factory=dict)

    def differences(self, other):
        """The names of the settings in which two runs differ, with both values."""
        mine, theirs = asdict(self), other
        return {
            name: (theirs.get(name), mine[name]) for name in mine if theirs.get(name) != mine[name]
        }

    def folder(self):
        """A folder name of its own for these settings."""
        text = json.dumps(asdict(self), sort_keys=True)
        return Path("runs") / hashlib.sha256(text.encode()).hexdigest()[:10]


def fingerprint(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def parse_arguments(description, row_names):
    """Return the settings, and what only says how much of the table to make and where."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    if len(row_names) > 1:
        choices = {"choices": row_names, "default": row_names, "metavar": "ROW"}
        add("--rows", nargs="+", **choices, help=f"rows to run, of: {', '.join(row_names)}")
        add("--summary", action="store_true", help="print parameter counts, train nothing")
        add("--list", action="store_true", help="print the rows' names, train nothing")
    add("--seeds", nargs="+", type=int, default=[0], help="one run of every row for each seed")
    add("--epochs", type=positive, default=Settings.epochs, help="passes over the rows")
    add("--max-length", type=positive, default=Settings.max_length, help="tokens a text")
    add("--batch-size", type=positive, default=Settings.batch_size, help="texts a step")
    add("--train", metavar="FILE", help="CSV or TSV; the bundled corpus by default")
    add("--test", metavar="FILE", help="CSV or TSV; the bundled corpus by default")
    add("--text-column", metavar="NAME", help="column of the texts; found by its name by default")
    add("--label-column", metavar="NAME", help="column of the labels; found by its name by default")
    add("--separator", help="what joins labels; by default | or, where there is none, , and ，")
    add("--aspects", nargs="+", metavar="NAME", help="columns of the fine-grained row's levels")
    add(
        "--samples",
        type=positive,
        help=f"training rows to use; {BUNDLED_SAMPLES:,} of the bundled corpus or all of a file",
    )
    add("--test-samples", type=positive, help="test rows to use; all by default")
    add(
        "--view",
        choices=("sequence", "cls"),
        default=Settings.view,
        help="what BiLSTM, attention and TextCNN see: all tokens, or [CLS] alone as published",
    )
    add(
        "--init",
        choices=("pretrained", "random"),
        default=Settings.init,
        help="start from the bundled encoder or from random weights",
    )
    add(
        "--variant",
        choices=("google", "brightmart"),
        default=Settings.variant,
        help="architecture of a random encoder",
    )
    add("--vocabulary-size", type=positive, help="entries of a random encoder")
    add("--output", type=Path, help="folder of the results; by default one for each settings")
    arguments = parser.parse_args()
    if getattr(arguments, "list", False):
        print(*row_names, sep="\n")
        parser.exit()

    if (arguments.train is None) != (arguments.test is None):
        parser.error("give both --train and --test, or neither for the bundled corpus")
    if arguments.samples is None and arguments.train is None:
        arguments.samples = BUNDLED_SAMPLES
    arguments.rows = getattr(arguments, "rows", row_names)
    arguments.summary = getattr(arguments, "summary", False)
    other_shape = arguments.variant != "google" or arguments.vocabulary_size is not None
    if arguments.summary:
        arguments.init = "random"
    if other_shape and arguments.init == "pretrained":
        parser.error("--variant and --vocabulary-size shape a random encoder; add --init random")

    settings = Settings(
        **{
            setting.name: getattr(arguments, setting.name)
            for setting in fields(Settings)
            if setting.name != "files"
        }
    )
    inputs = [arguments.train, arguments.test]
    if arguments.init == "pretrained":
        inputs.append(BUNDLED_ENCODER / "encoder.weights.h5")
    settings.files = {Path(p).name: fingerprint(p) for p in inputs if p and Path(p).exists()}
    arguments.output = arguments.output or settings.folder()
    return settings, arguments


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, received {text}")
    return value
