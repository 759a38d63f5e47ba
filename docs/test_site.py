"""Builds the site and looks at what MkDocs does not do by itself: `pytest --no-cov docs`."""

import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urldefrag

import pytest

pytest.importorskip("mkdocs")

import docstrings
import griffe
import hooks
import languages
import typography
from mkdocs.commands.build import build
from mkdocs.config import load_config

ROOT = Path(__file__).parents[1]
WORKER = ROOT / "docs/theme/assets/javascripts/workers/language.js"
NODE = shutil.which("node")


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder)))
    return folder


class Page(html.parser.HTMLParser):
    """The tags of a page, and the texts of its links by their address."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.links, self.link = [], {}, None
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "a":
            self.link = dict(attrs).get("href")
            self.links.setdefault(self.link, []).append("")

    def handle_endtag(self, tag):
        if tag == "a":
            self.link = None

    def handle_data(self, data):
        if self.link:
            self.links[self.link][-1] += data.strip()

    def values(self, tag, **wanted):
        return [a for t, a in self.tags if t == tag and wanted.items() <= a.items()]


def pages(site):
    return [path for path in sorted(site.rglob("*.html")) if path.name != "404.html"]


def test_every_page_works_from_files_and_asks_no_other_server(site):
    found = pages(site)
    assert len(found) > 40
    for path in found:
        for tag, attributes in Page(path).tags:
            is_link = tag == "a" or attributes.get("rel") in {"canonical", "alternate"}
            address = attributes.get("src") or attributes.get("href") or ""
            target, _ = urldefrag(address)
            if re.match(r"https://", target):
                assert is_link, f"{path} loads {address}"
            elif target and not target.startswith(("mailto:", "data:", "javascript:")):
                assert (path.parent / unquote(target)).exists(), f"{path}: {address}"


def test_canonical_addresses(site):
    for path in pages(site):
        (canonical,) = Page(path).values("link", rel="canonical")
        address = f"https://keras-mlc.github.io/keras-mlc/{path.relative_to(site).as_posix()}"
        assert canonical["href"] == address


def test_nothing_asks_for_stars_or_for_maps_of_the_site_beside_a_page(site):
    for path in (site / "index.html", site / "zh/guides/r_drop.html", site / "404.html"):
        page = Page(path)
        assert not page.values("link", rel="alternate")
        assert not [a for _, a in page.tags if a.get("data-md-component") == "source"]


def test_each_page_leads_to_itself_in_the_other_language(site):
    def languages_of(path):
        page = Page(site / path)
        return {a["hreflang"]: a["href"] for a in page.values("a") if "hreflang" in a}

    assert languages_of("guides/r_drop.html") == {
        "en": "r_drop.html",
        "zh": "../zh/guides/r_drop.html",
    }
    assert languages_of("zh/guides/r_drop.html") == {
        "en": "../../guides/r_drop.html",
        "zh": "r_drop.html",
    }
    assert languages_of("changelog.html") == {"en": "changelog.html", "zh": "zh/index.html"}


def test_untranslated_pages_are_in_the_chinese_navigation_with_a_mark(site):
    links = Page(site / "zh/guides/r_drop.html").links
    assert "TextCNN" in links["text_cnn.html"]
    assert set(links["../../changelog.html"]) == {f"更新日志{languages.MARK}"}
    tab, item = links["../../api/AttentionPooling.html"][:2]  # the section has the mark for all
    assert (tab, item) == (f"API{languages.MARK}", "AttentionPooling")
    assert languages.MARK not in (site / "guides/r_drop.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", ["index.html", "guides/r_drop.html", "recipes/from_bce.html"])
def test_the_navigations_keep_to_one_language_and_its_order(site, path):
    def next_of(path):
        return [a["href"] for a in Page(site / path).values("link", rel="next")]

    chinese = next_of(f"zh/{path}")
    assert chinese and not any(href.startswith("../../") for href in chinese)
    assert len(chinese) == len(next_of(path)) == 1


def test_titles_of_the_chinese_navigation_come_from_the_settings(site):
    links = Page(site / "zh/guides/r_drop.html").links
    assert "开始" in links["../index.html"]


def test_guides_come_before_runs_in_the_search(site):
    entries = json.loads((site / "search/search_index.json").read_text())["docs"]
    boosts = {entry["location"].split("#")[0]: entry.get("boost", 1) for entry in entries}
    guides = [boost for page, boost in boosts.items() if "guides/" in page]
    runs = [boost for page, boost in boosts.items() if page.endswith("/results.html")]
    assert guides and runs and min(guides) > 1 > 1000 * max(runs)


def test_each_page_searches_in_its_language(site):
    for path, language in (("index.html", "en"), ("zh/index.html", "zh"), ("404.html", "en")):
        text = (site / path).read_text(encoding="utf-8")
        (address,) = re.findall(r'"search":\s*"([^"]*)"', text)
        worker, _, query = address.partition("?")
        assert query.startswith(f"{language}&search.")
        folder = site / "assets/javascripts/workers"
        assert worker.endswith("workers/language.js") and (folder / "language.js").exists()
        assert (folder / query.partition("&")[2]).exists()


RUN = """
const fs = require("fs"), vm = require("vm");
const { script, query, messages } = JSON.parse(fs.readFileSync(0));
let listener;
const self = { location: { search: query } };
const importScripts = (name) => { if (name !== "search.js") throw name; };
vm.runInNewContext(fs.readFileSync(script, "utf8"), {
  self, importScripts, addEventListener: (_, f) => { listener = f; },
});
for (const data of messages) listener({ data });
console.log(JSON.stringify(messages));
"""
DOCS = [
    {"location": "guides/r_drop.html", "title": "FGM", "text": "adversarial"},
    {"location": "guides/r_drop.html#cost", "title": "Cost", "text": "time", "boost": 2},
    {"location": "benchmarks.html", "title": "Cost", "text": "time", "boost": 2},
    {
        "location": "zh/guides/r_drop.html",
        "title": "多\u200b设备\u200b与\u200b多机",
        "text": "多标签",
    },
]


def search(language, *queries):
    messages = [{"type": 0, "data": {"docs": DOCS}}, *({"type": 2, "data": q} for q in queries)]
    given = {"script": str(WORKER), "query": f"?{language}&search.js", "messages": messages}
    command = [NODE, "-e", RUN]
    ran = subprocess.run(command, input=json.dumps(given), text=True, capture_output=True)
    assert not ran.returncode, ran.stderr
    index, *rest = json.loads(ran.stdout)
    boosts = {entry["location"]: entry.get("boost", 1) for entry in index["data"]["docs"]}
    return boosts, [message["data"] for message in rest]


@pytest.mark.skipif(not NODE, reason="there is no node to run the search with")
def test_the_search_keeps_the_languages_apart():
    english, _ = search("en")
    assert english == {"guides/r_drop.html": 1, "guides/r_drop.html#cost": 2, "benchmarks.html": 2}
    chinese, _ = search("zh")
    assert chinese == {"zh/guides/r_drop.html": 1, "benchmarks.html": 2e-4}


@pytest.mark.skipif(not NODE, reason="there is no node to run the search with")
def test_the_search_looks_for_the_longest_chinese_words():
    queries = ["多标签", "多设备", "多标签 FGM", "设备多标签", "无", "FGM"]
    _, separated = search("zh", *queries)
    assert separated == ["多标签", "设备", "多标签 FGM", "设备 多标签", "无", "FGM"]


def test_formulas_become_mathml():
    page = typography.on_page_content(
        r'a <span class="arithmatex">\(x &lt; 1\)</span>'
        r'<div class="arithmatex">\[\frac{a}{b}\]</div>'
    )
    assert page.count("<math") == 2 and "mfrac" in page and "&#x0003C;" in page and "\\" not in page
    assert page.count('display="block"') == 1
    norm = typography.on_page_content(r'<span class="arithmatex">\(\lVert g \rVert^2\)</span>')
    assert norm.count('<mo stretchy="false">&#x02016;</mo>') == 2
    chinese = typography.on_page_content(r'到 <span class="arithmatex">\(x\)</span>。然后')
    assert chinese.startswith('到 <span class="option"><math') and "</math>。</span>然后" in chinese


def test_names_break_between_their_words_and_options_nowhere():
    made = typography.on_post_page(
        "<td><code>multilabel_categorical_crossentropy</code></td><p>multilabel_categorical</p>"
        "<code>row.py --max-length 16</code>"
    )
    assert "multilabel_<wbr>categorical_<wbr>crossentropy" in made
    assert "<p>multilabel_categorical</p>" in made
    assert '<code>row.py <span class="option">--max-length</span> 16</code>' in made
    made = typography.on_post_page(
        "<td>BiLSTM，sigmoid</td><td><code>large_v1.5_zh</code>、<code>&quot;a&quot;</code></td>"
    )
    code = "<p><code>roberta.embeddings.token_type_embeddings.weight</code></p>"
    assert "embeddings.<wbr>weight" in typography.on_post_page(code)
    assert "BiLSTM，sigmoid" in made and "large_v1.5_zh" in made and "</code>、<wbr><code>" in made


def markdown(text, uri="changelog.md"):
    """Return a page's text as the hook rewrites it, in a site without other pages."""
    page = SimpleNamespace(file=SimpleNamespace(src_uri=uri), parent=object(), meta={})
    config = SimpleNamespace(repo_url="https://example.org/repository")
    files = SimpleNamespace(get_file_from_path=lambda path: None)
    return hooks.on_page_markdown(text, page, config, files)


