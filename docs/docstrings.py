"""How mkdocstrings reads Keras's style of docstrings; `mkdocs.yml` names it there."""

import re
import textwrap

import griffe

PROSE = re.compile(r"^(Input shape|Output shape|Returns|Reference):\n((?:    .*\n?|\n)+)", re.M)
SYMBOL = re.compile(r"`(keras_mlc\.(?:\w+\.)*(\w+))`")


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
