"""What the cells of a column of labels mean: joined names, a list, numbers of labels."""

import ast
import json
import math
import re
from collections import Counter
from pathlib import Path

from support.separators import decide, listing
from support.table import DataError, read_lines

import numpy as np

# what pandas, NumPy, JSON and SQL write where there is no label
MISSING = {"", "nan", "NaN", "None", "null", "NULL", "<NA>", "NaT", "[]", "{}", "()", "set()"}
TOKEN = re.compile(
    r"""\s*(?:(?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
    r"""|(?P<number>[+-]?\d+(?:\.\d*)?)|(?P<word>None|nan|NaN|null|<NA>|[Tt]rue|[Ff]alse))"""
    r"""(?P<joint>\s*,\s*|\s+|$)"""
)
WRAPPED = re.compile(r"""np\.\w+\(('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^()]*)\)""")  # np.str_('a')
BRACKETS = {"[": "]", "(": ")", "{": "}"}
BITS = re.compile(r"[01](?:\s*[,;|\s]\s*[01])+")
INTEGER = re.compile(r"[+-]?\d+(?:\.0*)?")


class CellError(Exception):
    """A cell that cannot be read; the message says why."""


def number(value):
    """A number as a string, 3.0 as "3"."""
    value = float(value)
    return str(int(value)) if math.isfinite(value) and value == int(value) else str(value)


def plain(cell):
    """A cell as a string, a tuple of strings, or None for no label."""
    if isinstance(cell, str):
        cell = cell.strip()
        return None if cell in MISSING else cell
    if cell is None:
        return None
    if isinstance(cell, bool | np.bool_):
        return str(int(cell))
    if isinstance(cell, int | float | np.number):
        return None if cell != cell else number(cell)
    if isinstance(cell, list | tuple | set | np.ndarray):
        items = tuple(plain(item) for item in cell)
        if any(isinstance(item, tuple) for item in items):
            raise CellError(f"a list in a list: {str(cell)[:60]}")
        return tuple(item for item in items if item is not None) or None
    raise CellError(f"neither a string nor a list: {str(cell)[:60]}")


def parse_list(cell):
    """Read a list as Python, JSON or NumPy write it, as a tuple; None if it is something else."""
    if match := re.fullmatch(r"(?:np\.)?array\((.*?)(?:,\s*dtype=.*)?\)", cell, re.DOTALL):
        cell = match[1].strip()
    cell = WRAPPED.sub(r"\1", cell)
    if cell[0] == "{" and cell[-1] == "}" and ":" in cell:
        raise CellError(f"neither a string nor a list: {cell[:60]}")
    if re.match(r"[\[(]\s*[\[({]", cell) and re.search(r"['\"\d]", cell):
        raise CellError(f"a list in a list: {cell[:60]}")
    if len(cell) < 2 or BRACKETS.get(cell[0]) != cell[-1]:
        return None
    inner = cell[1:-1].strip()
    if cell[0] == "[":
        try:
            return plain(json.loads(cell)) or ()
        except ValueError:
            pass
    items, joints, at = [], set(), 0
    while at < len(inner):
        token = TOKEN.match(inner, at)
        if not token:
            if re.search(r"['\"\d]\s*,?\s*\.\.\.", inner):
                raise CellError(f"a list that NumPy has cut off: {cell[:60]}")
            return None
        items.append(item_of(token))
        at = token.end()
        if at < len(inner):
            joints.add("," in token["joint"])
    if len(joints) > 1:
        raise CellError(f"a list with and without commas: {cell[:60]}")
    if cell[0] == "(" and len(items) == 1 and not inner.endswith(","):
        return None
    return tuple(item for item in items if item is not None)


def item_of(token):
    if token["string"]:
        return plain(ast.literal_eval(token["string"]))
    if token["number"]:
        return number(token["number"])
    return {"true": "1", "false": "0"}.get(token["word"].lower())


def read_label_names(path):
    """The names of the labels 0, 1, 2, … from the lines of a file, or from a JSON array."""
    text = "".join(read_lines(Path(path)))
    try:
        names = json.loads(text)
        if isinstance(names, dict):
            names = [names[str(i)] for i in range(len(names))]
    except (ValueError, KeyError):
        names = text.rstrip().splitlines()
    names = [str(name).strip() for name in names] if isinstance(names, list) else []
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if not names or "" in names or repeated or any("\t" in name for name in names):
        what = f"{repeated[0]!r} stands twice" if repeated else "a name for each line was expected"
        raise DataError(f"{path}: {what}. Line 1 is the name of label 0, line 2 that of label 1, …")
    return names


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
        self.count = Counter(plains)
        self.where = lambda value: where(plains.index(value))
        self.options, self.warnings = options, []
        self.names = read_label_names(options.label_names) if options.label_names else None
        values = [value for value in self.count if value is not None]
        self.split = self.find_split(values)
        labels = {value: tuple(self.split(value)) for value in values}
        self.rename = self.find_names({label for parts in labels.values() for label in parts})
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
        self.note = f"{length} numbers, 0 or 1, in a cell"
        if self.names and len(self.names) != length:
            raise DataError(
                f"Each cell has {length} numbers, 0 or 1, where `--label-names` has "
                f"{len(self.names)} names."
            )
        if not self.names:
            self.warnings.append("Labels are places in a list; `--label-names FILE` names them.")
        names = self.names or [str(place) for place in range(length)]
        self.names = names

        def split(value):
            bits = read(value)
            if bits and (len(bits) != length or not set(bits) <= {"0", "1"}):
                raise CellError(f"{value!r} where {length} numbers, 0 or 1, were expected")
            return [name for name, on in zip(names, bits, strict=False) if on == "1"]

        return split

    def find_names(self, labels):
        """A function from what stands in a cell to a label's name."""
        if self.names:
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
            return lambda label: number(label) if INTEGER.fullmatch(label) else label
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


def bits_in(value):
    return tuple(re.findall(r"\S", re.sub(r"[,;|]", " ", value)))


def list_in(value, bare=False):
    """The items of a cell that must be a list."""
    if not isinstance(value, str):
        return value
    found = parse_list(value)
    if found is None and bare and value[0] == "[" and value[-1] == "]":
        found = bare_list(value)
    if found is None:
        raise CellError(f"{value!r} is no list, as other cells are")
    return found


def bare_list(value):
    """The items of a list without quotes."""
    return tuple(filter(None, map(str.strip, value[1:-1].split(","))))


SWITCH = {"0", "1", "true", "false", "0.0", "1.0"}


def vectors(lists):
    """Whether lists hold a 0 or a 1 for each label, and not numbers of labels."""
    lists = list(lists)
    lengths = {len(items) for items in lists}
    return len(lengths) == 1 and lengths.pop() > 1 and all(set(x) <= {"0", "1"} for x in lists)


def is_number(label):
    try:
        return math.isfinite(float(label))
    except ValueError:
        return False


def plain_of_each(cells, where):
    """`plain` of many cells; of equal strings once."""
    known, plains = {}, []
    for index, cell in enumerate(cells):
        try:
            if isinstance(cell, str):
                if cell not in known:
                    known[cell] = plain(cell)
                plains.append(known[cell])
            else:
                plains.append(plain(cell))
        except CellError as error:
            raise DataError(f"{where(index)}: {error}.") from None
    return plains
