"""What labels mean: lists, separators, columns of 0 and 1; what is ambiguous is refused."""

from support import separators
from support.fine_grained import load_fine_grained
from support.table import DataError

import numpy as np
import pandas as pd
import pytest

LABELS = [["joy", "love"], ["love"], ["fear", "joy"], []]


def cells(*values):
    """A file with one text for each cell of labels."""
    return pd.DataFrame({"text": [f"t{i}" for i in range(len(values))], "label": values}).to_csv(
        index=False
    )


def expected(labels=LABELS):
    return {f"t{i}": set(names) for i, names in enumerate(labels)}


@pytest.mark.parametrize(
    "write_list",
    [
        str,
        lambda names: str(tuple(names)),
        lambda names: str(set(names)) if names else "set()",
        lambda names: str(np.array(names, dtype=object)),
        lambda names: repr(np.array(names, dtype=object)),
        lambda names: str([np.str_(name) for name in names]),
        lambda names: str(names).replace("'", '"'),
        lambda names: "[" + ", ".join(names) + "]",
        lambda names: ",".join(names),
        lambda names: " | ".join(names),
        lambda names: "、".join(names),
        lambda names: ";".join(names),
        lambda names: "\n".join(names),
        lambda names: str(names) if names else "nan",
        lambda names: str(names) if names else "None",
        lambda names: ",".join(names) or "nan",
        lambda names: ",".join(names) or "None",
        lambda names: ",".join(names) or "null",
        lambda names: str([*names, None]),
        lambda names: str([*names, float("nan")]),
    ],
)
def test_every_way_to_write_several_labels(sets, write_list):
    assert sets(cells(*map(write_list, LABELS))) == expected()


@pytest.mark.parametrize(
    "write_bits",
    [
        str,
        lambda bits: str(np.array(bits)),
        lambda bits: str(np.array(bits, "float32")),
        lambda bits: str([bool(bit) for bit in bits]),
        lambda bits: " ".join(map(str, bits)),
        lambda bits: ",".join(map(str, bits)),
    ],
)
def test_a_bit_for_each_label(load, write, write_bits):
    rows = [[1, 1, 0], [0, 0, 1], [0, 0, 0], [1, 0, 0]]
    content = cells(*map(write_bits, rows))
    train, _ = load(content)
    assert train.label_names == ["0", "1", "2"]
    np.testing.assert_array_equal(train.labels, rows)
    train, _ = load(content, label_names=str(write("joy\nlove\nfear", "names.txt")))
    assert train.label_names == ["fear", "joy", "love"]
    np.testing.assert_array_equal(train.labels, np.array(rows)[:, [2, 0, 1]])
    with pytest.raises(DataError, match=r"3 numbers, 0 or 1, where `--label-names` has 2 names"):
        load(content, label_names=str(write("joy\nlove", "names.txt")))


def test_quotes_and_commas_in_lists(sets):
    labels = [["it's", 'say "so"'], ["a, b", "]"], ["é\n"]]
    assert sets(cells(*map(str, labels))) == expected([["it's", 'say "so"'], ["a, b", "]"], ["é"]])


def test_labels_in_brackets_are_labels(sets):
    labels = [["[/INST]"], ["[OTHER]", "a"], ["a"]]
    assert sets(cells(*map("|".join, labels))) == expected(labels)
    assert sets(cells("[/INST]", "[OTHER]")) == expected([["[/INST]"], ["[OTHER]"]])


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (["['a']", "b"], {}, r"line 2: the labels are a list, .*line 3: 'b' is none"),
        (["['a', 'b']", "['a']"], {"separator": ","}, "is a list; leave out `--separator`"),
        (["['a' 'b', 'c']", "['a']"], {}, "line 2: a list with and without commas"),
        (["['a' ... 'b']", "['a']"], {}, "line 2: a list that NumPy has cut off"),
        (["{'a': 1, 'b': 0}", "{'a': 0, 'b': 1}"], {}, "line 2: neither a string nor a list"),
        (["[['a'], ['b']]", "['a']"], {}, "line 2: a list in a list"),
        (["0101", "1100"], {}, r"line 2: '0101', as all others, is a string of 0 and 1"),
        (["0.71", "0.2"], {}, "numbers with fractions"),
    ],
)
def test_lists_that_cannot_be_meant(load, values, options, message):
    with pytest.raises(DataError, match=message):
        load(cells(*values), **options)


