"""Finished rows on disk: kept, checked, never overwritten by a run with other settings."""

import json
import math
import os
from dataclasses import asdict
from itertools import product

from support.settings import Settings
from support.table import DataError

MEASURES = {"precision": "P", "recall": "R", "f1-score": "F1"}
AVERAGES = ("micro", "macro", "weighted", "samples")


class Runs:
    """The runs of a table: what its report and its charts show."""

    def __init__(self, folder, settings, runs=()):
        self.folder, self.settings, self.runs = folder, settings, list(runs)

    @classmethod
    def read(cls, folder):
        """Read what `write` wrote."""
        content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        return cls(folder, Settings(**content["settings"]), content["runs"])

    def by_row(self):
        """Runs grouped by row, in the order in which they came."""
        groups = {}
        for run in self.runs:
            groups.setdefault(run["row"], []).append(run)
        return groups

    def write(self, to_markdown, draw_charts):
        """Write results.json, results.md and the charts."""
        content = {"settings": asdict(self.settings), "runs": self.runs}
        write(self.folder / "results.json", json.dumps(content, indent=1, ensure_ascii=False))
        write(self.folder / "results.md", to_markdown(self))
        draw_charts(self)


class Results(Runs):
    """The output folder of a table.

    Every finished run of a row is a file of its own in `rows/`, written in one move, so a run that
    is killed loses the row it was working on and nothing else.

    Args:
        folder: the folder; made if need be.
        settings: the `Settings`.
        lacking: a function that says of a finished run what is asked for now and was not then, so
            that the row runs again; None where nothing is.
    """

    def __init__(self, folder, settings, lacking=lambda run: None):
        super().__init__(folder, settings)
        self.lacking, self.notes, self.noted = lacking, [], set()
        (folder / "rows").mkdir(parents=True, exist_ok=True)
        path = folder / "settings.json"
        other = read(path) if path.exists() else None
        if isinstance(other, dict):
            self.refuse_other_settings(settings.differences(other))
        elif rows := sorted(path.name for path in (folder / "rows").glob("*.json")):
            raise DataError(
                f"{path} is missing or damaged: nothing says with which settings the rows beside "
                f"it ({', '.join(rows)}) were trained. Choose another --output, or remove them."
            )
        write(path, json.dumps(asdict(settings), indent=2, ensure_ascii=False))

    def refuse_other_settings(self, differences):
        if differences:
            there, now = map(as_object, differences.pop("files", ({}, {})))
            changes = [f"{k}: {a!r} there, {b!r} now" for k, (a, b) in differences.items()]
            changes += [
                f"{name}: another file or content now"
                for name in sorted(there.keys() | now.keys())
                if there.get(name) != now.get(name)
            ]
            raise DataError(
                f"{self.folder} holds results of other settings ({'; '.join(changes)}). "
                "Choose another --output, or leave it out to get a folder for these settings."
            )

    def path(self, name, seed):
        return self.folder / "rows" / f"{name}-seed{seed}.json"

    def finished(self, name, seed):
        """Return a finished run, or None."""
        path = self.path(name, seed)
        if not path.exists():
            return None
        run = read(path)
        if run is None:
            self.note(f"{path.name} was cut off; the row runs again.")
        elif not is_whole(run, name, seed):
            self.note(f"{path.name} is damaged, or of another row; the row runs again.")
            return None
        elif lacking := self.lacking(run):
            self.note(f"{path.name} has no {lacking}; the row runs again.")
            return None
        return run

    def note(self, line):
        """Have a line told, once: runs are looked up more than once."""
        if line not in self.noted:
            self.noted.add(line)
            self.notes.append(line)

    def keep(self, name, seed, make):
        """Take a run from disk, or make it and write it to disk."""
        run = self.finished(name, seed)
        if run is None:
            run = {"row": name, "seed": seed, **make()}
            write(self.path(name, seed), json.dumps(run, indent=1, ensure_ascii=False))
        self.runs.append(run)
        return run


def as_object(value):
    return value if isinstance(value, dict) else {}


def is_whole(run, name, seed):
    """Whether the content of a row's file is that row's, and has all that a report shows."""
    try:
        if (run["row"], run["seed"]) != (name, seed) or not isinstance(run["title"], str):
            return False
        numbers = [*scores_in(run), *(scores_in(run["tuned"]) if run.get("tuned") else ())]
        if "curve" in run:  # a trained row's
            numbers += [run["seconds_per_epoch"], run["step_ratio"] or 0]
            numbers += [number for point in run["curve"] for number in point]
        return all(map(math.isfinite, numbers))
    except (AttributeError, KeyError, TypeError):
        return False


def scores_in(run):
    """All scores that a report shows of a run."""
    groups = [*(run["averages"][average] for average in AVERAGES), *run["labels"].values()]
    each = [values[name] for values, name in product(groups, (*MEASURES, "support"))]
    return [*each, run["subset_accuracy"], run["hamming_loss"]]


def read(path):
    """Return the content of a JSON file, or None where the file was cut off."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None


def write(path, text):
    """Write a file in one move: a reader sees the old content or the new."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
