"""Put the committed results of the benchmarks into their pages, each with its command.

The pages have a mark for each file in docs/benchmarks; what stands below it is written here:

    python docs/scripts/benchmark_tables.py
"""

import hashlib
import html
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from marks import fill
from results import as_markdown, read_result

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "docs" / page
    for page in (
        "benchmarks.md",
        "guides/adversarial_training.md",
        "guides/label_thresholds.md",
        "guides/score_calibration.md",
        "guides/r_drop.md",
        "recipes/class_imbalance.md",
        "zh/guides/adversarial_training.md",
        "zh/guides/label_thresholds.md",
        "zh/guides/score_calibration.md",
        "zh/guides/r_drop.md",
        "zh/recipes/class_imbalance.md",
    )
]
RESULTS = ROOT / "docs/benchmarks"


def files_of(script):
    """Return the result files of one of the scripts in benchmarks/."""
    return sorted(RESULTS.glob(f"{script}*.json"))


def digest_of(script):
    """Return what a picture of these results carries, to tell when it is out of date."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in files_of(script))).hexdigest()


def folded(result):
    """Return a table that opens by a click on its command."""
    remark = f", {result['remark']}" if "remark" in result else ""
    summary = f"<summary><code>{html.escape(result['command'])}</code>{remark}</summary>"
    return f"<details>{summary}\n\n{as_markdown(result)}\n\n</details>"


def filled(page):
    """Return the page with the results as the files have them."""
    return fill(page, lambda name: folded(read_result(RESULTS / name)))


def main():
    """Write the pages."""
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
        print(page)


if __name__ == "__main__":
    main()
