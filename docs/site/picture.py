"""The picture of docs/architecture.md for the site, which has no network and no program that draws mermaid.

GitHub draws the mermaid itself. Here its floors become an SVG of boxes in bands, in the colours of the page. Only
what that picture uses is understood: subgraphs with names in them, and arrows from one subgraph to the next.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable

Floor = tuple[str, list[str]]  # what is said of it, and the wings on it
WIDTH, HEIGHT, GAP, LEFT = (
    720,
    34,
    12,
    210,
)  # of the picture, a floor, between two; where boxes begin
LINES: dict[str, Callable[[list[Floor], re.Match[str]], None]] = {
    r"flowchart TB|end|\w+( --> \w+)+": lambda floors, found: None,
    r'subgraph \w+\["(?P<title>[^"]+)"\]': lambda floors, found: floors.append(
        (found["title"], [])
    ),
    r'\w+\["(?P<name>[^"]+)"\]|(?P<id>\w+)': lambda floors, found: floors[-1][1].append(
        found["name"] or found["id"]
    ),
}


def floors_of(mermaid: str) -> list[Floor]:
    """The subgraphs in order, each with its title and the names in it.

    Raises:
        ValueError: a line of mermaid that is not understood here.
    """
    floors: list[Floor] = []
    for line in filter(None, map(str.strip, mermaid.splitlines())):
        for pattern, take in LINES.items():
            if found := re.fullmatch(pattern, line):
                take(floors, found)
                break
        else:
            raise ValueError(f"docs/site/picture.py cannot draw this line of mermaid: {line}")
    return floors


def svg(mermaid: str) -> str:
    """Bands from top to bottom: what is said of a floor, and a box for each wing on it."""
    floors = floors_of(mermaid)
    words = "; ".join(f"{title}: {', '.join(wings)}" for title, wings in floors)
    high = len(floors) * (HEIGHT + GAP) - GAP
    label = html.escape(f"The floors of the package, from top to bottom. {words}.")
    drawn = [
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {high}" xmlns="http://www.w3.org/2000/svg" '
        f'style="width:100%;max-width:{WIDTH}px" font-size="14" fill="currentColor" stroke="none">'
    ]
    for i, (title, wings) in enumerate(floors):
        top, wide = i * (HEIGHT + GAP), (WIDTH - LEFT - GAP * (len(wings) - 1)) / len(wings)
        middle = top + HEIGHT / 2 + 5
        drawn.append(f'<text x="0" y="{middle}" opacity="0.75">{html.escape(title)}</text>')
        for j, wing in enumerate(wings):
            left = LEFT + j * (wide + GAP)
            drawn.append(
                f'<rect x="{left + 1:.0f}" y="{top + 1}" width="{wide - 2:.0f}" height="{HEIGHT - 2}" rx="6" '
                'fill="none" stroke="currentColor" stroke-opacity="0.5"/>'
                f'<text class="wing" x="{left + wide / 2:.0f}" y="{middle}" text-anchor="middle">{wing}</text>'
            )
        if i:
            x = LEFT + (WIDTH - LEFT) / 2
            drawn.append(f'<path d="M{x - 5} {top - GAP + 2}h10l-5 {GAP - 4}z" opacity="0.5"/>')
    return "".join([*drawn, "</svg>"])


def drawn(text: str) -> str:
    """A document with its mermaid blocks drawn."""
    return re.sub(
        r"^```mermaid\n(.*?)^```$",
        lambda found: f"```{{raw}} html\n{svg(found[1])}\n```",
        text,
        flags=re.M | re.S,
    )
