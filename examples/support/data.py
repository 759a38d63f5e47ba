"""Multi-label data for the examples: the bundled corpus, or the user's own files."""

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from support.columns import OFF, ON, alike, find_roles
from support.file_options import FileOptions
from support.files import open_table
from support.labels import CellReader
from support.separators import listing
from support.table import DataError

import numpy as np

BUNDLED = Path(__file__).resolve().parents[1] / "data"


@dataclass
class Corpus:
    """Texts with their labels.

    Attributes:
        texts: N strings.
        labels: (N, C) array of 0 and 1.
        label_names: C strings, sorted.
        notes: what was found in the file and what was done about it, one sentence each.
    """

    texts: list[str]
    labels: np.ndarray
    label_names: list[str]
    notes: list[str] = field(default_factory=list)

    def __len__(self):
        return len(self.texts)


def load_corpus(train=None, test=None, rows=None, test_rows=None, seed=0, **options):
    """Read a training and a test file.

    * A row that cannot be read raises `DataError` with file, line and reason.
    * A row without text is left out.
    * A training row that repeats an earlier one, text and labels, is left out. Test rows are
      never dropped for being alike: scores stay comparable with others' on the same file.
    * Labels are those of the whole training file. A test label that never occurs there has no
      column: nothing can predict it. Scores are over the known labels, and a note says how much
      recall that hides.

    Each of these leaves a note, and the first one says which columns were read, how, and the
    labels that it gave.

    Args:
        train: file of training rows; None for the bundled corpus.
        test: file of test rows; given if and only if `train` is.
        rows: how many training rows to keep, drawn by `seed`; all by default.
        test_rows: the same for testing.
        seed: seed of the draw.
        **options: how the files are read, see `FileOptions`.

    Returns:
        The training and the test `Corpus`.
    """
    paths = default_files(train, test)
    (train_rows, train_notes), (tests, test_notes), how = read_labelled(
        paths, FileOptions(**options)
    )
    train_rows, repeated = without_repeats(train_rows)

    names = sorted(set().union(*(labels for _, labels in train_rows)))
    if not names:
        raise DataError(f"{paths[0]}: no row has a label.")
    how = f"{how} {len(names):,} label{'s' * (len(names) > 1)} ({listing(names, 8)})."
    train_notes = [how, *train_notes, *repeated]
    test_notes += [*unseen_labels(names, tests), *known_texts(train_rows, tests)]
    return (
        corpus(draw(train_rows, rows, seed), names, train_notes),
        corpus(draw(tests, test_rows, seed), names, test_notes),
    )


def default_files(train, test, name="{}.csv.gz"):
    """The bundled files where none are given."""
    if (train is None) != (test is None):
        raise DataError("Give a training and a test file, or neither for the bundled corpus.")
    if train is None:
        return BUNDLED / name.format("train"), BUNDLED / name.format("test")
    return Path(train), Path(test)


def read_labelled(paths, options):
    """Read (text, labels) pairs of some files alike.

    Returns:
        For each file the pairs and notes on what was left out, then how labels were read.
    """
    tables = [open_table(path, options) for path in paths]
    frames = [table.frame() for table in tables]
    first = find_roles(tables[0], frames[0], options)
    roles = [
        alike(table, tables[0], first) or find_roles(table, frame, options)
        for table, frame in zip(tables, frames, strict=True)
    ]
    texts, targets, notes = [], [], []
    for table, frame, role in zip(tables, frames, roles, strict=True):
        found, kept, said = with_text(table, frame, role.text)
        texts.append(found)
        targets.append(frame if len(kept) == len(frame) else frame.iloc[kept])
        notes.append(said)
    text = f"Texts: column {tables[0].columns[first.text]!r}."
    if first.label is None:
        names = [tables[0].columns[i] for i in first.each]
        sets = []
        for table, target in zip(tables, targets, strict=True):
            if missing := [name for name in names if name not in table.columns]:
                raise DataError(f"{table.path}: columns {missing} of {tables[0].path} are missing.")
            sets.append(switched(table, target, names))
        if never := [name for name in names if not any(name in found for found in set(sets[0]))]:
            notes[0].append(f"Columns without a 1 in training are no labels: {listing(never)}.")
        how = f"{text} Labels: a column of 0 and 1 for each."
    else:
        cells = []
        for table, target, role in zip(tables, targets, roles, strict=True):
            if role.label is None:
                raise DataError(
                    f"{table.path}: labels are columns of 0 and 1, where {tables[0].path} has the "
                    f"column {tables[0].columns[first.label]!r}."
                )
            cells.append(target[role.label].tolist())
        reader = CellReader(
            [cell for column in cells for cell in column],
            options,
            partial(place_of_cell, tables, targets),
        )
        sets = [reader(column) for column in cells]
        how = f"{text} Labels: column {tables[0].columns[first.label]!r}, {reader.note}."
        notes[0] += reader.warnings
    rows = [list(zip(*both, strict=True)) for both in zip(texts, sets, strict=True)]
    return *zip(rows, notes, strict=True), how


