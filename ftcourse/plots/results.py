"""What came out: confusion, calibration, accuracy against the number of images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ftcourse.plots.fonts import covering, short
from ftcourse.plots.style import PERCENT, Theme, colours_of, drawing, finish, sheet

__all__ = ["plot_confusion", "plot_learning_curves", "plot_reliability"]


MANY, DRAWN = 40, 20  # classes: of more than so many, so many are drawn


def plot_confusion(
    matrix: Any,
    classes: Sequence[str],
    path: str | Path | None = None,
    *,
    title: str = "Confusion on the test split",
    theme: str | None = None,
) -> Figure:
    """Counts of true class (rows) against predicted class (columns); the colour is the row's share.

    Of more than 40 classes only the 20 are drawn that have most mistakes. Long names are shortened.

    Args:
        matrix: int (classes, classes), as `ftcourse.evaluation.measures.confusion_matrix` gives it.
    """
    counts = np.asarray(matrix)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    if len(classes) > MANY:
        mistakes = counts.sum(0) + counts.sum(1) - 2 * counts.diagonal()
        kept = np.sort(np.argsort(-mistakes, kind="stable")[:DRAWN])
        title = f"{title}: the {DRAWN} most confused of {len(classes)} classes"
        counts, share = counts[np.ix_(kept, kept)], share[np.ix_(kept, kept)]
        classes = [classes[k] for k in kept]
    n = len(classes)
    size = min(14.0, 3.6 + 0.62 * n)
    families, classes = covering(short(classes))
    with drawing(theme, axes_grid=False, font_family=families) as t:
        fig, ax = sheet(figsize=(size + 0.9, size * 0.88))
        image = ax.imshow(share, cmap=t.ramp, vmin=0, vmax=1)
        longest = max((len(row) for name in classes for row in name.split("\n")), default=0)
        slanted = n > 3 or longest > 12
        ax.set_xticks(
            range(n), list(classes), rotation=45 if slanted else 0,
            ha="right" if slanted else "center", rotation_mode="anchor" if slanted else "default",
        )  # fmt: skip
        ax.set_yticks(range(n), list(classes))
        ax.set(xlabel="predicted", ylabel="true")
        fig.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold", color=t.ink)
        ax.set_xticks(np.arange(n + 1) - 0.5, minor=True)
        ax.set_yticks(np.arange(n + 1) - 0.5, minor=True)
        ax.grid(which="minor", color=t.paper, linewidth=2)
        ax.tick_params(which="both", length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)
        if n <= 25:
            _write_counts(ax, counts, share, t)
        bar = fig.colorbar(image, ax=ax, shrink=0.85, pad=0.02)
        bar.set_label("share of the true class")
        bar.ax.yaxis.set_major_formatter(PERCENT)
        bar.outline.set_visible(False)
    return finish(fig, t, path)


def _write_counts(ax: Any, counts: np.ndarray, share: np.ndarray, t: Theme) -> None:
    for i, j in np.ndindex(*counts.shape):
        red, green, blue = to_rgb(t.ramp(share[i, j]))
        bright = 0.299 * red + 0.587 * green + 0.114 * blue > 0.55
        ax.text(
            j, i, f"{counts[i, j]}", ha="center", va="center",
            color="#101418" if bright else "#FFFFFF", alpha=1.0 if counts[i, j] else 0.45,
            fontweight="bold" if i == j else "normal",
        )  # fmt: skip


def plot_reliability(
    probabilities: Any,
    targets: Any,
    bins: int = 10,
    path: str | Path | None = None,
    *,
    theme: str | None = None,
) -> Figure:
    """Is a network that says "80 %" right in 80 % of the cases? Accuracy against confidence, in bins.

    Args:
        probabilities: float (N, classes), rows sum to 1; logits (rows that do not) go through softmax.
        targets: int (N,).
        bins: equally wide bins of the confidence, as in the expected calibration error (ECE).

    Source: https://arxiv.org/abs/1706.04599
    """
    from ftcourse.evaluation.calibration import reliability
    from ftcourse.evaluation.measures import calibration_error

    p, truth = _probabilities(probabilities), np.asarray(targets)
    rows = reliability(torch.from_numpy(p), torch.as_tensor(truth), bins)
    count, mean, accuracy = (
        np.array([row[name] for row in rows]) for name in ("samples", "confidence", "accuracy")
    )
    middle = np.array([(row["low"] + row["high"]) / 2 for row in rows])
    with drawing(theme) as t:
        fig, (ax, below) = sheet(
            2, 1, figsize=(5.6, 6.2), sharex=True, gridspec_kw={"height_ratios": [4, 1]}
        )
        ax.plot([0, 1], [0, 1], color=t.muted, lw=1.5, ls=(0, (4, 3)), label="honest")
        ax.bar(middle, accuracy, 0.94 / bins, color=t.colours[0], label="accuracy", alpha=0.9)
        ax.vlines(mean, accuracy, mean, color=t.colours[1], lw=5, label="gap", capstyle="butt")
        ax.plot(mean, mean, "o", ms=5, color=t.colours[1])
        ax.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy")
        ece = calibration_error(p, truth, bins)
        ax.set_title(f"Calibration error {100 * ece:.1f} %")
        ax.yaxis.set_major_formatter(PERCENT)
        ax.legend(loc="upper left")
        below.bar(middle, count, 0.94 / bins, color=t.muted)
        below.set(xlabel="confidence", ylabel="photos")
        below.xaxis.set_major_formatter(PERCENT)
    return finish(fig, t, path)


def _probabilities(values: Any) -> np.ndarray:
    x = torch.as_tensor(np.asarray(values), dtype=torch.float64)
    rows = x.sum(1)
    if (x < 0).any() or not torch.allclose(rows, torch.ones_like(rows), atol=1e-4):
        x = x.softmax(1)
    return x.numpy()


def plot_learning_curves(
    rows: Iterable[Mapping[str, Any]] | Mapping[str, Any],
    path: str | Path | None = None,
    *,
    chance: float | None = None,
    title: str = "How much data does it take?",
    theme: str | None = None,
) -> Figure:
    """Accuracy against photos a class, one line a method, with its 95 % interval over seeds.

    Args:
        rows: mappings with `method`, `per_class`, `mean` (fractions) and `interval95` or `interval` (the
            half-width, or a pair low, high); or a results file's dict, whose `summary` has such rows.
        chance: accuracy of guessing, drawn as a line.

    Raises:
        ValueError: there are no rows.
    """
    table = [dict(r) for r in (rows["summary"] if isinstance(rows, Mapping) else rows)]
    if not table:
        raise ValueError("no rows to plot: each needs method, per_class, mean and an interval")
    methods = list(dict.fromkeys(r["method"] for r in table))
    sizes = sorted({r["per_class"] for r in table})
    with drawing(theme) as t:
        fig, ax = sheet(figsize=(8.4, 4.7))
        ends, paint = [], colours_of(methods, None, t)
        for k, method in enumerate(methods):
            mine = sorted((r for r in table if r["method"] == method), key=lambda r: r["per_class"])
            x = np.array([r["per_class"] for r in mine], float)
            y = np.array([r["mean"] for r in mine], float)
            low, high = np.array([_ends(r) for r in mine]).T
            colour, marker = paint[method], "osD^vPX"[k % 7]
            ax.fill_between(x, low, high, color=colour, alpha=0.16, lw=0)
            # a little apart, so that whiskers at the same x stay readable
            shift = 1 + 0.012 * (k - (len(methods) - 1) / 2)
            ax.errorbar(
                x * shift, y, [y - low, high - y], color=colour, lw=0, elinewidth=1.8, capsize=4
            )
            ax.plot(x, y, color=colour, marker=marker, ms=8, mec=t.paper, mew=1.2)
            ends.append((y[-1], method, colour))
        if chance is not None:
            ax.axhline(chance, color=t.muted, lw=1.4, ls=(0, (3, 3)))
            ax.annotate(
                "guessing", (0.01, chance), xycoords=("axes fraction", "data"), xytext=(0, 4),
                textcoords="offset points", color=t.muted, fontsize=11,
            )  # fmt: skip
        ax.set(
            xscale="log", xlabel="photos a class (log scale)", ylabel="test accuracy", title=title
        )
        ax.xaxis.set_major_locator(FixedLocator(sizes))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        ax.yaxis.set_major_formatter(PERCENT)
        low, high = ax.get_ylim()
        ax.set_ylim(max(0.0, low), min(1.0, high))
        _label_ends(ax, ends)
    return finish(fig, t, path)


def _ends(row: Mapping[str, Any]) -> tuple[float, float]:
    half = row.get("interval95", row.get("interval", 0.0))
    if isinstance(half, Sequence):
        return float(half[0]), float(half[1])
    return row["mean"] - (half or 0.0), min(1.0, row["mean"] + (half or 0.0))


def _label_ends(ax: Any, ends: list[tuple[float, str, str]]) -> None:
    """Each method's name beside the end of its line, moved apart where they would overlap."""
    low, high = ax.get_ylim()
    step, place = 0.062 * (high - low), -np.inf
    for y, name, colour in sorted(ends):
        place = max(y, place + step)
        ax.annotate(
            name, (1.0, place), xycoords=("axes fraction", "data"), xytext=(8, 0),
            textcoords="offset points", va="center", color=colour, fontweight="bold",
            annotation_clip=False,
        )  # fmt: skip
