"""A run over its epochs: loss, accuracy, learning rates; and the learning-rate finder's curve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ftcourse.plots.style import Theme, drawing, finish, sheet

__all__ = ["learning_rates", "plot_history", "plot_lr_finder"]

SCORES = {"accuracy": "Accuracy", "miou": "Mean IoU", "map": "Mean average precision", "f1": "F1"}
POINTS = 40  # of the learning-rate curve, an epoch
PAD = 20  # points between axes and title: the names of the stages stand there


def plot_history(
    history: Any, path: str | Path | None = None, *, theme: str | None = None
) -> Figure:
    """Loss, score and learning rates over the epochs, with the stages and the kept epoch marked.

    Args:
        history: a `History` of at least one epoch. Learning rates are drawn if it has its `stages`.
        path: where to write the picture, too.
        theme: "light" or "dark".

    Raises:
        ValueError: no epoch has ended yet.
    """
    rows = history.epochs
    if not rows:
        raise ValueError("this history has no epochs to plot")
    rates = learning_rates(history)
    with drawing(theme) as t:
        columns = 3 if rates else 2
        fig, axes = sheet(1, columns, figsize=(4.6 * columns, 3.9))
        _curves(axes[0], history, "loss", "Loss", t)
        score = getattr(history, "score", "accuracy")
        _curves(axes[1], history, score, SCORES.get(score, score), t)
        losses = [row[k] for row in rows for k in ("train_loss", "val_loss") if k in row]
        axes[0].set_ylim(0, 1.12 * max(losses))
        axes[0].set_ylabel("nats")
        axes[1].yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.0f} %"))
        low, high = axes[1].get_ylim()
        axes[1].set_ylim(max(0.0, low - 0.04), min(1.02, high + 0.04))
        if rates:
            _rates(axes[2], rates, t)
        for ax in axes:
            ax.set_xlabel("epoch")
            ax.set_xlim(0, len(rows) + 0.25)
            ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            _mark_stages(ax, rows, t)
        lines = {  # a detector has its training in one plot and its validation in the other
            label: line
            for ax in axes[:2]
            for line, label in zip(*ax.get_legend_handles_labels(), strict=True)
        }
        axes[1].legend(lines.values(), lines.keys(), loc="lower right")
    return finish(fig, t, path)


def _curves(ax: Any, history: Any, name: str, title: str, t: Theme) -> None:
    epochs = history.column("epoch")
    for kind, colour, marker in (
        ("train", t.colours[0], "o"),
        ("val", t.colours[1], "s"),
    ):
        if f"{kind}_{name}" not in history.epochs[0]:
            continue
        label = "training" if kind == "train" else "validation"
        values = history.column(f"{kind}_{name}")
        ax.plot(epochs, values, color=colour, marker=marker, ms=5, label=label)
    if f"val_{name}" in history.best:
        best = history.best
        ax.plot(
            best["epoch"], best[f"val_{name}"], "*", ms=19, color=t.colours[1], mec=t.paper,
            mew=1.3, label="kept weights", zorder=5,
        )  # fmt: skip
    ax.set_title(title, pad=PAD)


def _rates(ax: Any, rates: dict[str, tuple[np.ndarray, np.ndarray]], t: Theme) -> None:
    styles = {"head": (t.colours[1], "-"), "backbone": (t.colours[0], (0, (5, 1.5)))}
    for name, (epochs, values) in rates.items():
        colour, line = styles[name]
        ax.plot(epochs, values, color=colour, ls=line, label=name)
    ax.set_title("Learning rate", pad=PAD)
    ax.set_yscale("log")
    top = max(np.nanmax(v) for _, v in rates.values())
    bottom = min(np.nanmax(v) for _, v in rates.values())
    ax.set_ylim(bottom / 30, top * 2)  # a cosine ends at zero, which a log scale has not
    ax.legend(loc="best")


def _mark_stages(ax: Any, rows: list[dict[str, Any]], t: Theme) -> None:
    """A band for every other stage, and above it what the stage trains."""
    starts = [i for i, row in enumerate(rows) if i == 0 or row["stage"] != rows[i - 1]["stage"]]
    for k, (start, stop) in enumerate(zip(starts, [*starts[1:], len(rows)], strict=True)):
        if k:
            ax.axvline(start, color=t.muted, lw=1.2, ls=(0, (2, 2)), zorder=0)
        if k % 2:
            right = stop if stop < len(rows) else stop + 0.25
            ax.axvspan(start, right, color=t.muted, alpha=0.09, lw=0, zorder=0)
        width = (stop - start) / len(rows)
        name = str(rows[start]["train"])
        room = max(3, round(34 * width))
        ax.annotate(
            name if len(name) <= room else f"{name[: room - 1]}…", ((start + stop) / 2, 1.0),
            xycoords=("data", "axes fraction"), xytext=(0, 3), textcoords="offset points",
            ha="center", va="bottom", color=t.muted, fontsize=11, style="italic",
        )  # fmt: skip


def learning_rates(history: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What the schedule gave the head and the backbone: {name: (epochs, rates)}, both (points,).

    "backbone" is its topmost group that trains; nan where the stage leaves it frozen. Recomputed from
    `history.stages` by `make_scheduler` itself, up to the epoch that was reached.
    """
    from ftcourse.training.stages import Stage, make_scheduler

    done: dict[int, int] = {}
    for row in history.epochs:
        done[row["stage"]] = done.get(row["stage"], 0) + 1
    times: list[np.ndarray] = []
    found: dict[str, list[np.ndarray]] = {"head": [], "backbone": []}
    start = 0
    for number, raw in enumerate(history.stages, start=1):
        ran = done.get(number, 0)
        if not ran:
            continue
        stage = Stage(**raw)
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        scheduler = make_scheduler(optimizer, stage, POINTS)
        factor = []
        for _ in range(ran * POINTS):
            factor.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        names = (stage.train,) if isinstance(stage.train, str) else stage.train
        head = isinstance(stage.train, str) or "head" in names
        # a layer decay counts from the last group that trains, which need not be the head
        top = stage.lr * stage.layer_decay if head else stage.lr
        peaks = {
            "head": (stage.head_lr or stage.lr) if head else np.nan,
            "backbone": np.nan if set(names) == {"head"} else top,
        }
        times.append(start + np.arange(ran * POINTS) / POINTS)
        for name, peak in peaks.items():
            found[name].append(peak * np.array(factor))
        start += ran
    if not times:
        return {}
    x = np.concatenate(times)
    rates = {name: np.concatenate(values) for name, values in found.items()}
    return {name: (x, values) for name, values in rates.items() if np.isfinite(values).any()}


