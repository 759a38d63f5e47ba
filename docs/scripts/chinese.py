"""Chinese labels for a picture."""

import re

from matplotlib import font_manager
from matplotlib.text import Text


def translate(figure, chinese, names=()):
    """Put Chinese texts into a picture, in the free font WenQuanYi Micro Hei.

    Args:
        figure: The picture, in English.
        chinese: What its texts are in Chinese; `{}` stands for any part.
        names: Pairs of other texts, which it may lack.
    """
    for path in font_manager.findSystemFonts():
        if "wqy-microhei" in path:
            font_manager.fontManager.addfont(path)
    font_manager.findfont("WenQuanYi Micro Hei", fallback_to_default=False)  # or raise
    unused = set(chinese)

    def translated(text):
        for english, translation in [*chinese.items(), *names]:
            pattern = re.escape(english).replace(r"\{\}", "(.*)")
            if found := re.fullmatch(pattern, text, re.DOTALL):
                unused.discard(english)
                return translation.format(*found.groups())
        return text

    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        ticks = [label.get_text() for label in axis.get_ticklabels()]
        if any(translated(tick) != tick for tick in ticks):  # else drawn anew in English
            axis.set_ticks(axis.get_ticklocs(), map(translated, ticks))
    for text in figure.findobj(Text):
        text.set_fontfamily(["DejaVu Sans", "WenQuanYi Micro Hei"])
        text.set_text(translated(text.get_text()))
    if unused:
        raise ValueError(f"texts that the picture does not have: {unused}")
