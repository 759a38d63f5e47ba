"""Which columns hold texts, and which labels."""

from dataclasses import dataclass

from support.table import DataError

TEXT_NAMES = (
    *("content", "text", "texts", "sentence", "comment", "comment_text", "tweet", "review"),
    *(
        "document",
        "message",
        "post",
        "utterance",
        "body",
        "文本",
        "内容",
        "正文",
        "句子",
        "评论",
        "微博",
    ),
)
SECOND_NAMES = ("title", "description", "abstract", "summary", "question", "query", "标题")
LABEL_NAMES = (
    *("label", "labels", "tag", "tags", "class", "classes", "category", "categories"),
    *("topic", "topics", "genre", "genres", "emotion", "emotions", "intent", "intents"),
    *("target", "targets", "标签", "类别", "分类", "主题"),
)
ID_NAMES = ("", "id", "ids", "idx", "index", "guid", "uuid", "no", "row", "编号", "序号")
ON, OFF = ("1", "1.0", "true"), ("0", "0.0", "false")
UNKNOWN = ("", "-1", "-1.0", "none", "nan")


@dataclass
class Roles:
    """Places of a table's columns: the text, and either one of labels or one a label."""

    text: int
    label: int | None = None
    each: tuple[int, ...] = ()


def usual(name):
    return name.lower().replace(" ", "_").replace("-", "_")


def named(columns, names):
    """Places of the columns with one of some usual names; "review_text" is one of a text."""

    def fits(name):
        first, _, last = name.partition("_")
        ends = last.endswith("text") and first not in ("label", "labels", "class", "category")
        return name in names or (names is TEXT_NAMES and ends)

    return [i for i, name in enumerate(columns) if fits(usual(name))]


def known_names(columns):
    """How many columns have a usual name."""
    columns = [name.strip(' "') for name in columns]
    return sum(len(named(columns, names)) for names in (TEXT_NAMES, SECOND_NAMES, LABEL_NAMES))


def is_id(name):
    name = usual(name)
    return name in ID_NAMES or name.endswith("_id") or name.startswith(("unnamed", "__index"))


def place_of(table, name, argument):
    """The place of a column that was told by its name."""
    if name not in table.columns:
        numbers = " Numbers count columns with `--no-header`." if name.isdecimal() else ""
        raise DataError(
            f"{table.path}: there is no column {name!r}. Columns: {table.columns}. Choose one by "
            f"`{argument}`.{numbers}"
        )
    return table.columns.index(name)


def strings(column):
    """The distinct values of a column as strings, in lower case; None where it holds lists."""
    try:
        return {str(value).strip().lower() for value in column.unique()}
    except TypeError:
        return None


def holds_switches(column):
    """Whether a column holds 0 and 1, apart from values that say neither."""
    values = strings(column)
    return bool(values and values & {*ON, *OFF} and values <= {*ON, *OFF, *UNKNOWN})


def example(table, frame):
    """The columns with a value each, for an error."""
    if not len(frame):
        return str(table.columns)
    first = (str(value)[:30] for value in frame.iloc[0])
    return ", ".join(f"{n} ({v!r})" for n, v in zip(table.columns, first, strict=True))


def find_text(table, frame, options):
    """The place of the texts' column."""
    if options.text_column is not None:
        return place_of(table, options.text_column, "--text-column")
    if options.no_header:
        return longest(table, frame)
    found = named(table.columns, TEXT_NAMES) or named(table.columns, SECOND_NAMES)
    if len(found) != 1:
        what = "several columns have a name" if found else "no column has a name"
        raise DataError(
            f"{table.path}: {what} known for `--text-column` ({', '.join(TEXT_NAMES[:4])}, …). "
            f"Columns: {table.columns}. Choose one by `--text-column`; if the first line is a row "
            "like the others, add `--no-header`."
        )
    return found[0]


