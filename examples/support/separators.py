"""What joins the labels of a cell.

Labels that are joined occur in other company elsewhere: that tells a separator from a character
inside a label. Where both are possible, nothing is guessed.
"""

import re
import unicodedata
from collections import Counter, defaultdict

from support.table import DataError

FAMILIES = {"|": "|", ",": ",，", ";": ";；", "、": "、", "line break": "\n\r", "tab": "\t"}
WEAK = {"space": " ", "/": "/", "&": "&", "+": "+"}
WHOLE = "none"  # a cell is one label


def splitter(characters):
    """A function from a cell to its labels, without empty ones."""
    if not characters:
        return lambda cell: [cell.strip()]
    one = len(characters) == 1 or characters in FAMILIES.values()
    pattern = re.compile(f"[{re.escape(characters)}]" if one else re.escape(characters))
    return lambda cell: [name for part in pattern.split(cell) if (name := part.strip())]


def joint(cells, characters):
    """The cells that a separator splits, and for each part the cells that it occurs in."""
    split, split_cells, found_in = splitter(characters), [], defaultdict(set)
    for cell in cells:
        parts = split(cell)
        if any(character in cell for character in characters):
            split_cells.append(cell)
        for part in parts:
            found_in[part].add(cell)
    return split_cells, found_in


def recombines(cells, characters):
    """Whether a part of a cell that is split occurs in another cell, too."""
    split, (split_cells, found_in) = splitter(characters), joint(cells, characters)
    return any(len(found_in[part]) > 1 for cell in split_cells for part in split(cell))


def labels_of(cells, characters):
    return {name for cell in cells for name in splitter(characters)(cell)}


def choose(cells, where, count):
    """The name of the family that joins labels in the cells; None if each is one label."""
    present = [
        n for n, chars in FAMILIES.items() if any(c in cell for cell in cells for c in chars)
    ]
    supported = [n for n in present if recombines(cells, FAMILIES[n])]
    if not present or (len(present) == 1 and supported):
        return present[0] if present else None
    if not supported:
        if present[0] != "|":  # hardly ever a part of a label
            refuse_inseparable(cells, present[0], where, count)
        return present[0]

    def explains(name):  # no other one joins what it leaves
        left = labels_of(cells, FAMILIES[name])
        return not any(recombines(left, FAMILIES[n]) for n in present if n != name)

    if fitting := [name for name in supported if explains(name)]:
        return fitting[0]
    seen = []
    for name in supported:
        with_it = [cell for cell in cells if any(c in cell for c in FAMILIES[name])]
        rows = sum(count[cell] for cell in with_it)
        seen.append(f"{name!r} in {rows:,} rows ({where(with_it[0])}: {with_it[0]!r})")
    raise DataError(
        f"Labels are joined by {' and by '.join(seen)}. Mend the file, or choose one by "
        "`--separator`."
    )


def refuse_inseparable(cells, name, where, count):
    """Refuse to split where the parts of no cell ever occur otherwise."""
    split = [cell for cell in cells if any(c in cell for c in FAMILIES[name])]
    if len(split) > 2 or any(count[cell] > 2 for cell in split):
        raise DataError(
            f"{where(split[0])}: the parts of {split[0]!r} never occur in other company, so "
            f"{name!r} may belong to the labels. `--separator {WHOLE}` if it does, `--separator "
            f"'{FAMILIES[name][0]}'` if it joins labels."
        )


def decide(count, told, where):
    """A function from a cell to its labels, what it splits at in words, and warnings.

    Args:
        count: `Counter` of the cells.
        told: the separator that the user names; None if it is to be found.
        where: function from a cell to a place in the file.
    """
    cells = list(count)
    if told == "":
        raise DataError("`--separator` must be a string of at least one character. Received: ''")
    if told is not None:
        characters = "" if told == WHOLE else told
        name = told
    else:
        name = choose(cells, where, count)
        characters = FAMILIES.get(name, "")
    split = splitter(characters)
    warnings = [] if told == WHOLE else look(cells, count, split, name, told, where)
    if not characters:
        return split, "a cell is one label", warnings
    both = " and ".join(map(repr, characters if name in FAMILIES else [characters]))
    return split, f"split at {both}", warnings


def look(cells, count, split, name, told, where):
    """Warnings about the labels that came out; what is most likely wrong is refused."""
    warnings, labels = [], Counter()
    for cell in cells:
        for label in set(split(cell)):
            labels[label] += count[cell]
    rows = count.total()
    always = [label for label, number in labels.items() if number == rows and len(cells) > 2]
    if always and name is not None:
        message = f"{always[0]!r} is a label of every row"
        if name != "|" and told is None:
            raise DataError(
                f"Split at {name!r}, {message} (such as {where(cells[0])}: {cells[0]!r}). "
                f"`--separator {WHOLE}` if a cell is one label, `--separator "
                f"'{FAMILIES[name][0]}'` if that is right."
            )
        warnings.append(f"{message}.")
    for other, characters in {**FAMILIES, **WEAK}.items():
        inside = [n for n in labels if any(c in n.strip(characters) for c in characters)]
        if not inside:
            continue
        message = f"Labels hold {other!r}: {listing(sorted(inside), 3)}"
        if other in WEAK:
            if not every_part_recurs(labels, inside, characters):
                continue
            if name is None:
                raise DataError(
                    f"{message}. Their parts occur in other company, too. `--separator "
                    f"'{characters}'` if it joins labels, `--separator {WHOLE}` if not."
                )
        warnings.append(f"{message}. If it joins labels, say so by `--separator`.")
    spellings = defaultdict(set)
    for label in labels:
        spellings[unicodedata.normalize("NFKC", label).casefold()].add(label)
    if several := [sorted(names) for names in spellings.values() if len(names) > 1]:
        warnings.append(f"Labels differ in nothing but case or spelling: {listing(several[0], 3)}.")
    return warnings


def every_part_recurs(labels, inside, characters):
    """Whether words in labels look like labels that are joined.

    Of "New York" and "New Zealand" a part stands nowhere else; of "joy love" and "love fear" it
    does, or there are more combinations than parts.
    """
    split, (_, found_in) = splitter(characters), joint(labels, characters)
    if all(len(found_in[part]) > 1 for label in inside for part in split(label)):
        return True
    return len(inside) > 2 and len(found_in) < len(labels)


def listing(items, limit=5):
    """The first few items: a, b, c, …"""
    items = list(items)
    return ", ".join(map(str, items[:limit])) + (", …" if len(items) > limit else "")
