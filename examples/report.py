"""The report of an output folder: its rows in Markdown, and two charts.

Every run of rows writes it. For rows that were put together by hand:

    python examples/report.py runs/mine
"""

import json
import math
import os
import statistics
import sys
from contextlib import contextmanager
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

AVERAGES = ("micro", "macro", "weighted", "samples")
WAYS = {"at_0": "Labels with a score above 0", "tuned": "Labels above their thresholds"}
NOTE = """
F1 on the test rows, and the median time of a training step; from two seeds on, the mean ± the
standard deviation. Thresholds come from rows that are not trained on. Samples F1 counts 0 for a
text without labels, also where none is predicted. The fine-grained row counts each level above the
first as a label: another task than that of the other rows.
"""


def write_report(output):
    """Write `results.md`, `f1.png` and `cost.png` of all rows in a folder; return the tables."""
    from full_table import ROWS

    groups = {name: [] for name in ("tfidf", *ROWS)}
    for path in sorted(output.glob("rows/*.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        groups.setdefault(run["row"], []).append(run)
    groups = [runs for runs in groups.values() if runs]
    tables = "".join(f"\n## {title}\n\n{table(groups, way)}" for way, title in WAYS.items()) + NOTE
    for path in output.glob("test*.json"):
        notes = json.loads(path.read_text(encoding="utf-8"))["notes"]
        tables += "".join(f"\n{note}\n" for note in notes if note.startswith("Warning"))
    settings = (output / "settings.json").read_text(encoding="utf-8")
    text = f"# Results\n{tables}\n## Settings\n\n```json\n{settings}\n```\n"
    (output / "results.md.partial").write_text(text, encoding="utf-8")
    os.replace(output / "results.md.partial", output / "results.md")
    with chart(output / "f1.png", "micro F1 (the axis does not begin at 0)", "") as axes:
        titles = [runs[0]["title"] for runs in groups[::-1]]
        for way, marker in {"at_0": "o", "tuned": "x"}.items():
            axes.plot([micro(r, way) for r in groups[::-1]], titles, marker, label=WAYS[way])
    with chart(output / "cost.png", "milliseconds a training step", "micro F1 at 0") as axes:
        for runs in groups:
            steps = [run["step_ms"] or math.nan for run in runs]
            axes.plot(statistics.mean(steps), micro(runs), "o", label=runs[0]["title"])
    return tables


def table(groups, way):
    header = ["row", "loss", "seeds", *(f"{average} F1" for average in AVERAGES), "ms a step"]
    lines = [header, ["---"] * 2 + ["---:"] * 6]
    for runs in groups:
        if all(run["scores"][way] for run in runs):
            f1 = [over_seeds([run["scores"][way][a] for run in runs], ".3f") for a in AVERAGES]
            step = over_seeds([run["step_ms"] for run in runs], ".0f")
            lines.append([runs[0]["title"], runs[0]["loss"], str(len(runs)), *f1, step])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def over_seeds(values, form):
    """The mean and, from two values on, the standard deviation."""
    if None in values:
        return "–"
    mean = format(statistics.mean(values), form)
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):{form}}"


def micro(runs, way="at_0"):
    """Mean micro F1; NaN, which is not drawn, where a row has none."""
    return statistics.mean((run["scores"][way] or {"micro": math.nan})["micro"] for run in runs)


@contextmanager
def chart(path, x, y):
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    yield axes
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    if axes.lines:
        figure.legend(loc="outside upper center", ncols=2, fontsize=8)
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    print(write_report(Path(sys.argv[1])))