def test_links_out_of_the_documentation_lead_to_the_repository():
    assert markdown("[a](LICENSE)") == "[a](https://example.org/repository/blob/main/LICENSE)"
    assert markdown("[a](tests)") == "[a](https://example.org/repository/tree/main/tests)"
    examples = "[a](https://example.org/repository/tree/main/examples)"
    assert markdown("[a](../../examples)", "zh/serving.md") == examples
    assert markdown("[a](gone.md)") == "[a](gone.md)"  # MkDocs warns
    assert markdown("[a](#b) and [c](https://keras.io)") == "[a](#b) and [c](https://keras.io)"


@pytest.mark.parametrize("address", ["http://keras.io", "https://keras", "https://keras.io/a b"])
def test_malformed_addresses_are_warned_of(address, caplog):
    markdown(f"[a]({address})")
    assert address in caplog.text


def test_each_symbol_has_a_page_with_the_sections_of_its_docstring(site):
    page = (site / "api/AttentionPooling.html").read_text(encoding="utf-8")
    assert all(section in page for section in ("Call arguments:", "Output shape:", "Example:"))
    assert len(list((site / "api").iterdir())) == len(hooks.public_symbols())


def test_sections_of_docstrings_are_renamed_or_unfolded():
    text = "One line.\n\nCall arguments:\n    x: A.\n\nReturns:\n    See `keras_mlc.layers.A`.\n"
    symbol = SimpleNamespace(docstring=griffe.Docstring(text))
    docstrings.Sections().on_instance(obj=symbol)
    value = symbol.docstring.value
    assert "Other Parameters: Call arguments:" in value
    assert "**Returns:**\n\nSee [`A`][keras_mlc.layers.A]." in value


