"""Opening files: what may go wrong, gzip, and how text is encoded."""

import codecs
import gzip
import zlib
from contextlib import contextmanager

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
HEAD = 1 << 18  # bytes that are looked at before anything is decided


class DataError(ValueError):
    """A file that cannot be used as it is; the message says where and why."""


@contextmanager
def opened(path):
    """A file's bytes, unpacked if it is gzipped."""
    try:
        with open(path, "rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with (gzip.open if packed else open)(path, "rb") as file:
            yield file
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: the gzip file is cut off or damaged ({error}).") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from None


def read_lines(path):
    """Yield a file's lines as text."""
    with opened(path) as lines:
        yield from decode(path, lines)


def decode(source, lines):
    """Yield lines of bytes as text; an error names their source."""
    for number, line in enumerate(lines, start=1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            likely = likely_encoding(line) or "ITS_ENCODING"
            raise DataError(
                f"{not_utf8(source, number, line, error)} Save the file as UTF-8, for example "
                f"with `iconv -f {likely} -t utf-8`."
            ) from None


def not_utf8(source, number, line, error):
    return (
        f"{source}, line {number}: not UTF-8 (byte {line[error.start]:#04x} at position "
        f"{error.start + 1})."
    )


def marked_encoding(head):
    """The encoding that a file's first bytes are the mark of; None without a mark."""
    return next((encoding for mark, encoding in MARKS if head.startswith(mark)), None)


def likely_encoding(content):
    """The encoding that bytes which are not UTF-8 have in all likelihood, or None."""
    if marked := marked_encoding(content):
        return marked
    if b"\0" in content:
        return "utf-16-be" if content[::2].count(0) > content[1::2].count(0) else "utf-16-le"
    if chinese_share(content) > 0.7:
        return "gb18030"
    letters = [byte for byte in content if byte > 127 or chr(byte).isalpha()]
    high = sum(byte >= 0xC0 for byte in letters)
    if 0 < high < 0.3 * len(letters) or 0 < len(letters) < 3:
        return "cp1252" if any(0x80 <= byte < 0xA0 for byte in content) else "latin-1"
    return None


def chinese_share(content):
    """The share of frequent Chinese characters among the others than ASCII, read as GB 18030."""
    text = codecs.getincrementaldecoder("gb18030")("replace").decode(content)
    wide = [character for character in text if ord(character) > 127 and character not in "，。！？"]

    def frequent(character):  # GB 2312 has its 3,755 most frequent ones in these rows
        encoded = character.encode("gb2312", "ignore")
        return len(encoded) == 2 and 0xB0 <= encoded[0] <= 0xD7

    return sum(map(frequent, wide)) / max(len(wide), 1)


def find_encoding(path, head, told):
    """What the file is marked as, or what was told, or UTF-8."""
    marked = marked_encoding(head)
    if told is None:
        if not marked and b"\0" in head:
            likely = likely_encoding(head)
            raise DataError(
                f"{path}: it looks like {likely} without a mark. Add `--encoding {likely}`."
            )
        return marked or "utf-8"
    try:
        b"a".decode(told, "replace")  # refuses what encodes no text, such as base64
        name = codecs.lookup(told).name
        text = codecs.getincrementaldecoder(told)("replace").decode(head)
    except LookupError:
        raise DataError(f"`--encoding`: Python knows no encoding {told!r}.") from None
    except UnicodeError as error:
        raise DataError(f"{path}: not {told} ({error}). Choose another `--encoding`.") from None
    family = (marked or "").removesuffix("-sig")
    if marked and not name.startswith(family):
        raise DataError(f"{path}: it is marked as {family}; leave out `--encoding {told}`.")
    if not marked and not name.startswith("utf"):
        try:
            utf8 = codecs.getincrementaldecoder("utf-8")().decode(head)
        except UnicodeDecodeError:
            return name
        if sum(ord(c) > 127 for c in utf8) >= 50 and utf8 != text:
            raise DataError(f"{path}: it is UTF-8; leave out `--encoding {told}`.")
    return marked or name


def wrong_encoding(path, encoding):
    """Where a file is not in an encoding, and in which it may be."""
    with opened(path) as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError as error:
                if encoding not in ("utf-8", "utf-8-sig"):
                    break
                likely = likely_encoding(line + lines.read(HEAD))
                mend = (
                    f"It looks like {likely}: add `--encoding {likely}`."
                    if likely
                    else "Name its encoding by `--encoding`, such as gb18030, big5, cp1251."
                )
                return DataError(f"{not_utf8(path, number, line, error)} {mend}")
    return DataError(f"{path}: not {encoding}. Name its encoding by `--encoding`.")
