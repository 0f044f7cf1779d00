"""Many small charts of the same kind, to be compared at a glance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ftcourse.plots.charts import _axes, _curve, _names
from ftcourse.plots.style import colours_of, drawing, finish, sheet

__all__ = ["plot_panels"]


def plot_panels(
    panels: Mapping[str, Mapping[str, Any]],
    path: str | Path | None = None,
    *,
    columns: int = 4,
    everywhere: Mapping[str, Any] | None = None,
    xlabel: str = "",
    percent: str = "",
    ylim: tuple[float | None, float | None] | None = (0, None),
    xticks: Sequence[float] | None = None,
    colours: Mapping[str, str] | None = None,
    theme: str | None = None,
) -> Figure:
    """A grid of small charts that share both axes and one legend, `{"panel": {"name": values}}`.

    Args:
        panels: the curves of each panel, as `plot_lines` takes them.
        columns: panels side by side.
        everywhere: curves drawn in every panel, thin and dashed, to compare with; a panel that has a curve of
            the same name shows its own in that place.
        percent: "x", "y" or "xy": which axes are fractions, written as percents.
        ylim: ends of the vertical axis; None leaves both to matplotlib.

    Raises:
        ValueError: there is nothing to plot, or a curve's xs and ys differ in length.
    """
    if not panels:
        raise ValueError("nothing to plot: give a mapping of panels to curves")
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    with drawing(theme) as t:
        fig, grid = sheet(
            rows, columns, figsize=(2.75 * columns, 2.1 * rows + 0.7), sharex=True, sharey=True,
            squeeze=False,
        )  # fmt: skip
        names = _names(panels)
        colour = colours_of(names, colours, t)
        lines: dict[str, Any] = {}
        for ax, (title, mine) in zip(grid.flat, panels.items(), strict=False):
            common = dict(everywhere or {})
            for name in common:
                xs, ys, _ = _curve(name, mine.get(name, common[name]))
                (lines[name],) = ax.plot(xs, ys, color=t.muted, lw=1.5, ls=(0, (4, 3)))
            for name, values in ((n, v) for n, v in mine.items() if n not in common):
                xs, ys, _ = _curve(name, values)
                style = {"marker": "osD^vPX"[names.index(name) % 7], "ms": 6} if len(xs) < 9 else {}
                (lines[name],) = ax.plot(xs, ys, color=colour[name], lw=2, **style)
            ax.set_title(title, fontsize=12, pad=5)
            _axes(ax, "", percent, xticks)
        for ax in grid.flat[len(panels) :]:
            ax.axis("off")
        if ylim is not None:
            grid[0][0].set_ylim(*ylim)
        for ax in grid[-1]:
            ax.set_xlabel(xlabel)
        fig.legend(lines.values(), lines.keys(), loc="outside upper center", ncols=len(lines))
    return finish(fig, t, path)
