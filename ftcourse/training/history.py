"""What happened: one row an epoch, to a table, to JSON, to a plot."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ftcourse.training.checkpoints import blaming, write_atomic
from ftcourse.training.records import HISTORY, read_record

__all__ = ["History"]


@dataclass
class History:
    """The record of a run.

    `epochs` has one dict an epoch: `epoch` (from 1), `stage` (from 1), `train` (what trained), `lr` (of the head
    at the end of the epoch), `train_loss`, `train_accuracy`, `val_loss`, `val_accuracy`, `seconds`. Losses are in
    nats, accuracies are fractions, both averaged over samples. `best` is the row whose weights were kept: the one
    with the highest `val_` + `score` (nan is below any other); empty until an epoch has ended.
    Another task than classification has its own columns in their place.
    """

    epochs: list[dict[str, Any]] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)
    findings: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # what was computed once, and what could not be
    stopped: str = ""  # why it ended before the last epoch, if it did
    score: str = "accuracy"  # the metric that the best epoch is kept by; higher is better

    @property
    def seconds(self) -> float:
        """Seconds of training and validation, over all epochs."""
        return sum(row["seconds"] for row in self.epochs)

    def column(self, name: str) -> list[Any]:
        """One value an epoch: `history.column("val_loss")`."""
        return [row[name] for row in self.epochs]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dicts, ready for JSON."""
        return asdict(self)

    def save(self, path: str | Path) -> Path:
        """Write JSON; `History.load` reads it."""
        return write_atomic(path, json.dumps(self.to_dict(), indent=1).encode())

    @classmethod
    def load(cls, path: str | Path) -> History:
        """The history that `save` wrote, or `finetune` into `out_dir/history.json`.

        Raises:
            FileNotFoundError: there is none.
            ValueError: the file is damaged, or no history; the message names it.
        """
        found = read_record(path, HISTORY)
        with blaming(path, "not a history of this package"):
            return cls(**found)

    def plot(self, path: str | Path | None = None, *, theme: str | None = None):
        """Loss, score and learning rates over the epochs; returns the matplotlib Figure."""
        from ftcourse.plots import plot_history

        return plot_history(self, path=path, theme=theme)

    def __str__(self) -> str:
        name = self.score
        lines = [f"epoch  trains   train loss  {name:>8}   val loss  {name:>8}  seconds"]
        for r in self.epochs:
            star = " *" if self.best and r["epoch"] == self.best["epoch"] else ""
            width = max(8, len(name))
            cells = [
                f"{r[key]:>{w}.3f}" if key in r else "-".rjust(w)  # a detector has no loss on val
                for key, w in (
                    ("train_loss", 10),
                    (f"train_{name}", width),
                    ("val_loss", 9),
                    (f"val_{name}", width),
                )
            ]
            lines.append(
                f"{r['epoch']:>5}  {r['train']:<7}  {'  '.join(cells)}  {r['seconds']:>7.1f}{star}"
            )
        if self.best:
            lines.append("* kept: the best on the validation split")
        if self.stopped:
            lines.append(self.stopped)
        return "\n".join(lines)

    __repr__ = __str__
