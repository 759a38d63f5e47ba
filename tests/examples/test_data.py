from types import SimpleNamespace

from support import UserError
from support.data import BUNDLED, complete, load_labels, load_levels

import numpy as np
import pandas as pd
import pytest

ROWS = [("first", {"a", "b"}), ("second", {"b"}), ("third", set())]
TEXTS = {text: labels for text, labels in ROWS}
SEPARATED = "text,labels\nfirst,b|a\nsecond,b\nthird,\n"


def test_formats_hold_the_same(tmp_path, sets, options):
    frame = pd.DataFrame({"text": list(TEXTS), "labels": [sorted(x) for x in TEXTS.values()]})
    joined = frame.assign(labels=frame["labels"].str.join("|"))
    each = frame[["text"]].assign(a=[1, 0, 0], b=[1.0, 1.0, 0.0])
    separator, columns = ("--separator", "|"), ("--label-columns", "a", "b")
    assert sets(SEPARATED, *separator) == TEXTS
    assert sets(joined.to_csv(sep="\t", index=False), *separator, name="t.tsv") == TEXTS
    assert sets(joined.to_csv(index=False, lineterminator="\r\n"), *separator) == TEXTS
    assert sets(b"\xef\xbb\xbf" + SEPARATED.encode(), *separator) == TEXTS
    assert sets(SEPARATED.encode("utf-16"), *separator, "--encoding", "utf-16") == TEXTS
    assert sets(frame.to_csv(index=False)) == TEXTS  # ['a', 'b'], as Python writes it
    assert sets(frame.to_json(orient="records", lines=True), name="t.jsonl") == TEXTS
    assert sets(each.to_csv(index=False), *columns) == TEXTS
    assert sets(each.replace({1: True, 0: False}).to_csv(index=False), *columns) == TEXTS
    for name, write, how in (
        ("lists.parquet", frame.to_parquet, ()),
        ("joined.parquet", joined.to_parquet, separator),
        ("joined.xlsx", lambda path: joined.to_excel(path, index=False), separator),
        ("each.xlsx", lambda path: each.to_excel(path, index=False), columns),
        ("rows.csv.gz", lambda path: joined.to_csv(path, index=False), separator),
    ):
        write(tmp_path / name)
        assert sets((tmp_path / name).read_bytes(), *how, name=name) == TEXTS, name


def test_what_joins_labels_is_what_is_said(sets):
    for separator, cell in (
        ("#", "a#b"),
        (",", '"a，b"'),
        (", ", '"a, b"'),
        (" ", "a　b"),
        ("><", "a><b"),
    ):
        content = f"text,labels\nfirst,{cell}\n"
        assert sets(content, "--separator", separator) == {"first": {"a", "b"}}, separator
    assert sets("text,labels\nfirst, a| b||\n", "--separator", "|") == {"first": {"a", "b"}}
    codes = "text,labels\nfirst,038.9|250.0\nsecond,250.00\n"
    expected = {"first": {"038.9", "250.0"}, "second": {"250.00"}}
    assert sets(codes, "--separator", "|") == expected
    assert sets('text,labels\nx,"[""None"", ""a,b""]"\n') == {"x": {"None", "a,b"}}
    assert sets('text,labels\nx,"[""\\u4e2d""]"\n') == {"x": {"中"}}
    quoted = 'text,labels\n"two\nlines, and ""more""",a\n'
    assert sets(quoted, "--separator", "|") == {'two\nlines, and "more"': {"a"}}
    long = f"text,labels\n{'word ' * 40_000},a\n"
    assert sets(long, "--separator", "|") == {("word " * 40_000).strip(): {"a"}}


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("words,labels\nx,a\n", ("--separator", "|"), r"no column 'text' among \['words', 'la"),
        ("text,topic\nx,a\n", ("--separator", "|"), r"no column 'labels' .* --label-column"),
        (SEPARATED, (), r"train.csv, row 1, column 'labels': 'b\|a' is no list of labels"),
        ("text,labels\nx,['a' 'b']\n", (), r"\"\['a' 'b'\]\" is no list of labels"),
        ("text,labels\nx,[0.5]\n", (), "is no list of labels"),
        ('{"text": "x", "labels": {"a": 1}}', (), "is no list of labels"),
        ('{"text": "x", "labels": ["a"]}', ("--separator", "|"), "is no labels joined by '|'"),
        ('{"text": 5, "labels": ["a"]}', (), "row 1, column 'text': 5 is no text"),
        ("text,a\nx,2\n", ("--label-columns", "a"), "row 1, column 'a': '2' is no whole number"),
        ("text,labels\nx\n", ("--separator", "|"), "row 1: it has too few cells"),
        ("text,labels\nx,a,b\n", ("--separator", "|"), "train.csv: "),
        ('text,labels\n"x,a\n', ("--separator", "|"), "train.csv: "),
        ("text,labels\n标,a\n".encode("gb18030"), ("--separator", "|"), "decode .* --encoding gb"),
        (SEPARATED, ("--separator", "|", "--encoding", "none"), "unknown encoding: none"),
        ("text,labels\nx,\n", ("--separator", "|"), "no row has a label"),
        ("text,labels\n ,a\n", ("--separator", "|"), "no row has a text"),
        ("[1, 2", (), "train.jsonl: "),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told(options, content, arguments, message):
    jsonl = content[:1] in ("{", "[")
    with pytest.raises(UserError, match=message):
        name = "train.jsonl" if jsonl else "train.csv"
        load_labels(options(content, *arguments, name=name))