def test_a_recipe_without_a_translation_is_marked_between_those_that_have_one(tmp_path):
    names = ["index.md", "a.md", "b.md", "c.md", "zh/index.md", "zh/a.md", "zh/c.md"]
    for name in names:
        path = tmp_path / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# Page {name}\n", encoding="utf-8")
    settings = {
        "site_name": "a site",
        "docs_dir": str(tmp_path / "docs"),
        "site_dir": str(tmp_path / "site"),
        "use_directory_urls": False,
        "theme": {"name": "material"},
        "plugins": [],
        "hooks": [languages.__file__],
        "not_in_nav": "/zh/",
        "nav": [{"Start": "index.md"}, {"Recipes": ["a.md", "b.md", "c.md"]}],
        "extra": {"chinese": {"Start": "开始", "Recipes": "实践"}},
    }
    (tmp_path / "mkdocs.yml").write_text(json.dumps(settings), encoding="utf-8")
    build(load_config(str(tmp_path / "mkdocs.yml")))
    page = Page(tmp_path / "site/zh/a.html")
    assert [texts for href, texts in page.links.items() if href == "../b.html"] == [
        [f"Page b.md{languages.MARK}"]
    ]
    assert page.links["c.html"] == ["Page zh/c.md"]
    assert page.values("link", rel="next") == [{"rel": "next", "href": "c.html"}]  # not to b
