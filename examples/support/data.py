"""Files to texts and labels. What a file is, the options say; nothing is guessed."""

import ast
import json
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from support import UserError

import numpy as np
import pandas as pd
from sklearn.preprocessing import MultiLabelBinarizer

FOLDER = Path(__file__).resolve().parents[1] / "data"
USUAL_SEPARATORS = ",;|/\\#、，；｜／＃\t"
FACETS = ("role", "implemented-in", "interface", "uitoolkit", "use", "works-with")
SHOWN = 100  # labels that are printed


@dataclass(frozen=True)
class Files:
    """A training and a test file, and what their columns hold; by default the bundled corpus."""

    train: str = str(FOLDER / "train.csv.gz")
    test: str = str(FOLDER / "test.csv.gz")
    text_column: str = "content"
    label_column: str = "label"
    separator: str | None = "|"
    label_columns: list[str] | None = None
    aspects: list[str] | None = None
    encoding: str = "utf-8-sig"  # UTF-8 with or without a mark


@dataclass
class Corpus:
    """N texts with labels, or with a level on each of several aspects."""

    texts: list[str]
    targets: np.ndarray  # (N, C) of 0 and 1, or (N, A) of levels
    names: list[str]  # of the C labels or the A aspects
    levels: list[list[str]] | None = None  # their names, for each aspect

    def of(self, rows):
        """The corpus of some rows only."""
        texts = [self.texts[i] for i in rows]
        return replace(self, texts=texts, targets=self.targets[rows])

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


def add_file_options(parser):
    add = parser.add_argument_group("your own files").add_argument
    add("--train", metavar="FILE", help=".csv, .tsv, .jsonl, .parquet or .xlsx, the first two .gz")
    add("--test", metavar="FILE", help="test rows, with the same columns")
    add("--text-column", metavar="NAME", help="column of the texts, by default 'text'")
    add("--label-column", metavar="NAME", help="column of the labels, by default 'labels'")
    add("--separator", help="what joins the labels of a cell; without it each cell is a list")
    add("--label-columns", nargs="+", metavar="NAME", help="a column of 0 and 1 for each label")
    add("--aspects", nargs="+", metavar="NAME", help="columns of levels, for the fine-grained row")
    add("--encoding", help="of .csv, .tsv and .jsonl, by default utf-8")


def files_of(arguments):
    """The `Files` that the command line names."""
    given = {name: vars(arguments)[name] for name in Files.__dataclass_fields__}
    given = {name: value for name, value in given.items() if value}
    if given and not {"train", "test"} <= given.keys():
        raise UserError("Options of files need both --train and --test.")
    if {"separator", "label_columns"} <= given.keys():
        raise UserError("Labels stand in one cell, --separator, or in many, --label-columns.")
    own = {"text_column": "text", "label_column": "labels", "separator": None}
    return Files(**own | given) if given else Files()


def read_table(path, encoding):
    """Read a file. Cells are strings, or what JSON and Parquet have in their place."""
    delimited = partial(pd.read_csv, dtype=str, keep_default_na=False, index_col=False)
    readers = {
        ".csv": partial(delimited, encoding=encoding),
        ".tsv": partial(delimited, encoding=encoding, sep="\t"),
        ".jsonl": partial(pd.read_json, lines=True, dtype=False, encoding=encoding),
        ".parquet": pd.read_parquet,
        ".xlsx": partial(pd.read_excel, dtype=str, keep_default_na=False),
    }
    kind = Path(path.lower().removesuffix(".gz")).suffix
    if kind not in readers:
        raise UserError(f"{path}: the name must end in {', '.join(readers)}, or .csv.gz.")
    try:
        with warnings.catch_warnings(category=pd.errors.ParserWarning, action="error"):
            frame = readers[kind](path)
    except UnicodeError as error:
        raise UserError(f"{path}: {error}. Name its encoding, as in --encoding gb18030.") from None
    except (ValueError, LookupError, ImportError, pd.errors.ParserWarning) as error:
        raise UserError(f"{path}: {error}") from None
    short = frame.isna().any(axis=1)
    if kind in (".csv", ".tsv") and short.any():
        raise UserError(f"{path}, row {short.argmax() + 1}: it has too few cells.")
    return frame


def cells(path, frame, column, option):
    """The cells of a column, "" where there is none, each with its place for errors."""
    if column not in frame:
        raise UserError(f"{path}: no column {column!r} among {list(frame)}. See {option}.")
    for row, cell in enumerate(frame[column], 1):
        cell = cell.tolist() if hasattr(cell, "tolist") else cell  # NumPy's, in Parquet
        yield f"{path}, row {row}, column {column!r}", "" if cell is None or cell != cell else cell


def read_labels(files, path, frame):
    """The set of labels of each row."""
    if files.label_columns:
        rows = read_digits(path, frame, files.label_columns, "--label-columns", 1)
        names = np.array(files.label_columns)
        return [frozenset(names[np.array(row) == 1].tolist()) for row in rows]
    sets = []
    for place, cell in cells(path, frame, files.label_column, "--label-column"):
        labels = split(cell, files.separator)
        if not isinstance(labels, list) or not {*map(type, labels)} <= {str, int}:
            told = f"joined by {files.separator!r}" if files.separator else "in a list"
            raise UserError(f"{place}: no labels {told}: {cell!r:.60}. See --separator.")
        sets.append(frozenset(str(label).strip() for label in labels) - {""})
    return sets


