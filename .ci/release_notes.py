"""Print the changelog's section for a tag, once tag, version, citation and changelog agree.

python .ci/release_notes.py v0.2.0
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOB = "https://github.com/keras-mlc/keras-mlc/blob"
RELATIVE = re.compile(r"\]\((?![a-z]+:)([^)\s]+)\)")


def notes(tag, root=ROOT):
    """Return the text of a release; raise ValueError, and name the file that is not ready."""

    def only(file, pattern):
        found = re.findall(pattern, (root / file).read_text(encoding="utf-8"), re.M)
        if len(found) != 1:
            raise ValueError(f"{file} has {len(found)} lines that match {pattern!r}, not one")
        return found[0]

    version = tag.removeprefix("v")
    for file, pattern in (
        ("keras_mlc/__init__.py", r'^__version__ = "(.*)"$'),
        ("CITATION.cff", r"^version: (.*)$"),
    ):
        if (found := only(file, pattern)) != version:
            raise ValueError(f"{file} says {found}, the tag {tag}")
    date = only("CHANGELOG.md", rf"^## \[{re.escape(version)}\] - (\d{{4}}-\d\d-\d\d)$")
    if (cited := only("CITATION.cff", r"^date-released: (.*)$")) != date:
        raise ValueError(f"CITATION.cff was released on {cited}, CHANGELOG.md's section on {date}")
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    section = changelog.split(f"## [{version}] - {date}\n")[1].partition("\n## [")[0].strip()
    if not section:
        raise ValueError(f"CHANGELOG.md's section of {version} is empty")
    return RELATIVE.sub(rf"]({BLOB}/{tag}/\1)", section)


if __name__ == "__main__":
    try:
        print(notes(sys.argv[1]))
    except ValueError as error:
        sys.exit(str(error))
