"""Files to texts and labels. What a file is, the options say; nothing is guessed."""

import ast
import csv
import json
import warnings
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import compress
from pathlib import Path

from support import UserError

import numpy as np
import pandas as pd
from sklearn.preprocessing import MultiLabelBinarizer

csv.field_size_limit(2**31 - 1)  # a text may be longer than the usual limit
FOLDER = Path(__file__).resolve().parents[1] / "data"
USUAL_SEPARATORS = ",;|/\\#、，；｜／＃\t"
SHOWN = 100  # labels that are printed
BUNDLED = {
    "train": str(FOLDER / "train.csv.gz"),
    "test": str(FOLDER / "test.csv.gz"),
    "text_column": "content",
    "label_column": "label",
    "separator": "|",
}


@dataclass
class Corpus:
    """N texts with labels, or with a level on each of several aspects."""

    texts: list[str]
    targets: np.ndarray  # (N, C) of 0 and 1, or (N, A) of levels
    names: list[str]  # of the C labels or the A aspects
    levels: list[list[str]] | None = None  # their names, for each aspect

    def of(self, rows):
        """The corpus of some rows, in their order."""
        rows = np.sort(rows)
        return replace(self, texts=[self.texts[i] for i in rows], targets=self.targets[rows])

    def drawn(self, number):
        """At most `number` rows, always the same ones."""
        return self.of(np.random.default_rng(0).permutation(len(self.texts))[:number])

    @property
    def label_names(self):
        """The names of the labels, or of all levels above the first."""
        pairs = zip(self.names, self.levels or (), strict=False)
        above = [f"{aspect}::{level}" for aspect, levels in pairs for level in levels[1:]]
        return above if self.levels else self.names

    def as_labels(self, targets=None):
        """Targets, its own by default, as labels; of levels one for each above the first."""
        targets = self.targets if targets is None else targets
        if not self.levels:
            return targets
        counts = enumerate(map(len, self.levels))
        return np.stack([targets[:, a] == level for a, n in counts for level in range(1, n)], 1)


def indices(labels):
    """The indices of each row's labels."""
    return [np.flatnonzero(row).tolist() for row in labels]


def add_file_options(parser):
    add = parser.add_argument_group("your own files").add_argument
    add("--train", metavar="FILE", help=".csv, .tsv, .jsonl, .parquet or .xlsx, the first two .gz")
    add("--test", metavar="FILE", help="test rows, with the same columns")
    add("--text-column", metavar="NAME", default="text", help="'text' by default")
    add("--label-column", metavar="NAME", default="labels", help="'labels' by default")
    add("--separator", help="what joins the labels of a cell; without it each cell is a list")
    add("--label-columns", nargs="+", metavar="NAME", help="a column of 0 and 1 for each label")
    add("--aspects", nargs="+", metavar="NAME", help="columns of levels, for the fine-grained row")
    add("--encoding", default="utf-8-sig", help="of text files; UTF-8 by default")


def complete(options):
    """Take the bundled corpus where no files are given."""
    given = any((options.separator, options.label_columns, options.aspects))
    if bool(options.train) != bool(options.test) or (given and not options.train):
        raise UserError("Options of files need both --train and --test.")
    if options.separator and options.label_columns:
        raise UserError("Labels stand in one cell, --separator, or in many, --label-columns.")
    if not options.train:
        vars(options).update(BUNDLED)


def read_table(path, encoding):
    """Read a file. Cells are strings, or what JSON and Parquet have in their place."""
    strings = {"dtype": str, "keep_default_na": False}
    # pandas' other engine takes a row with too few cells
    options = {"engine": "python", "index_col": False, "encoding": encoding, **strings}
    delimited = partial(pd.read_csv, **options)
    readers = {
        ".csv": delimited,
        ".tsv": partial(delimited, sep="\t"),
        ".jsonl": partial(pd.read_json, lines=True, dtype=False, encoding=encoding),
        ".parquet": pd.read_parquet,
        ".xlsx": partial(pd.read_excel, **strings),
    }
    kind = Path(path.lower().removesuffix(".gz")).suffix
    if kind not in readers:
        raise UserError(f"{path}: the name must end in {', '.join(readers)}, or .csv.gz.")
    try:
        with warnings.catch_warnings(category=pd.errors.ParserWarning, action="error"):
            frame = readers[kind](path)
    except (ValueError, LookupError, ImportError, pd.errors.ParserWarning) as error:
        hint = " Name its encoding, as in --encoding gb18030." * isinstance(error, UnicodeError)
        raise UserError(f"{path}: {error}.{hint}") from None
    short = frame.isna().any(axis=1)
    if kind in (".csv", ".tsv") and short.any():
        raise UserError(f"{path}, row {short.argmax() + 1}: it has too few cells.")
    return frame


def column(path, frame, name, option, read):
    """What `read` makes of each cell of a column; of one without a value, of ""."""
    if name not in frame:
        raise UserError(f"{path}: no column {name!r} among {list(frame)}. See {option}.")
    found = []
    for row, cell in enumerate(frame[name], 1):
        cell = cell.tolist() if hasattr(cell, "tolist") else cell  # NumPy's, in Parquet
        try:
            found.append(read("" if cell is None or cell != cell else cell))
        except ValueError as error:
            raise UserError(f"{path}, row {row}, column {name!r}: {cell!r:.60} {error}") from None
    return found