def plot_lr_finder(
    found: Any, path: str | Path | None = None, *, theme: str | None = None
) -> Figure:
    """Loss against learning rate, with the rate that is suggested.

    Args:
        found: what `ftcourse.lr_finder(model, data)` returns.
    """
    with drawing(theme) as t:
        fig, ax = sheet(figsize=(7.6, 4.2))
        ax.plot(found.rates, found.losses, color=t.muted, lw=1.2, alpha=0.7, label="each step")
        ax.plot(found.rates, found.smoothed, color=t.colours[0], label="smoothed")
        at = int(np.argmin(np.abs(np.log(np.asarray(found.rates) / found.suggestion))))
        ax.axvline(found.suggestion, color=t.colours[1], lw=1.6, ls=(0, (4, 2)))
        ax.plot(
            found.suggestion, found.smoothed[at], "o", ms=11, color=t.colours[1], mec=t.paper, mew=1.5
        )  # fmt: skip
        ax.annotate(
            f"try {found.suggestion:.0e}".replace("e-0", "e-"), (found.suggestion, 1.0),
            xycoords=("data", "axes fraction"), xytext=(7, -4), textcoords="offset points",
            va="top", color=t.colours[1], fontweight="bold",
        )  # fmt: skip
        smooth = np.asarray(found.smoothed)
        low, first = float(smooth.min()), float(smooth[0])
        span = max(first - low, 0.1 * first)
        ax.set_ylim(max(0.0, low - 0.35 * span), first + 1.1 * span)
        ax.set(xscale="log", xlabel="learning rate", ylabel="training loss (nats)")
        ax.set_title("Learning-rate finder")
        ax.legend(loc="lower left")
    return finish(fig, t, path)
