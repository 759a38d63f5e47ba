"""Two languages in one site; `mkdocs.yml` names this file under `hooks`.

The Chinese pages in docs/zh have the names of the English ones, and a navigation of their own in
the same order, where a page without a translation is marked and leads to the English one. Every
page leads to itself in the other language. (The plugins for translations want the English pages in
a folder of their own too, and mix the languages in the search.)
"""

import itertools

from mkdocs.structure.nav import Link, Navigation, Section

MARK = "（英文）"


def on_nav(nav, config, files):
    """Make the Chinese navigation, beside the English one."""
    items = [_translated(item, config.extra["chinese"], files) for item in nav.items]
    pages = [page for item in items for page in _pages(item)]
    nav.chinese = Navigation(items, pages)
    nav.chinese.homepage = pages[0] if pages else nav.homepage
    for before, after in itertools.pairwise(pages):
        before.next_page, after.previous_page = after, before


def _translated(item, titles, files, mark=MARK):
    """Return what stands for an item of the English navigation in the Chinese one."""
    title = titles.get(item.title, item.title)
    if item.is_section:
        is_marked = mark and not any(_twin(page, files) for page in _pages(item))  # as a whole
        children = [
            _translated(child, titles, files, "" if is_marked else mark) for child in item.children
        ]
        section = Section(title + (mark if is_marked else ""), children)
        for child in children:
            child.parent = section
        return section
    if not item.is_page:
        return item
    if not (twin := _twin(item, files)):
        return English(item, titles, mark)
    if title:  # given in mkdocs.yml
        twin.title = title
    return twin


def _twin(page, files):
    file = files.get_file_from_path(f"zh/{page.file.src_uri}")
    return file and file.page


def _pages(item):
    if item.is_section:
        for child in item.children:
            yield from _pages(child)
    elif item.is_page:
        yield item


class English(Link):
    """A link to an English page, whose title is known once the page is read."""

    def __init__(self, page, titles, mark):
        self.page, self.titles, self.mark, self.url = page, titles, mark, page.url

    @property
    def title(self):
        """The page's title, or its translation, with the mark."""
        return f"{self.titles.get(self.page.title, self.page.title)}{self.mark}"


def on_page_context(context, page, config, nav):
    """Choose the navigation, the language of the theme, and what the language switch leads to."""
    uri = page.file.src_uri
    is_chinese = uri.startswith("zh/")
    config.theme["language"] = "zh" if is_chinese else "en"
    twins = {page.file.src_uri: page for page in [*nav.pages, *nav.chinese.pages]}
    english = uri.removeprefix("zh/")
    context["nav"] = nav.chinese if is_chinese else nav
    context["languages"] = [
        ("English", "en", twins.get(english, nav.homepage).url),
        ("中文", "zh", twins.get(f"zh/{english}", nav.chinese.homepage).url),
    ]
    return context
