"""How a user's files are to be read: the options of every script that takes them."""

from dataclasses import dataclass, fields

READABLE = "CSV, TSV, JSON lines, Parquet or Excel"


@dataclass(frozen=True)
class FileOptions:
    """What cannot be seen in a file, or was seen wrongly. Everything is found by default.

    Attributes:
        text_column: name of the texts' column; its number, from 1, in a file without a header.
        label_column: the same for the column of the labels.
        label_columns: names of columns of 0 and 1, one for each label.
        separator: what joins the labels of a cell; "none" where a cell is one label.
        label_names: file with the name of label 0, 1, 2, … on its lines.
        no_header: the first line is a row, too.
        encoding: of a text file, as Python names it.
        delimiter: character between the fields of a text file, or "tab".
        quotes: "csv" where quotes surround fields, "none" where they are characters like any other.
        sheet: name of the sheet of an Excel file.
    """

    text_column: str | None = None
    label_column: str | None = None
    label_columns: list[str] | None = None
    separator: str | None = None
    label_names: str | None = None
    no_header: bool | None = None
    encoding: str | None = None
    delimiter: str | None = None
    quotes: str | None = None
    sheet: str | None = None

    @classmethod
    def of(cls, arguments):
        """Those of a command line, or of `Settings`."""
        return cls(**{option.name: getattr(arguments, option.name) for option in fields(cls)})


def add_file_options(parser, test=True):
    """Add `--train`, `--test`, and the options that say how they are read."""
    group = parser.add_argument_group("files", "What is left out is found, and said.")
    add = group.add_argument
    for name in ("--train", "--test") if test else ("--train",):
        add(name, metavar="FILE", help=f"{READABLE}; the bundled corpus by default")
    add("--text-column", metavar="NAME", help="column of the texts")
    add("--label-column", metavar="NAME", help="column of the labels")
    add("--label-columns", nargs="+", metavar="NAME", help="columns of 0 and 1, one a label")
    add("--separator", help="what joins the labels of a cell; none: a cell is one label")
    add("--label-names", metavar="FILE", help="names of the labels 0, 1, 2, …, one a line")
    add(
        "--no-header",
        action="store_true",
        default=None,
        help="the first line is a row; a column's NAME is its number, from 1",
    )
    add("--encoding", help="of a text file, such as gb18030 or latin-1")
    add("--delimiter", help="between fields: one character, or tab")
    add(
        "--quotes",
        choices=("csv", "none"),
        help="csv: they surround fields; none: they are characters like any other",
    )
    add("--sheet", metavar="NAME", help="sheet of an Excel file")
