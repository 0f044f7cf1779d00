"""One photo and what a network makes of it: classes, where it looked, what it has seen that is like it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from ftcourse.plots.images import _caption, _heat, _show
from ftcourse.plots.style import ShownOnce, Theme, bare, drawing, finish

__all__ = ["plot_prediction"]


def plot_prediction(
    photo: Any,
    probabilities: Sequence[tuple[str, float]],
    heat: Any = None,
    neighbours: Sequence[tuple[Any, str, float]] = (),
    path: str | Path | None = None,
    *,
    title: str = "",
    theme: str | None = None,
) -> Figure:
    """A photo, the likeliest classes, Grad-CAM for the first of them, and the nearest training photos.

    Args:
        photo: as the network sees it; any image.
        probabilities: classes with their probability, the likeliest first.
        heat: float (h, w) in 0 to 1, or None.
        neighbours: training photos with their class and their cosine to this one, the nearest first.
        title: over the photo, such as its file's name.
    """
    n = len(neighbours)
    with drawing(theme) as t:
        fig = plt.figure(
            figsize=(9.6, 5.6 if n else 3.4), layout="constrained", FigureClass=ShownOnce
        )
        rows = fig.add_gridspec(2 if n else 1, 1, height_ratios=[1.75, 1][: 2 if n else 1])
        widths = [1, 1, 1.35] if heat is not None else [1, 1.35]
        top = rows[0].subgridspec(1, len(widths), width_ratios=widths)
        first = fig.add_subplot(top[0])
        bare(first)
        _show(first, photo)
        _caption(first, title or "photo", t.ink)
        if heat is not None:
            looked = fig.add_subplot(top[1])
            bare(looked)
            _heat(looked, photo, heat)
            _caption(looked, f"where it looked for {probabilities[0][0]}", t.ink)
        _bars(fig.add_subplot(top[-1]), probabilities, t)
        if n:
            below = rows[1].subgridspec(1, n)
            for k, (image, name, cosine) in enumerate(neighbours):
                ax = fig.add_subplot(below[k])
                bare(ax)
                _show(ax, image)
                _caption(ax, f"{name}, {cosine:.2f}", t.ink)
                if k == 0:
                    ax.set_ylabel("nearest in\ntraining", fontsize=12)
    return finish(fig, t, path)


def _bars(ax: Any, probabilities: Sequence[tuple[str, float]], t: Theme) -> None:
    names = [name for name, _ in probabilities]
    values = np.array([100 * p for _, p in probabilities])
    y = np.arange(len(names))
    colours = [t.colours[1], *[t.muted] * (len(names) - 1)]
    ax.barh(y, values, 0.62, color=colours)
    for yy, value in zip(y, values, strict=True):
        ax.annotate(
            f"{value:.0f} %", (value, yy), xytext=(5, 0), textcoords="offset points", va="center",
            fontsize=12, fontweight="bold" if yy == 0 else "normal",
        )  # fmt: skip
    ax.set_yticks(y, names)
    ax.set(xlim=(0, 122), ylim=(max(len(names), 3) - 0.4, -0.6), xticks=[])
    ax.grid(False)
    ax.spines["bottom"].set_visible(False)
    ax.tick_params(length=0)
