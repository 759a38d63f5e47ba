"""Files as people have them: every form gives the same table, or an error with the way out."""

import codecs
import gzip
import io
import json

from support.file_options import FileOptions
from support.files import open_table
from support.table import DataError

import numpy as np
import pytest

ROWS = [("first text", ["a", "b"]), ("second, text; 文本", ["b"]), ("third\ntext", ["a", "c"])]
SETS = {text: set(labels) for text, labels in ROWS}
CSV = "text,label\n" + "".join(f'"{text}",{"|".join(labels)}\n' for text, labels in ROWS)
TSV = CSV.replace('",', '"\t').replace("text,label", "text\tlabel")
OBJECTS = [{"text": text, "labels": labels} for text, labels in ROWS]
JSON_LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in OBJECTS)


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (CSV, {}),
        (TSV, {}),
        (TSV.encode("utf-16"), {}),  # "Unicode text" of Excel
        (codecs.BOM_UTF16_BE + TSV.encode("utf-16-be"), {}),
        (TSV.encode("utf-16-le"), {"encoding": "utf-16-le"}),
        (CSV.encode("utf-32"), {}),
        (CSV.replace('",', '";').replace("text,label", "text;label").encode("utf-8-sig"), {}),
        (CSV.replace('",', '"|').replace("t,l", "t|l").replace("a|", "a/"), {"separator": "/"}),
        ("sep=,\n" + CSV, {}),
        ("sep=;\r\n" + CSV.replace('",', '";').replace("text,label", "text;label"), {}),
        (CSV.replace("\n", "\r").replace("third\r", "third\n"), {}),
        (CSV.encode("gb18030"), {"encoding": "gb18030"}),
        (gzip.compress(TSV.encode("utf-16"), mtime=0), {}),
        (JSON_LINES, {}),
        (JSON_LINES.encode("utf-8-sig"), {}),
        (
            "\n".join(JSON_LINES.splitlines()[:1]) + "\n\n" + JSON_LINES[JSON_LINES.index("\n") :],
            {},
        ),
        (gzip.compress(JSON_LINES.encode(), mtime=0), {}),
        (JSON_LINES.encode("gb18030"), {"encoding": "gb18030"}),
        (json.dumps(OBJECTS), {}),
        (json.dumps(OBJECTS, indent=1), {}),
        (json.dumps([{"text": t, "label": "|".join(s)} for t, s in ROWS]), {}),
        (CSV.partition("\n")[2], {"no_header": True}),
        (CSV.partition("\n")[2], {"no_header": True, "text_column": "1", "label_column": "2"}),
    ],
)
def test_every_form_of_a_file_reads_the_same(sets, content, options):
    assert sets(content, **options) == SETS


def test_parquet(write, sets):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    packed = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(OBJECTS), packed)
    assert sets(packed.getvalue()) == SETS
    with pytest.raises(DataError, match=r"train\.csv: no whole Parquet file"):
        sets(packed.getvalue()[:-20])
    table = open_table(write(packed.getvalue()), FileOptions())
    assert [table.place(0), table.place(2)] == [f"{table.path}, row 1", f"{table.path}, row 3"]


def workbook(*sheets, merge=None):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets:
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
        if merge:
            sheet.merge_cells(merge)
    packed = io.BytesIO()
    book.save(packed)
    return packed.getvalue()


EXCEL = [["text", "label"], *([text, "|".join(labels)] for text, labels in ROWS)]


def test_excel(load, sets):
    assert sets(workbook(("Sheet1", EXCEL), ("Sheet2", []))) == SETS
    two = workbook(("Notes", [["made by", "me"]]), ("Data", EXCEL))
    assert sets(two, sheet="Data") == SETS
    with pytest.raises(DataError, match=r"several sheets hold rows: \['Notes', 'Data'\].*--sheet"):
        load(two)
    with pytest.raises(DataError, match="no sheet 'Rows'"):
        load(two, sheet="Rows")
    with pytest.raises(DataError, match="the sheet is empty"):
        load(workbook(("Sheet1", [])))


