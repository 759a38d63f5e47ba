"""Build the bundled corpus from a Debian archive's package indexes.

The texts are package descriptions, the labels are their debtags. Let apt fetch the two indexes
(English descriptions are an index of their own) into a folder of your own, with the address of a
Debian mirror as MIRROR:

    mkdir -p lists/partial
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    echo "deb [signed-by=$keys] $MIRROR bookworm main" > bookworm.list
    apt-get update -o Dir::State::Lists="$PWD/lists" -o Dir::Etc::SourceParts=/dev/null \\
        -o Dir::Etc::SourceList="$PWD/bookworm.list" -o Acquire::Languages=en \\
        -o Acquire::GzipIndexes=false
    python examples/build_corpus.py lists/*_Packages lists/*_Translation-en

or take `main/binary-amd64/Packages.xz` and `main/i18n/Translation-en.xz` from any mirror's
`dists/bookworm/` folder. Plain, .gz, .xz and .bz2 files are read. The same indexes always give the
same bytes.
"""

import argparse
import bz2
import csv
import gzip
import hashlib
import io
import lzma
import re
from collections import Counter, defaultdict
from pathlib import Path

# interface::x11 stands on the same descriptions as interface::graphical but for a handful.
COPIES = {"interface::x11"}
# "This is a transitional package, it can safely be removed" describes nothing.
NOTHING = re.compile(r"\btransition(al)?\b|\bdummy package", re.IGNORECASE)
OPENERS = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}


def read_index(path):
    """Yield the stanzas of a Packages or Translation file as dictionaries."""
    with OPENERS.get(Path(path).suffix, open)(path, "rt", encoding="utf-8") as lines:
        stanza, field = {}, None
        for line in lines:
            line = line.rstrip("\n")
            if not line:
                if stanza:
                    yield stanza
                stanza, field = {}, None
            elif line[0] in " \t":
                stanza[field] += "\n" + line
            else:
                field, _, value = line.partition(":")
                stanza[field] = value.strip()
        if stanza:
            yield stanza


def plain_text(description):
    """One line of text from a description: summary, full stop, then the unwrapped paragraphs."""
    summary, _, body = description.partition("\n")
    lines = [re.sub(r"^\s+(\.$|[*•o+-]+\s+)?", "", line) for line in body.split("\n")]
    text = f"{summary.rstrip('. ')}. {' '.join(lines)}"
    text = re.sub(r"\b(homepage|url)?:?\s*<?\b(https?|ftp)://\S*", " ", text, flags=re.I)
    return " ".join(text.split())


def family(source):
    """The source package's name without versions and cross-compiling suffixes.

    gcc-11, gcc-12 and gcc-12-cross-ports describe themselves in the same words.
    """
    name = re.sub(r"(-cross|-ports|-mipsen|-defaults|-signed-\w+)+$", "", source)
    return re.sub(r"-?\d[\d.]*(?=-|$)", "", name) or source


def is_test(source, parts=10):
    """Whether a source package belongs to the test split: one tenth, by hash of its family."""
    return int(hashlib.sha256(family(source).encode()).hexdigest(), 16) % parts == 0


def words(text):
    """The words of a text, letters only, as near-copies are compared by."""
    return re.findall(r"[a-z]+", text.lower())


def shingles(text, length=24):
    """All runs of `length` consecutive words."""
    found = words(text)
    return {" ".join(found[i : i + length]) for i in range(len(found) - length + 1)}


def read_descriptions(packages, translation):
    """Map each distinct description to its source packages and its tags, in order of the text.

    Descriptions of other architectures' packages have no known source and are left out.
    """
    english = {row["Description-md5"]: row["Description-en"] for row in read_index(translation)}
    sources, tags = defaultdict(set), defaultdict(set)
    for package in read_index(packages):
        if description := english.get(package.get("Description-md5")):
            text = plain_text(description)
            sources[text].add(package.get("Source", package["Package"]).split()[0])
            tags[text].update(re.findall(r"[^\s,]+", package.get("Tag", "")))
    return {text: (sources[text], tags[text]) for text in sorted(sources)}


def split(descriptions):
    """Training and test texts; no training text shares 24 consecutive words with a test text."""
    test = [text for text, (sources, _) in descriptions.items() if any(map(is_test, sources))]
    known = set().union(*map(shingles, test))
    keys = {tuple(words(text)) for text in test}
    apart = descriptions.keys() - set(test)
    train = [t for t in sorted(apart) if tuple(words(t)) not in keys and not shingles(t) & known]
    return train, test


def classification_rows(texts, descriptions, least_tags, num_words):
    """Map each text, cut to `num_words`, to its tags; texts alike but for digits become one row."""
    rows = {}
    for text in texts:
        tags = {tag for tag in descriptions[text][1] - COPIES if not tag.endswith("::TODO")}
        if len(tags) >= least_tags and not NOTHING.search(text):
            cut = " ".join(text.split()[:num_words])
            rows.setdefault(tuple(words(cut)), (cut, set()))[1].update(tags)
    return dict(rows.values())


def write_csv(path, rows, labels):
    """Write the rows that have one of the labels, shuffled by hash; return how many there are."""
    shuffled = sorted(rows.items(), key=lambda row: hashlib.sha256(row[0].encode()).digest())
    kept = [("|".join(sorted(tags & labels)), text) for text, tags in shuffled if tags & labels]
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([("label", "content"), *kept])
    path.write_bytes(gzip.compress(table.getvalue().encode(), mtime=0))
    return len(kept)


def build(packages, translation, output, least_tags=3, num_labels=55, num_words=64):
    """Write train.csv.gz and test.csv.gz; return their numbers of rows and all training texts."""
    descriptions = read_descriptions(packages, translation)
    train_texts, test_texts = split(descriptions)
    train = classification_rows(train_texts, descriptions, least_tags, num_words)
    test = classification_rows(test_texts, descriptions, least_tags, num_words)
    counts = Counter(tag for tags in train.values() for tag in tags)
    labels = set(sorted(counts, key=lambda tag: (-counts[tag], tag))[:num_labels])
    output.mkdir(parents=True, exist_ok=True)
    sizes = {
        name: write_csv(output / f"{name}.csv.gz", rows, labels)
        for name, rows in (("train", train), ("test", test))
    }
    return sizes, train_texts


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("packages", type=Path, help="the archive's Packages index")
    parser.add_argument("translation", type=Path, help="the archive's Translation-en index")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "data")
    parser.add_argument("--least-tags", type=int, default=3, help="tags a description must have")
    parser.add_argument("--num-labels", type=int, default=55, help="most frequent tags to keep")
    parser.add_argument("--num-words", type=int, default=64, help="words of a text to keep")
    parser.add_argument(
        "--pretraining-text",
        type=Path,
        metavar="FILE",
        help="also write every description that is not near the test split, whole, one a line",
    )
    args = parser.parse_args(arguments)
    sizes, texts = build(
        args.packages,
        args.translation,
        args.output,
        least_tags=args.least_tags,
        num_labels=args.num_labels,
        num_words=args.num_words,
    )
    for name, rows in sizes.items():
        path = args.output / f"{name}.csv.gz"
        print(f"{path}: {rows:,} rows, {path.stat().st_size:,} bytes")
    if args.pretraining_text:
        args.pretraining_text.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        print(f"{args.pretraining_text}: {len(texts):,} texts")


if __name__ == "__main__":
    main()
