"""The command line that the table and every single row share."""

import argparse
import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path

from support.download import PUBLIC
from support.file_options import add_file_options

BUNDLED_ENCODER = Path(__file__).resolve().parents[1] / "data" / "encoder"
BUNDLED_SAMPLES = 3500
PROCESSOR = Path("/proc/cpuinfo")
REGULARISED = ("fgm", "gradient_penalty", "r_drop")


@dataclass(frozen=True)
class FineTuning:
    """What suits the weights that training starts from."""

    learning_rate: float
    epochs: int
    max_length: int
    r_drop_dropout: float
    strengths: dict = field(default_factory=dict)


FINE_TUNING = {
    # chosen by benchmarks/row_settings.py, on rows that the table does not report
    "bundled": FineTuning(
        1e-3,
        epochs=3,
        max_length=48,
        r_drop_dropout=0.1,
        strengths={"fgm": 0.25, "gradient_penalty": 0.5, "r_drop": 0.1},
    ),
    # as the public checkpoints' authors advise; R-Drop's rate as in the experiments with them
    "checkpoint": FineTuning(1e-4, epochs=5, max_length=64, r_drop_dropout=0.3),
    "random": FineTuning(6e-4, epochs=8, max_length=48, r_drop_dropout=0.1),
}


@dataclass
class Settings:
    """What a table was made with. Two runs with equal settings may share finished rows."""

    train: str | None = None
    test: str | None = None
    samples: int | None = None
    test_samples: int | None = None
    learning_rate: float = FINE_TUNING["bundled"].learning_rate
    epochs: int = FINE_TUNING["bundled"].epochs
    max_length: int = FINE_TUNING["bundled"].max_length
    batch_size: int = 32
    dropout: float | None = None
    strength: float = 1.0
    per_row: dict = field(default_factory=dict)
    dtype_policy: str = "float32"
    view: str = "sequence"
    init: str = "pretrained"
    checkpoint: str | None = None
    variant: str = "google"
    vocabulary: str | None = None
    vocabulary_size: int | None = None
    text_column: str | None = None
    label_column: str | None = None
    label_columns: list[str] | None = None
    separator: str | None = None
    label_names: str | None = None
    no_header: bool | None = None
    encoding: str | None = None
    delimiter: str | None = None
    quotes: str | None = None
    sheet: str | None = None
    aspects: list[str] | None = None
    files: dict = field(default_factory=dict)

    @property
    def fine_tuning(self):
        if self.init == "random":
            return FINE_TUNING["random"]
        return FINE_TUNING["checkpoint" if self.checkpoint else "bundled"]

    @property
    def suited(self):
        """Settings of single rows that suit the weights that training starts from."""
        return {row: {"strength": value} for row, value in self.fine_tuning.strengths.items()}

    def of(self, row_name):
        """The settings of one row."""
        return replace(self, **self.per_row.get(row_name, {}))

    def differences(self, other):
        """The names of the settings in which two runs differ, with both values."""
        mine, theirs = asdict(self), other
        return {
            name: (theirs.get(name), mine[name]) for name in mine if theirs.get(name) != mine[name]
        }

    def options(self):
        """The options of the command line that lead to these settings."""
        defaults = vars(Settings()) | vars(self.fine_tuning)
        defaults["samples"] = None if self.train else BUNDLED_SAMPLES
        defaults["dtype_policy"] = None  # differs between machines
        if not all("strength" in self.per_row.get(row, {}) for row in self.suited):
            defaults["strength"] = None  # was given, or the suited ones would count
        if self.init == "pretrained":
            defaults["variant"] = self.variant  # the checkpoint's own
        for name, value in vars(self).items():
            if name == "files" or value == defaults[name]:
                continue
            option = f"--{name.replace('_', '-')}"
            if name == "per_row":
                own = [
                    f"{row}.{n}={v}"
                    for row, some in value.items()
                    for n, v in some.items()
                    if self.suited.get(row, {}).get(n) != v
                ]
                if own:
                    yield from (option, *own)
            elif isinstance(value, list):
                yield from (option, *value)
            elif value is True:
                yield option
            elif str(value).startswith("-"):
                yield f"{option}={value}"
            else:
                yield from (option, str(value))

    def folder(self):
        """A folder name of its own for these settings."""
        text = json.dumps(asdict(self), sort_keys=True)
        return Path("runs") / hashlib.sha256(text.encode()).hexdigest()[:10]