def split(cell, separator):
    """The labels of a cell, or what is not a list of them."""
    if not isinstance(cell, str):
        return None if separator else cell
    if separator:
        # the full-width form as well, as "，" for ","
        wide = separator.translate({32: 0x3000, **{i: i + 0xFEE0 for i in range(33, 127)}})
        return cell.replace(wide, separator).split(separator)
    cell = cell.strip() or "[]"
    try:
        return json.loads(cell)
    except ValueError:
        pass
    try:
        found = ast.literal_eval(cell)
    except (ValueError, SyntaxError):
        return None
    return found if repr(found) == cell else None  # ['a' 'b'], as NumPy writes it, is ['ab'] here


def read_digits(path, frame, columns, option, highest):
    """The whole numbers from 0 on in some columns: a tuple for each row."""
    levels = []
    for column in columns:
        levels.append([])
        for place, cell in cells(path, frame, column, option):
            text = str(cell).strip().lower().removesuffix(".0")  # pandas may write 1 as 1.0
            text = {"false": "0", "true": "1"}.get(text, text)
            if not (text.isdecimal() and int(text) <= highest):
                raise UserError(f"{place}: {cell!r:.60} is no whole number from 0 to {highest}.")
            levels[-1].append(int(text))
    return list(zip(*levels, strict=True))


def read_both(files, read):
    """The (text, target) pairs of the training and the test file, and notes on them."""
    pairs, notes = [], []
    for path in (files.train, files.test):
        frame, found = read_table(path, files.encoding), []
        texts = cells(path, frame, files.text_column, "--text-column")
        for (place, text), target in zip(texts, read(path, frame), strict=True):
            if not isinstance(text, str):
                raise UserError(f"{place}: {text!r:.60} is no text.")
            if text.strip():
                found.append((text.strip(), target))
        if not found:
            raise UserError(f"{path}: no row has a text.")
        pairs.append(found if pairs else list(dict.fromkeys(found)))
        if left_out := len(frame) - len(pairs[-1]):
            notes.append(
                f"{path}: {left_out:,} rows without a text, or that stand twice, left out."
            )
    return *pairs, notes


def load_labels(files):
    """Read a training and a test `Corpus` of labels, and notes on what was found.

    Labels that only test rows have are the last columns of the test targets: nothing can predict
    them, and they count as missed.
    """
    train, test, notes = read_both(files, partial(read_labels, files))
    counts, in_test = (Counter(x for _, labels in part for x in labels) for part in (train, test))
    if not counts:
        raise UserError(f"{files.train}: no row has a label.")
    names, unseen = sorted(counts), sorted(in_test.keys() - counts.keys())
    listed = ", ".join(f"{name} {count:,}" for name, count in counts.most_common(SHOWN))
    notes.append(f"{len(names):,} labels: {listed}{', …' * (len(names) > SHOWN)}")
    if joined := [name for name in names if set(USUAL_SEPARATORS) & set(name)]:
        notes.append(f"Warning: a usual separator stands in {len(joined):,} labels: {joined[0]!r}.")
    if unseen:
        missed = sum(in_test[name] for name in unseen)
        notes.append(
            f"Warning: {len(unseen):,} labels of test rows never occur in training, as "
            f"{unseen[0]!r}. Their {missed:,} occurrences count as missed."
        )
    return multi_hot(train, names), multi_hot(test, names + unseen), notes


def multi_hot(pairs, names):
    texts, sets = zip(*pairs, strict=True)
    targets = MultiLabelBinarizer(classes=names).fit_transform(sets)
    return Corpus(list(texts), targets.astype("uint8"), names)


def load_levels(files):
    """Read a training and a test `Corpus` of levels, and notes on what was found."""
    if files == Files():
        train, test, notes = load_labels(files)
        return from_facets(train, train.targets), from_facets(test, train.targets), notes
    if not files.aspects:
        raise UserError("The fine-grained row needs --aspects, columns of levels from 0 on.")
    read = partial(read_digits, columns=files.aspects, option="--aspects", highest=99)
    train, test, notes = read_both(files, read)
    highest = np.max([levels for _, levels in train + test], axis=0)
    names = [[str(level) for level in range(top + 1)] for top in highest]
    corpora = []
    for pairs in (train, test):
        texts, levels = zip(*pairs, strict=True)
        corpora.append(Corpus(list(texts), np.array(levels, "int32"), files.aspects, names))
    return *corpora, notes


def from_facets(corpus, training_targets):
    """Make levels of labels such as "uitoolkit::gtk": a facet is an aspect, its values are levels.

    Where a row has several values of one facet, the rarest in training counts: it says most.
    """
    counts = training_targets.sum(axis=0, dtype="float64")
    levels, columns = [], []
    for facet in FACETS:
        places = [i for i, name in enumerate(corpus.names) if name.startswith(f"{facet}::")]
        present = corpus.targets[:, places] == 1  # (N, values)
        rarest = np.where(present, -counts[places], -np.inf).argmax(axis=1)
        columns.append(np.where(present.any(axis=1), rarest + 1, 0))
        levels.append(["none", *(corpus.names[i].split("::", 1)[1] for i in places)])
    return Corpus(corpus.texts, np.stack(columns, 1).astype("int32"), list(FACETS), levels)
