"""Names that others chose, on pages and on the console: shown as they are, and nothing but shown.

A class may be called `<img src=x onerror=...>`, a file `a|b` or two lines long. Everything that a page takes from
a report goes through `escaped`, so that a new line of a page need not think of it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

__all__ = ["drawn", "escaped", "fenced", "markdown", "one_line"]

# Control characters (new lines, what terminals obey), what turns the direction of text, and halves of characters.
HIDDEN = re.compile(r"[\u202a-\u202e\u2066-\u2069\u2028\u2029]")
SPECIAL = re.compile(r"([\\`*\[\]|~$])")  # wherever it stands
STARTS = re.compile(r"^(\s*\d*)([#+=.)-])")  # begins a heading, a list, a numbered list, a rule
EDGE_OF_WORD = re.compile(r"(?<![^\W_])_|_(?![^\W_])")  # an underscore inside a word is one


def one_line(text: Any) -> str:
    """Text without what moves the cursor, begins a line or turns the direction of reading: `\\n` is written so."""
    return "".join(map(_visible, str(text)))


def _visible(character: str) -> str:
    if unicodedata.category(character) in ("Cc", "Cs") or HIDDEN.match(character):
        return character.encode("unicode_escape").decode("ascii")
    return character


def markdown(text: Any) -> str:
    """Text that Markdown shows as it is, in a sentence, a list, a heading or a cell of a table."""
    text = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = EDGE_OF_WORD.sub(r"\\_", SPECIAL.sub(r"\\\1", text))
    return STARTS.sub(r"\1\\\2", text)


def escaped(value: Any, keep: tuple[str, ...] = ()) -> Any:
    """A copy of a report in which each text, also each key, is ready for a page; what is under `keep` stays."""
    if isinstance(value, dict):
        return {
            markdown(k) if isinstance(k, str) else k: v if k in keep else escaped(v, keep)
            for k, v in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [escaped(one, keep) for one in value]
    return markdown(value) if isinstance(value, str) else value


def drawn(text: Any) -> str:
    """Text for a picture: matplotlib reads formulas between dollars, and stops at those that are none."""
    return one_line(text).replace("$", r"\$")


def fenced(text: str) -> str:
    """A block of code that its text cannot end."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