def fingerprint(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


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
    add("--seeds", nargs="+", type=seed, default=[0], help="one run of every row for each seed")
    suited = "by default what suits the weights that training starts from"
    add("--learning-rate", type=rate, help=f"peak of the schedule; {suited}")
    add("--epochs", type=positive, help=f"passes over the rows; {suited}")
    add("--max-length", type=length, help=f"tokens a text; {suited}")
    add("--dropout", type=share, help="rate in every row's encoder; by default in R-Drop's alone")
    add(
        "--strength",
        type=strength,
        help=f"times the epsilon or the alpha of {', '.join(REGULARISED)}; {suited}",
    )
    add(
        "--per-row",
        nargs="+",
        action="extend",
        type=partial(setting_of_a_row, row_names),
        default=[],
        metavar="ROW.SETTING=VALUE",
        help=f"settings of one row alone, as in fgm.strength=0.5: {', '.join(PER_ROW)}",
    )
    add(
        "--dtype-policy",
        choices=("float32", "mixed_bfloat16"),
        help="of the encoder while it trains; by default mixed_bfloat16 where TensorFlow runs on a "
        "processor that multiplies it (AMX), which is faster, and float32 elsewhere",
    )
    add("--batch-size", type=positive, default=Settings.batch_size, help="texts a step")
    add_file_options(parser)
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
        help="start from a checkpoint, by default the bundled encoder, or from random weights",
    )
    add(
        "--checkpoint",
        metavar="ENCODER",
        help="encoder to start from: the folder of a KerasHub preset, of a BERT, RoBERTa, "
        "DistilBERT, ELECTRA or ALBERT in Hugging Face's format, or of an ALBERT in TensorFlow's; "
        "or a name, downloaded once: a preset's (bert_tiny_en_uncased), hf://USER/MODEL, "
        f"{', '.join(PUBLIC)}",
    )
    add(
        "--variant",
        choices=("google", "brightmart"),
        default=Settings.variant,
        help="architecture of a random encoder",
    )
    add(
        "--vocabulary",
        metavar="FILE",
        help="vocab.txt of a random encoder; the bundled one by default",
    )
    add(
        "--vocabulary-size",
        type=positive,
        help="entries of a random encoder; as many as the vocabulary's by default",
    )
    add("--output", type=Path, help="folder of the results; by default one for each settings")
    add("--save", action="store_true", help="keep each trained model, in OUTPUT/models")
    add(
        "--tune-thresholds",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="choose each label's threshold by its F1 on the validation rows (LabelThresholds), "
        "beside 0",
    )
    arguments = parser.parse_args()
    if getattr(arguments, "list", False):
        print(*row_names, sep="\n")
        parser.exit()
    if len(set(arguments.seeds)) < len(arguments.seeds):
        parser.error(f"--seeds: a seed is given twice in {arguments.seeds}")

    if (arguments.train is None) != (arguments.test is None):
        parser.error("give both --train and --test, or neither for the bundled corpus")
    if arguments.samples is None and arguments.train is None:
        arguments.samples = BUNDLED_SAMPLES
    per_row = {}
    for row, name, value in arguments.per_row:
        if name in per_row.setdefault(row, {}):
            parser.error(f"--per-row: {row}.{name} is given twice")
        per_row[row][name] = value
    arguments.per_row = per_row
    if arguments.strength is not None and not set(REGULARISED) & set(row_names):
        parser.error(f"--strength changes {', '.join(REGULARISED)}, and none of them runs")
    arguments.rows = getattr(arguments, "rows", row_names)
    arguments.summary = getattr(arguments, "summary", False)
    if arguments.summary and not arguments.checkpoint:
        arguments.init = "random"
    if arguments.checkpoint and arguments.init == "random":
        parser.error("--init random starts without a --checkpoint; give one of the two")
    shape = (arguments.variant, arguments.vocabulary, arguments.vocabulary_size)
    if shape != ("google", None, None) and arguments.init == "pretrained":
        parser.error(
            "--variant, --vocabulary and --vocabulary-size shape a random encoder; "
            "add --init random"
        )
    if arguments.vocabulary and not Path(arguments.vocabulary).is_file():
        parser.error(f"{arguments.vocabulary}: there is no such file")
    start = Settings(init=arguments.init, checkpoint=arguments.checkpoint)
    fine_tuning = start.fine_tuning
    if arguments.strength is None:
        arguments.strength = Settings.strength
        for row, setting in start.suited.items():
            arguments.per_row[row] = setting | arguments.per_row.get(row, {})
    arguments.dtype_policy = arguments.dtype_policy or fastest_policy()
    for name in ("learning_rate", "epochs", "max_length"):
        if getattr(arguments, name) is None:
            setattr(arguments, name, getattr(fine_tuning, name))

    inputs = {
        "train": arguments.train or BUNDLED_ENCODER.parent / "train.csv.gz",
        "test": arguments.test or BUNDLED_ENCODER.parent / "test.csv.gz",
    }
    if arguments.label_names:
        inputs["label_names"] = arguments.label_names
    if arguments.vocabulary:
        inputs["vocabulary"] = whole_vocabulary(arguments.vocabulary)
    if arguments.init == "pretrained":
        checkpoint = whole_encoder(arguments.checkpoint or BUNDLED_ENCODER)
        arguments.variant = checkpoint.variant
        inputs |= {path.name: path for path in map(Path, checkpoint.files)}

    settings = Settings(
        **{
            setting.name: getattr(arguments, setting.name)
            for setting in fields(Settings)
            if setting.name != "files"
        }
    )
    settings.files = {
        name: fingerprint(path) for name, path in inputs.items() if Path(path).exists()
    }
    arguments.output = arguments.output or settings.folder()
    return settings, arguments


