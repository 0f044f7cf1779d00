"""A matrix and its low-rank change, to scale."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ftcourse.plots.style import METHOD_COLOURS, bare, drawing, finish, sheet

__all__ = ["plot_low_rank"]


def plot_low_rank(
    rows: int,
    columns: int,
    r: int,
    path: str | Path | None = None,
    *,
    theme: str | None = None,
) -> Figure:
    """W (rows x columns), and B (rows x r) times A (r x columns), which is added to it; drawn to scale.

    Raises:
        ValueError: a size is not positive.
    """
    if min(rows, columns, r) < 1:
        raise ValueError(f"W of {rows} x {columns} and r = {r}: all must be 1 or more")
    gap = 0.22 * max(rows, columns)
    thin = max(r, 0.012 * max(rows, columns))  # a line that can be seen
    right = columns + 2 * gap + thin  # where A begins
    with drawing(theme) as t:
        fig, ax = sheet(figsize=(8, 3.1))
        bare(ax)
        trains = t.colours[METHOD_COLOURS["LoRA"]]
        for x, w, h, colour in (
            (0, columns, rows, t.muted), (columns + gap, thin, rows, trains), (right, columns, thin, trains),
        ):  # fmt: skip
            ax.add_patch(Rectangle((x, 0), w, h, color=colour, lw=0))
        ax.text(
            columns / 2, rows / 2, f"W\n{rows} x {columns}\nfrozen", ha="center", va="center",
            color=t.paper, fontweight="bold",
        )  # fmt: skip
        for name, size, x, y in (
            ("B", f"{rows} x {r}", columns + gap + thin / 2, 1.03 * rows),
            ("A", f"{r} x {columns}", right + columns / 2, thin + 0.05 * rows),
        ):
            ax.text(x, y, f"{name}  {size}, trains", ha="center", va="top")
        ax.text(columns + gap / 2, rows / 2, "+", fontsize=22, ha="center", va="center")
        ax.text(columns + 1.5 * gap + thin, rows / 2, "x", fontsize=18, ha="center", va="center")
        ax.set(
            xlim=(-0.02 * columns, 2.02 * columns + 2 * gap + thin),
            ylim=(1.16 * rows, -0.03 * rows),
        )
        ax.set_aspect("equal")
    return finish(fig, t, path)
