import gzip

from support import delimited
from support.data import BUNDLED, load_corpus
from support.file_options import FileOptions
from support.files import open_table
from support.fine_grained import FACETS, load_fine_grained
from support.table import DataError

import numpy as np
import pytest

from data.build_corpus import shingles

PLAIN = "label,content\na|b,first text\nb,second text\nc|a,third text\n"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.encode("utf-8-sig"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\n\n"),
        PLAIN.rstrip("\n"),
        gzip.compress(PLAIN.encode(), mtime=0),
        PLAIN.replace(",", "\t"),
        PLAIN.replace("label,content", "Labels, Text"),
        PLAIN.replace("label,content", "标签,文本"),
        PLAIN.replace(",", "\t").replace("|", ","),
        PLAIN.replace("|", "，"),
        'content,label\nfirst text,"a, b"\nsecond text,b\nthird text,"c，a,a"\n',
        'content\tlabel\n"first text"\t"a,b"\nsecond text\tb\nthird text\tc，a\n',
        'id,text,label\n1,"first text",a|b|\n2,second text,b\n3,third text,| c | a\n',
    ],
)
def test_every_form_of_a_file_reads_the_same(load, content):
    train, _ = load(content)
    assert train.texts == ["first text", "second text", "third text"]
    assert train.label_names == ["a", "b", "c"]
    np.testing.assert_array_equal(train.labels, [[1, 1, 0], [0, 1, 0], [1, 0, 1]])
    assert train.labels.dtype == "uint8"


def test_columns_and_separator_can_be_told(load):
    content = "t,label,y\none,x,a;b\ntwo,x,c d\n"
    train, _ = load(content, text_column="t", label_column="y", separator=";")
    assert train.label_names == ["a", "b", "c d"]


def test_commas_stay_in_labels_that_a_bar_separates(load):
    train, _ = load('label,content\n"a,b|c",text\nd，e,more\n')
    assert train.label_names == ["a,b", "c", "d，e"]
    assert "'|'" in train.notes[0]


def test_a_quote_inside_a_tab_separated_field_is_a_character(load):
    train, _ = load('label\tcontent\na\t"Hello" he said\nb\t3.5" disk\nc\t"Yes" and "no"\n')
    assert train.texts == ['"Hello" he said', '3.5" disk', '"Yes" and "no"']
    assert "train.csv: quotes are characters like any other." in train.notes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "label,content\na,one\na\nb,two\n",
            r"train.csv, line 3: 1 fields where the first line has 2 .label, content.",
        ),
        ("label,content\na,one, two\n", "line 2: 3 fields"),
        ('label,content\na,"one\ntwo"\nb\n', "line 4: 1 fields"),
        ('label,content\na,one\nb,"two\nc,three\n', "line 3: unexpected end of data"),
        ('label,content\na,"one" two\n', "line 2: .*Quote a field"),
        (
            b"label,content\na,one\na,\xc4\xe3\n",
            "line 3: not UTF-8 .byte 0xc4 at position 3.*`--encoding gb18030`",
        ),
        ("", "the file is empty"),
        ("\nlabel,content\n", "line 1: empty"),
        ("label,content\n", "no rows after the column names"),
        ("label,content\na,\nb, \n", "no row has a text"),
        ("label,content\n,one\n", "no row has a label"),
        ("a,one\nb,two\n", r"no column has a name known for `--text-column` .*\['a', 'one'\]"),
        ("label,text,content\na,one,two\n", "several columns .* `--text-column`"),
        ("label,content,label\na,one,b\n", "stands twice"),
        (gzip.compress(PLAIN.encode(), mtime=0)[:-12], "cut off or damaged"),
    ],
)
def test_a_broken_file_says_where_and_why(load, content, message):
    with pytest.raises(DataError, match=message):
        load(content)


def test_columns_that_do_not_exist(load):
    with pytest.raises(DataError, match=r"no column 'body'\. Columns: \['label', 'content'\]"):
        load(PLAIN, text_column="body")


def test_arguments_that_mean_nothing(write, load):
    with pytest.raises(DataError, match="a training and a test file"):
        load_corpus(write(PLAIN))
    with pytest.raises(DataError, match="there is no such file"):
        load_corpus("absent.csv", "absent.csv")
    with pytest.raises(DataError, match="at least 1"):
        load(PLAIN, rows=0)
    with pytest.raises(DataError, match="`--separator`"):
        load(PLAIN, separator="")


def test_empty_texts_are_left_out_and_reported(load):
    train, _ = load("label,content\na,one\nb,\nb,two\na,  \n")
    assert train.texts == ["one", "two"]
    assert "2 rows without text left out (lines 3, 5)." in train.notes


def test_repeated_rows_are_left_out_of_training_only(load):
    train, test = load("label,content\na|b,one\nb|a,one\na,one\nc,two\n")
    assert train.texts == ["one", "one", "two"]
    assert "1 repeated rows left out." in train.notes
    assert "1 rows repeat a text with other labels; they stay." in train.notes
    assert len(test) == 4
    assert "4 test texts stand in the training file too; they stay." in test.notes


def test_labels_never_seen_in_training_are_reported(load):
    _, test = load(PLAIN, "label,content\na|new,four\nnew,five\nb|c,six\n")
    np.testing.assert_array_equal(test.labels, [[1, 0, 0], [0, 0, 0], [0, 1, 1]])
    assert any("1 labels never occur in training (new): their 2 occ" in n for n in test.notes)
    assert any("by 0.600" in note for note in test.notes)
    assert "1 rows have no label." in test.notes


