"""What stands in a cell: a string, a list as Python, NumPy or JSON write it, or nothing."""

import ast
import json
import math
import re

from support.table import DataError

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
    """`plain` of many cells; of equal ones once."""
    known, plains = {}, []
    for index, cell in enumerate(cells):
        key = tuple(cell) if isinstance(cell, list) else cell
        try:
            if key in known:
                plains.append(known[key])
                continue
        except TypeError:  # a list of lists or of objects, which `plain` refuses
            pass
        try:
            plains.append(plain(cell))
        except CellError as error:
            raise DataError(f"{where(index)}: {error}.") from None
        known[key] = plains[-1]
    return plains
