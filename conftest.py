"""Runs the Python blocks of the documentation: `pytest --no-cov docs *.md`.

A page is one program, run in an empty folder: its blocks share their names, from top to bottom.
What a block needs and a reader does not goes into a comment, `<!--- invisible-code-block: python`;
what cannot run is left out by `<!--- skip: next "reason" -->`.
"""

import os
import re
import tempfile

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

KNOWN = {"python", "shell", "text", "bibtex", ""}


def known_fences(document):
    """Refuse a fence in a language that might be Python under another name."""
    fences = re.findall(r"^ *```+(.*)$", document.text, re.MULTILINE)
    if unknown := set(map(str.strip, fences)) - KNOWN:
        raise ValueError(f"{document.path}: blocks of {unknown}, of which nothing knows how to run")
    return []


def enter_a_folder(names):
    """Begin a page."""
    names["_left"], names["_folder"] = os.getcwd(), tempfile.TemporaryDirectory()
    os.chdir(names["_folder"].name)


def leave_the_folder(names):
    """End a page."""
    os.chdir(names["_left"])
    names["_folder"].cleanup()


pytest_collect_file = Sybil(
    parsers=[known_fences, PythonCodeBlockParser(), SkipParser()],
    patterns=["*.md"],
    setup=enter_a_folder,
    teardown=leave_the_folder,
).pytest()