def test_cells_of_excel(load):
    numbers = workbook(
        ("S", [["text", "toxic", "rude"], ["a", 1, False], [None, 0, 0], [7, 0, True]])
    )
    train, _ = load(numbers)
    assert train.texts == ["a", "7"] and train.label_names == ["rude", "toxic"]
    np.testing.assert_array_equal(train.labels, [[0, 1], [1, 0]])
    assert "1 rows without text left out (row 3)." in train.notes
    merged = workbook(("S", [*EXCEL, ["fourth", None]]), merge="B4:B5")
    assert any("has merged cells" in note for note in load(merged)[0].notes)
    cut = workbook(("S", [["text", "label"], ["x" * 32_767, "a"], ["y", "b"]]))
    assert any("1 cells end at 32,767 characters" in note for note in load(cut)[0].notes)
    dates = workbook(
        ("S", [["text", "label"], ["x", "a"], ["y", __import__("datetime").date.today()]])
    )
    with pytest.raises(DataError, match="row 3: neither a string nor a list: 20"):
        load(dates)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_quoted_line_breaks_of_tsv_even_where_each_line_looks_like_a_row(load, end):
    rows = [f'{"ab"[i % 2]}\t"line {i}{end}b\tgoes on {i}"' for i in range(400)]
    train, _ = load("label\ttext" + end + end.join(rows) + end)
    assert len(train) == 400
    assert train.texts[1] == f"line 1{end}b\tgoes on 1"
    assert any(
        "400 rows have line breaks inside quotes (the first: line 2)" in n for n in train.notes
    )
    assert len(load("label\ttext" + end + end.join(rows) + end, quotes="none")[0]) == 800


def test_a_few_quotes_over_lines_that_look_like_rows_are_refused(load):
    rows = [f"text {i}\t{'ab'[i % 2]}\n" for i in range(100)]
    rows[10], rows[14] = '"oh no\ta\n', 'she said"\tb\n'
    content = "text\tlabel\n" + "".join(rows)
    with pytest.raises(DataError, match=r"line 12: a quote opens .* `--quotes none`"):
        load(content)
    assert len(load(content, quotes="none")[0]) == 100
    assert len(load(content, quotes="csv")[0]) == 96


def test_quotes_of_texts_stay(load):
    texts = ['"Yes" and "no"', '"Well', 'he said "so"', '"All of it."']
    content = "text\tlabel\n" + "".join(f"{text}\ta\n" for text in texts)
    assert load(content)[0].texts == texts


def test_long_texts(load):
    long = "a, long text. " * 20_000
    assert load(f'text,label\n"{long}",a\nshort,b\n')[0].texts == [long.strip(), "short"]


