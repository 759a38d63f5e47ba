"""The rows of a small file, and a script that is run in this process."""

import sys

from support import run

import pytest

ROWS = [
    {"text": f"word{i} word{i + 3} word{i % 5} {'word9' * (i % 2)}", "labels": names, "mood": i % 3}
    for i, names in enumerate([["tool"], ["tool", "game"], [], ["library"], ["game"]] * 8)
]


def run_rows(*arguments, rows):
    """Run rows as a script does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["table", *map(str, arguments)])
        patch.setattr(run, "fastest_policy", lambda: "float32")
        run.run(*rows)
