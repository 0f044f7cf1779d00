"""What a check is: it looks at some of the evidence, and yields what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from ftcourse.models.groups import head_of, head_outputs
from ftcourse.tasks.task import Classification, Task
from ftcourse.training.stages import Stage

__all__ = ["Check", "Evidence", "Finding", "batch_of"]


@dataclass(frozen=True)
class Finding:
    """What is wrong, how that was seen, and what to do. `name` is a fixed word for code."""

    name: str
    what: str
    evidence: str
    fix: str

    def __str__(self) -> str:
        return f"preflight: {self.what}\n  seen: {self.evidence}\n  do:   {self.fix}"


@dataclass
class Evidence:
    """What `preflight` was given, what has been found so far, and what is read from it at most once."""

    model: nn.Module
    data: Any = None
    stages: list[Stage] = field(default_factory=list)
    optimizer: torch.optim.Optimizer | None = None
    evaluate: Callable[[nn.Module], Any] | None = None
    train: Callable[[nn.Module], Any] | None = None
    batch_size: int = 32
    task: Task = field(default_factory=Classification)
    found: list[Finding] = field(default_factory=list)

    @property
    def labels(self) -> bool:
        """One label an image?"""
        return isinstance(self.task, Classification)

    @property
    def loss_fails(self) -> bool:
        """Would the loss stop with an error for these labels?"""
        if any(finding.name == "label out of range" for finding in self.found):
            return True
        return self.labels and head_outputs(head_of(self.model)[1]) < len(self.data.classes)

    @cached_property
    def batches(self) -> dict[str, tuple[Any, Any]]:
        """A batch of each split: inputs and targets."""
        return {
            name: batch_of(getattr(self.data, name), self.batch_size, self.task)
            for name in ("train", "val")
        }


@dataclass(frozen=True)
class Check:
    """One kind of mistake.

    Args:
        name: a few words for the table in the package's docstring.
        looks_at: which of `preflight`'s arguments it needs.
        costs: what it computes.
        applies: can it be made with what there is?
        look: yields the findings.
    """

    name: str
    looks_at: str
    costs: str
    applies: Callable[[Evidence], bool]
    look: Callable[[Evidence], Iterable[Finding]]


def batch_of(split: Any, size: int, task: Task) -> tuple[Any, Any]:
    """A batch drawn from the whole split, so that each class has a share; the same each time."""
    n = len(split)
    rows = torch.randperm(n, generator=torch.Generator().manual_seed(0))[:size].sort().values
    some = torch.utils.data.Subset(split, rows.tolist())
    loader = DataLoader(some, batch_size=len(rows), collate_fn=task.collate)
    return next(task.batches(loader, "cpu"))
