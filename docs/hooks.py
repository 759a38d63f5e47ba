"""What MkDocs does not do by itself; `mkdocs.yml` names this file under `hooks`.

- A page for each public symbol, and copies of the changelog and of CONTRIBUTING.md.
- Links that lead out of docs/, as GitHub resolves them, go to the repository.
- Formulas become MathML, which browsers draw without a script and without a network.
- The Chinese pages in docs/zh have the names of the English ones; each page leads to its twin.

`docstrings.py` reads docstrings for mkdocstrings, `theme/` changes what the theme shows,
`words.txt` are Chinese words for the search. `pytest --no-cov docs/test_site.py` tests all of it.
"""

import functools
import html
import posixpath
import re
from pathlib import Path

import griffe
from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
COPIES = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|[#/])([^)#\s]+)")
FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>([。，、；：）]?)', re.DOTALL
)
BAR = re.compile("<mo>(?=&#x(?:02016|0007C);)")  # of a norm: as in TeX, as high as it is


@functools.cache
def public_symbols():
    """Return the path and the source of each public symbol, by name, without importing Keras."""
    package = griffe.load("keras_mlc", search_paths=[ROOT])
    symbols = {
        name: (f"{module.path}.{name}", symbol)
        for module in map(package.__getitem__, ("layers", "losses", "training", "data", "metrics"))
        for name, symbol in module.members.items()
        if symbol.is_public and (symbol.is_class or symbol.is_function)
    }
    for path, symbol in symbols.values():
        if not symbol.docstring or "\nExample:\n" not in symbol.docstring.value:
            raise PluginError(f"{path} has no example")
    return symbols


def on_config(config):
    """Put the pages of the symbols into the navigation."""
    (api,) = (item for item in config.nav if "API" in item)
    api["API"] = [f"api/{name}.md" for name in public_symbols()]


def on_files(files, config):
    """Add the pages that have no file in docs/."""
    pages = {page: (ROOT / source).read_text(encoding="utf-8") for page, source in COPIES.items()}
    for name, (path, symbol) in public_symbols().items():
        methods = [
            method.name
            for method in symbol.members.values()
            if method.docstring and "Args:" in method.docstring.value
        ]
        pages[f"api/{name}.md"] = (
            f"---\ntitle: {name}\n---\n\n::: {path}\n    options:\n      members: {methods}\n"
        )
    for page, content in pages.items():
        files.append(File.generated(config, page, content=content))


def on_page_markdown(markdown, page, config, files):
    """Resolve links as GitHub does, from where the file stands in the repository."""
    uri = page.file.src_uri
    source = COPIES.get(uri, f"docs/{uri}")

    def resolve(match):
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        file = files.get_file_from_path(target.removeprefix("docs/"))
        if target.startswith("docs/") and file and file.inclusion.is_included():
            return posixpath.relpath(file.src_uri, posixpath.dirname(uri) or ".")
        if not (ROOT / target).exists():
            return match[1]  # MkDocs tells of it
        return f"{config.repo_url}/{'tree' if (ROOT / target).is_dir() else 'blob'}/main/{target}"

    if page.parent is None:
        page.meta["hide"] = ["navigation"]  # of one page
    if "guides/" in uri:
        named = set(re.findall(r"\w+", markdown)).intersection(public_symbols())
        links = (
            f"[`{name}`](../{'../' * uri.count('zh/')}api/{name}.md)" for name in sorted(named)
        )
        markdown += f"\n\nAPI: {', '.join(links)}\n"
    # GitHub reads Markdown inside of <details> by itself
    return LINK.sub(resolve, markdown).replace("<details>", '<details markdown="1">')


def on_page_content(content, **_):
    """Draw the formulas."""

    def draw(match):
        display = "inline" if match[1] == "span" else "block"
        formula = convert(html.unescape(match[2]), display=display)
        formula = BAR.sub('<mo stretchy="false">', formula)
        if match[1] == "div":
            return f'<div class="arithmatex">{formula}</div>'
        # in Chinese a line may end before any sign, but must not begin with these
        return f'<span class="unbroken">{formula}{match[3]}</span>' if match[3] else formula

    return FORMULA.sub(draw, content)


def on_page_context(context, page, config, nav):
    """Choose the language of the theme, and what the language switch leads to."""
    uri = page.file.src_uri
    config.theme["language"] = "zh" if uri.startswith("zh/") else "en"
    urls = {each.file.src_uri: each.url for each in nav.pages}
    english = uri.removeprefix("zh/")
    context["languages"] = [
        ("English", "en", urls.get(english, urls["index.md"])),
        ("中文", "zh", urls.get(f"zh/{english}", urls["zh/index.md"])),
    ]
