"""Several training runs side by side: loss above, accuracy below, a column a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ftcourse.plots.style import PERCENT, colours_of, drawing, finish, sheet

__all__ = ["plot_runs"]

SPLITS = {"training": "train", "validation": "val"}


def plot_runs(
    runs: Mapping[str, Mapping[str, Sequence[float]]],
    path: str | Path | None = None,
    *,
    theme: str | None = None,
) -> Figure:
    """Loss and accuracy by epoch, of training and validation, for runs to be compared.

    Args:
        runs: `{"A": {"train_loss": [...], "val_loss": [...], "train_accuracy": [...], "val_accuracy": [...]}}`,
            one value an epoch.

    Raises:
        ValueError: there is no run, or one lacks a curve.
    """
    if not runs:
        raise ValueError("no runs to plot")
    with drawing(theme) as t:
        fig, axes = sheet(
            2, len(runs), figsize=(1.2 + 2.7 * len(runs), 5), sharex=True, sharey="row",
            squeeze=False,
        )  # fmt: skip
        colour = colours_of(list(SPLITS), None, t)
        for column, (run, curves) in zip(axes.T, runs.items(), strict=True):
            for ax, what in zip(column, ("loss", "accuracy"), strict=True):
                for split, short in SPLITS.items():
                    values = _curve(run, curves, f"{short}_{what}")
                    ax.plot(np.arange(1, len(values) + 1), values, color=colour[split], label=split)
            column[0].set_title(run)
            column[0].set_ylim(bottom=0)
            column[1].set_xlabel("epoch")
            column[1].xaxis.set_major_locator(MaxNLocator(4, integer=True))
            column[1].yaxis.set_major_formatter(PERCENT)
        axes[0, 0].set_ylabel("loss")
        axes[1, 0].set_ylabel("accuracy")
        axes[1, -1].legend(loc="lower right")
    return finish(fig, t, path)


def _curve(run: str, curves: Mapping[str, Any], name: str) -> Sequence[float]:
    if name not in curves:
        raise ValueError(f"{run} has no {name}; it has {', '.join(curves) or 'nothing'}")
    return curves[name]