def text(cell):
    if not isinstance(cell, str):
        raise ValueError("is no text.")
    return cell.strip()


def digit(highest, cell):
    found = str(cell).strip().lower().removesuffix(".0")  # pandas may write 1 as 1.0
    found = {"false": "0", "true": "1"}.get(found, found)
    if not (found.isdecimal() and int(found) <= highest):
        raise ValueError(f"is no whole number from 0 to {highest}.")
    return int(found)


def labels(separator, cell):
    """The labels of a cell: what a separator joins, or the items of a list."""
    if separator and isinstance(cell, str):
        # the full-width form joins as well, as "，" for ","
        wide = separator.translate({32: 0x3000, **{i: i + 0xFEE0 for i in range(33, 127)}})
        found = cell.replace(wide, separator).split(separator)
    else:
        found = None if separator else list_in(cell)
    if not isinstance(found, list) or not {*map(type, found)} <= {str, int}:
        what = f"labels joined by {separator!r}" if separator else "list of labels"
        raise ValueError(f"is no {what}. See --separator.")
    return frozenset(str(label).strip() for label in found) - {""}


def list_in(cell):
    """A list that a cell is, or that it holds as JSON or as Python writes it."""
    if not isinstance(cell, str) or not cell.strip():
        return cell or []
    with suppress(ValueError):
        return json.loads(cell)
    with suppress(ValueError, SyntaxError):
        found = ast.literal_eval(cell.strip())
        return found if repr(found) == cell.strip() else None  # not NumPy's ['a' 'b'], ['ab'] here
    return None


def read_digits(names, option, highest, path, frame):
    """The whole numbers in some columns: a tuple for each row."""
    columns = [column(path, frame, name, option, partial(digit, highest)) for name in names]
    return list(zip(*columns, strict=True))


def read_labels(options, path, frame):
    """The set of labels of each row."""
    if names := options.label_columns:
        rows = read_digits(names, "--label-columns", 1, path, frame)
        return [frozenset(compress(names, row)) for row in rows]
    read = partial(labels, options.separator)
    return column(path, frame, options.label_column, "--label-column", read)


def read_both(options, read):
    """The (text, target) pairs of the training and the test file, and notes on them."""
    both, notes = [], []
    for path in (options.train, options.test):
        frame = read_table(path, options.encoding)
        texts = column(path, frame, options.text_column, "--text-column", text)
        pairs = [pair for pair in zip(texts, read(path, frame), strict=True) if pair[0]]
        both.append(pairs if both else list(dict.fromkeys(pairs)))
        if not pairs:
            raise UserError(f"{path}: no row has a text.")
        if left := len(frame) - len(both[-1]):
            notes.append(f"{path}: {left:,} rows without a text, or seen before, are left out.")
    return *both, notes


def load_labels(options):
    """Read a training and a test `Corpus` of labels, and notes on what was found."""
    train, test, notes = read_both(options, partial(read_labels, options))
    counts, in_test = (Counter(x for _, labels in part for x in labels) for part in (train, test))
    if not counts:
        raise UserError(f"{options.train}: no row has a label.")
    names, unseen = sorted(counts), sorted(in_test.keys() - counts.keys())
    listed = ", ".join(f"{name} {count:,}" for name, count in counts.most_common(SHOWN))
    notes.append(f"{len(names):,} labels: {listed}{', …' * (len(names) > SHOWN)}")
    if joined := [name for name in names if set(USUAL_SEPARATORS) & set(name)]:
        notes.append(f"Warning: a usual separator stands in {len(joined):,} labels: {joined[0]!r}.")
    if unseen:
        missed = f"{sum(in_test[name] for name in unseen):,} times in test rows, counted as missed"
        notes.append(
            f"Warning: {len(unseen):,} labels are not in training ({missed}): {unseen[0]!r}."
        )
    corpora = []
    for pairs, columns in ((train, names), (test, names + unseen)):
        texts, sets = zip(*pairs, strict=True)
        targets = MultiLabelBinarizer(classes=columns).fit_transform(sets).astype("uint8")
        corpora.append(Corpus(list(texts), targets, columns))
    return *corpora, notes


def load_levels(options):
    """Read a training and a test `Corpus` of levels, and notes on what was found."""
    if options.train == BUNDLED["train"]:
        from fine_grained import from_facets

        train, test, _ = load_labels(options)
        return from_facets(train, train), from_facets(test, train), []
    if not options.aspects:
        raise UserError("The fine-grained row needs --aspects, columns of levels from 0 on.")
    *both, notes = read_both(options, partial(read_digits, options.aspects, "--aspects", 99))
    highest = np.max([levels for pairs in both for _, levels in pairs], axis=0)
    names = [[str(level) for level in range(top + 1)] for top in highest]
    texts, levels = zip(*(zip(*pairs, strict=True) for pairs in both), strict=True)
    targets = [np.array(each, "int32") for each in levels]
    pairs = zip(map(list, texts), targets, strict=True)
    return *(Corpus(*pair, options.aspects, names) for pair in pairs), notes
