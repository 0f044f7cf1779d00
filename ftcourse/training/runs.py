"""What a run keeps between epochs: where it is, its best weights, its checkpoint."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ftcourse.training.checkpoints import blaming, load_checkpoint, save_checkpoint
from ftcourse.training.history import History
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
        self.best: dict[str, Tensor] | None = None
        self._saved: dict[str, Any] | None = None

    @property
    def judged(self) -> nn.Module:
        """The network that is validated and kept: the average if there is one."""
        return self.average.module if self.average is not None else self.model

    @property
    def stale(self) -> int:
        """Epochs of this stage since the last better validation result."""
        return min(self.epoch, len(self.history.epochs) - self.history.best["epoch"])

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

    def record(self, stage: Stage, metrics: dict[str, float], **extra: float) -> None:
        """Add an epoch to the history, and keep its weights if it is the best on validation so far.

        `metrics` has `train_loss`, `val_` and the history's score, and what else there is; `val_loss` decides
        between epochs of the same score.

        Raises:
            FloatingPointError: a loss is not finite.
        """
        history, number = self.history, len(self.history.epochs) + 1
        row: dict[str, Any] = {"epoch": number, "stage": self.stage + 1, "train": stage.label}
        losses = metrics["train_loss"], metrics.get("val_loss", 0.0)
        if not all(math.isfinite(loss) for loss in losses):
            raise FloatingPointError(
                f"the loss became {losses[0]} in training and {losses[1]} in validation, in epoch "
                f"{number} (training {stage.label}, lr={stage.lr:g}): lower the learning rate; "
                f"the model keeps its best weights from before"
            )
        history.epochs.append(row | metrics | extra)
        self.epoch += 1
        if not history.best or self._rank(history.epochs[-1]) > self._rank(history.best):
            history.best = history.epochs[-1]
            self.best = {k: v.detach().clone() for k, v in self.judged.state_dict().items()}

    def _rank(self, row: dict[str, Any]) -> tuple[float, float]:
        return row[f"val_{self.history.score}"], -row.get("val_loss", 0.0)

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
        saved, history = load_checkpoint(file, like=self.model.state_dict()), self.history
        with blaming(file, "not a checkpoint of this package"):
            then = History(**saved["history"])
        for key, value in history.settings.items():
            if then.settings.get(key) != value:
                raise ValueError(
                    f"{file}: was trained with {key}={then.settings.get(key)!r}, not {value!r}; "
                    f"resume with the same settings, or train into another folder"
                )
        if [_plain(s) for s in then.stages] != [_plain(s) for s in history.stages]:
            raise ValueError(f"{file}: was trained with other stages; resume with the same ones")
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


def _plain(stage: dict[str, Any]) -> dict[str, Any]:
    """Tuples as lists: JSON does not tell them apart."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in stage.items()}
