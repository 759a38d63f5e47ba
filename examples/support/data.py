"""Multi-label data for the examples: the bundled corpus, or the user's own files."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from support.table import DataError, find_column, read_table

import numpy as np

BUNDLED = Path(__file__).resolve().parents[1] / "data"
TEXT_NAMES = ("content", "text", "texts", "sentence", "文本", "内容", "正文", "句子")
LABEL_NAMES = ("label", "labels", "tag", "tags", "标签", "类别")


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


def load_corpus(
    train=None,
    test=None,
    rows=None,
    test_rows=None,
    text_column=None,
    label_column=None,
    separator=None,
    seed=0,
):
    """Read a training and a test file.

    * A row that cannot be read raises `DataError` with file, line and reason.
    * A row without text is left out.
    * A training row that repeats an earlier one, text and labels, is left out. Test rows are
      never dropped for being alike: scores stay comparable with others' on the same file.
    * Labels are those of the whole training file. A test label that never occurs there has no
      column: nothing can predict it. Scores are over the known labels, and a note says how much
      recall that hides.

    Each of these leaves a note.

    Args:
        train: file of training rows; None for the bundled corpus.
        test: file of test rows; given if and only if `train` is.
        rows: how many training rows to keep, drawn by `seed`; all by default.
        test_rows: the same for testing.
        text_column: name of the text's column; found among usual names by default.
        label_column: name of the labels' column; found among usual names by default.
        separator: string that joins a row's labels. By default "|" where a label field has one,
            otherwise both commas, "," and "，".
        seed: seed of the draw.

    Returns:
        The training and the test `Corpus`.
    """
    train, test = default_files(train, test)
    told = (text_column, label_column)
    train_rows, train_notes = read_labelled(train, *told)
    tests, test_notes = read_labelled(test, *told)
    split, note = label_splitter([row[1] for row in train_rows + tests], separator)
    train_rows = [(text, split(labels)) for text, labels in train_rows]
    tests = [(text, split(labels)) for text, labels in tests]
    train_rows, repeated = without_repeats(train_rows)

    names = sorted(set().union(*(labels for _, labels in train_rows)))
    if not names:
        raise DataError(f"{train}: no row has a label.")
    train_notes = [note, *train_notes, *repeated]
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


def read_labelled(path, text_column=None, label_column=None):
    """Read (text, label field) pairs, and notes on what was left out."""
    columns, lines = read_table(path)
    text_at = find_column(path, columns, text_column, TEXT_NAMES, "--text-column")
    label_at = find_column(path, columns, label_column, LABEL_NAMES, "--label-column")
    return with_text(path, ((number, row[text_at], row[label_at]) for number, row in lines))


def with_text(path, numbered):
    """Keep (text, target) of the rows that have a text; note the lines of those that have none."""
    rows, empty = [], []
    for number, text, target in numbered:
        if text.strip():
            rows.append((text.strip(), target))
        else:
            empty.append(number)
    if not rows:
        reason = "no row has a text" if empty else "no rows after the column names"
        raise DataError(f"{path}: {reason}.")
    notes = [f"{path.name}: {len(rows):,} rows."]
    if empty:
        notes.append(f"{len(empty):,} rows without text left out ({listing('line', empty)}).")
    return rows, notes


def label_splitter(fields, separator=None):
    """A function from a label field to its set of labels, and a note on how it splits."""
    if separator is None:
        separators = ["|"] if any("|" in value for value in fields) else [",", "，"]
    elif separator:
        separators = [separator]
    else:
        raise DataError("`--separator` must be a string of at least one character. Received: ''")
    pattern = re.compile("|".join(map(re.escape, separators)))

    def split(value):
        return frozenset(name for part in pattern.split(value) if (name := part.strip()))

    return split, f"Labels are split at {' and '.join(map(repr, separators))}."


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
        f"{len(unseen):,} labels never occur in training ({listing('', unseen)}): their "
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
    column = {name: i for i, name in enumerate(names)}
    labels = np.zeros((len(rows), len(names)), dtype="uint8")
    for i, (_, present) in enumerate(rows):
        labels[i, [column[name] for name in present if name in column]] = 1
    bare = int((labels.sum(axis=1) == 0).sum())
    if bare:
        notes = [*notes, f"{bare:,} rows have no label."]
    return Corpus([text for text, _ in rows], labels, names, notes)


def listing(word, items, limit=5):
    """The first few items in words: "lines 3, 8, 9, …"."""
    word = f"{word}{'s' if len(items) > 1 else ''} " if word else ""
    return word + ", ".join(map(str, items[:limit])) + (", …" if len(items) > limit else "")
