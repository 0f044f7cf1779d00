"""How long training will take on this machine, from a few real batches, and how many epochs fit into a time."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from torch import nn

from ftcourse.models.modes import random_kept
from ftcourse.training.loop import best_device, evaluate, finetune
from ftcourse.training.stages import Stage

__all__ = ["Pace", "epochs_that_fit", "pace"]

BATCHES = 3  # of the training split, in each epoch that is timed


@dataclass(frozen=True)
class Pace:
    """Seconds of a stage's first epoch and of each later one, by what it trains; and of a photo that is judged.

    A first epoch computes what is kept for the later ones.
    """

    first: dict[str, float]
    later: dict[str, float]
    photo: float

    def seconds(self, stages: Sequence[Stage]) -> float:
        """What these stages take, each validated after each epoch."""
        return sum(self.first[s.label] + (s.epochs - 1) * self.later[s.label] for s in stages)


def pace(
    model: nn.Module, data: Any, stages: Sequence[Stage], *, batch_size: int, **options: Any
) -> Pace:
    """Train a copy of the model for two short epochs of each stage, as the run will.

    Args:
        data: a `Data` of which a few photos are taken; the share of train and val is that of the whole.
        options: of `finetune`.

    Model and random numbers stay as they are.
    """
    few = SimpleNamespace(classes=data.classes)
    share = min(1.0, BATCHES * batch_size / len(data.train))
    for name, least in (("train", 2), ("val", 1)):
        split = getattr(data, name)
        n = max(least, round(share * len(split)))
        setattr(few, name, split.subset([i * len(split) // n for i in range(n)]))
    whole = len(data.train) / len(few.train)
    first, later = {}, {}
    device = options.get("device") or best_device()
    with random_kept():
        tried = copy.deepcopy(model)
        for stage in stages:
            history = finetune(
                tried, few, replace(stage, epochs=2), batch_size=batch_size,
                progress=False, preflight=False, **options | {"early_stopping": None},
            )  # fmt: skip
            one, two = history.column("seconds")
            first[stage.label], later[stage.label] = one * whole, two * whole
        start = time.perf_counter()
        evaluate(tried, few.train, device=device)
        return Pace(first, later, (time.perf_counter() - start) / len(few.train))


def epochs_that_fit(
    plan: Callable[[int], Sequence[Stage]], most: int, seconds: float, cost: Callable[..., float]
) -> int:
    """The most epochs, up to `most`, whose plan costs no more than these seconds; 0 if not even one does."""
    return next((n for n in range(most, 0, -1) if cost(plan(n)) <= seconds), 0)
