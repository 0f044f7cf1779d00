"""Curves whose intervals overlap: whiskers side by side, where bands would run into each other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ftcourse.plots.charts import _axes, _curve, _level, _names, _panels
from ftcourse.plots.style import colours_of, drawing, finish, sheet

__all__ = ["plot_intervals"]


def plot_intervals(
    curves: Mapping[str, Any],
    path: str | Path | None = None,
    *,
    xlabel: str = "",
    ylabel: str = "",
    log: str = "",
    percent: str = "",
    ylim: tuple[float | None, float | None] | None = None,
    levels: Mapping[str, float] | None = None,
    colours: Mapping[str, str] | None = None,
    theme: str | None = None,
) -> Figure:
    """Curves with an interval at each value, drawn a little apart at the same x; the legend stands above.

    Args:
        curves: `{"name": (xs, means, halves)}`, with the half-width of each interval; a pair `(xs, ys)` is drawn
            without intervals. Or `{"panel": {"name": ...}}`, panels side by side.
        log: "x", "y" or "xy": which axes are logarithmic.
        percent: "x", "y" or "xy": which axes are fractions, written as percents.
        levels: horizontal dashed lines, `{"guessing": 0.5}`.

    Raises:
        ValueError: there is nothing to plot, or a curve's parts differ in length.
    """
    panels = _panels(curves)
    names = _names(panels)
    with drawing(theme) as t:
        width = 8 if len(panels) == 1 else 5.2 * len(panels)
        fig, grid = sheet(1, len(panels), figsize=(width, 4.6), sharey=True, squeeze=False)
        colour = colours_of(names, colours, t)
        lines: dict[str, Any] = {}
        for ax, (panel, mine) in zip(grid[0], panels.items(), strict=True):
            ticks = sorted({x for name, values in mine.items() for x in _curve(name, values)[0]})
            step = 0.006 * (ticks[-1] - ticks[0])
            for name, values in mine.items():
                xs, ys, half = _curve(name, values)
                place = names.index(name) - (len(names) - 1) / 2
                beside = xs * 1.035**place if "x" in log else xs + step * place
                lines[name] = ax.errorbar(
                    beside, ys, half, color=colour[name], marker="osD^vPX"[names.index(name) % 7],
                    ms=7, mec=t.paper, lw=2, elinewidth=1.4, capsize=3,
                )  # fmt: skip
            _axes(ax, log, percent, ticks if len(ticks) <= 12 else None)
            ax.set(xlabel=xlabel, title=panel)
            if ylim is not None:
                ax.set_ylim(*ylim)
            _level(ax, levels, t)
        grid[0][0].set_ylabel(ylabel)
        if len(names) > 1:
            fig.legend(
                lines.values(), lines.keys(), loc="outside upper left", ncols=min(len(names), 4)
            )
    return finish(fig, t, path)