def fastest_policy():
    """Return the dtype policy in which an encoder trains fastest on this machine's processor.

    With AMX a step of TensorFlow takes 0.7 of its time in float32; those of JAX and torch took
    longer than theirs.
    """
    # here, for the reason of `whole_encoder`
    import keras

    if keras.backend.backend() == "tensorflow" and PROCESSOR.is_file():
        import tensorflow as tf

        flags = PROCESSOR.read_text(encoding="utf-8").split()
        if "amx_bf16" in flags and not tf.config.list_physical_devices("GPU"):
            return "mixed_bfloat16"
    return "float32"


def whole_encoder(name):
    """Open an encoder of which nothing is missing; one with a name is downloaded first."""
    # here, so that --help and a wrong option answer without waiting for TensorFlow
    from support.encoders import open_whole_encoder

    return open_whole_encoder(name)


def whole_vocabulary(path):
    """The path of a vocabulary that has the entries without which no text can be split."""
    from support.comparisons import check_vocabulary

    check_vocabulary(Path(path))
    return path


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, received {text}")
    return value


def length(text):
    value = int(text)
    if value < 3:
        raise argparse.ArgumentTypeError(
            f"must be 3 or more, as [CLS] and [SEP] are two of them, received {text}"
        )
    return value


def seed(text):
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"must be 0 or more and below 2**32, received {text}")
    return value


def rate(text):
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must be above 0 and below 1, received {text}")
    return value


def strength(text):
    if "=" in text:
        raise argparse.ArgumentTypeError(
            f"must be one number, received {text}; --per-row is for one row"
        )
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be 0 or more, received {text}")
    return value


def share(text):
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be 0 or more and below 1, received {text}")
    return value


PER_ROW = {"learning_rate": rate, "dropout": share, "strength": strength}


def setting_of_a_row(row_names, text):
    """Read ROW.SETTING=VALUE."""
    key, _, value = text.partition("=")
    row, _, name = key.partition(".")
    if row not in row_names or name not in PER_ROW:
        raise argparse.ArgumentTypeError(
            f"must be ROW.SETTING=VALUE with a row of {', '.join(row_names)} and a setting of "
            f"{', '.join(PER_ROW)}, received {text}"
        )
    if name == "strength" and row not in REGULARISED:
        raise argparse.ArgumentTypeError(f"{row} has no strength; {', '.join(REGULARISED)} have")
    try:
        return row, name, PER_ROW[name](value)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{key} {error}") from None
    except ValueError:
        raise argparse.ArgumentTypeError(f"{key} must be a number, received {text}") from None
