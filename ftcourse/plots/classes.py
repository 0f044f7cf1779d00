"""Scores class by class, one bar a method."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ftcourse.plots.style import colours_of, drawing, finish, sheet

__all__ = ["plot_class_scores"]


def plot_class_scores(
    scores: Mapping[str, Mapping[str, float]],
    path: str | Path | None = None,
    *,
    ylabel: str = "",
    title: str = "",
    colours: Mapping[str, str] | None = None,
    theme: str | None = None,
) -> Figure:
    """Upright bars from 0 to 1: a group for each class, in it a bar for each method.

    Args:
        scores: `{"method": {"class": score}}`; classes in the order of the last method's scores, best first.

    Raises:
        ValueError: there are no scores, or the methods do not have the same classes.
    """
    methods = list(scores)
    if not methods or not scores[methods[-1]]:
        raise ValueError("no scores to plot: give {'method': {'class': score}}")
    last = scores[methods[-1]]
    order = sorted(last, key=lambda c: -last[c])
    for method in methods:
        if set(scores[method]) != set(order):
            raise ValueError(f"{method} has other classes than {methods[-1]}")
    with drawing(theme, axes_grid_axis="y") as t:
        fig, ax = sheet(figsize=(max(5.0, 1.2 + 0.8 * len(order)), 4))
        colour, wide = colours_of(methods, colours, t), 0.84 / len(methods)
        at = np.arange(len(order))
        for k, method in enumerate(methods):
            heights = [scores[method][c] for c in order]
            lane = at + (k - (len(methods) - 1) / 2) * wide
            ax.bar(lane, heights, wide * 0.92, color=colour[method], label=method)
        turned = (
            {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if len(order) > 5 else {}
        )
        ax.set_xticks(at, order, **turned)
        ax.tick_params(axis="x", length=0)
        ax.set(ylim=(0, 1), ylabel=ylabel, title=title)
        if len(methods) > 1:
            ax.legend()
    return finish(fig, t, path)
