"""`examples/data/build_corpus.py`, on the indexes of a small archive."""

import csv
import gzip
import hashlib

import pytest

from data import build_corpus
from data.build_corpus import family, is_test, main, plain_text, shingles

SUMMARY = "graphical editor number {}"
BODY = """\
 It edits the files of kind {0} {1}.
 .
 Features:
  * fast,
  - small
 Homepage: https://example.org/{0}"""
TAGS = "interface::graphical, interface::x11, role::program,\n uitoolkit::gtk, suite::TODO"


def source(test, number):
    """The name of a source package on one side of the split."""
    names = (f"{'abcdefghij'[i % 10] * (2 + i // 10)}x" for i in range(number * 40, 10**6))
    return next(name for name in names if is_test(name) == test)


def package(name, text, tags, source=None):
    """A stanza of each index."""
    md5 = hashlib.md5(text.encode()).hexdigest()
    lines = [f"Package: {name}", f"Source: {source} (1.2-3)" if source else "Version: 1.2"]
    lines += [f"Description: {text.splitlines()[0]}", f"Description-md5: {md5}"]
    lines += [f"Tag: {tags}"] if tags else []
    return "\n".join(lines), f"Package: {name}\nDescription-md5: {md5}\nDescription-en: {text}"


def word(number):
    return "".join("abcdefghij"[int(digit)] for digit in str(number))


@pytest.fixture
def indexes(tmp_path):
    """The two index files of an archive of 24 packages, a fourth of them for testing."""
    stanzas = []
    for i in range(24):
        text = f"{SUMMARY.format(word(i))}\n{BODY.format(word(i), word(i * i))}"
        stanzas.append(package(f"p{i}", text, TAGS, source(test=i % 4 == 0, number=i)))
    stanzas += [
        package("bare", "library\n Something else.", "role::shared-lib", source(False, 0)),
        package("gone", "old\n This is a transitional package.", TAGS, source(False, 1)),
        package("plain", "untagged\n No tag at all.", "", source(False, 2)),
        package(source(False, 3), "own\n A package named like its source.", ""),
    ]
    paths = tmp_path / "Packages", tmp_path / "Translation-en"
    for path, side in zip(paths, zip(*stanzas, strict=True), strict=True):
        path.write_text("\n\n".join(side) + "\n\n", encoding="utf-8")
    return paths


@pytest.fixture
def build(indexes, tmp_path):
    """Build a corpus; its rows for training and testing, and the texts for pretraining."""

    def build(*options):
        main([*map(str, indexes), "--output", str(tmp_path / "out"), *options])
        tables = []
        for name in ("train", "test"):
            path = tmp_path / "out" / f"{name}.csv.gz"
            with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
                tables.append(list(csv.DictReader(lines)))
        return *tables, (tmp_path / "out" / "pretraining.txt").read_text("utf-8").splitlines()

    return build


@pytest.fixture
def add(indexes):
    """Add packages to the indexes."""

    def add(packages):
        for path, side in zip(indexes, zip(*packages, strict=True), strict=True):
            path.write_text(path.read_text() + "\n\n".join(side) + "\n", encoding="utf-8")

    return add


def test_texts_and_labels(build, capsys):
    train, test, pretraining = build()
    assert (len(train), len(test), len(pretraining)) == (18, 6, 22)
    assert {row["label"] for row in train} == {"interface::graphical|role::program|uitoolkit::gtk"}
    assert "graphical editor number b. It edits the files of kind b b. Features: fast, small" in {
        row["content"] for row in train
    }
    assert "untagged. No tag at all." in pretraining
    assert "own. A package named like its source." in pretraining
    assert not {row["content"] for row in test} & set(pretraining)
    assert "18 rows" in capsys.readouterr().out


def test_the_bytes_hold_no_time_stamp(build, tmp_path):
    build()
    assert (tmp_path / "out" / "train.csv.gz").read_bytes()[4:8] == bytes(4)


def test_labels_words_and_tags_are_limited(build, monkeypatch):
    assert len(build("--least-tags=1")[0]) == 19  # the package with a single tag joins them
    monkeypatch.setattr(build_corpus, "NUM_LABELS", 1)
    monkeypatch.setattr(build_corpus, "NUM_WORDS", 5)
    train, _, _ = build()
    assert {row["label"] for row in train} == {"interface::graphical"}
    assert max(len(row["content"].split()) for row in train) == 5


def test_what_a_user_can_cause_is_one_line(indexes, tmp_path):
    def told(*paths, output=tmp_path / "out"):
        with pytest.raises(SystemExit) as ended:
            main([*map(str, paths), "--output", str(output)])
        return ended.value.code

    assert "nothing" in told(indexes[0], tmp_path / "nothing")
    assert "no description in common" in told(*indexes[::-1])
    assert "Packages" in told(*indexes, output=indexes[0] / "folder")


def test_near_copies_of_test_texts_leave_training(build, add):
    shared = " ".join(f"w{word(i)}" for i in range(24))
    copies = [
        package("one", f"for testing\n {shared} here.", TAGS, source(True, 5)),
        package("two", f"for training\n {shared} there.", TAGS, source(False, 5)),
        package("three", f"less alike\n {shared.rsplit(' ', 1)[0]} other.", TAGS, source(False, 6)),
        package("four", "short 1\n Alike but for digits.", TAGS, source(True, 6)),
        package("five", "short 2\n Alike but for digits.", TAGS, source(False, 7)),
    ]
    add(copies)
    train, test, texts = build()
    assert (len(train), len(test)) == (19, 8)
    assert [text.split(".")[0] for text in texts if shared[:20] in text] == ["less alike"]
    assert not any("digits" in text for text in texts)


def test_descriptions_of_one_source_that_differ_in_digits_are_one_row(build, add):
    twins = [
        package(f"lib{i}", f"tool {i}\n Twin text.", tags, source(False, 0))
        for i, tags in enumerate((TAGS, "role::program, uitoolkit::qt, use::editing"))
    ]
    add(twins)
    rows = [row for row in build()[0] if "Twin" in row["content"]]
    assert [row["content"] for row in rows] == ["tool 0. Twin text."]
    assert "use::editing" in rows[0]["label"] and "uitoolkit::gtk" in rows[0]["label"]


def test_family():
    names = "gcc-12 gcc-12-cross-mipsen linux-signed-amd64 python3.11 lua5.4 0ad 7zip gtk+3.0"
    assert " ".join(map(family, names.split())) == "gcc gcc linux python lua 0ad 7zip gtk+"


def test_plain_text():
    text = "editor.\n See <http://a.b/c> or\n  o one\n  + two\n .\n  code -x\n • three."
    assert plain_text(text) == "editor. See or one two code -x three."


def test_shingles():
    assert shingles("One, two 3 three", length=2) == {"one two", "two three"}
    assert shingles("One two", length=3) == set()
