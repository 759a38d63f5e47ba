"""Fail if a wheel is too large, holds more than the library, or has dead links to show."""

import re
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

LIMIT = 200_000
ROOT = Path(__file__).parents[1]
REPOSITORY = "https://github.com/keras-mlc/keras-mlc/"
LINK = re.compile(r"""\]\(\s*([^)\s]*)|^\s*\[[^\]]+\]:\s*(\S+)|(?:href|src)=["']([^"']*)""", re.M)
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.M | re.S)


def dead_links(description):
    """Yield the links that lead nowhere on the package index, which has no files and no anchors."""
    for found in LINK.finditer(CODE.sub("", description)):
        link = next(filter(None, found.groups()), "")
        path = link.partition("#")[0].removeprefix(f"{REPOSITORY}blob/main/")
        is_ours = link.startswith(f"{REPOSITORY}blob/main/")
        if not link.startswith("https://") or (is_ours and not (ROOT / path).exists()):
            yield link


def check(wheel):
    """Leave with a message if something is wrong."""
    archive = zipfile.ZipFile(wheel)
    tops = {name.split("/")[0] for name in archive.namelist()}
    strangers = {top for top in tops if top != "keras_mlc" and not top.endswith(".dist-info")}
    size = wheel.stat().st_size
    print(f"{wheel.name}: {size:,} bytes")
    if strangers or size >= LIMIT:
        sys.exit(
            f"The wheel must hold keras_mlc alone, under {LIMIT:,} bytes. Also in it: {strangers}"
        )

    (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    description = message_from_bytes(archive.read(metadata)).get_payload(decode=True).decode()
    if dead := sorted(set(dead_links(description))):
        sys.exit(f"Links that are dead on the package index: {', '.join(dead)}")
    if f"]({REPOSITORY}blob/main/" not in description:
        sys.exit("The description has no link into the repository: is it the README?")


if __name__ == "__main__":
    check(Path(sys.argv[1]))
