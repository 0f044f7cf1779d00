"""Pictures of a run, legible on a projector and for colour-blind eyes (Okabe and Ito's palette)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

__all__ = ["plot_confusion", "plot_history", "show_images"]

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
SCORES = {"accuracy": "Accuracy", "miou": "Mean IoU", "map": "Mean average precision", "f1": "F1"}
STYLE: Any = {
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "lines.linewidth": 2.2,
    "legend.frameon": False,
    "figure.dpi": 90,
}


def _finish(fig: Figure, path: str | Path | None) -> Figure:
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        fig.savefig(path, dpi=120, bbox_inches="tight")
    return fig


def plot_history(history: Any, path: str | Path | None = None) -> Figure:
    """Loss and score over the epochs, training and validation, with stages and the kept epoch marked."""
    rows = history.epochs
    if not rows:
        raise ValueError("this history has no epochs to plot")
    epochs = [r["epoch"] for r in rows]
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
        for ax, name, title in (
            (axes[0], "loss", "Loss (nats)"),
            (axes[1], history.score, SCORES.get(history.score, history.score)),
        ):
            if f"train_{name}" in rows[0]:
                train = history.column(f"train_{name}")
                ax.plot(epochs, train, color=BLUE, marker="o", ms=4, label="training")
            if f"val_{name}" in rows[0]:
                val = history.column(f"val_{name}")
                ax.plot(epochs, val, color=ORANGE, marker="s", ms=4, label="validation")
            if f"val_{name}" in history.best:
                best = history.best
                ax.plot(
                    best["epoch"], best[f"val_{name}"], "*", ms=16, color=ORANGE,
                    mec="white", label="kept", zorder=5,
                )  # fmt: skip
            ax.set(title=title, xlabel="epoch")
            ax.set_xlim(0.5, len(rows) + 0.5)
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            _mark_stages(ax, rows)
        axes[0].set_ylim(bottom=0)
        axes[1].set_ylim(top=1.02)
        legend = axes[0] if "val_loss" in rows[0] else axes[1]  # where both lines are
        legend.legend(loc="upper right" if legend is axes[0] else "lower right")
    return _finish(fig, path)


def _mark_stages(ax: Any, rows: list[dict[str, Any]]) -> None:
    """A line where a stage begins, and what it trains, above the plot's lower edge."""
    for i, row in enumerate(rows):
        if i == 0 or row["stage"] != rows[i - 1]["stage"]:
            if i:
                ax.axvline(row["epoch"] - 0.5, color=GREY, lw=1, ls=":")
            ax.annotate(
                row["train"], (row["epoch"] - 0.45, 0.03), xycoords=("data", "axes fraction"),
                color=GREY, fontsize=10,
            )  # fmt: skip


def plot_confusion(matrix: Any, classes: Sequence[str], path: str | Path | None = None) -> Figure:
    """Counts of true class (rows) against predicted class (columns); the colour is the row's share."""
    counts = np.asarray(matrix)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    n = len(classes)
    size = min(14.0, 3.2 + 0.55 * n)
    with plt.rc_context({**STYLE, "axes.grid": False}):
        fig, ax = plt.subplots(figsize=(size, size * 0.9), layout="constrained")
        image = ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
        ax.set_xticks(
            range(n), list(classes), rotation=45 if n > 3 else 0, ha="right" if n > 3 else "center"
        )
        ax.set_yticks(range(n), list(classes))
        ax.set(xlabel="predicted", ylabel="true", title="Confusion on the test split")
        if n <= 25:
            for i in range(n):
                for j in range(n):
                    colour = "white" if share[i, j] > 0.5 else "black"
                    ax.text(j, i, f"{counts[i, j]}", ha="center", va="center", color=colour)
        fig.colorbar(image, ax=ax, shrink=0.8, label="share of the true class")
    return _finish(fig, path)


def show_images(
    images: Sequence[Any],
    titles: Sequence[str] | None = None,
    columns: int = 6,
    path: str | Path | None = None,
) -> Figure:
    """A grid of images: PIL, uint8 (3, H, W) tensors, or float ones, which are stretched to 0 to 1."""
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    with plt.rc_context({**STYLE, "axes.grid": False}):
        fig, axes = plt.subplots(
            rows, columns, figsize=(1.9 * columns, 2.1 * rows), squeeze=False, layout="constrained"
        )
        for ax in axes.flat:
            ax.axis("off")
        for i, image in enumerate(images):
            ax = axes.flat[i]
            ax.imshow(_pixels(image))
            if titles is not None:
                ax.set_title(titles[i], fontsize=10, fontweight="normal", loc="center")
    return _finish(fig, path)


def _pixels(image: Any) -> np.ndarray:
    """(H, W, 3), uint8 or float in 0 to 1."""
    x = np.asarray(image)
    if x.ndim == 3 and x.shape[0] in (1, 3) and x.shape[2] not in (1, 3):
        x = x.transpose(1, 2, 0)
    if x.dtype.kind == "f":
        x = (x - x.min()) / max(float(x.max() - x.min()), 1e-9)
    return x
