import sys
from pathlib import Path

from support.report import summarise, to_markdown
from support.results import Runs

import pytest

sys.path.append(str(Path(__file__).parents[2] / "docs/scripts"))

from marks import fill, marks
from result_tables import PAGE, RESULTS, TABLES, filled, runs_of

ROOT = Path(__file__).parents[2]


def rows_of(run):
    """The cells of a published run, by row."""
    return {runs[0]["title"]: summarise(runs) for runs in runs_of(run).values()}


DEBIAN, DUEE = rows_of("debian"), rows_of("duee65")
AVERAGES = "micro F1", "macro F1"


def tables(page):
    """The rows of a page's tables that are named like a row of a run."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return [cells for cells in table if cells and cells[0] in DEBIAN]


def test_the_table_in_readme_holds_the_numbers_of_both_runs():
    found = tables("README.md")
    rows = [row for row, *_ in found]
    assert len(rows) > 5 and rows == [row for row in DEBIAN if row in rows]
    for row, *cells in found:
        scores = [run[row][name] for run in (DEBIAN, DUEE) for name in AVERAGES]
        assert cells == [*scores, DEBIAN[row]["step time"]], row


@pytest.mark.parametrize("page", ["docs/index.md", "docs/zh/index.md"])
def test_the_start_page_has_a_part_of_the_table_in_readme(page):
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    shown = [line.split("|")[2:] for line in lines if line.endswith(" |") and "0." in line]
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(shown) > 4
    for cells in shown:
        assert any(line.split("|")[2:] == cells for line in readme), cells


@pytest.mark.parametrize("page", ["README.zh-CN.md"])
def test_translated_tables_hold_the_same_numbers(page):
    numbers = [cells for _, *cells in tables("README.md")]
    text = (ROOT / page).read_text(encoding="utf-8")
    for cells in numbers:
        assert f" | {' | '.join(cells)} |" in text


def test_the_page_that_helps_to_choose_compares_with_the_controls_of_the_runs():
    found = tables("docs/choosing.md")
    assert len(found) > 6
    for row, control, *cells in found:
        run = DUEE if "±" in cells[0] else DEBIAN
        scores = [run[each][name] for name in AVERAGES for each in (row, control)]
        assert cells[:5] == [*scores, run[row]["step time"]], row


def test_the_page_of_the_results_shows_what_the_runs_have():
    page = PAGE.read_text(encoding="utf-8")
    assert filled(page) == page, "run docs/scripts/result_tables.py"
    assert sorted(marks(page)) == sorted(TABLES)


@pytest.mark.parametrize("run", sorted(path.parent.name for path in RESULTS.glob("*/results.json")))
def test_the_report_of_a_run_is_made_from_its_results(run):
    made = to_markdown(Runs.read(RESULTS / run))
    page = (RESULTS / run / "results.md").read_text(encoding="utf-8")
    assert made == page, "run docs/scripts/result_tables.py"


@pytest.mark.parametrize("page", ["<!-- a -->\n", "<!-- a -->\n<!-- b -->\n<!-- end -->"])
def test_a_mark_without_an_end_is_refused(page):
    with pytest.raises(ValueError, match="of its own"):
        fill(page, str)
