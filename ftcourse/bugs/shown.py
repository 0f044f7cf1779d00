"""How the lines in which two programs differ are shown: by signs everywhere, and by colours in a notebook."""

from __future__ import annotations

import html
from dataclasses import dataclass

__all__ = ["Diff", "displayed"]

COLOURS = {"-": "rgba(213, 94, 0, 0.22)", "+": "rgba(0, 158, 115, 0.22)"}


@dataclass(frozen=True)
class Diff:
    """Lines that begin with "-" (only in the first), "+" (only in the second) or " " (in both); "..." is a gap.

    In a notebook it is folded, so that nobody reads it by accident, and the changed lines are red and green.
    """

    title: str
    before: str
    after: str
    lines: list[str]

    def __str__(self) -> str:
        lines = ["   ..." if line == "..." else line for line in self.lines]
        return "\n".join([f"{self.title}: - {self.before} + {self.after}", *lines])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        # one element a line, so that the lines stay apart where a viewer drops the style
        rows = "".join(
            f'<div style="background: {COLOURS[line[0]]}">{html.escape(line)}</div>'
            if line[:1] in COLOURS
            else f"<div>{html.escape(line) or '&nbsp;'}</div>"
            for line in str(self).splitlines()[1:]
        )
        return (
            f"<details><summary>{html.escape(self.title)}: the lines that differ "
            f"(- {html.escape(self.before)}, + {html.escape(self.after)}). Click to open</summary>"
            f'<pre style="line-height: 1.35">{rows}</pre></details>'
        )


def displayed(diff: Diff) -> None:
    """Show it: in a notebook as its cell's output, elsewhere as text."""
    try:
        from IPython.core.getipython import get_ipython
        from IPython.display import display
    except ImportError:
        print(diff)
        return
    if get_ipython() is None:
        print(diff)
    else:
        display(diff)
