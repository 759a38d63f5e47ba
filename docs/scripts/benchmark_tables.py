"""Put the results of the benchmarks into their page, each behind its command.

The page has a mark for each file in docs/benchmarks; what stands below it is written here:

    python docs/scripts/benchmark_tables.py
"""

import html
import json
from pathlib import Path

from marks import fill, markdown_table

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks"
PAGE = RESULTS.with_suffix(".md")
LEFT_OUT = {"batch", "ms", "ms of that", "÷ floor"}  # the ratios matter


def folded(name):
    """Return a table that opens by a click on its command."""
    result = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    shown = [heading not in LEFT_OUT for heading in result["table"][0]]
    header, *rows = (
        [cell for cell, keep in zip(row, shown, strict=True) if keep] for row in result["table"]
    )
    table = markdown_table(header, rows, texts=len(header))
    summary = f"<summary><code>{html.escape(result['command'])}</code></summary>"
    return f"<details>{summary}\n\n{table}\n\n{result['note']}\n\n</details>"


def filled():
    """Return the page as the files have it."""
    return fill(PAGE.read_text(encoding="utf-8"), folded)


if __name__ == "__main__":
    PAGE.write_text(filled(), encoding="utf-8")