def place_of_cell(tables, frames, index):
    """Where the cell stands that is number `index` of all frames together."""
    for table, frame in zip(tables, frames, strict=True):
        if index < len(frame):
            return table.place(int(frame.index[index]))
        index -= len(frame)
    raise IndexError(index)


def with_text(table, frame, column):
    """The texts of the rows that have one, their positions, and notes on those without one."""
    texts, kept = texts_in(table, frame, column)
    if not texts:
        reason = "no row has a text" if len(frame) else "no rows after the column names"
        raise DataError(f"{table.path}: {reason}.")
    notes = [*table.notes, f"{table.path.name}: {len(texts):,} rows."]
    if len(texts) < len(frame):
        empty = frame.index.delete(kept)
        first = ", ".join(str(table.number(int(row))) for row in empty[:5])
        first = f"{table.word}{'s' * (len(empty) > 1)} {first}{', …' * (len(empty) > 5)}"
        notes.append(f"{len(empty):,} rows without text left out ({first}).")
    return texts, kept, notes


def texts_in(table, frame, column):
    """The texts of the rows that have one, and the positions of these rows."""
    texts, kept = [], []
    for position, text in enumerate(frame[column].tolist()):
        if isinstance(text, list | dict | bytes):
            raise DataError(
                f"{table.place(int(frame.index[position]))}: column {table.columns[column]!r} "
                f"holds no text but {text!r:.60}"
            )
        text = "" if text is None or text != text else str(text).strip()
        if text:
            texts.append(text)
            kept.append(position)
    return texts, kept


def switched(table, frame, names):
    """The labels of each row, from a column of 0 and 1 for each."""
    values = {**dict.fromkeys(ON, True), **dict.fromkeys(OFF, False)}
    switches = []
    for name in names:
        cells = [str(cell).strip().lower() for cell in frame[table.columns.index(name)].tolist()]
        try:
            switches.append([values[cell] for cell in cells])
        except KeyError as error:
            row = frame.index[next(i for i, cell in enumerate(cells) if cell not in values)]
            raise DataError(
                f"{table.place(row)}: column {name!r} has {error.args[0]!r}, neither 0 nor 1. "
                "Leave out rows whose labels are unknown; if it is no label, choose the labels' "
                "columns by `--label-columns`."
            ) from None
    sets = {}
    for row in zip(*switches, strict=True):
        if row not in sets:
            sets[row] = frozenset(name for name, on in zip(names, row, strict=True) if on)
    return [sets[row] for row in zip(*switches, strict=True)]


def without_repeats(rows):
    """Drop rows that repeat an earlier one; note them, and texts that stand with other labels."""
    kept = list(dict.fromkeys(rows))
    notes, texts = [], len({text for text, _ in kept})
    if len(kept) < len(rows):
        notes.append(f"{len(rows) - len(kept):,} repeated rows left out.")
    if texts < len(kept):
        notes.append(f"{len(kept) - texts:,} rows repeat a text with other labels; they stay.")
    return kept, notes


def unseen_labels(names, rows):
    """Note the labels of test rows that the training file lacks."""
    counts = Counter(name for _, labels in rows for name in labels)
    unseen = sorted(counts.keys() - set(names))
    if not unseen:
        return []
    missed, total = sum(counts[name] for name in unseen), counts.total()
    return [
        f"{len(unseen):,} labels never occur in training ({listing(unseen)}): their "
        f"{missed:,} occurrences are not scored. Counted as missed they would scale micro recall "
        f"by {1 - missed / total:.3f}."
    ]


def known_texts(train, test):
    """Note the test texts that stand in the training file too."""
    known = {text for text, _ in train}
    count = sum(text in known for text, _ in test)
    return [f"{count:,} test texts stand in the training file too; they stay."] if count else []


def draw(rows, number, seed):
    """A random choice of `number` rows in their order, the same on every call."""
    if number is None or number >= len(rows):
        return rows
    if number < 1:
        raise DataError(f"The number of rows to keep must be at least 1. Received: {number}")
    chosen = np.random.default_rng(seed).permutation(len(rows))[:number]
    return [rows[i] for i in sorted(chosen)]


def corpus(rows, names, notes):
    """Turn (text, label set) rows into a `Corpus`; labels without a column are passed over."""
    sets = {present: i for i, present in enumerate(dict.fromkeys(labels for _, labels in rows))}
    distinct = np.array([[name in present for name in names] for present in sets], "uint8")
    labels = distinct[[sets[present] for _, present in rows]]
    bare = int((labels.sum(axis=1) == 0).sum())
    if bare:
        notes = [*notes, f"{bare:,} rows have no label."]
    return Corpus([text for text, _ in rows], labels, names, notes)
