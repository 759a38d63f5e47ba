"""Fine-grained data for the examples: several aspects, each with a level of its own."""

from collections import Counter
from dataclasses import dataclass, field

from support.data import TEXT_NAMES, default_files, draw, load_corpus, with_text, without_repeats
from support.table import DataError, find_column, read_table

import numpy as np

FACETS = ("role", "implemented-in", "interface", "uitoolkit", "use", "works-with")
MOST_LEVELS = 100


@dataclass
class FineGrained:
    """Texts with a level on each aspect.

    Attributes:
        texts: N strings.
        levels: (N, A) array of integers; level 0 is "none".
        aspect_names: A strings.
        level_names: for each aspect the names of its levels; their numbers may differ.
        notes: what was found in the file and what was done about it, one sentence each.
    """

    texts: list[str]
    levels: np.ndarray
    aspect_names: list[str]
    level_names: list[list[str]]
    notes: list[str] = field(default_factory=list)

    @property
    def num_levels(self):
        return [len(names) for names in self.level_names]

    def __len__(self):
        return len(self.texts)


def load_fine_grained(
    train=None, test=None, rows=None, test_rows=None, text_column=None, aspects=None, seed=0
):
    """Read a training and a test file with one column of integers, 0 or more, per aspect.

    Without files: the bundled corpus, whose labels are pairs of facet and value
    ("uitoolkit::gtk"). An aspect is a facet, its levels are "none" and the facet's values.

    Args:
        train: file of training rows; None for the bundled corpus.
        test: file of test rows; given if and only if `train` is.
        rows: how many training rows to keep, drawn by `seed`; all by default.
        test_rows: the same for testing.
        text_column: name of the text's column; found among usual names by default.
        aspects: names of the aspects' columns, or of the facets; by default all columns but
            the text's, or `FACETS`.
        seed: seed of the draw.

    Returns:
        The training and the test `FineGrained`.
    """
    if train is None and test is None:
        corpora = load_corpus(rows=rows, test_rows=test_rows, seed=seed)
        return from_facets(*corpora, aspects or FACETS)

    paths = default_files(train, test)
    (train_rows, names, train_notes), (test_rows_, test_names, test_notes) = (
        read_levels(path, text_column, aspects) for path in paths
    )
    if names != test_names:
        raise DataError(f"{paths[1]}: aspects {test_names} where {paths[0]} has {names}.")
    train_rows, repeated = without_repeats(train_rows)
    highest = np.max([levels for _, levels in train_rows], axis=0)
    highest_test = np.max([levels for _, levels in test_rows_], axis=0)
    level_names = [
        [str(level) for level in range(top + 1)] for top in np.maximum(highest, highest_test)
    ]
    test_notes += [
        f"{name}: levels above {top} never occur in training; they count as missed."
        for name, top, above in zip(names, highest, highest_test > highest, strict=True)
        if above
    ]
    return tuple(
        FineGrained(
            [text for text, _ in kept],
            np.array([levels for _, levels in kept], dtype="int32"),
            names,
            level_names,
            notes,
        )
        for kept, notes in (
            (draw(train_rows, rows, seed), train_notes + repeated),
            (draw(test_rows_, test_rows, seed), test_notes),
        )
    )


def read_levels(path, text_column=None, aspects=None):
    """Read (text, levels) pairs, the aspects' names, and notes on what was left out."""
    columns, lines = read_table(path)
    text_at = find_column(path, columns, text_column, TEXT_NAMES, "--text-column")
    names = list(aspects or (name for i, name in enumerate(columns) if i != text_at))
    if not names:
        raise DataError(f"{path}: no column but the text's. Each aspect needs a column.")
    places = [find_column(path, columns, name, (), "--aspects") for name in names]
    rows, notes = with_text(
        path,
        (
            (number, row[text_at], tuple(level(path, number, columns[i], row[i]) for i in places))
            for number, row in lines
        ),
    )
    return rows, names, notes


def level(path, number, column, value):
    """A level as an integer, or an error that says where it stands."""
    value = value.strip()
    if not (value.isdecimal() and int(value) < MOST_LEVELS):
        raise DataError(
            f"{path}, line {number}: column {column!r} has {value!r}, not a level from 0 to "
            f"{MOST_LEVELS - 1}. If the column is no aspect, choose the aspects' columns by "
            "`--aspects`."
        )
    return int(value)


def from_facets(train, test, facets):
    """Turn labels such as "uitoolkit::gtk" into one level per facet.

    Where a row has several values of one facet, the rarest in training is its level: it says the
    most.
    """
    values = {
        facet: [n for n in train.label_names if n.startswith(f"{facet}::")] for facet in facets
    }
    for facet, names in values.items():
        if not names:
            raise DataError(f"No label begins with '{facet}::'. Labels: {train.label_names}")
    counts = Counter(dict(zip(train.label_names, train.labels.sum(axis=0).tolist(), strict=True)))
    column = {name: i for i, name in enumerate(train.label_names)}

    def convert(corpus):
        levels = np.zeros((len(corpus), len(facets)), dtype="int32")
        notes = list(corpus.notes)
        for a, facet in enumerate(facets):
            present = corpus.labels[:, [column[name] for name in values[facet]]]  # (N, values)
            rarity = np.array([-counts[name] for name in values[facet]], dtype="float64")
            best = np.where(present == 1, rarity, -np.inf).argmax(axis=1)
            levels[:, a] = np.where(present.any(axis=1), best + 1, 0)
            several = int((present.sum(axis=1) > 1).sum())
            if several:
                notes.append(f"{facet}: {several:,} rows have several values; the rarest counts.")
        level_names = [["none", *(n.split("::", 1)[1] for n in values[f])] for f in facets]
        return FineGrained(corpus.texts, levels, list(facets), level_names, notes)

    return convert(train), convert(test)
