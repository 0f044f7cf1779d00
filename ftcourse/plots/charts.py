"""The plain charts of the lessons: lines, bars, dots and points from numbers with a name.

A name that the course uses for one thing (training, validation, a method) has one colour everywhere; others take
the colours in order. Several panels side by side are a mapping of mappings: `{"panel": {"name": values}}`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ftcourse.plots.style import METHOD_COLOURS, PERCENT, Theme, colours_of, drawing, finish, sheet

__all__ = ["plot_bars", "plot_dots", "plot_lines", "plot_points"]


def _panels(values: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """One panel without a title, or those that were given."""
    if not values:
        raise ValueError("nothing to plot: give a mapping of names to numbers")
    if isinstance(next(iter(values.values())), Mapping):
        return dict(values)
    return {"": values}


def _names(panels: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for panel in panels.values() for name in panel))


def _axes(ax: Any, which: str, percent: str, ticks: Sequence[float] | None) -> None:
    """Logarithmic and percent axes, each named by its letter, and ticks where the measurements are."""
    for letter, axis, scale in (
        ("x", ax.xaxis, ax.set_xscale),
        ("y", ax.yaxis, ax.set_yscale),
    ):
        if letter in which:
            scale("log")
        if letter in percent:
            axis.set_major_formatter(PERCENT)
    if ticks is not None:
        ax.xaxis.set_major_locator(FixedLocator(list(ticks)))
        ax.xaxis.set_minor_locator(NullLocator())
        if "x" not in percent:
            ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))


def _level(ax: Any, levels: Mapping[str, float] | None, t: Theme, vertical: bool = False) -> None:
    """A dashed line for each named value, with its name beside it."""
    for name, at in (levels or {}).items():
        (ax.axvline if vertical else ax.axhline)(at, color=t.muted, lw=1.5, ls=(0, (4, 3)))
        where: tuple[float, float] = (at, 1.0) if vertical else (0.99, at)
        ax.annotate(
            name, where,
            xycoords=("data", "axes fraction") if vertical else ("axes fraction", "data"),
            xytext=(0, 2) if vertical else (0, 3), textcoords="offset points",
            ha="center" if vertical else "right", va="bottom",
            color=t.muted, fontsize=11,
        )  # fmt: skip


def plot_lines(
    curves: Mapping[str, Any],
    path: str | Path | None = None,
    *,
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
    log: str = "",
    percent: str = "",
    ylim: tuple[float | None, float | None] | None = (0, None),
    xticks: Sequence[float] | None = None,
    levels: Mapping[str, float] | None = None,
    moments: Mapping[str, float] | None = None,
    stars: Mapping[str, float] | None = None,
    markers: bool | None = None,
    colours: Mapping[str, str] | None = None,
    theme: str | None = None,
) -> Figure:
    """Curves with a name each, in one panel or in several that share the vertical axis.

    Args:
        curves: a name and its values: a sequence of numbers (drawn at 0, 1, 2, ...), a pair `(xs, ys)` of two
            sequences, or a triple `(xs, ys, half)` with the half-width of an interval around each. Or
            `{"panel": {"name": values}}`.
        log: "x", "y" or "xy": which axes are logarithmic; ticks stand at the xs where these are few.
        percent: "x", "y" or "xy": which axes are fractions, written as percents.
        ylim: ends of the vertical axis; None leaves both to matplotlib.
        levels: horizontal dashed lines, `{"guessing": 0.5}`.
        moments: vertical dotted lines, `{"layer4 thaws": 4.5}`.
        stars: `{"validation": 5}` marks one curve at that x with a star.
        markers: a marker at each value; None draws them where a curve has at most 15 values.

    Raises:
        ValueError: there is nothing to plot, or a curve's xs and ys differ in length.
    """
    panels = _panels(curves)
    names = _names(panels)
    with drawing(theme) as t:
        fig, grid = sheet(
            1, len(panels), figsize=(8 if len(panels) == 1 else 5.2 * len(panels), 4),
            sharey=True, squeeze=False,
        )  # fmt: skip
        colour = colours_of(names, colours, t)
        for ax, (panel, mine) in zip(grid[0], panels.items(), strict=True):
            for k, (name, values) in enumerate(mine.items()):
                xs, ys, half = _curve(name, values)
                dots = len(xs) <= 15 if markers is None else markers
                style = {"marker": "osD^vPX"[names.index(name) % 7], "ms": 7} if dots else {}
                ax.plot(xs, ys, color=colour[name], label=name, zorder=3 + k / 100, **style)
                if half is not None:
                    ax.fill_between(xs, ys - half, ys + half, color=colour[name], alpha=0.18, lw=0)
                if stars and name in stars:
                    at = int(np.argmin(np.abs(xs - stars[name])))
                    ax.plot(xs[at], ys[at], "*", color=colour[name], mec=t.paper, ms=22, zorder=5)
            for text, moment in (moments or {}).items():
                ax.axvline(moment, color=t.muted, lw=1.5, ls=":")
                ax.annotate(
                    text, (moment, 1.0), xycoords=("data", "axes fraction"), xytext=(4, -3),
                    textcoords="offset points", va="top", color=t.muted, fontsize=11,
                )  # fmt: skip
            measured = sorted({x for values in mine.values() for x in _curve("", values)[0]})
            given = measured if "x" in log and xticks is None and len(measured) <= 12 else xticks
            _axes(ax, log, percent, given)
            ax.set(xlabel=xlabel, title=panel or title)
            if ylim is not None and not ("y" in log and ylim[0] == 0):
                ax.set_ylim(*ylim)
            _level(ax, levels, t)
        grid[0][0].set_ylabel(ylabel)
        if panels.keys() != {""} and title:
            fig.suptitle(title, x=0.01, ha="left", fontweight="bold")
        if len(names) > 1:
            lines = {
                label: line
                for ax in grid[0]
                for line, label in zip(*ax.get_legend_handles_labels(), strict=True)
            }
            grid[0][-1].legend(lines.values(), lines.keys())
    return finish(fig, t, path)


def _curve(name: str, values: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """xs, ys and half-widths of one curve."""
    if isinstance(values, tuple) and len(values) in (2, 3) and np.ndim(values[0]) == 1:
        parts = [np.asarray(part, float) for part in values]
        if len({len(part) for part in parts}) != 1:
            raise ValueError(f"{name}: {' and '.join(str(len(p)) for p in parts)} values")
        return parts[0], parts[1], parts[2] if len(parts) == 3 else None
    ys = np.asarray(values, float)
    return np.arange(len(ys)), ys, None


def plot_bars(
    values: Mapping[str, Any],
    path: str | Path | None = None,
    *,
    xlabel: str = "",
    title: str = "",
    percent: bool = False,
    label: Callable[[float], str] | str = "",
    xlim: tuple[float | None, float | None] | None = None,
    levels: Mapping[str, float] | None = None,
    colours: Mapping[str, str] | None = None,
    theme: str | None = None,
) -> Figure:
    """Horizontal bars from zero, each with its value written at its end.

    Args:
        values: `{"name": value}`, drawn from top to bottom; or several bars to a name,
            `{"name": {"series": value}}`, with a colour and a legend entry for each series.
        label: how a value is written: a format such as ".2f", or a function; by default percents or ".3g".
        levels: vertical dashed lines, `{"guessing": 0.5}`.
        colours: for single bars by their name, else by the series'.

    Raises:
        ValueError: there is nothing to plot.
    """
    if not values:
        raise ValueError("nothing to plot: give a mapping of names to numbers")
    grouped = isinstance(next(iter(values.values())), Mapping)
    rows = {n: dict(v) if grouped else {n: v} for n, v in values.items()}
    series = _names(rows) if grouped else []
    if isinstance(label, str):
        form = label or (".0%" if percent else ".3g")
        write: Callable[[float], str] = lambda v: format(v, form).replace("%", " %")  # noqa: E731
    else:
        write = label
    with drawing(theme, axes_grid_axis="x") as t:
        thick = 0.8 / max(len(series), 1)
        lanes = sum(len(row) for row in rows.values()) if grouped else len(rows)
        fig, ax = sheet(figsize=(8, 1.1 + 0.38 * lanes + 0.12 * len(rows)))
        colour = colours_of(series, colours, t) if grouped else dict(colours or {})
        for k, row in enumerate(rows.values()):
            for j, (part, value) in enumerate(row.items()):
                lane = series.index(part) if grouped else j
                at = k + (lane - (max(len(series), 1) - 1) / 2) * thick
                ax.barh(
                    at, value, thick * 0.92, color=colour.get(part, t.colours[0]),
                    label=part if grouped and part not in ax.get_legend_handles_labels()[1] else None,
                )  # fmt: skip
                ax.annotate(
                    write(value), (value, at), xytext=(5 if value >= 0 else -5, 0),
                    textcoords="offset points", va="center", ha="left" if value >= 0 else "right",
                    fontsize=12,
                )  # fmt: skip
        ax.set_yticks(range(len(rows)), list(rows))
        ax.tick_params(axis="y", length=0)
        ax.invert_yaxis()
        ax.set(xlabel=xlabel)
        ax.set_title(title, pad=26 if levels else None)
        ax.margins(x=0.12)
        if percent:
            ax.xaxis.set_major_formatter(PERCENT)
        if xlim is not None:
            ax.set_xlim(*xlim)
        _level(ax, levels, t, vertical=True)
        if grouped:
            ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(series), borderaxespad=0.2)
            ax.set_title(title, pad=34)
    return finish(fig, t, path)


def plot_dots(
    values: Mapping[str, Sequence[float]],
    path: str | Path | None = None,
    *,
    xlabel: str = "",
    title: str = "",
    log: bool = False,
    percent: bool = False,
    intervals: Mapping[str, tuple[float, float]] | None = None,
    by_sign: bool = False,
    levels: Mapping[str, float] | None = None,
    colours: Mapping[str, str] | None = None,
    theme: str | None = None,
) -> Figure:
    """One row a name: a dot for each run (or a single one), a diamond for their mean.

    Args:
        values: the runs of each name, drawn from top to bottom.
        intervals: ends (low, high) of a bar around the mean, for the names that have one.
        by_sign: differences: green where every run (or the interval, where there is one) is above zero, vermillion
            where it is below, grey else; a line at zero.

    Raises:
        ValueError: there is nothing to plot, or a name has no runs.
    """
    if not values:
        raise ValueError("nothing to plot: give a mapping of names to lists of numbers")
    empty = [name for name, runs in values.items() if len(np.atleast_1d(runs)) == 0]
    if empty:
        raise ValueError(f"no runs of {', '.join(empty)}")
    with drawing(theme, axes_grid_axis="x") as t:
        fig, ax = sheet(figsize=(8, 1.2 + 0.48 * len(values)))
        colour = colours_of(list(values), colours, t)
        for k, (name, runs) in enumerate(values.items()):
            row = np.atleast_1d(np.asarray(runs, float))
            ends = (intervals or {}).get(name)
            paint = colour[name] if colours or name in METHOD_COLOURS else t.colours[0]
            if by_sign:
                low, high = ends or (row.min(), row.max())
                paint = t.colours[2] if low > 0 else t.colours[1] if high < 0 else t.muted
            if len(row) > 1:
                ax.plot(row, [k] * len(row), "o", ms=6, color=paint, alpha=0.45)
            if ends is not None:
                ax.plot(ends, [k, k], color=paint, lw=2.4)
            ax.plot(row.mean(), k, "D", ms=10, color=paint, mec=t.paper, zorder=4)
        if by_sign:
            ax.axvline(0, color=t.ink, lw=1)
        ax.set_yticks(range(len(values)), list(values))
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(len(values) - 0.4, -0.6)
        _axes(ax, "x" if log else "", "x" if percent else "", None)
        ax.set(xlabel=xlabel)
        ax.set_title(title, pad=26 if levels else None)
        _level(ax, levels, t, vertical=True)
    return finish(fig, t, path)


def plot_points(
    groups: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    path: str | Path | None = None,
    *,
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
    log: str = "",
    percent: str = "",
    diagonal: bool = False,
    names: bool = False,
    colours: Mapping[str, str] | None = None,
    theme: str | None = None,
) -> Figure:
    """Points in a plane, `{"name": (xs, ys)}`.

    Args:
        diagonal: the line y = x, where nothing has changed.
        names: write each group's name beside its first point, in place of a legend.

    Raises:
        ValueError: there is nothing to plot, or xs and ys differ in length.
    """
    if not groups:
        raise ValueError("nothing to plot: give a mapping of names to (xs, ys)")
    with drawing(theme) as t:
        fig, ax = sheet(figsize=(6.4, 4.8))
        colour = colours_of(list(groups), colours, t)
        for k, (name, (xs, ys)) in enumerate(groups.items()):
            across, up = np.atleast_1d(xs), np.atleast_1d(ys)
            if len(across) != len(up):
                raise ValueError(f"{name}: {len(across)} and {len(up)} values")
            many = len(across) > 60
            ax.plot(
                across, up, "osD^vPX"[k % 7], ms=3 if many else 8, alpha=0.5 if many else 0.9,
                color=colour[name], label=name, ls="none",
            )  # fmt: skip
            if names:
                ax.annotate(
                    name, (across[0], up[0]), xytext=(8, 0), textcoords="offset points",
                    va="center", color=colour[name],
                )  # fmt: skip
        if diagonal:
            ends = [
                max(ax.get_xlim()[0], ax.get_ylim()[0]),
                min(ax.get_xlim()[1], ax.get_ylim()[1]),
            ]
            ax.plot(ends, ends, color=t.muted, lw=1.5)
        _axes(ax, log, percent, None)
        ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
        if len(groups) > 1 and not names:
            ax.legend()
    return finish(fig, t, path)
