"""Names in any script: a font that has their letters, or the letters' numbers where none is installed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from functools import cache

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

__all__ = ["covering", "short"]

NO_LETTERS = ("Last Resort", "Emoji", "NonUnicode", "Symbol")  # boxes, bitmaps, private numbers


def covering(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Font families for `font.family` that together have all letters of these texts, and the texts.

    A letter that no installed font has is written as its number, `\\u732b`, and none is drawn as an empty box.
    """
    missing = {c for text in texts for c in text if not c.isspace()}
    families = ["sans-serif"]
    plain = font_manager.FontProperties(family=["sans-serif"])
    missing -= _letters(font_manager.findfont(plain))
    for family, file in _families():
        if not missing:
            break
        if found := missing & _letters(file):
            families.append(family)
            missing -= found
    numbers = {ord(c): c.encode("unicode_escape").decode("ascii") for c in missing}
    return families, [text.translate(numbers) for text in texts]


@cache
def _families() -> list[tuple[str, str]]:
    fonts = font_manager.fontManager.ttflist
    upright = {
        f.name: f.fname
        for f in sorted(fonts, key=lambda f: (f.name, f.style == "normal", f.fname))
        if not any(word in f.name for word in NO_LETTERS)
    }
    return sorted(upright.items())


@cache
def _letters(file: str) -> frozenset[str]:
    try:
        return frozenset(map(chr, FT2Font(file).get_charmap()))
    except (OSError, RuntimeError):  # a font that matplotlib cannot read
        return frozenset()


def short(names: Iterable[str], width: int = 16, lines: int = 2) -> list[str]:
    """Names in at most so many lines of so many letters; what is left out is an ellipsis."""
    found = []
    for name in names:
        rows = textwrap.wrap(name, width) or [""]
        if len(rows) > lines:
            rows = [*rows[: lines - 1], rows[lines - 1][: width - 1] + "…"]
        found.append("\n".join(rows))
    return found
