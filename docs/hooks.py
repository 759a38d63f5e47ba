"""What MkDocs does not do by itself; `mkdocs.yml` names this file under `hooks`.

- Pages without a file in docs/: one for each public symbol, the notebooks, and copies of what
  stands at the top of the repository.
- Links that lead out of docs/, as GitHub resolves them, go to the repository. Addresses of other
  sites are looked at, not visited.
- Formulas become MathML, which browsers draw without a script and without a network.
- The Chinese pages have a navigation of their own, and every page leads to itself in the other
  language where it exists.
"""

import copy
import functools
import html
import logging
import posixpath
import re
import textwrap
from pathlib import Path

import griffe
import notebooks
from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

LOG = logging.getLogger("mkdocs.hooks")
ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
COPIES = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|[#/])([^)#\s]+)")
EXTERNAL = re.compile(r"\]\(([a-z]+:[^)]*)\)")
URL = re.compile(r"https://[\w-]+(\.[\w-]+)+(:\d+)?(/[^\s\"'<>]*)?")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
REQUESTS = re.compile(r' data-md-component="source"|<link rel="alternate" [^>]*>')
NARROW = re.compile(r'<(h1|t[dh]|(?:span|div)(?= class="md-ellipsis"))\b.*?</\1>', re.DOTALL)
LONG_NAME = re.compile(r"(?<![^>\s])[^<>\s]{12,}(?=[^<>]*<)")
JOINT = re.compile(r"(?<=[._(=/])(?=\w{3})|(?<=[a-z])(?=[A-Z])")
INLINE_CODE = re.compile(r"<code>[^<]*--[^<]*</code>")
OPTION = re.compile(r"(?<![\w-])--[\w-]{1,38}")
PROSE = re.compile(r"^(Input shape|Output shape|Returns|Reference):\n((?:    .*\n?|\n)+)", re.M)
SYMBOL = re.compile(r"`(keras_mlc\.(?:\w+\.)*(\w+))`")


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
    """Put the pages of folders, and the Chinese pages, into the navigation."""
    config.nav = list(_expand(config.nav))
    chinese = list(_chinese(config.nav, config.extra["chinese"]))
    config.nav += [{"zh": chinese}] if chinese else []


def _expand(items):
    for item in items:
        title, value = next(iter(item.items())) if isinstance(item, dict) else (None, item)
        if isinstance(value, list):
            yield {title: list(_expand(value))}
        elif not value.endswith("/"):
            yield item
        else:
            pages = _pages(value)
            yield from [{title: pages}] if title else pages


def _pages(folder):
    if folder == "api/":
        return [f"api/{name}.md" for name in public_symbols()]
    paths = {
        path: path.relative_to(DOCS).as_posix() for path in sorted(DOCS.glob(f"{folder}**/*.md"))
    }
    if folder == "results/":
        return [{path.parent.name: uri} for path, uri in paths.items() if path.name == "results.md"]
    return list(paths.values())


def _chinese(items, titles):
    for item in items:
        title, value = next(iter(item.items())) if isinstance(item, dict) else (None, item)
        if isinstance(value, list):
            if pages := list(_chinese(value, titles)):
                yield {titles.get(title, title): pages}
        elif (DOCS / "zh" / value).exists():
            yield {titles.get(title, title): f"zh/{value}"} if title else f"zh/{value}"


def on_files(files, config):
    """Add the pages that have no file in docs/."""
    pages = {"examples.md": notebooks.overview(config.repo_url)}
    for name, (path, symbol) in public_symbols().items():
        methods = [
            method.name
            for method in symbol.members.values()
            if method.docstring and "Args:" in method.docstring.value
        ]
        pages[f"api/{name}.md"] = (
            f"---\ntitle: {name}\n---\n\n::: {path}\n    options:\n      members: {methods}\n"
        )
    for name in notebooks.SCRIPTS:
        pages[f"notebooks/{name}.ipynb"] = notebooks.as_text(name, config.repo_url)
    for page, source in COPIES.items():
        pages[page] = (ROOT / source).read_text(encoding="utf-8")
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

    for url in EXTERNAL.findall(markdown):
        if not URL.fullmatch(url):
            LOG.warning("%s: no well-formed https address: %s", uri, url)
    if page.parent is None or page.parent.title == "zh":
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
        return formula if match[1] == "span" else f'<div class="arithmatex">{formula}</div>'

    return FORMULA.sub(draw, content)


def on_nav(nav, config, **_):
    """Take the Chinese pages out of the English navigation."""
    nav.chinese = None
    if nav.items[-1].title == "zh":
        chinese = nav.items.pop().children
        titles = config.extra["chinese"]
        names = {item.title for item in chinese}
        for item in map(copy.copy, nav.items):
            item.title = titles.get(item.title, item.title)
            chinese += [] if item.title in names else [item]
        nav.chinese = copy.copy(nav)
        nav.chinese.items = chinese
        nav.chinese.homepage = first = next(p for p in nav.pages if p.file.src_uri[:3] == "zh/")
        first.previous_page.next_page = first.previous_page = None


def on_page_context(context, page, config, nav):
    """Choose the navigation, the language of the theme, and what the language switch leads to."""
    uri = page.file.src_uri
    is_chinese = uri.startswith("zh/")
    config.theme["language"] = "zh" if is_chinese else "en"
    if nav.chinese:
        context["nav"] = nav.chinese if is_chinese else nav
        pages = {page.file.src_uri: page for page in nav.pages}
        english = uri.removeprefix("zh/")
        config.extra["alternate"] = [
            {"name": "English", "lang": "en", "link": pages.get(english, nav.homepage).url},
            {
                "name": "中文",
                "lang": "zh",
                "link": pages.get(f"zh/{english}", nav.chinese.homepage).url,
            },
        ]
    return context


def on_post_page(output, **_):
    """Keep the theme's script from asking GitHub for stars, and for maps that are not there.

    Where a line is short, names break between their words, and options of a command nowhere.
    """

    def between_words(narrow):
        return LONG_NAME.sub(lambda name: JOINT.sub("<wbr>", name[0]), narrow[0])

    def in_one(code):
        return OPTION.sub(r'<span class="option">\g<0></span>', code[0])

    return NARROW.sub(between_words, INLINE_CODE.sub(in_one, REQUESTS.sub("", output)))


def on_post_template(output_content, **_):
    """Do the same on the page for addresses that do not exist."""
    return on_post_page(output_content)


class Sections(griffe.Extension):
    """Makes sections of Keras's docstring style what the pages can show."""

    def on_instance(self, *, obj, **_):
        """Rename or unfold the sections that Google style does not know."""
        if not obj.docstring:
            return
        text = obj.docstring.value
        text = text.replace("\nCall arguments:\n", "\nOther Parameters: Call arguments:\n")
        text = text.replace("\nExample:\n", "\nExamples: Example:\n")
        text = PROSE.sub(lambda match: f"**{match[1]}:**\n\n{textwrap.dedent(match[2])}", text)
        obj.docstring.value = SYMBOL.sub(r"[`\2`][\1]", text)
