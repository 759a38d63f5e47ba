"""Formulas, and where lines break; `mkdocs.yml` names this file under `hooks`.

Formulas become MathML, which browsers draw without a script and without a network.
"""

import html
import re

from latex2mathml.converter import convert

FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>([。，、；：）]?)', re.DOTALL
)
NARROW = re.compile(r'<(h1|t[dh]|(?:span|div)(?= class="md-ellipsis"))\b.*?</\1>', re.DOTALL)
LONG_NAME = re.compile(r"(?<![!-;=?-~])[!-;=?-~]{12,}(?=[^<>]*<)")
JOINT = re.compile(r"(?<=[._(=/])(?=[a-zA-Z]\w\w)|(?<=[a-z])(?=[A-Z])")
LISTED = re.compile(r"(?<=[、，])(?=<code>)")
BAR = re.compile("<mo>(?=&#x(?:02016|0007C);)")  # of a norm: as in TeX, as high as it is
LONG_CODE = re.compile(r"<code>[^<>\s]{36,}</code>")  # wider than a phone
INLINE_CODE = re.compile(r"<code>[^<]*--[^<]*</code>")
OPTION = re.compile(r"(?<![\w-])--[\w-]{1,38}")


def on_page_content(content, **_):
    """Draw the formulas."""

    def draw(match):
        display = "inline" if match[1] == "span" else "block"
        formula = convert(html.unescape(match[2]), display=display)
        formula = BAR.sub('<mo stretchy="false">', formula)
        if match[1] == "div":
            return f'<div class="arithmatex">{formula}</div>'
        # in Chinese a line may end before any sign, but must not begin with these
        return f'<span class="option">{formula}{match[3]}</span>' if match[3] else formula

    return FORMULA.sub(draw, content)


def on_post_page(output, **_):
    """Where a line is short, break names between their words, and options of a command nowhere."""

    def between_words(narrow):
        broken = LONG_NAME.sub(lambda name: JOINT.sub("<wbr>", name[0]), narrow[0])
        return LISTED.sub("<wbr>", broken)  # where a quotation mark follows, no line would end

    def in_one(code):
        return OPTION.sub(r'<span class="option">\g<0></span>', code[0])

    output = INLINE_CODE.sub(in_one, output)
    return LONG_CODE.sub(between_words, NARROW.sub(between_words, output))


def on_post_template(output_content, **_):
    """Do the same on the page for addresses that do not exist."""
    return on_post_page(output_content)
