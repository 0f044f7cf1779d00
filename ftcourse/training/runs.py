"""What a run keeps between epochs: where it is, its best weights, its checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ftcourse.training.checkpoints import (
    blaming,
    check_network,
    load_checkpoint,
    save_checkpoint,
)
from ftcourse.training.history import History
from ftcourse.training.settings import difference, stage_difference
from ftcourse.training.stages import Stage

__all__ = ["Run"]


class Run:
    """The state of one call of `finetune`; everything in it is in `checkpoint.pt` after each epoch."""

    def __init__(
        self, model: nn.Module, history: History, ema: float | None, out_dir: Path | None
    ) -> None:
        self.model, self.history = model, history
        self.average = None
        if ema is not None:
            update = get_ema_multi_avg_fn(ema)
            self.average = AveragedModel(model, multi_avg_fn=update, use_buffers=True)
        self.out_dir = out_dir
        self.stage = self.epoch = 0  # the stage in progress, and how many of its epochs are done
        self.best: dict[str, Tensor] | None = (
            None  # before the first epoch has ended: those it began with
        )
        self._saved: dict[str, Any] | None = None

    @property
    def judged(self) -> nn.Module:
        """The network that is validated and kept: the average if there is one."""
        return self.average.module if self.average is not None else self.model

    @property
    def stale(self) -> int:
        """Epochs of this stage since the last better validation result."""
        return min(self.epoch, len(self.history.epochs) - self.history.best["epoch"])

    def start(self) -> None:
        """Remember the weights that the run begins with: until an epoch has ended they are the best there are."""
        self._keep()

    def _keep(self) -> None:
        self.best = {k: v.detach().clone() for k, v in self.judged.state_dict().items()}

    def begin(self, optimizer: torch.optim.Optimizer, scheduler: Any) -> None:
        """Give a new optimizer and scheduler the state they had, where a stage is resumed half-way."""
        if self._saved is not None and self.epoch > 0:
            file = Path(self.out_dir or ".") / "checkpoint.pt"
            with blaming(file, "its optimizer or scheduler is not that of this stage"):
                optimizer.load_state_dict(self._saved["optimizer"])
                scheduler.load_state_dict(self._saved["scheduler"])
        self._saved = None

    def next_stage(self) -> None:
        self.stage, self.epoch = self.stage + 1, 0

    def record(
        self, stage: Stage, metrics: dict[str, Any], blame: Callable[[], str] = str, **extra: float
    ) -> None:
        """Add an epoch to the history, and keep its weights if it is the best on validation so far.

        `metrics` has `train_loss`, `val_` and the history's score, and what else there is, as numbers of Python,
        NumPy or PyTorch; `val_loss` decides between epochs of the same score. A score that is nan is below any
        other. `blame` is asked for the photo that spoils a loss.

        Raises:
            FloatingPointError: a loss is not finite.
            ValueError: a metric is no number.
        """
        history, number = self.history, len(self.history.epochs) + 1
        metrics = {name: _number(name, value) for name, value in metrics.items()}
        row: dict[str, Any] = {"epoch": number, "stage": self.stage + 1, "train": stage.label}
        losses = metrics["train_loss"], metrics.get("val_loss", 0.0)
        if not all(math.isfinite(loss) for loss in losses):
            raise FloatingPointError(
                f"the loss became {losses[0]} in training and {losses[1]} in validation, in epoch "
                f"{number} (training {stage.label}, lr={stage.lr:g}): {self._advice(blame())}; "
                f"the model has {self._kept}"
            )
        history.epochs.append(row | metrics | extra)
        self.epoch += 1
        if not history.best or self._rank(history.epochs[-1]) > self._rank(history.best):
            history.best = history.epochs[-1]
            self._keep()

    @property
    def _kept(self) -> str:
        if not self.history.best:
            return "the weights that it began with"
        return f"the weights of epoch {self.history.best['epoch']}, the best before"

    def _advice(self, spoilt: str) -> str:
        """What to do about a loss that is not finite; a learning rate is to blame if nothing else is."""
        bad = [n for n, v in (self.best or {}).items() if not torch.isfinite(v).all()]
        if bad:
            return f"its weights were not finite before ({bad[0]}), so load them again"
        if spoilt:
            return f"{spoilt} has values that are not finite, so mend or remove it"
        return "lower the learning rate"

    def _rank(self, row: dict[str, Any]) -> tuple[float, float]:
        score = row[f"val_{self.history.score}"]
        return -math.inf if math.isnan(score) else score, -row.get("val_loss", 0.0)

    def save(self, optimizer: torch.optim.Optimizer, scheduler: Any) -> None:
        """Write `checkpoint.pt` and `history.json` into `out_dir`, if there is one."""
        if self.out_dir is None:
            return
        state = {"model": self.model.state_dict(), "best": self.best, "stage": self.stage}
        state |= {"epoch": self.epoch, "history": self.history.to_dict()}
        state |= {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
        state |= {"average": self.average.state_dict() if self.average is not None else None}
        save_checkpoint(self.out_dir / "checkpoint.pt", state)
        self.history.save(self.out_dir / "history.json")

    def resume(self) -> None:
        """Go on from `out_dir/checkpoint.pt`.

        Raises:
            FileNotFoundError, ValueError: no checkpoint, a damaged one, or one of other settings.
        """
        file = Path(self.out_dir or ".") / "checkpoint.pt"
        saved, history = load_checkpoint(file), self.history
        with blaming(file, "not a checkpoint of this package"):
            then = History(**saved["history"])
        other, untold = difference(then.settings, history.settings)
        if other:
            raise ValueError(
                f"{file}: was trained with {other}; resume with the same settings, or train into another folder"
            )
        if other := stage_difference(then.stages, history.stages):
            raise ValueError(
                f"{file}: was trained with other stages ({other}); resume with the same ones, or train into "
                f"another folder"
            )
        if untold:
            history.notes.append(
                f"{file} is of an earlier version and does not tell {', '.join(untold)}: taken to be the same"
            )
        check_network(file, saved, self.model.state_dict())
        history.epochs, history.best, history.findings = then.epochs, then.best, then.findings
        history.notes[:0] = [note for note in then.notes if note not in history.notes]
        self.model.load_state_dict(saved["model"])
        if self.average is not None:
            with blaming(file, "its averaged weights are not those of this network"):
                self.average.load_state_dict(saved["average"])
        self.best, self.stage, self.epoch = saved["best"], saved["stage"], saved["epoch"]
        self._saved = saved

    def finish(self) -> None:
        """Give the model the best weights there are, in eval mode, and write the history."""
        if self.best is not None:
            self.model.load_state_dict(self.best)
        self.model.eval()
        if self.out_dir is not None:
            self.history.save(self.out_dir / "history.json")


def _number(name: str, value: Any) -> float:
    """A metric as a number of Python's own: JSON and checkpoints know no others.

    Raises:
        ValueError: it is none.
    """
    try:
        value = value.item() if hasattr(value, "item") else value
        return value if isinstance(value, (int, float)) else float(value)
    except (TypeError, ValueError, RuntimeError) as err:
        raise ValueError(f"the task's metric {name} is no number, but {value!r:.60}") from err
