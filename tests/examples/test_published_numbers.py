import sys
from pathlib import Path

from support.report import to_markdown
from support.results import Runs

import pytest

sys.path.append(str(Path(__file__).parents[2] / "docs/scripts"))

from marks import fill, marks
from result_tables import PAGES, RESULTS, ROOT, TABLES, with_tables


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_pages_show_what_the_runs_have(page):
    text = page.read_text(encoding="utf-8")
    assert marks(text)
    assert with_tables(page) == text, "run docs/scripts/result_tables.py"


def test_every_table_is_on_a_page():
    shown = {name for page in PAGES for name in marks(page.read_text(encoding="utf-8"))}
    assert shown == set(TABLES)


@pytest.mark.parametrize("run", sorted(path.parent.name for path in RESULTS.glob("*/results.json")))
def test_the_report_of_a_run_is_made_from_its_results(run):
    made = to_markdown(Runs.read(RESULTS / run))
    page = (RESULTS / run / "results.md").read_text(encoding="utf-8")
    assert made == page, "run docs/scripts/result_tables.py"


@pytest.mark.parametrize("page", ["<!-- a -->\n", "<!-- a -->\n<!-- b -->\n<!-- end -->"])
def test_a_mark_without_an_end_is_refused(page):
    with pytest.raises(ValueError, match="of its own"):
        fill(page, str)
