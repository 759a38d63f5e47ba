"""What the cells of a column of labels mean: joined names, lists, numbers of labels."""

import json
import re
from collections import Counter
from pathlib import Path

from support.cells import (
    BITS,
    INTEGER,
    MISSING,
    CellError,
    bare_list,
    bits_in,
    is_number,
    list_in,
    parse_list,
    plain_of_each,
    vectors,
)
from support.columns import LABEL_NAMES
from support.separators import decide, listing
from support.table import DataError, read_lines


def read_label_names(path):
    """The names of the labels 0, 1, 2, … from the lines of a file, or from a JSON array."""
    text = "".join(read_lines(Path(path)))
    try:
        names = json.loads(text)
        if isinstance(names, dict):
            names = [names[str(i)] for i in range(len(names))]
    except (ValueError, KeyError):
        names = text.rstrip().split("\n")
    names = [str(name).strip() for name in names] if isinstance(names, list) else []
    repeated = [name for name, times in Counter(names).items() if times > 1]
    header = bool(names) and names[0].lower() in ("name", "names", *LABEL_NAMES)
    numbered = all(re.match(r"\d+\s*[\t,;:=]", name) for name in names)
    if not names or "" in names or repeated or numbered or header:
        what = f"{repeated[0]!r} stands twice" if repeated else "a name for each line was expected"
        what += f", and {names[0]!r} to be one" if header else ""
        raise DataError(f"{path}: {what}. Line 1 is the name of label 0, line 2 that of label 1, …")
    return names


def without_zeros(label):
    """3 for 3.0: pandas and Excel know no integers beside empty cells. 03 stays."""
    return label.partition(".")[0] if INTEGER.fullmatch(label) else label


