"""Reading tables: CSV or TSV with a header, UTF-8 with or without a mark, gzipped or not."""

import csv
import gzip
import itertools
import zlib
from pathlib import Path


class DataError(ValueError):
    """A file that cannot be used as it is; the message says where and why."""


def read_lines(path):
    """Yield a file's lines as text."""
    try:
        with open(path, "rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with (gzip.open if packed else open)(path, "rb") as lines:
            yield from decode(path, lines)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: the gzip file is cut off or damaged ({error}).") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None


def decode(source, lines):
    """Yield lines of bytes as text; an error names their source."""
    for number, line in enumerate(lines, start=1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{source}, line {number}: not UTF-8 (byte {line[error.start]:#04x} at "
                f"position {error.start + 1}). Save the file as UTF-8, for example with "
                "`iconv -f gb18030 -t utf-8`."
            ) from None


def read_table(path):
    """Return a table's column names and an iterator over its rows as (line number, fields).

    The table is tab-separated if its first line has a tab, comma-separated otherwise.
    """
    path = Path(path)
    lines = read_lines(path)
    first = next(lines, "")
    if not first:
        raise DataError(f"{path}: the file is empty. Its first line must name the columns.")
    if not first.strip():
        raise DataError(f"{path}, line 1: empty; it must name the columns, as in `label,content`.")
    rows = parse(path, itertools.chain([first], lines), tabs="\t" in first)
    _, header = next(rows)
    columns = [name.strip() for name in header]
    if len(set(columns)) < len(columns):
        raise DataError(f"{path}, line 1: a column name stands twice in {columns}.")
    return columns, check_width(path, rows, columns)


def parse(path, lines, tabs):
    """Yield (line number, fields); a row may span lines, the number is that of the first."""
    if tabs:  # a quote is a character like any other, unless it surrounds a whole field
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(lines, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            hint = "" if tabs else ' Quote a field that has commas or quotes in it: "a ""b"", c".'
            raise DataError(f"{path}, line {number}: {error}.{hint}") from None
        if fields:
            yield number, [unquote(field) for field in fields] if tabs else fields


def unquote(field):
    """Undo the quoting that spreadsheets give to a field with commas or quotes in it."""
    if len(field) > 1 and field[0] == field[-1] == '"':
        return field[1:-1].replace('""', '"')
    return field


def check_width(path, rows, columns):
    """Pass rows on that have one field a column."""
    for number, fields in rows:
        if len(fields) != len(columns):
            raise DataError(
                f"{path}, line {number}: {len(fields)} fields where the first line names "
                f"{len(columns)} columns ({', '.join(columns)})."
            )
        yield number, fields


def find_column(path, columns, told, names, argument):
    """The index of the column that was told, or of the only one with a usual name."""
    if told is not None:
        if told not in columns:
            raise DataError(
                f"{path}: there is no column {told!r}. Columns: {columns}. Choose one by "
                f"`{argument}`."
            )
        return columns.index(told)
    found = [i for i, name in enumerate(columns) if name.lower() in names]
    if len(found) != 1:
        what = "several columns have a name" if found else "no column has a name"
        raise DataError(
            f"{path}: {what} known for `{argument}` ({', '.join(names)}). Columns: {columns}. "
            f"Choose one by `{argument}`, or name the columns in the first line."
        )
    return found[0]
