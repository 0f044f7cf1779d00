"""Which learning rate? Raise it step by step on training batches, and watch the loss.

Source: https://arxiv.org/abs/1506.01186 (the range test)
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from ftcourse.models.freezing import train_mode
from ftcourse.models.modes import random_kept, unchanged
from ftcourse.training.numbers import whole
from ftcourse.training.stages import Stage, apply_stage, make_optimizer

__all__ = ["LRFinder", "lr_finder"]

SMOOTHING = 0.8  # of the exponential moving average of the loss
DIVERGED = 3.0  # the test ends where the smoothed loss is so many times the best


@dataclass
class LRFinder:
    """Learning rates tried, the loss (nats) of each step's batch, and the same smoothed; in order."""

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggestion: float

    def plot(self, path: Any = None, *, theme: str | None = None) -> Any:
        """Loss against learning rate; returns the matplotlib Figure."""
        from ftcourse.plots import plot_lr_finder

        return plot_lr_finder(self, path, theme=theme)


def lr_finder(
    model: nn.Module,
    data: Any,
    stage: Stage | None = None,
    *,
    start: float = 1e-5,
    stop: float = 1.0,
    steps: int = 60,
    batch_size: int = 32,
    seed: int = 0,
    device: torch.device | str | None = None,
    on_step: Callable[[int, float], Any] | None = None,
) -> LRFinder:
    """Train for some steps with a learning rate that grows from `start` to `stop`; then undo it all.

    Weights, running statistics, switches, modes and random numbers are afterwards as they were.

    Args:
        data: has `train`, a data set of (image float32 (3, H, W), label int).
        stage: what trains and with which optimizer; its rates are ignored but for their ratios (`head_lr` to `lr`,
            `layer_decay`). Default: the head. The rate that is tried and suggested is the stage's `lr`.
        on_step: called after each step with its number, from 1, and the batch's loss.
        steps: batches at most; it ends sooner where the loss has grown to three times its best.

    Returns:
        An `LRFinder`; `suggestion` is the rate at which the smoothed loss is half-way down. It is a start,
        not a law: compare a third and three times of it on the validation split.

    Raises:
        ValueError: `start` and `stop` are no growing range, or there are too few steps or photos to see anything.
    """
    if not 0 < start < stop:
        raise ValueError(f"start={start}, stop={stop}: the range must grow, from above 0")
    if steps < 10:
        raise ValueError(f"steps={steps}: a curve needs at least 10")
    whole("batch_size", batch_size, 1)
    if len(data.train) < 2:
        raise ValueError(f"data.train has {len(data.train)} samples; give at least 2")
    stage = stage or Stage(train="head")
    home = torch.device(device) if device else next(model.parameters()).device
    with unchanged(model), random_kept(), torch.enable_grad():
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        model.to(home)
        apply_stage(model, stage)
        rates, losses, smoothed = _climb(
            model, data, stage, home, _ladder(start, stop, steps), batch_size, on_step
        )
    return LRFinder(rates, losses, smoothed, _suggest(rates, smoothed))


def _ladder(start: float, stop: float, steps: int) -> list[float]:
    return np.geomspace(start, stop, steps).tolist()


def _climb(
    model: nn.Module, data: Any, stage: Stage, device: torch.device, ladder: list[float], batch_size: int,
    on_step: Callable[[int, float], Any] | None,
) -> tuple[list[float], list[float], list[float]]:  # fmt: skip
    optimizer = make_optimizer(model, stage)
    ratios = [group["lr"] / stage.lr for group in optimizer.param_groups]
    batches = _forever(data.train, min(batch_size, len(data.train)))
    train_mode(model)
    average, best = 0.0, math.inf
    losses: list[float] = []
    smoothed: list[float] = []
    for step, rate in enumerate(ladder):
        for group, ratio in zip(optimizer.param_groups, ratios, strict=True):
            group["lr"] = rate * ratio
        images, targets = next(batches)
        loss = F.cross_entropy(model(images.to(device)).float(), targets.to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        value = loss.item()
        if on_step:
            on_step(step + 1, value)
        if not math.isfinite(value):
            break
        losses.append(value)
        average = SMOOTHING * average + (1 - SMOOTHING) * value
        smoothed.append(average / (1 - SMOOTHING ** (step + 1)))  # without the start's pull to zero
        best = min(best, smoothed[-1])
        if step > 9 and smoothed[-1] > DIVERGED * best:
            break
    if len(losses) < 5:
        raise FloatingPointError(
            f"the loss was not finite after {len(losses)} steps, at a rate of {ladder[len(losses)]:.1e}: "
            f"begin with a smaller `start`"
        )
    return ladder[: len(losses)], losses, smoothed


def _forever(split: Any, batch_size: int) -> Iterator[Any]:
    loader = DataLoader(split, batch_size=batch_size, shuffle=True, drop_last=True)
    while True:
        yield from loader


def _suggest(rates: list[float], smoothed: list[float]) -> float:
    """The rate at which the smoothed loss is half-way down to its lowest point; to one digit.

    That is about where it falls most steeply, but does not hang on the slope of a noisy curve.
    """
    curve = np.asarray(smoothed)
    start, lowest = float(np.median(curve[:5])), int(np.argmin(curve))
    half = (start + curve[lowest]) / 2
    above = np.flatnonzero(curve[: lowest + 1] > half)  # the last time that it was higher
    return float(f"{rates[int(above[-1]) if len(above) else 0]:.0e}")
