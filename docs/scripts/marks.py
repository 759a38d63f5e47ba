"""Tables that scripts write into a page, below a mark and above its `<!-- end -->`."""

import re

MARKED = re.compile(r"(<!-- (?!end )([\w.-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
MARK = re.compile(r"<!-- [\w.-]+ -->")


def marks(page):
    """Return the names of the marks in a page."""
    return [name for _, name, _ in MARKED.findall(page)]


def fill(page, table):
    """Return the page with `table(name)` below each mark."""
    if len(MARK.findall(page)) != 2 * len(marks(page)):
        raise ValueError("Each mark needs an `<!-- end -->` of its own before the next mark.")
    return MARKED.sub(lambda match: f"{match[1]}\n{table(match[2])}\n\n{match[3]}", page)


def markdown_table(header, rows, texts=1):
    """Return a table whose first columns hold texts and all others numbers."""
    alignment = ["---"] * texts + ["---:"] * (len(header) - texts)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, alignment, *rows))
