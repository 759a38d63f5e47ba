"""Tables that scripts write into a page, below a mark and above the next `<!-- end -->`."""

import re

MARKED = re.compile(r"(<!-- ([\w.]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def marks(page):
    """Return the names of the marks in a page."""
    return [name for _, name, _ in MARKED.findall(page)]


def fill(page, table):
    """Return the page with `table(name)` below each mark."""
    return MARKED.sub(lambda match: f"{match[1]}\n{table(match[2])}\n\n{match[3]}", page)
