"""The table in words: parameter counts, terminal table, Markdown."""

import shlex
import statistics
from itertools import product

from support import intervals
from support.results import AVERAGES, MEASURES
from support.task import Task
from support.training import parameters

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from full_table import ROWS

WIDEST = 110  # columns that the tables need


def show(title, header, rows, console=None):
    """Print a table; in a terminal that is narrower, each row's cells below one another."""
    console = console or Console()
    if console.is_terminal and console.width < WIDEST:
        longest = max(map(len, header[1:]))
        lines = [title]
        for first, *cells in rows:
            lines += ["", first]
            for name, cell in zip(header[1:], cells, strict=True):
                lines += [f"  {name:{longest}}  {part}" for part in cell.split("\n") if part]
        console.print("\n".join(lines), markup=False, highlight=False)
        return
    table = Table(*map(escape, header), title=escape(title))
    for cells in rows:
        table.add_row(*map(escape, cells), end_section="\n" in "".join(cells))
    console.width = max(console.width, WIDEST)
    console.print(table)


def print_summary(settings, data, rows):
    """Print one line per experiment: its loss, and the parameters of its parts."""
    lines = []
    for name, row in rows.items():
        if reason := data.cannot(row):
            lines.append([row.TITLE, f"skipped: {reason}", "", "", ""])
            continue
        task = Task(settings.of(name), *data.of(row))
        counts = parameters(row.build(task), task)
        heads = "\n".join(f"{name} {count:,}" for name, count in counts["heads"].items())
        numbers = [f"{counts['encoder']:,}", heads, f"{counts['total']:,}"]
        lines.append([row.TITLE, row.LOSS, *numbers])
    show("Parameters", ["row", "loss", "encoder", "head", "total"], lines)


def summarise(runs):
    """A row's mean over seeds and, from two seeds on, the standard deviation."""

    def over_seeds(pick, form="{:.3f}"):
        values = [pick(run) for run in runs]
        if None in values:
            return "–"
        mean = form.format(statistics.mean(values))
        return f"{mean} ± {form.format(statistics.stdev(values))}" if len(values) > 1 else mean

    first = runs[0]
    cells = {"row": first["title"]}
    for average, (measure, name) in product(AVERAGES, MEASURES.items()):
        cells[f"{average} {name}"] = over_seeds(lambda r, a=average, m=measure: r["averages"][a][m])
    cells["support"] = f"{first['averages']['micro']['support']:,.0f}"
    cells["subset accuracy"] = over_seeds(lambda r: r["subset_accuracy"])
    cells["hamming loss"] = over_seeds(lambda r: r["hamming_loss"], "{:.4f}")
    cells["s/epoch"] = over_seeds(lambda r: r.get("seconds_per_epoch"), "{:.0f}")
    cells["step time"] = over_seeds(lambda r: r.get("step_ratio"), "{:.2f}")
    return cells


TUNED = ("row", *(f"{a} F1{at}" for a in ("micro", "macro") for at in (", at 0", ", tuned")))
GAINS = ("row", "its control", *TUNED[1:], "seeds")
SHORT = ("row", *(f"{a} F1" for a in AVERAGES), "subset accuracy", "s/epoch", "step time")


def tuned_cells(results):
    """For each row with tuned thresholds: micro and macro F1 at 0 and at those; [] for none."""
    cells = []
    for runs in results.by_row().values():
        runs = [run for run in runs if run.get("tuned")]
        if runs:
            before, after = summarise(runs), summarise([{**run, **run["tuned"]} for run in runs])
            pairs = product(("micro F1", "macro F1"), (before, after))
            cells.append([before["row"], *(at[name] for name, at in pairs)])
    return cells


def gain_cells(results):
    """Each row's gain over its control at 0 and at tuned thresholds, with its interval."""
    groups, rows = results.by_row(), []
    for name, control in intervals.CONTROLS.items():
        both = groups.get(name, []), groups.get(control, [])
        found = [intervals.gain(*both, which) for which in (intervals.AT_ZERO, intervals.TUNED)]
        if found[0]:
            micro, macro = zip(*(each[0] if each else [None, None] for each in found), strict=True)
            titles = [runs[0]["title"] for runs in both]
            rows.append([*titles, *map(points, (*micro, *macro)), str(found[0][1])])
    return rows


def points(interval):
    """A gain in points of F1, with the ends of its interval."""
    if interval is None:
        return "–"
    value, low, high = (f"{100 * end:+.1f}".replace("-", "−") for end in interval)
    return f"{value} ({low}, {high})"


