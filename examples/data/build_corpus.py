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
    python examples/data/build_corpus.py lists/*_Packages lists/*_Translation-en --output corpus

The same indexes always give the same bytes. `pretraining.txt` has every description, whole, that is
not near one of the test split.
"""

import argparse
import gzip
import hashlib
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pandas as pd

NUM_LABELS, NUM_WORDS = 55, 64  # labels to keep, words per text
# interface::x11 stands on the same descriptions as interface::graphical but for a handful.
COPIES = {"interface::x11"}
# "This is a transitional package, it can safely be removed" describes nothing.
NOTHING = re.compile(r"\btransition(al)?\b|\bdummy package", re.IGNORECASE)
FIELD = re.compile(r"^([^\s:]+): *(.*(?:\n[ \t].*)*)", re.MULTILINE)


def read_index(path):
    """Return the stanzas of a Packages or Translation file as dictionaries."""
    return [dict(FIELD.findall(stanza)) for stanza in path.read_text("utf-8").split("\n\n")]


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
    english = {
        row.get("Description-md5"): row.get("Description-en") for row in read_index(translation)
    }
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
    apart = sorted(descriptions.keys() - set(test))
    train = [
        text for text in apart if tuple(words(text)) not in keys and not shingles(text) & known
    ]
    return train, test


def classification_rows(texts, descriptions, least_tags):
    """Map each text, cut to its length, to its tags; texts alike but for digits become one row."""
    rows = {}
    for text in texts:
        tags = {tag for tag in descriptions[text][1] - COPIES if not tag.endswith("::TODO")}
        if len(tags) >= least_tags and not NOTHING.search(text):
            cut = " ".join(text.split()[:NUM_WORDS])
            rows.setdefault(tuple(words(cut)), (cut, set()))[1].update(tags)
    return dict(rows.values())


def write_csv(path, rows, labels):
    """Write the rows that have one of the labels, shuffled by hash."""
    shuffled = sorted(rows.items(), key=lambda row: hashlib.sha256(row[0].encode()).digest())
    kept = [("|".join(sorted(tags & labels)), text) for text, tags in shuffled if tags & labels]
    table = pd.DataFrame(kept, columns=["label", "content"]).to_csv(index=False)
    path.write_bytes(gzip.compress(table.encode(), mtime=0))
    print(f"{path}: {len(kept):,} rows, {path.stat().st_size:,} bytes")


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("packages", type=Path, help="the archive's Packages index")
    parser.add_argument("translation", type=Path, help="its Translation-en index")
    parser.add_argument("--output", type=Path, required=True, help="folder of what is written")
    parser.add_argument("--least-tags", type=int, default=3, help="tags a description must have")
    options = parser.parse_args(arguments)
    try:
        descriptions = read_descriptions(options.packages, options.translation)
        options.output.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    if not descriptions:
        sys.exit("The two indexes have no description in common. Packages comes first.")
    texts, test_texts = split(descriptions)
    rows = classification_rows(texts, descriptions, options.least_tags)
    counts = Counter(tag for tags in rows.values() for tag in tags)
    labels = set(sorted(counts, key=lambda tag: (-counts[tag], tag))[:NUM_LABELS])
    write_csv(options.output / "train.csv.gz", rows, labels)
    rows = classification_rows(test_texts, descriptions, options.least_tags)
    write_csv(options.output / "test.csv.gz", rows, labels)
    (options.output / "pretraining.txt").write_text("\n".join(texts) + "\n", "utf-8")


if __name__ == "__main__":
    main()
