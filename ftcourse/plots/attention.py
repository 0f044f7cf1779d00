"""Which token takes how much from which other: attention as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ftcourse.plots.style import drawing, finish, sheet

__all__ = ["plot_attention"]


def plot_attention(
    weights: Mapping[str, Any] | Any,
    tokens: Sequence[str],
    path: str | Path | None = None,
    *,
    theme: str | None = None,
) -> Figure:
    """A square for each pair of tokens: the darker, the more the token of the row takes from that of the column.

    Args:
        weights: float (T, T), rows sum to 1: the weights of one head; or `{"title": weights}`, a panel each.
        tokens: T names.

    Raises:
        ValueError: there is nothing to show, or weights and tokens do not fit together.
    """
    panels = dict(weights) if isinstance(weights, Mapping) else {"": weights}
    if not panels:
        raise ValueError("no attention to show: give weights (T, T) or {'title': weights}")
    n = len(tokens)
    with drawing(theme) as t:
        side = 1.5 + 0.34 * n
        fig, axes = sheet(1, len(panels), figsize=(side * len(panels), side), squeeze=False)
        for ax, (title, given) in zip(axes[0], panels.items(), strict=True):
            w = np.asarray(given, dtype=float)
            if w.shape != (n, n):
                raise ValueError(f"weights of shape {w.shape} for {n} tokens: ({n}, {n}) is needed")
            ax.imshow(w, cmap=t.ramp, vmin=0, vmax=1)
            for row, column in zip(*np.nonzero(w >= 0.295), strict=True):
                ax.text(
                    column, row, f"{w[row, column]:.1f}".removeprefix("0"), ha="center", va="center",
                    fontsize=10, color=t.paper if w[row, column] > 0.6 else t.ink,
                )  # fmt: skip
            ax.set_xticks(range(n), list(tokens), rotation=90)
            ax.set_yticks(range(n), list(tokens))
            ax.tick_params(length=0)
            ax.grid(False)
            for spine in ax.spines.values():
                spine.set_visible(False)
            ax.set_title(title)
            ax.set_xlabel("takes from")
        axes[0, 0].set_ylabel("this token")
    return finish(fig, t, path)
