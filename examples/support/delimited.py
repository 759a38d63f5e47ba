"""CSV, TSV and their relatives, read by pandas.

Of its engines the one called "python" is used: the others fill up rows that are too short, or take
a quote that was forgotten for the end of a field many rows further down.
"""

import codecs
import csv
import io
import re
from contextlib import contextmanager

from support.columns import known_names
from support.table import HEAD, DataError, find_encoding, opened, wrong_encoding

import pandas as pd

DELIMITERS = "\t,;|"
CHUNK = 20_000  # rows
csv.field_size_limit(2**31 - 1)


class Delimited:
    """A text file with a delimiter between fields.

    Attributes:
        columns: names of the columns; their numbers, from 1, without a header.
        quotes: whether quotes surround fields, or are characters like any other.
    """

    word = "line"

    def __init__(self, path, options):
        self.path, self.options = path, options
        with opened(path) as file:
            head = file.read(HEAD)
        self.whole = len(head) < HEAD
        self.encoding = find_encoding(path, head, options.encoding)
        decoder = codecs.getincrementaldecoder(self.encoding)()
        try:
            text = decoder.decode(head, final=self.whole)
        except UnicodeError:
            raise wrong_encoding(self.path, self.encoding) from None
        told = re.match(r'"?sep=(.)"?(\r\n|\r|\n)', text, re.IGNORECASE)  # a line of Excel's
        self.skipped = 1 if told else 0
        text = text[told.end() :] if told else text
        self.delimiter = self.find_delimiter(text, told and told[1])
        self.quotes = options.quotes != "none"
        self.columns = self.find_columns(text)
        self.notes = []

    def find_delimiter(self, text, told):
        if self.options.delimiter:
            told = {"tab": "\t", "\\t": "\t"}.get(self.options.delimiter, self.options.delimiter)
        if told:
            if len(told) != 1 or told in '"\r\n':
                raise DataError(f"`--delimiter` must be one character, or tab. Received: {told!r}")
            return told
        first = re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0]
        present = [mark for mark in DELIMITERS if mark in first]
        even = [mark for mark in present if self.even(text, mark)]
        known = {mark: known_names(first.split(mark)) for mark in even}
        even = [mark for mark in even if known[mark] == max(known.values())]
        if len(even) > 1 and even[0] != "\t":
            raise DataError(
                f"{self.path}: every line splits evenly at each of {', '.join(map(repr, even))}. "
                "Choose one by `--delimiter`."
            )
        return (even or present or [","])[0]

    def even(self, text, delimiter):
        """Whether all rows of the text's beginning have the same number of fields."""
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
            lines = io.StringIO(text, newline="")
            widths = []
            try:
                for row in csv.reader(lines, delimiter=delimiter, strict=True, quoting=quoting):
                    if row and not (len(row) == 1 and not row[0].strip()):
                        widths.append(len(row))
            except csv.Error:
                pass
            widths = widths if self.whole else widths[:-1]
            if len(widths) > 1 and len(set(widths)) == 1 and widths[0] > 1:
                return True
        return False

    def find_columns(self, text):
        if not text:
            raise DataError(
                f"{self.path}: the file is empty. Its first line must name the columns."
            )
        try:
            first = next(self.reader(io.StringIO(text, newline="")), [])
        except csv.Error:  # said with its line when the rows are read
            self.quotes = False
            first = next(self.reader(io.StringIO(text, newline="")), [])
            self.quotes = self.options.quotes != "none"
        line = 1 + self.skipped
        if not any(name.strip() for name in first):
            raise DataError(
                f"{self.path}, line {line}: empty; it must name the columns, as in `label,content`."
            )
        if self.options.no_header:
            return [str(number) for number in range(1, len(first) + 1)]
        return [name.strip() for name in first]

    @contextmanager
    def text(self):
        """The file as text, from the first line with fields on."""
        with opened(self.path) as file:
            lines = io.TextIOWrapper(file, encoding=self.encoding, newline="")
            try:
                for _ in range(self.skipped):
                    lines.readline()
                yield lines
            except UnicodeError:
                raise wrong_encoding(self.path, self.encoding) from None

    def reader(self, lines):
        quoting = csv.QUOTE_MINIMAL if self.quotes else csv.QUOTE_NONE
        return csv.reader(lines, delimiter=self.delimiter, strict=True, quoting=quoting)

    def chunks(self):
        """Yield the rows as frames of strings, some at a time."""
        with self.text() as lines:
            form = {"sep": self.delimiter, "header": None, "dtype": object, "engine": "python"}
            as_is = {"na_filter": False, "keep_default_na": False}
            quoting = csv.QUOTE_MINIMAL if self.quotes else csv.QUOTE_NONE
            try:
                frames = pd.read_csv(lines, **form, **as_is, quoting=quoting, chunksize=CHUNK)
                for number, frame in enumerate(frames):
                    if not self.options.no_header:
                        frame.index -= 1
                        frame = frame.iloc[1:] if number == 0 else frame
                    if frame.iloc[:, -1].isna().any():  # a row that is too short
                        raise self.problem()
                    yield frame
            except (csv.Error, pd.errors.ParserError) as error:
                raise self.problem(error) from None

    def frame(self, rows=None):
        """All rows, or the first ones; where quotes cannot surround fields, they do not."""
        try:
            frame = self.gather(rows)
        except DataError as error:
            if self.delimiter != "\t" or self.options.quotes or "not UTF-8" in str(error):
                raise
            self.quotes = False
            try:
                frame = self.gather(rows)
            except DataError:
                raise error from None
            self.notes.append(f"{self.path.name}: quotes are characters like any other.")
            return frame
        if self.delimiter == "\t" and self.quotes:
            self.look_at_breaks(frame)
        return frame

    def gather(self, rows):
        frames, count = [], 0
        for frame in self.chunks():
            frames.append(frame)
            count += len(frame)
            if rows is not None and count >= rows:
                break
        return pd.concat(frames, ignore_index=True)[:rows]

    def look_at_breaks(self, frame):
        """Say that quoted fields span lines; refuse where these may as well be rows."""
        texts = [frame[column] for column in frame]
        broken = sum((text.str.contains(r"[\r\n]") for text in texts), start=0) > 0
        if not broken.any():
            return
        rows = frame[broken]
        if len(rows) < 0.05 * len(frame) and not self.options.quotes:
            inside = rows.apply(lambda row: any("\t" in cell for cell in row), axis=1)
            if inside.all() and self.reads_without_quotes():
                raise DataError(
                    f"{self.place(rows.index[0])}: a quote opens a field that ends some lines "
                    "further down, and these lines may as well be rows of their own. `--quotes "
                    "none` if quotes are characters like any other, `--quotes csv` if not."
                )
        self.notes.append(
            f"{self.path.name}: {len(rows):,} rows have line breaks inside quotes (the first: "
            f"line {self.number(rows.index[0])})."
        )

    def reads_without_quotes(self):
        self.quotes = False
        try:
            return all(True for _ in self.chunks())
        except DataError:
            return False
        finally:
            self.quotes = True

    def numbered(self, lines):
        """Yield (line number, fields) of the rows as pandas counts them, the header included."""
        reader = self.reader(lines)
        number = 1
        for fields in reader:
            if fields and not (len(fields) == 1 and not fields[0].strip()):
                yield number + self.skipped, fields
            number = reader.line_num + 1

    def number(self, row):
        """The line on which a row begins."""
        ahead = row + (0 if self.options.no_header else 1)
        with self.text() as lines:
            return next(n for i, (n, _) in enumerate(self.numbered(lines)) if i == ahead)

    def place(self, row):
        return f"{self.path}, {self.word} {self.number(row)}"

    def problem(self, error=None):
        """Why pandas did not read the file, with the line."""
        last = self.skipped
        with self.text() as lines:
            reader = self.reader(lines)
            try:
                for fields in reader:
                    blank = not fields or (len(fields) == 1 and not fields[0].strip())
                    if len(fields) != len(self.columns) and not blank:
                        return DataError(
                            f"{self.path}, line {last + 1}: {len(fields)} fields where the first "
                            f"line has {len(self.columns)} ({', '.join(self.columns)})."
                        )
                    last = reader.line_num + self.skipped
            except csv.Error as found:
                hint = ' Quote a field that has delimiters or quotes in it: "a ""b"", c"; or, if '
                hint += "quotes surround no fields, add `--quotes none`."
                return DataError(f"{self.path}, line {last + 1}: {found}.{hint}")
        return DataError(f"{self.path}: {error}.")