def longest(table, frame):
    """The place of the column whose values are by far the longest."""
    lengths = [frame[column].map(str).str.len().mean() for column in frame]
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    if len(order) > 1 and not lengths[order[-1]] > 2 * lengths[order[-2]]:
        raise DataError(
            f"{table.path}: no column's values are much longer than the others'. Columns: "
            f"{example(table, frame)}. Choose the texts' by `--text-column`."
        )
    return order[-1]


def find_roles(table, frame, options):
    """What each column is, as told or as seen; a guess is not made."""
    if options.label_column is not None and options.label_columns:
        raise DataError("Give `--label-column` or `--label-columns`, not both.")
    if options.no_header and len(frame):
        refuse_header(table, frame)
    text = find_text(table, frame, options)
    for name in (options.label_column, *(options.label_columns or ())):
        if name == table.columns[text]:
            raise DataError(f"{table.path}: column {name!r} cannot hold both texts and labels.")
    if options.label_columns:
        each = tuple(place_of(table, n, "--label-columns") for n in options.label_columns)
        return Roles(text, each=each)
    if options.label_column is not None:
        return Roles(text, place_of(table, options.label_column, "--label-column"))
    others = [i for i, name in enumerate(table.columns) if i != text and not is_id(name)]
    if options.no_header:
        others = [i for i in others if not all_differ(frame[i])]
    found = [i for i in named(table.columns, LABEL_NAMES) if i != text]
    switches = [i for i in others if holds_switches(frame[i])]
    if len(found) == 1 and not (len(switches) > 1 and found[0] in switches):
        if more := [table.columns[i] for i in switches if i != found[0]]:
            table.notes.append(f"{table.path.name}: columns {more} of 0 and 1 are passed over.")
        return Roles(text, found[0])
    rest = [i for i in others if i not in switches]
    if switches and (not rest or (len(rest) == 1 and looks_like_ids(frame[rest[0]]))):
        return Roles(text, each=tuple(switches))
    if options.no_header and len(others) == 1:
        return Roles(text, others[0])
    what = "several columns have a name" if found else "no column has a name"
    how = f"Columns: {example(table, frame)}. Choose one by `--label-column`"
    if others and all(holds_levels(frame[i]) for i in others):
        how += "; these hold integers: if they are levels of aspects, examples/fine_grained.py"
    if switches:
        names = " ".join(table.columns[i] for i in switches)
        how += (
            f"; or, as some hold 0 and 1 while {[table.columns[i] for i in rest]} do not, "
            f"`--label-columns {names}`, one for each label"
        )
    raise DataError(
        f"{table.path}: {what} known for `--label-column` ({', '.join(LABEL_NAMES[:4])}, …), and "
        f"not all others hold 0 and 1, one for each label. {how}."
    )


def alike(table, other, roles):
    """The same columns as in another table, by their names; None where one of them is missing."""
    names = [other.columns[i] for i in (roles.text, roles.label, *roles.each) if i is not None]
    if len(table.columns) != len(other.columns) and table.columns[0] == other.columns[0] == "1":
        raise DataError(
            f"{table.path}: {len(table.columns)} columns where {other.path} has "
            f"{len(other.columns)}."
        )
    if not set(names) <= set(table.columns):
        return None
    place = table.columns.index
    label = None if roles.label is None else place(other.columns[roles.label])
    each = tuple(place(other.columns[i]) for i in roles.each)
    return Roles(place(other.columns[roles.text]), label, each)


def refuse_header(table, frame):
    """A header that was read as a row would be a text of its own."""
    first = [str(value) for value in frame.iloc[0]]
    if named(first, TEXT_NAMES) and named(first, LABEL_NAMES):
        raise DataError(f"{table.path}: its first line names columns: leave out `--no-header`.")


def all_differ(column):
    """Whether a column of more than a few rows has no value twice, as ids have."""
    return len(column) > 3 and column.map(str).is_unique


def looks_like_ids(column):
    """Whether no value stands twice, and none has a space in it as texts have."""
    return all_differ(column) and not column.map(str).str.contains(r"\s").any()


def holds_levels(column):
    values = strings(column)
    return bool(values) and all(v.isdecimal() and len(v) < 3 for v in values)
