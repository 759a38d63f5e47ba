import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = json.loads((ROOT / "docs/results/debian/results.json").read_text(encoding="utf-8"))
ROWS = {run["title"]: run for run in RUN["runs"] if run["seed"] == 0}


def f1(row, average):
    return f"{ROWS[row]['averages'][average]['f1-score']:.3f}"


def step(row):
    return f"{ROWS[row]['step_ratio']:.2f}" if "step_ratio" in ROWS[row] else "–"


def readme(row):
    scores = [f1(row, average) for average in ("micro", "macro", "weighted")]
    return [*scores, f"{ROWS[row]['subset_accuracy']:.3f}", step(row)]


def start_page(row, control):
    scores = [f1(each, average) for average in ("micro", "macro") for each in (row, control)]
    return [control, *scores, step(row)]


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_tables_hold_the_numbers_of_the_run(page):
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    rows = [cells for cells in table if cells and cells[0] in ROWS]
    assert len(rows) > 6
    for row, *cells in rows:
        if page == "README.md":
            assert cells[:5] == readme(row), row
        else:
            assert cells == start_page(row, cells[0]), row
