"""What MkDocs does not do by itself; `mkdocs.yml` names this file under `hooks`.

- Pages without a file in docs/: one for each public symbol, the notebooks, and copies of what
  stands at the top of the repository.
- Links that lead out of docs/, as GitHub resolves them, go to the repository. Addresses of other
  sites are looked at, not visited.

`languages.py` and `typography.py` are hooks too, `docstrings.py` reads docstrings for mkdocstrings,
`theme/` changes what the theme shows, `words.txt` are Chinese words for the search. `test_site.py`
tests all of it (`pytest --no-cov docs/test_site.py`).
"""

import functools
import logging
import posixpath
import re
from pathlib import Path

import griffe
import notebooks
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

LOG = logging.getLogger("mkdocs.hooks")
ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
COPIES = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|[#/])([^)#\s]+)")
EXTERNAL = re.compile(r"\]\(([a-z]+:[^)]*)\)")
URL = re.compile(r"https://[\w-]+(\.[\w-]+)+(:\d+)?(/[^\s\"'<>]*)?")


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
    """Put the pages of folders into the navigation."""
    config.nav = list(_expand(config.nav))


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
    if page.parent is None:
        page.meta["hide"] = ["navigation"]  # of one page
    if uri.endswith("/results.md"):  # of a run: in the search below every page that explains
        page.meta["search"] = {"boost": 1e-4}
    if "guides/" in uri:
        named = set(re.findall(r"\w+", markdown)).intersection(public_symbols())
        links = (
            f"[`{name}`](../{'../' * uri.count('zh/')}api/{name}.md)" for name in sorted(named)
        )
        markdown += f"\n\nAPI: {', '.join(links)}\n"
    # GitHub reads Markdown inside of <details> by itself
    return LINK.sub(resolve, markdown).replace("<details>", '<details markdown="1">')