TOXIC = "id,comment_text,toxic,severe_toxic,insult\n1,You fool,1,0,1\n2,Hello,0,0,0\n3,Ugh,1,0,0\n"


def test_one_column_of_0_and_1_for_each_label(sets, load):
    found = {"You fool": {"toxic", "insult"}, "Hello": set(), "Ugh": {"toxic"}}
    assert sets(TOXIC) == found
    assert sets((TOXIC + "4,Oh,0,0,1\n").replace("id,", "qid,")) == {**found, "Oh": {"insult"}}
    semeval = TOXIC.replace(",", "\t").replace("id\tcomment_text", "ID\tTweet")
    assert sets(semeval) == found
    assert sets(TOXIC.replace("id,", "number,"), label_columns=["toxic", "insult"]) == found
    assert sets(TOXIC.replace(",1", ",True").replace(",0", ",False")) == found
    assert sets(TOXIC.replace(",1", ",1.0").replace(",0", ",0.0")) == found
    with pytest.raises(DataError, match="`--label-columns toxic severe_toxic insult`"):
        load(TOXIC.replace("id,", "number,"))
    with pytest.raises(DataError, match="line 4: column 'insult' has '-1', neither 0 nor 1"):
        load(TOXIC.replace("Ugh,1,0,0", "Ugh,1,0,-1"))
    with pytest.raises(DataError, match="line 4: column 'insult' has '', neither 0 nor 1"):
        load(TOXIC.replace("Ugh,1,0,0", "Ugh,1,0,"))
    with pytest.raises(DataError, match=r"columns \['insult'\] of .* are missing"):
        load(TOXIC, TOXIC.replace("insult", "rude"))


@pytest.mark.parametrize("name", ["toxic", "label"])
def test_one_column_of_0_and_1_is_no_column_of_labels(load, sets, name):
    content = f"text,{name},other\nx,1,u\ny,0,v\nz,1,w\n"
    with pytest.raises(DataError, match=r"holds nothing but 0, 1\. `--label-columns`"):
        load(content, label_column=name)
    assert sets(content, label_columns=[name]) == {"x": {name}, "y": set(), "z": {name}}
    both = sets(content, label_column=name, separator="none")
    assert both == {"x": {"1"}, "y": {"0"}, "z": {"1"}}


def test_integer_classes_are_labels_and_no_aspect(load, write):
    content = "text,label\nx,3\ny,0\nz,2\nw,3\n"
    train, _ = load(content)
    assert train.label_names == ["0", "2", "3"]
    path = write(content)
    with pytest.raises(DataError, match=r"\['label'\] have a name of labels, not levels"):
        load_fine_grained(path, path)
    train, _ = load_fine_grained(path, path, aspects=["label"])
    assert train.aspect_names == ["label"] and train.num_levels == [4]
    path = write(TOXIC)
    with pytest.raises(DataError, match="nothing but 0 and 1: labels, not levels"):
        load_fine_grained(path, path)
    path = write("text,kind,food\nx,1,0\ny,2,1\nz,1,0\nw,4,2\n")
    with pytest.raises(DataError, match="those of aspects are by `--aspects`"):
        load_fine_grained(path, path, label_column="kind")
    path = write("text,number,food\nx,1,0\ny,2,1\nz,3,0\nw,4,2\n")
    with pytest.raises(DataError, match=r"no value stands twice in columns \['number'\]"):
        load_fine_grained(path, path)
    with pytest.raises(DataError, match=r"hold integers: .*examples/fine_grained\.py"):
        load("text,food,service\nx,1,0\ny,2,1\nz,0,0\n")


