"""Formulas as drawings in the page: TeX becomes SVG while the site is built, by ziamath.

Nothing is then fetched or run by the reader's browser, which a site that is read without a network needs. The TeX
stays as the drawing's text alternative.
"""

from __future__ import annotations

import html
import re
from typing import Any

import ziamath
from docutils import nodes

PIXELS = 16  # an em of the surrounding text, in which formulas are drawn a little larger
SCALE = 1.12
ziamath.config.svg2 = False  # glyphs as paths in each drawing: valid in all browsers


def drawing(tex: str, *, inline: bool) -> str:
    """The SVG of one formula, in em, so that it grows with the text around it.

    Raises:
        ValueError: the TeX cannot be read.
    """
    try:
        formula = ziamath.Latex(
            _plain(tex), size=PIXELS * SCALE, inline=inline, color="currentColor"
        )
        svg = formula.svg()
    except Exception as err:  # the library raises what it happens to meet
        raise ValueError(f"cannot draw the formula {tex!r}: {err!r}") from err
    box = re.search(r'viewBox="([^"]+)"', svg)
    assert box is not None
    _, top, width, height = (float(number) / PIXELS for number in box[1].split())
    style = f"width:{width:.3f}em;height:{height:.3f}em"
    if inline:
        style += f";vertical-align:{-(top + height):.3f}em"  # the drawing's baseline is at 0
    start = f'<svg role="img" aria-label="{html.escape(tex.strip())}" style="{style}" '
    return start + svg[svg.index("viewBox") :]


def _plain(tex: str) -> str:
    """What ziamath reads otherwise than TeX does: an escaped underscore within \\text."""
    return tex.strip().replace(r"\_", "_")


def visit_inline(self: Any, node: nodes.math) -> None:
    self.body.append(f'<span class="formula">{drawing(node.astext(), inline=True)}</span>')
    raise nodes.SkipNode


def visit_block(self: Any, node: nodes.math_block) -> None:
    self.body.append(f'<div class="formula">{drawing(node.astext(), inline=False)}</div>\n')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, Any]:
    app.add_html_math_renderer("formulas", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