class CellReader:
    """Reads the cells of a column of labels, all alike.

    Args:
        cells: cells that decide how all are read, of one table or of several.
        options: the `FileOptions`.
        where: function from the index of a cell to its place in words.

    Attributes:
        note: how cells are read, in words.
        warnings: what may be wrong with it, one sentence each.
        sets: for each cell that decided its set of labels.
    """

    def __init__(self, cells, options, where):
        plains = plain_of_each(cells, where)
        written = {cell.strip() for cell in cells if isinstance(cell, str)} & MISSING
        if words := sorted(word for word in written if word.isalpha()):
            warned = [f"Cells of {' or '.join(words)} hold no label."]
        else:
            warned = []
        self.count = Counter(plains)
        self.where = lambda value: where(plains.index(value))
        self.options, self.warnings = options, warned
        self.names = read_label_names(options.label_names) if options.label_names else None
        values = [value for value in self.count if value is not None]
        self.places = False  # whether cells hold a 0 or a 1 for each label
        self.split = self.find_split(values)
        labels = {value: tuple(self.split(value)) for value in values}
        self.rename = (
            str
            if self.places
            else self.find_names({label for parts in labels.values() for label in parts})
        )
        self.sets = {None: frozenset()}
        for value, parts in labels.items():
            try:
                self.sets[value] = frozenset(map(self.rename, parts))
            except CellError as error:
                raise DataError(f"{self.where(value)}: {error}.") from None
        del self.where, self.count  # they hold all cells

    def __call__(self, cells, where=str):
        """The set of labels of each cell; it need not be one of those that decided."""
        sets = []
        for index, value in enumerate(plain_of_each(cells, where)):
            try:
                known = value in self.sets
                sets.append(
                    self.sets[value] if known else frozenset(map(self.rename, self.split(value)))
                )
            except CellError as error:
                raise DataError(f"{where(index)}: {error}.") from None
        return sets

    def find_split(self, values):
        """Decide whether cells are lists or strings: a function from a cell to its labels."""
        lists = {value: value for value in values if isinstance(value, tuple)}
        for value in values:
            try:
                found = parse_list(value) if isinstance(value, str) else None
            except CellError as error:
                raise DataError(f"{self.where(value)}: {error}.") from None
            if found is not None:
                lists[value] = found
        others = [value for value in values if value not in lists]
        bare = bool(others) and all(v[0] == "[" and v[-1] == "]" for v in others)
        if bare and (lists or any("," in value for value in others)):  # [joy, love]
            lists |= {value: bare_list(value) for value in others}
            others = []
        bare = bare and not others
        texts = all(isinstance(value, str) for value in values)
        separator = self.options.separator
        if not lists or (others and texts and separator):
            return self.find_string_split(values)
        one = next(iter(lists))
        if others and texts:
            raise DataError(
                f"{self.where(one)}: the labels are a list, {one!r}, and {self.where(others[0])}: "
                f"{others[0]!r} is none. Mend the file, or give a `--separator` if all are strings."
            )
        if separator:
            raise DataError(f"{self.where(one)}: {one!r} is a list; leave out `--separator`.")
        if not others and vectors(lists.values()):
            return self.switches(len(lists[one]), list_in)
        strings = self.find_string_split(others) if others else None
        self.note = "lists"

        def split(value):
            if strings and isinstance(value, str) and parse_list(value) is None:
                return strings(value)
            return list_in(value, bare)

        return split

    def find_string_split(self, values):
        if self.options.separator is None and values:
            if all(map(BITS.fullmatch, values)) and vectors(map(bits_in, values)):
                return self.switches(len(bits_in(values[0])), bits_in)
            if len(values[0]) > 2 and all(
                len(value) == len(values[0]) and set(value) <= set("01") for value in values
            ):
                raise DataError(
                    f"{self.where(values[0])}: {values[0]!r}, as all others, is a string of 0 and "
                    "1. Write a list, [0, 1], or a column for each label; `--separator none` if "
                    "it is a label."
                )
        count = Counter({value: self.count[value] for value in values})
        split, self.note, warnings = decide(count, self.options.separator, self.where)
        self.warnings += warnings
        return split

    def switches(self, length, read):
        """Cells hold a 0 or a 1 for each label."""
        self.note, self.places = f"{length} numbers, 0 or 1, in a cell", True
        if self.names and len(self.names) != length:
            raise DataError(
                f"Each cell has {length} numbers, 0 or 1, where `--label-names` has "
                f"{len(self.names)} names."
            )
        if not self.names:
            self.warnings.append("Labels are places in a list; `--label-names FILE` names them.")
        names = self.names or [str(place) for place in range(length)]

        def split(value):
            bits = read(value)
            if bits and (len(bits) != length or not set(bits) <= {"0", "1"}):
                raise CellError(f"{value!r} where {length} numbers, 0 or 1, were expected")
            return [name for name, on in zip(names, bits, strict=False) if on == "1"]

        return split

    def find_names(self, labels):
        """A function from what stands in a cell to a label's name."""
        if self.names:
            if "0" not in labels and any(map(INTEGER.fullmatch, labels)):
                self.warnings.append("No text has label 0: do the numbers begin at 0?")
            return self.named
        lowered = {label.lower() for label in labels}
        if self.options.separator is None and labels and lowered <= SWITCH:
            raise DataError(
                f"The column of labels holds nothing but {listing(sorted(labels))}. "
                "`--label-columns` with its name if it is a label that a text has or has not "
                "(with the other columns of 0 and 1, if there are any); `--label-names FILE` with "
                "the names of labels 0 and 1 if these are two labels, or `--separator none` if 0 "
                "and 1 are their names."
            )
        if labels and all(map(INTEGER.fullmatch, labels)):
            self.warnings.append("Labels are numbers; `--label-names FILE` gives them names.")
            return without_zeros
        if labels and all(map(is_number, labels)):
            raise DataError(
                f"The column of labels holds numbers with fractions ({listing(sorted(labels), 3)}):"
                " no labels. Choose another by `--label-column`."
            )
        rows = self.count.total()
        if rows > 99 and len(labels) > rows / 2:
            self.warnings.append(f"{len(labels):,} labels for {rows:,} rows: is it their column?")
        if odd := sorted({"NA", "N/A", "n/a", "none"} & labels):
            self.warnings.append(f"{listing(odd)} is a label here; leave the cell empty for none.")
        return str

    def named(self, label):
        if label in self.names:
            return label
        if INTEGER.fullmatch(label) and 0 <= int(float(label)) < len(self.names):
            return self.names[int(float(label))]
        raise CellError(
            f"{label!r} is neither a name in `--label-names` nor a number from 0 to "
            f"{len(self.names) - 1} (if numbers begin at 1, the file needs a line before the first)"
        )


SWITCH = {"0", "1", "true", "false", "0.0", "1.0"}
