"""Fine-grained data for the examples: several aspects, each with a level of its own."""

from collections import Counter
from dataclasses import dataclass, field

from support.columns import (
    LABEL_NAMES,
    all_differ,
    find_text,
    holds_switches,
    is_id,
    place_of,
    usual,
)
from support.data import default_files, draw, load_corpus, with_text, without_repeats
from support.file_options import FileOptions
from support.files import open_table
from support.separators import listing
from support.table import DataError

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
    train=None, test=None, rows=None, test_rows=None, aspects=None, seed=0, **options
):
    """Read a training and a test file with one column of integers, 0 or more, per aspect.

    Without files: the bundled corpus, whose labels are pairs of facet and value
    ("uitoolkit::gtk"). An aspect is a facet, its levels are "none" and the facet's values.

    Args:
        train: file of training rows; None for the bundled corpus.
        test: file of test rows; given if and only if `train` is.
        rows: how many training rows to keep, drawn by `seed`; all by default.
        test_rows: the same for testing.
        aspects: names of the aspects' columns, or of the facets; by default all columns but
            the text's and ids', or `FACETS`.
        seed: seed of the draw.
        **options: how the files are read, see `FileOptions`.

    Returns:
        The training and the test `FineGrained`.
    """
    if train is None and test is None:
        corpora = load_corpus(rows=rows, test_rows=test_rows, seed=seed)
        return from_facets(*corpora, aspects or FACETS)

    paths = default_files(train, test)
    (train_rows, names, train_notes), (test_rows_, test_names, test_notes) = (
        read_levels(path, FileOptions(**options), aspects) for path in paths
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


def read_levels(path, options, aspects=None):
    """Read (text, levels) pairs, the aspects' names, and notes on what was left out."""
    table = open_table(path, options)
    frame = table.frame()
    text = find_text(table, frame, options)
    if aspects:
        places = [place_of(table, name, "--aspects") for name in aspects]
    else:
        if options.label_column or options.label_columns:
            raise DataError("The columns of labels are told; those of aspects are by `--aspects`.")
        places = find_aspects(table, frame, text)
    texts, kept, notes = with_text(table, frame, text)
    names = [table.columns[i] for i in places]
    levels = [
        [
            level(table, row, name, value)
            for row, value in zip(kept, frame[i].iloc[kept], strict=True)
        ]
        for i, name in zip(places, names, strict=True)
    ]
    notes = [f"Aspects: columns {listing(names, 8)}.", *notes]
    return list(zip(texts, zip(*levels, strict=True), strict=True)), names, notes


def find_aspects(table, frame, text):
    """All columns but the text's and ids; what may be labels or ids is refused."""
    places = [i for i, name in enumerate(table.columns) if i != text and not is_id(name)]
    names = [table.columns[i] for i in places]
    if not names:
        raise DataError(f"{table.path}: no column but the text's. Each aspect needs a column.")
    told = "If they are aspects, say so by `--aspects`."
    if all(holds_switches(frame[i]) for i in places):
        raise DataError(
            f"{table.path}: columns {names} hold nothing but 0 and 1: labels, not levels. {told}"
        )
    if labels := [name for name in names if usual(name) in LABEL_NAMES]:
        raise DataError(f"{table.path}: columns {labels} have a name of labels, not levels. {told}")
    if ids := [name for i, name in zip(places, names, strict=True) if all_differ(frame[i])]:
        raise DataError(
            f"{table.path}: no value stands twice in columns {ids}, as in those of ids. {told}"
        )
    return places


def level(table, row, column, value):
    """A level as an integer, or an error that says where it stands."""
    text = str(value).strip()
    text = text.removesuffix(".0")  # pandas and Excel know no integers beside empty cells
    if not (text.isdecimal() and int(text) < MOST_LEVELS):
        raise DataError(
            f"{table.place(row)}: column {column!r} has {value!r}, not a level from 0 to "
            f"{MOST_LEVELS - 1}. If the column is no aspect, choose the aspects' columns by "
            "`--aspects`."
        )
    return int(text)


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
