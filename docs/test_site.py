"""Builds the site and looks at what MkDocs does not do by itself: `pytest --no-cov docs`."""

import html.parser
import re
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urldefrag

import pytest

pytest.importorskip("mkdocs")

import docstrings
import griffe
import hooks
from mkdocs.commands.build import build
from mkdocs.config import load_config

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder)))
    return folder


class Page(html.parser.HTMLParser):
    """The tags of a page."""

    def __init__(self, path):
        super().__init__()
        self.tags = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def values(self, tag, **wanted):
        return [a for t, a in self.tags if t == tag and wanted.items() <= a.items()]


def test_every_page_works_from_files_and_asks_no_other_server(site):
    found = list(site.rglob("*.html"))
    assert len(found) > 40
    for path in found:
        page = Page(path)
        assert not [a for _, a in page.tags if a.get("data-md-component") == "source"]  # stars
        for tag, attributes in page.tags:
            is_link = tag == "a" or attributes.get("rel") in {"canonical", "alternate"}
            address = attributes.get("src") or attributes.get("href") or ""
            target, _ = urldefrag(address)
            if re.match(r"https://", target):
                assert is_link, f"{path} loads {address}"
            elif target and path.name != "404.html" and not re.match(r"[a-z]+:", target):
                assert (path.parent / unquote(target)).exists(), f"{path}: {address}"


def test_each_page_has_a_language_and_leads_to_itself_in_the_other(site):
    def languages_of(path):
        page = Page(site / path)
        (root,) = page.values("html")
        return root["lang"], [a["href"] for a in page.values("a") if "hreflang" in a]

    assert languages_of("guides/r_drop.html") == ("en", ["r_drop.html", "../zh/guides/r_drop.html"])
    assert languages_of("zh/guides/r_drop.html") == (
        "zh",
        ["../../guides/r_drop.html", "r_drop.html"],
    )
    assert languages_of("changelog.html") == ("en", ["changelog.html", "zh/index.html"])


def test_each_symbol_has_a_page_with_the_sections_of_its_docstring(site):
    page = (site / "api/AttentionPooling.html").read_text(encoding="utf-8")
    assert all(section in page for section in ("Call arguments:", "Output shape:", "Example:"))
    assert len(list((site / "api").iterdir())) == len(hooks.public_symbols())
    guide = (site / "zh/guides/r_drop.html").read_text(encoding="utf-8")
    assert 'href="../../api/RDropLoss.html"><code>' in guide


def test_sections_of_docstrings_are_renamed_or_unfolded():
    text = "One line.\n\nCall arguments:\n    x: A.\n\nReturns:\n    See `keras_mlc.layers.A`.\n"
    symbol = SimpleNamespace(docstring=griffe.Docstring(text))
    docstrings.Sections().on_instance(obj=symbol)
    value = symbol.docstring.value
    assert "Other Parameters: Call arguments:" in value
    assert "**Returns:**\n\nSee [`A`][keras_mlc.layers.A]." in value


def test_formulas_become_mathml():
    page = hooks.on_page_content(
        r'a <span class="arithmatex">\(x &lt; 1\)</span>'
        r'<div class="arithmatex">\[\frac{a}{b}\]</div>'
    )
    assert page.count("<math") == 2 and "mfrac" in page and "&#x0003C;" in page and "\\" not in page
    assert page.count('display="block"') == 1
    norm = hooks.on_page_content(r'<span class="arithmatex">\(\lVert g \rVert^2\)</span>')
    assert norm.count('<mo stretchy="false">&#x02016;</mo>') == 2
    chinese = hooks.on_page_content(r'到 <span class="arithmatex">\(x\)</span>。然后')
    assert (
        chinese.startswith('到 <span class="unbroken"><math') and "</math>。</span>然后" in chinese
    )


def test_links_out_of_the_documentation_lead_to_the_repository():
    def resolved(text, uri="changelog.md"):
        page = SimpleNamespace(file=SimpleNamespace(src_uri=uri), parent=object(), meta={})
        config = SimpleNamespace(repo_url="https://example.org/repository")
        files = SimpleNamespace(get_file_from_path=lambda path: None)
        return hooks.on_page_markdown(text, page, config, files)

    assert resolved("[a](LICENSE)") == "[a](https://example.org/repository/blob/main/LICENSE)"
    assert resolved("[a](tests)") == "[a](https://example.org/repository/tree/main/tests)"
    examples = "[a](https://example.org/repository/tree/main/examples)"
    assert resolved("[a](../../examples)", "zh/serving.md") == examples
    assert resolved("[a](gone.md)") == "[a](gone.md)"  # MkDocs warns
    assert resolved("[a](#b) and [c](https://keras.io)") == "[a](#b) and [c](https://keras.io)"
