import bz2
import csv
import gzip
import hashlib
import lzma

import pytest

from build_corpus import build, family, is_test, main, plain_text, shingles

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


def read(path):
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_texts_and_labels(indexes, tmp_path):
    sizes, _ = build(*indexes, tmp_path / "data")
    assert sizes == {"train": 18, "test": 6}
    rows = read(tmp_path / "data" / "train.csv.gz")
    assert {row["label"] for row in rows} == {"interface::graphical|role::program|uitoolkit::gtk"}
    assert "graphical editor number b. It edits the files of kind b b. Features: fast, small" in {
        row["content"] for row in rows
    }


def test_building_twice_gives_the_same_bytes(indexes, tmp_path, capsys):
    for packed, opener in ((".gz", gzip.open), (".xz", lzma.open), (".bz2", bz2.open)):
        twins = [path.with_name(path.name + packed) for path in indexes]
        for path, twin in zip(indexes, twins, strict=True):
            with opener(twin, "wb") as file:
                file.write(path.read_bytes())
        out = tmp_path / packed[1:]
        main([*map(str, twins), "--output", str(out), "--pretraining-text", str(out) + ".txt"])
    for name in ("train.csv.gz", "test.csv.gz"):
        gz, *others = (tmp_path / kind / name for kind in ("gz", "xz", "bz2"))
        assert gz.read_bytes()[4:8] == bytes(4)  # no time stamp
        assert all(path.read_bytes() == gz.read_bytes() for path in others)
    assert (tmp_path / "gz.txt").read_bytes() == (tmp_path / "xz.txt").read_bytes()
    assert "18 rows" in capsys.readouterr().out


def test_the_options_choose_labels_and_words(indexes, tmp_path):
    build(*indexes, tmp_path, num_labels=1, num_words=5)
    rows = read(tmp_path / "train.csv.gz")
    assert {row["label"] for row in rows} == {"interface::graphical"}
    assert max(len(row["content"].split()) for row in rows) == 5
    sizes, _ = build(*indexes, tmp_path, least_tags=1)
    assert sizes["train"] == 19  # the package with a single tag joins them


def test_the_pretraining_text_has_the_untagged_but_no_test_text(indexes, tmp_path):
    _, texts = build(*indexes, tmp_path)
    assert "untagged. No tag at all." in texts
    assert "own. A package named like its source." in texts
    assert len(texts) == 22
    assert not {row["content"] for row in read(tmp_path / "test.csv.gz")} & set(texts)


def test_near_copies_of_test_texts_leave_training(indexes, tmp_path):
    shared = " ".join(f"w{word(i)}" for i in range(24))
    copies = [
        package("one", f"for testing\n {shared} here.", TAGS, source(True, 5)),
        package("two", f"for training\n {shared} there.", TAGS, source(False, 5)),
        package("three", f"less alike\n {shared.rsplit(' ', 1)[0]} other.", TAGS, source(False, 6)),
        package("four", "short 1\n Alike but for digits.", TAGS, source(True, 6)),
        package("five", "short 2\n Alike but for digits.", TAGS, source(False, 7)),
    ]
    for path, side in zip(indexes, zip(*copies, strict=True), strict=True):
        path.write_text(path.read_text() + "\n\n".join(side) + "\n", encoding="utf-8")
    sizes, texts = build(*indexes, tmp_path)
    assert sizes == {"train": 19, "test": 8}
    assert [text.split(".")[0] for text in texts if shared[:20] in text] == ["less alike"]
    assert not any("digits" in text for text in texts)


def test_descriptions_of_one_source_that_differ_in_digits_are_one_row(indexes, tmp_path):
    twins = [
        package(f"lib{i}", f"tool {i}\n Twin text.", tags, source(False, 0))
        for i, tags in enumerate((TAGS, "role::program, uitoolkit::qt, use::editing"))
    ]
    for path, side in zip(indexes, zip(*twins, strict=True), strict=True):
        path.write_text(path.read_text() + "\n\n".join(side) + "\n", encoding="utf-8")
    build(*indexes, tmp_path)
    rows = [row for row in read(tmp_path / "train.csv.gz") if "Twin" in row["content"]]
    assert [row["content"] for row in rows] == ["tool 0. Twin text."]
    assert "use::editing" in rows[0]["label"] and "uitoolkit::gtk" in rows[0]["label"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gcc-12", "gcc"),
        ("gcc-12-cross-mipsen", "gcc"),
        ("linux-signed-amd64", "linux"),
        ("python3.11", "python"),
        ("lua5.4", "lua"),
        ("0ad", "0ad"),
        ("7zip", "7zip"),
        ("gtk+3.0", "gtk+"),
    ],
)
def test_family(name, expected):
    assert family(name) == expected


def test_plain_text():
    text = "editor.\n See <http://a.b/c> or\n  o one\n  + two\n .\n  code -x\n • three."
    assert plain_text(text) == "editor. See or one two code -x three."


def test_shingles():
    assert shingles("One, two 3 three", length=2) == {"one two", "two three"}
    assert shingles("One two", length=3) == set()