def test_a_row_without_labels_stays(load):
    train, _ = load("label,content\na,one\n,two\n")
    np.testing.assert_array_equal(train.labels, [[1], [0]])
    assert "1 rows have no label." in train.notes


def test_the_choice_of_rows_is_fixed_and_keeps_all_labels(load):
    content = "label,content\n" + "".join(f"label{i % 50},text {i}\n" for i in range(200))
    train, test = load(content, rows=20, test_rows=10)
    again, _ = load(content, rows=20)
    other, _ = load(content, rows=20, seed=1)
    numbers = [int(text.split()[1]) for text in train.texts]
    assert train.texts == again.texts != other.texts
    assert numbers == sorted(numbers) and max(numbers) > 100
    assert (len(train), len(test)) == (20, 10)
    assert train.labels.shape == (20, 50)
    assert train.label_names == test.label_names


def test_rows_come_some_at_a_time(write, monkeypatch):
    monkeypatch.setattr(delimited, "CHUNK", 2)
    table = open_table(write(PLAIN + "broken\n"), FileOptions())
    assert table.columns == ["label", "content"]
    assert next(table.chunks()).values.tolist() == [["a|b", "first text"]]  # the header is a row
    assert table.frame(2).index.tolist() == [0, 1]
    with pytest.raises(DataError, match="line 5: 1 fields"):
        table.frame()


def test_the_bundled_corpus():
    train, test = load_corpus()
    assert train.labels.shape[1] == len(train.label_names) == 55
    assert len(train) > 12_000 and len(test) > 1_300
    assert train.labels.any(axis=1).all() and test.labels.any(axis=1).all()
    assert train.labels.sum(axis=0).min() > 200 and test.labels.sum(axis=0).min() > 0
    assert max(len(text.split()) for text in train.texts + test.texts) == 64
    decision, *others = train.notes
    assert "column 'label', split at '|'. 55 labels (admin::monitoring, devel::doc," in decision
    assert others == [f"train.csv.gz: {len(train):,} rows."]
    assert sum(path.stat().st_size for path in BUNDLED.glob("*.csv.gz")) < 3e6
    known = set().union(*map(shingles, test.texts))
    assert not any(shingles(text) & known for text in train.texts)


def test_fine_grained_levels_of_the_bundled_corpus():
    labels, _ = load_corpus(rows=2000)
    train, test = load_fine_grained(rows=2000, test_rows=500)
    assert train.texts == labels.texts
    assert train.aspect_names == list(FACETS)
    assert train.levels.shape == (2000, 6) and test.levels.shape == (500, 6)
    assert len(set(train.num_levels)) > 2
    assert (train.levels.max(axis=0) == np.array(train.num_levels) - 1).all()
    frequency = dict(zip(labels.label_names, labels.labels.sum(axis=0), strict=True))
    several = 0
    for row, levels in zip(labels.labels, train.levels, strict=True):
        present = {name for name, on in zip(labels.label_names, row, strict=True) if on}
        for facet, names, level in zip(FACETS, train.level_names, levels, strict=True):
            values = [name for name in present if name.startswith(f"{facet}::")]
            several += len(values) > 1
            rarest = min(values, key=frequency.get).split("::", 1)[1] if values else "none"
            assert names[level] == rarest
    assert several > 100 and any("several values" in note for note in train.notes)


EMOTIONS = "content,love,joy,fright,anger,fear,sorrow"


def test_fine_grained_files(write):
    train, test = load_fine_grained(
        write(f"{EMOTIONS}\none,0,1,0,0,3,0\ntwo,2,0,0,1,0,0\n,1,1,1,1,1,1\ntwo,2,0,0,1,0,0\n"),
        write(f"{EMOTIONS}\nthree,0,0,0,3,0,0\n", "test.csv"),
    )
    assert train.aspect_names == EMOTIONS.split(",")[1:]
    np.testing.assert_array_equal(train.levels, [[0, 1, 0, 0, 3, 0], [2, 0, 0, 1, 0, 0]])
    assert train.num_levels == test.num_levels == [3, 2, 1, 4, 4, 1]
    assert "1 rows without text left out (line 4)." in train.notes
    assert "1 repeated rows left out." in train.notes
    assert "anger: levels above 1 never occur in training; they count as missed." in test.notes


def test_fine_grained_columns_can_be_told(write):
    path = write("number,review,food,service\n12345,good,2,0\n12346,bad,0,1\n")
    with pytest.raises(DataError, match="line 2: column 'number' has '12345', not a level"):
        load_fine_grained(path, path, text_column="review")
    train, _ = load_fine_grained(path, path, text_column="review", aspects=["service", "food"])
    np.testing.assert_array_equal(train.levels, [[0, 2], [1, 0]])


@pytest.mark.parametrize("value", ["-1", "1.5", "", "high", "100", "²"])
def test_fine_grained_levels_are_small_integers(write, value):
    path = write(f"text,food\ngood,{value}\n")
    with pytest.raises(DataError, match=f"line 2: column 'food' has '{value}'"):
        load_fine_grained(path, path)


def test_fine_grained_files_must_agree(write):
    path = write("text,food\ngood,2\n")
    with pytest.raises(DataError, match=r"aspects \['service'\] where"):
        load_fine_grained(path, write("text,service\ngood,2\n", "test.csv"))
    with pytest.raises(DataError, match="no column but the text's"):
        load_fine_grained(path, write("text\ngood\n", "text.csv"))
    with pytest.raises(DataError, match="No label begins with 'colour::'"):
        load_fine_grained(aspects=["colour"])