def test_label_ids_without_a_header(load, write, sets):
    """As GoEmotions has them: text, ids of labels, id of the row."""
    names = ["admiration", "amusement", "anger"]
    rows = [
        ("[NAME] is a fine one", "0"),
        ("Ha, that is it!", "1,2"),
        ("No, never", "2"),
        ("?", "0"),
    ]
    content = "".join(f"{text} {i}\t{ids}\teb{i}q\n" for i, (text, ids) in enumerate(rows * 3))
    with pytest.raises(DataError, match=r"no column .*`--text-column`.*add `--no-header`"):
        load(content)
    train, _ = load(content, no_header=True)
    assert train.label_names == ["0", "1", "2"]
    assert any("`--label-names FILE`" in note for note in train.notes)
    path = str(write("\n".join(names), "labels.txt"))
    train, _ = load(content, no_header=True, label_names=path)
    assert train.texts[1] == "Ha, that is it! 1" and train.label_names == names
    np.testing.assert_array_equal(train.labels[:3], [[1, 0, 0], [0, 1, 1], [0, 0, 1]])
    assert sets("text,label\nx,1.0\ny,amusement\n", label_names=path) == {
        "x": {"amusement"},
        "y": {"amusement"},
    }
    with pytest.raises(DataError, match=r"line 3: '3' is neither a name .* from 0 to 2"):
        load("text,label\nx,1\ny,3\n", label_names=path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("a\nb\na\n", "'a' stands twice"),
        ("0\ta\n1\tb\n", "a name for each line"),
        ("a\n\nb", "a name"),
    ],
)
def test_files_of_names(load, write, names, message):
    with pytest.raises(DataError, match=message):
        load("text,label\nx,0\ny,1\n", label_names=str(write(names, "names.txt")))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,label\n你好世界,a\n".encode("gb18030"), r"line 2: not UTF-8.*`--encoding gb18030`"),
        ('{"text": "你好世界", "label": "a"}\n'.encode("gb18030"), "`--encoding gb18030`"),
        ("text,label\ncafé au lait,a\n".encode("latin-1"), "line 2: .*`--encoding latin-1`"),
        ("text,label\nit’s a café,a\n".encode("cp1252"), "line 2: .*`--encoding cp1252`"),
        ("text,label\nпривет мир,a\n".encode("cp1251"), "line 2: .*Name its encoding"),
        ("text\tlabel\nHello\ta\n".encode("utf-16-le"), r"`--encoding utf-16-le`"),
        ("text\tlabel\nHello\ta\n".encode("utf-16-be"), r"`--encoding utf-16-be`"),
        (b"PK\x03\x04 no archive", "no whole Excel file"),
        (b"BZh91AY", "packed by bzip2"),
        (b"\xd0\xcf\x11\xe0 old", r"save it as \.xlsx"),
        ('{"text": "x", "label": "a"}\n{"text": "y"\n', "line 2: no JSON object"),
        ('{"text": "x", "label": "a", "label": "b"}\n', "line 1: .*a name stands twice"),
        ('{"text": "x", "label": "a"}\n["y", "b"]\n', "line 2: a JSON object was expected"),
        ('{"text": "x", "labels": [["a"]]}\n', "line 1: a list in a list"),
        ('{"text": "x", "labels": {"a": 1}}\n', "line 1: neither a string nor a list"),
        ('{"text": ["x", "y"], "labels": ["a"]}\n', "line 1: column 'text' holds no text"),
        ('[["x", ["y"]]]\n', "an array of objects was expected"),
        ("text|x,label\na|b,c\n", "`--delimiter`"),
        ('text,label\nx,a\n"y" z,b\n', "line 3: .*`--quotes none`"),
        ("text\tlabel\nx\ta\ny\n", "line 3: 1 fields"),
        ('text\tlabel\nx\ta\n"y\nz"\tb\tc\n', "line 3: 3 fields"),
    ],
)
def test_what_cannot_be_read_says_where_why_and_how_to_mend_it(load, content, message):
    with pytest.raises(DataError, match=message):
        load(content)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("text,label\n" + "好" * 60 + ",a\n", {"encoding": "gb18030"}, "it is UTF-8; leave out"),
        ("\ufefftext,label\nx,a\n", {"encoding": "latin-1"}, "it is marked as utf-8"),
        ("text,label\nx,a\n", {"encoding": "klingon"}, "Python knows no encoding 'klingon'"),
        ("text,label\nx,a\n", {"encoding": "base64"}, "Python knows no encoding 'base64'"),
        ("text,label\nx,a\n", {"encoding": "utf-16"}, "not utf-16"),
        ("id,text,label\n1,x,a\n", {"no_header": True}, "leave out `--no-header`"),
        ("x,a\n", {"text_column": "1"}, "no column '1'.*`--no-header`"),
        ("text,label\nx,a\n", {"label_column": "text"}, "both texts and labels"),
        ("text,label\nx,a\n", {"delimiter": ",,"}, "`--delimiter` must be one character"),
        (
            "text,label\nx,a\ny,b\n",
            {"no_header": True, "text_column": "1"},
            "leave out `--no-header`",
        ),
        ("x,a\nyy,b\n", {"no_header": True}, "no column's values are much longer.*'x'.*'a'"),
        (
            "x,a\n",
            {"no_header": True, "text_column": "3"},
            r"no column '3'\. Columns: \['1', '2'\]",
        ),
    ],
)
def test_options_that_do_not_suit_a_file(load, content, options, message):
    with pytest.raises(DataError, match=message):
        load(content, **options)


@pytest.mark.parametrize(
    "text", ["comment_text", "Tweet", "review", "Review Text", "评论", "title"]
)
@pytest.mark.parametrize("label", ["category", "Topics", "class", "类别"])
def test_usual_names(sets, text, label):
    content = f"id,{text},{label},label_text\n7,one,a,u\n8,two,b,v\n"
    assert sets(content) == {"one": {"a"}, "two": {"b"}}


def test_lines_are_those_of_the_file(load):
    content = 'sep=,\ntext,label\n"one\n\ntwo",a\n\n,b\n"th\nree",c\n,a\n'
    assert "2 rows without text left out (lines 7, 10)." in load(content)[0].notes


def test_an_encoding_that_is_told_and_marked(sets):
    assert sets(b"\xef\xbb\xbf" + CSV.encode(), encoding="utf8") == SETS
    assert sets(TSV.encode("utf-16"), encoding="utf-16-le") == SETS


def test_columns_of_the_test_file_are_those_of_the_training_file(load):
    """Found anew, its first column would be taken for the texts."""
    train, test = load(
        "4\tsome long text\n4\tanother long text\n7\tyes that is it, too\n",
        "7 \tshort\n4|7                        \tno\n4\tyes\n",
        no_header=True,
    )
    assert test.texts == ["short", "no", "yes"] and train.label_names == ["4", "7"]
    np.testing.assert_array_equal(test.labels, [[0, 1], [1, 1], [1, 0]])
    with pytest.raises(DataError, match=r"3 columns where .* has 2"):
        load("4\tsome long text\n", "7\tshort\t1\n", no_header=True)


def test_bytes_are_no_text(sets):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    packed = io.BytesIO()
    rows = [{"text": b"bytes", "labels": ["a"]}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), packed)
    with pytest.raises(DataError, match="row 1: column 'text' holds no text but b'bytes'"):
        sets(packed.getvalue())
