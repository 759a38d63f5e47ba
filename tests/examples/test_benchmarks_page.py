import sys
from pathlib import Path

import pytest
from PIL import Image

sys.path.append(str(Path(__file__).parents[2] / "docs/scripts"))

from benchmark_tables import PAGES, RESULTS, ROOT, digest_of, filled, read_result
from marks import marks

KIND = "test", "200"
SCRIPTS = "step_cost", "vocabulary_scale", "label_scale", "heads", "peers"


def test_the_pages_show_every_result_as_its_file_has_it():
    pages = [page.read_text(encoding="utf-8") for page in PAGES]
    assert [filled(page) for page in pages] == pages
    is_chinese = [page.parent.parent.name == "zh" for page in PAGES]
    named = list(zip(map(marks, pages), is_chinese, strict=True))
    shown = [mark for found, chinese in named if not chinese for mark in found]
    translated = [mark for found, chinese in named if chinese for mark in found]
    assert sorted(shown) == sorted(file.name for file in RESULTS.glob("*"))
    assert set(translated) <= set(shown)


@pytest.mark.parametrize("page", ["docs/serving.md", "docs/zh/serving.md"])
def test_what_thresholds_gain_is_what_the_study_has(page):
    headings, *rows = read_result(RESULTS / "threshold_study.json")["table"]
    found = [dict(zip(headings, row, strict=True)) for row in rows]
    tested = {row["corpus"]: row for row in found if (row["rows"], row["adapted on"]) == KIND}
    text = (ROOT / page).read_text(encoding="utf-8")
    for corpus in ("Debian", "DuEE-65", "GoEmotions"):
        row = tested[corpus]
        before, after = (row[rule].split(" / ") for rule in ("0", "macro, 5, shrunk 20"))
        pairs = zip(before, after, strict=True)
        assert f"| {corpus} | {' | '.join(number for pair in pairs for number in pair)} |" in text


@pytest.mark.parametrize("ending", ["", ".zh"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_the_charts_were_drawn_from_these_results(script, ending):
    with Image.open(ROOT / f"docs/images/benchmark_{script}{ending}.png") as picture:
        assert picture.text["Description"] == digest_of(script)


def test_a_benchmark_writes_what_it_prints(tmp_path, capsys, monkeypatch):
    from measure import arguments, print_table
    from results import as_markdown

    file = tmp_path / "heads.json"
    monkeypatch.setattr(
        sys, "argv", ["benchmarks/heads.py", "--output", str(file), "--repeats", "3"]
    )
    options = arguments("", batch_size=32)
    print_table([{"head": "é", "ms": 1}, {"head": "b", "ms": 2.5}], "3 turns.", options)
    result = read_result(file)
    assert result["command"].endswith("python benchmarks/heads.py --repeats 3")
    assert capsys.readouterr().out == as_markdown(result) + "\n"
    assert result["table"] == [["head", "ms"], ["é", "1"], ["b", "2.5"]]
