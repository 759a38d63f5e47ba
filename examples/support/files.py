"""Tables in files of any usual form: which form it is, and its rows in frames.

A table has `path`, `columns`, `notes`, `chunks()` (frames of some rows each), `frame(rows)` (all
rows, or the first ones) and `place(row)`, where a row stands in words. A cell is what the format
makes of it: a string, or in JSON and Parquet a number, a list, or None.
"""

import io
import itertools
import json
import re
import zipfile
import zlib
from pathlib import Path

from support.delimited import CHUNK, Delimited
from support.table import DataError, find_encoding, opened, wrong_encoding

import pandas as pd

EXCEL_LONGEST = 32_767  # characters of a cell
OTHERS = (
    (b"\xd0\xcf\x11\xe0", "an old Excel file; save it as .xlsx"),
    (b"BZh", "packed by bzip2; unpack it"),
    (b"\xfd7zXZ", "packed by xz; unpack it"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd; unpack it"),
    (b"%PDF", "a PDF"),
)
JSON_BEGINS = re.compile(r'\s*(\{\s*(["}]|$)|\[\s*([\[{]|$))')


def open_table(path, options):
    """Recognise a file's form by its first bytes."""
    path = Path(path)
    with opened(path) as file:
        head = file.read(1 << 16)
    if head.startswith(b"PAR1"):
        table = ParquetTable(path)
    elif head.startswith(b"PK"):
        table = excel_table(path, options)
    elif what := next((what for mark, what in OTHERS if head.startswith(mark)), None):
        raise DataError(f"{path}: {what}.")
    elif is_json(path, head, options):
        table = json_table(path, options)
    else:
        table = Delimited(path, options)
    names = [name for name in table.columns if name]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(
            f"{path}, line 1: a column name stands twice ({', '.join(repeated)}) in "
            f"{table.columns}. If the first line is a row, add `--no-header`."
        )
    return table


def is_json(path, head, options):
    text = head.decode(find_encoding(path, head, options.encoding), "replace")
    first = text.lstrip().splitlines()[0] if text.strip() else ""
    if not JSON_BEGINS.match(first):
        return False
    if {".json", ".jsonl", ".ndjson"} & set(path.suffixes) or JSON_BEGINS.fullmatch(first):
        return True
    try:
        return isinstance(json.loads(first), dict | list)
    except ValueError:  # as a line of text that begins with a bracket; or the array is one line
        return len(text) > 1 << 15 and len(first) == len(text.lstrip())


class Placed:
    """Says where a row stands."""

    def place(self, row):
        return f"{self.path}, {self.word} {self.number(row)}"


class Rows(Placed):
    """A table whose rows are in memory."""

    def __init__(self, path, columns, rows, word, first):
        self.path, self.columns, self.notes = path, columns, []
        self.word, self.first = word, first
        self.rows = pd.DataFrame(rows, columns=range(len(columns)), dtype=object)

    def chunks(self):
        yield self.rows

    def frame(self, rows=None):
        return self.rows[:rows]

    def number(self, row):
        return row + self.first


class JsonLines(Placed):
    """One JSON object a line."""

    word = "line"

    def __init__(self, path, encoding):
        self.path, self.encoding, self.notes = path, encoding, []
        first = itertools.islice(self.objects(), CHUNK)
        self.columns = list(dict.fromkeys(name for _, entry in first for name in entry))

    def objects(self):
        """Yield (line number, object)."""
        with opened(self.path) as file:
            lines = io.TextIOWrapper(file, encoding=self.encoding)
            try:
                for number, line in enumerate(lines, start=1):
                    if line.strip():
                        yield number, read_object(f"{self.path}, line {number}", line)
            except UnicodeError:
                raise wrong_encoding(self.path, self.encoding) from None

    def chunks(self):
        objects, count = self.objects(), 0
        while some := [entry for _, entry in itertools.islice(objects, CHUNK)]:
            rows = [[entry.get(name) for name in self.columns] for entry in some]
            frame = pd.DataFrame(rows, columns=range(len(self.columns)), dtype=object)
            frame.index += count
            count += len(frame)
            yield frame

    def frame(self, rows=None):
        return gathered(self, rows)

    def number(self, row):
        return next(itertools.islice(self.objects(), row, None))[0]


class ParquetTable(Placed):
    """A Parquet file."""

    word = "row"

    def __init__(self, path):
        self.path, self.notes = path, []
        try:
            from pyarrow import ArrowException, parquet
        except ImportError as error:
            raise DataError(
                f"{path}: a Parquet file is read by pyarrow ({error}): pip install pyarrow"
            ) from None
        try:
            self.file = parquet.ParquetFile(path)
        except (ArrowException, OSError) as error:
            raise DataError(f"{path}: no whole Parquet file ({error}).") from None
        self.columns = list(self.file.schema_arrow.names)

    def chunks(self):
        count = 0
        for batch in self.file.iter_batches(CHUNK):
            columns = [column.to_pylist() for column in batch.columns]
            frame = pd.DataFrame(dict(enumerate(columns)), dtype=object)
            frame.index += count
            count += len(frame)
            yield frame

    def frame(self, rows=None):
        return gathered(self, rows)

    def number(self, row):
        return row + 1


def gathered(table, rows):
    """All rows of a table, or the first ones."""
    frames, count = [pd.DataFrame(columns=range(len(table.columns)), dtype=object)], 0
    for frame in table.chunks():
        frames.append(frame)
        count += len(frame)
        if rows is not None and count >= rows:
            break
    return pd.concat(frames, ignore_index=True)[:rows]


def excel_table(path, options):
    """The one sheet of an .xlsx file that holds something, or the one that was told."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "xl/workbook.xml" not in names:
                raise DataError(f"{path}: a zip archive; unpack it.")
            merged = any(
                b"<mergeCell " in archive.read(name) for name in names if "worksheets/sheet" in name
            )
        as_is = {"header": None, "dtype": object, "na_filter": False, "keep_default_na": False}
        sheets = pd.read_excel(path, sheet_name=None, engine="openpyxl", **as_is)
    except (zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: no whole Excel file or zip archive ({error}).") from None
    except ImportError:
        raise DataError(
            f"{path}: an Excel file is read by openpyxl: pip install openpyxl"
        ) from None
    if options.sheet is not None and options.sheet not in sheets:
        raise DataError(f"{path}: there is no sheet {options.sheet!r}. Sheets: {list(sheets)}.")
    full = [name for name, sheet in sheets.items() if len(sheet)]
    if options.sheet is None and len(full) > 1:
        raise DataError(f"{path}: several sheets hold rows: {full}. Choose one by `--sheet`.")
    rows = sheets[options.sheet or full[0]] if full else pd.DataFrame()
    if not len(rows):
        raise DataError(f"{path}: the sheet is empty. Its first row must name the columns.")
    skip = 0 if options.no_header else 1
    header = rows.iloc[0].tolist() if skip else range(1, rows.shape[1] + 1)
    table = Rows(path, [str(n).strip() for n in header], rows[skip:].values, "row", 1 + skip)
    if merged:
        table.notes.append(f"{path.name} has merged cells: only the first of them holds the value.")
    if cut := sum((rows[c].map(str).str.len() >= EXCEL_LONGEST).sum() for c in rows):
        table.notes.append(
            f"{path.name}: {cut} cells end at {EXCEL_LONGEST:,} characters, Excel's most."
        )
    return table


def json_table(path, options):
    """JSON lines, or one array of objects."""
    with opened(path) as file:
        head = file.read(1 << 16)
        encoding = find_encoding(path, head, options.encoding)
        if not head.decode(encoding, "replace").lstrip().startswith("["):
            return JsonLines(path, encoding)
    with opened(path) as file:
        try:
            entries = DECODER.decode(file.read().decode(encoding).removeprefix("\ufeff"))
        except UnicodeError:
            raise wrong_encoding(path, encoding) from None
        except ValueError as error:
            raise DataError(f"{path}: no JSON array ({error}).") from None
    if not entries or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{path}: an array of objects was expected, such as {EXAMPLE}.")
    columns = list(dict.fromkeys(name for entry in entries for name in entry))
    rows = [[entry.get(name) for name in columns] for entry in entries]
    return Rows(path, columns, rows, "entry", 1)


EXAMPLE = '{"text": "…", "labels": ["a", "b"]}'


def read_object(place, line):
    try:
        entry = DECODER.decode(line)
    except ValueError as error:
        raise DataError(
            f"{place}: no JSON object ({error}). One a line, such as {EXAMPLE}."
        ) from None
    if not isinstance(entry, dict):
        raise DataError(
            f"{place}: a JSON object was expected, such as {EXAMPLE}. Found: {line[:60]}"
        )
    return entry


def unrepeated(pairs):
    """An object; json itself would take the last of several values without a word."""
    entry = dict(pairs)
    if len(entry) < len(pairs):
        raise ValueError("a name stands twice in an object")
    return entry


DECODER = json.JSONDecoder(object_pairs_hook=unrepeated)