def test_numbers_that_pandas_made_floats(load):
    _, test = load("text,label\nx,1.0\ny,2.0\nz,\n", "text,label\nx,2\ny,1\n")
    np.testing.assert_array_equal(test.labels, [[0, 1], [1, 0]])
    assert load("text,label\nx,01\ny,1\n")[0].label_names == ["01", "1"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["joy love", "love fear", "joy", "fear"], r"hold 'space': .*`--separator ' '`"),
        (["joy/love", "love/fear", "joy", "fear"], r"hold '/': .*`--separator '/'`"),
        (["joy&love", "love&fear", "joy", "fear"], r"hold '&': .*`--separator '&'`"),
        (["topic, sport", "topic, news", "topic, film"], "'topic' is a label of every row"),
        (["Food, drink", "Smith, John", "Jones, Ann"], "the parts of 'Food, drink' never occur"),
        (["a,b", "b,c", "a", "c|a"], r"by '\|' in 2 rows .*line 5: 'c\|a'.* and by ',' in 4 rows"),
        (["a;b", "b,c", "a", "c"], "by ',' in 2 rows .* and by ';' in 2 rows"),
    ],
)
def test_a_separator_that_is_not_certain_is_refused(load, sets, values, message):
    with pytest.raises(DataError, match=message) as error:
        load(cells(*values))
    assert "--separator" in str(error.value)
    assert sets(cells(*values), separator="none") == expected([[value] for value in values])
    assert len(sets(cells(*values), separator=",")) == len(values)


@pytest.mark.parametrize(
    ("values", "labels", "warning"),
    [
        (["a,b|c", "c", "a,b|d"], ["a,b", "c", "d"], "Labels hold ',': a,b."),
        (["a|b", "a|c", "a"], ["a", "b", "c"], "'a' is a label of every row."),
        (["New York", "New Zealand", "Old"], ["New York", "New Zealand", "Old"], None),
        (["red wine|white wine", "red car|white car"], None, "Labels hold 'space': red car, red"),
        (["Joy", "joy", "fear"], ["Joy", "fear", "joy"], "case or spelling: Joy, joy."),
        (["NA", "a", "b"], ["NA", "a", "b"], "NA is a label here"),
    ],
)
def test_warnings_name_what_is_suspicious(load, values, labels, warning):
    train, _ = load(cells(*values))
    assert labels is None or train.label_names == labels
    assert warning is None or any(warning in note for note in train.notes)
    assert warning or len(train.notes) == 2


def test_the_decision_is_shown_with_its_labels(load):
    decision = load(cells("a;b", "b", "c;a"))[0].notes[0]
    assert decision == (
        "Texts: column 'text'. Labels: column 'label', split at ';' and '；'. 3 labels (a, b, c)."
    )


def test_one_label_and_two_rows(load):
    train, _ = load("text,label\nx,spam\ny,\n")
    assert train.label_names == ["spam"]
    np.testing.assert_array_equal(train.labels, [[1], [0]])


def test_a_column_that_may_not_be_that_of_labels(load):
    values = [f"a sentence of its own, number {i}" for i in range(120)]
    with pytest.raises(DataError, match="label of every row"):
        load(cells(*values))
    train, _ = load(cells(*values), cells(*values[:5]), separator="none")
    assert any("120 labels for 125 rows: is it their column?" in note for note in train.notes)


def test_splitters():
    split = separators.splitter(",，")
    assert split(" a, b，,c ") == ["a", "b", "c"] and separators.splitter("")(" a,b ") == ["a,b"]
    assert separators.splitter("::")("a::b:c") == ["a", "b:c"]


def test_what_has_no_label_is_said(load, write):
    notes = load("text,label\nx,a\ny,None\nz,nan\nw,\n")[0].notes
    assert "Cells of None or nan hold no label." in notes and "3 rows have no label." in notes
    train, _ = load("text,toxic,rude\nx,1,0\ny,0,0\n")
    assert train.label_names == ["toxic"]
    assert "Columns without a 1 in training are no labels: rude." in train.notes
    names = str(write("a\nb\nc\n", "names.txt"))
    train, _ = load("text,label\nx,1\ny,2\n", label_names=names)
    assert "No text has label 0: do the numbers begin at 0?" in train.notes