def test_options_that_contradict_each_other():
    nothing = dict.fromkeys(("train", "test", "separator", "label_columns", "aspects"))
    for given, message in (
        ({"train": "a.csv"}, "both --train and --test"),
        ({"separator": ","}, "both --train and --test"),
        ({"train": "a", "test": "b", "separator": ",", "label_columns": ["c"]}, "in one cell"),
    ):
        with pytest.raises(UserError, match=message):
            complete(SimpleNamespace(**{**nothing, **given}))
    with pytest.raises(UserError, match="must end in"):
        load_labels(SimpleNamespace(train="rows.txt", test="rows.txt", encoding="utf-8"))


def test_notes_say_what_the_labels_are(options):
    train = "text,labels\nx,a#b\ny,a#b\ny,a#b\nz,c\n ,c\n"
    files = options(train, "--separator", "|", test="text,labels\nx,c|d|e\nw,d\n")
    train, test, notes = load_labels(files)
    assert test.names == ["a#b", "c", "d", "e"]
    assert test.targets.tolist() == [[0, 1, 1, 1], [0, 0, 1, 0]]
    assert train.targets.shape == (3, 2)
    for part, note in zip(
        ("2 rows without a text, or seen", "2 labels: a#b 2, c 1", "1 labels: 'a#b'", "3 times"),
        notes,
        strict=True,
    ):
        assert part in note


def test_levels(options):
    content = "text,joy,anger\nx,0,3\ny,2.0,0\nz,1,1\n"
    train, test, _ = load_levels(options(content, "--aspects", "joy", "anger"))
    assert train.targets.tolist() == [[0, 3], [2, 0], [1, 1]]
    assert [len(names) for names in train.levels] == [3, 4]
    assert test.label_names == ["joy::1", "joy::2", "anger::1", "anger::2", "anger::3"]
    expected = [[0, 0, 0, 0, 1], [0, 1, 0, 0, 0], [1, 0, 1, 0, 0]]
    np.testing.assert_array_equal(test.as_labels(), expected)
    with pytest.raises(UserError, match="needs --aspects"):
        load_levels(options(content))
    with pytest.raises(UserError, match="row 1, column 'text': 'x' is no whole number"):
        load_levels(options(content, "--aspects", "text"))


def test_the_bundled_corpus():
    bundled = SimpleNamespace(**BUNDLED, label_columns=None, aspects=None, encoding="utf-8")
    train, test, notes = load_labels(bundled)
    assert train.targets.shape == (12_686, 55) and test.targets.shape == (1_401, 55)
    assert len(notes) == 1 and notes[0].startswith("55 labels: role::program 6,919, ")
    drawn = train.drawn(100)
    assert drawn.texts == train.drawn(100).texts and len(set(drawn.texts)) == 100
    assert drawn.texts == sorted(drawn.texts, key=train.texts.index)
    levels, _, _ = load_levels(bundled)
    assert [len(names) for names in levels.levels] == [8, 6, 5, 5, 8, 9]
    plugin = train.names.index("role::plugin")  # rarer than role::program
    rows = train.targets[:, plugin] == 1
    role = np.array(levels.levels[0])[levels.targets[:, 0]]
    assert (role[rows] == "plugin").mean() > 0.9