def spent_cells(results):
    """Where the seconds of each row went, the median over its runs, and of all rows."""
    rows = [[run for run in runs if "spent" in run] for runs in results.by_row().values()]
    rows = [runs for runs in rows if runs]
    if not rows:
        return [], []
    parts = list(rows[0][0]["spent"])
    table = [
        [statistics.median(run["spent"].get(part, 0) for run in runs) for part in parts]
        for runs in rows
    ]
    titles = [*(runs[0]["title"] for runs in rows), "all"]
    table.append([sum(column) for column in zip(*table, strict=True)])
    cells = [
        [title, *(f"{value:.0f}" for value in (*values, sum(values)))]
        for title, values in zip(titles, table, strict=True)
    ]
    return ["row", *parts, "all"], cells


def validation_rows(results):
    """The number of rows that thresholds were tuned on: of every run the same."""
    return next(run["tuned"]["validation_rows"] for run in results.runs if run.get("tuned"))


def print_table(results):
    rows = [summarise(runs) for runs in results.by_row().values()]
    title = "Test scores (step time: times that of the sigmoid row)"
    show(title, SHORT, [[cells[name] for name in SHORT] for cells in rows])
    if tuned := tuned_cells(results):
        rows = validation_rows(results)
        show(f"Test scores with thresholds tuned on {rows:,} validation rows", TUNED, tuned)


def command(results):
    """The command that makes these results."""
    trained = [run for run in results.runs if run["row"] in ROWS]
    rows, seeds = {run["row"] for run in trained}, sorted({run["seed"] for run in trained})
    words = ["python", "examples/full_table.py", *results.settings.options()]
    if rows != set(ROWS):
        words += ["--rows", *(row for row in ROWS if row in rows)]
    if seeds != [0]:
        words += ["--seeds", *map(str, seeds)]
    if not any("tuned" in run for run in trained):
        words.append("--no-tune-thresholds")
    return shlex.join(words)


def to_markdown(results):
    """results.md: every average, the labels of each row, the settings and the command."""
    rows = [summarise(runs) for runs in results.by_row().values()]
    lines = [f"# Results: {results.folder.resolve().name}", ""]
    lines += [*markdown_table(list(rows[0]), [list(r.values()) for r in rows]), ""]
    lines += [
        "Precision (P), recall (R) and F1 on the test rows; mean ± standard deviation where there "
        "are several seeds. Step time: times that of the sigmoid row, the median of steps taken in "
        "turn. The fine-grained row predicts a level for each aspect; its scores count every level "
        "above none as a label, so they stand for another task than the rows above.",
        "",
    ]
    if tuned := tuned_cells(results):
        lines += [
            "## Tuned thresholds",
            "",
            "A label is given above its threshold: 0 in the table above; tuned, what suits the "
            f"{validation_rows(results)} validation rows, which were not trained on.",
            "",
            *markdown_table(list(TUNED), tuned),
            "",
        ]
    if gains := gain_cells(results):
        lines += [
            "## Beside the control",
            "",
            "What a row's piece adds, in points of F1: the mean over the seeds that both rows have "
            f"and a {intervals.LEVEL} % interval, from drawing the test rows again (paired "
            "bootstrap). An interval that holds 0 shows no difference.",
            "",
            *markdown_table(list(GAINS), gains, texts=2),
            "",
        ]
    header, spent = spent_cells(results)
    if spent:
        lines += [
            "## Where the time went",
            "",
            "Seconds of a run of each row, the median over seeds. The first step compiles, or "
            "traces; step time is what the last column of the first table is measured in.",
            "",
            *markdown_table(header, spent),
            "",
        ]
    lines += [
        "## Settings",
        "",
        "```shell",
        command(results),
        "```",
        "",
        *(
            f"- {name}: {value}"
            for name, value in vars(results.settings).items()
            if value not in (None, {})
        ),
    ]
    for runs in results.by_row().values():
        labels = [
            [label, *(f"{values[m]:.3f}" for m in MEASURES), f"{values['support']:.0f}"]
            for label, values in runs[0]["labels"].items()
        ]
        header = ["label", *MEASURES.values(), "support"]
        lines += ["", f"## {runs[0]['title']}, seed {runs[0]['seed']}", ""]
        if counts := runs[0].get("parameters"):
            parts = {"encoder": counts["encoder"], **counts["heads"], "total": counts["total"]}
            lines += ["Parameters: " + ", ".join(f"{k} {v:,}" for k, v in parts.items()), ""]
        lines += ["<details><summary>Every label</summary>", "", *markdown_table(header, labels)]
        lines += ["", "</details>"]
    return "\n".join(lines) + "\n"


def markdown_table(header, rows, texts=1):
    """A table whose first columns hold texts and all others numbers."""
    bar = r"\|"  # one that parts no cells
    return [
        f"| {' | '.join(header)} |",
        f"| {' | '.join(['---'] * texts + ['---:'] * (len(header) - texts))} |",
        *(f"| {' | '.join(cell.replace('|', bar) for cell in row)} |" for row in rows),
    ]
