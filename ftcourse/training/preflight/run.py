"""Evidence in a run: first steps on a copy of the model, and epochs."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ftcourse.models.backbones import origin_of
from ftcourse.models.freezing import train_mode
from ftcourse.tasks.task import Task, to_device
from ftcourse.training.frozen_prefix import cut_model
from ftcourse.training.preflight.answers import Answers, exchanged, worse_than_guessing
from ftcourse.training.preflight.check import Check, Evidence, Finding, first_line
from ftcourse.training.preflight.loop import NEAR, OTHER_FAULTS, stands_still, too_fast, torchs
from ftcourse.training.preflight.model import not_finite
from ftcourse.training.stages import apply_stage, make_optimizer

__all__ = ["STEPS", "while_training"]

FAR = 1.0  # pre-trained weights that go so far in six steps, relative to their size, are lost


# -- steps on a copy ---------------------------------------------------------------------------


def _first_steps(e: Evidence) -> Iterator[Finding]:
    if e.loss_fails or e.one_logit:
        return
    model, optimizer = e.model, e.optimizer
    if e.stages:
        trial = copy.deepcopy(model)
        steps = make_optimizer(apply_stage(trial, e.stages[0]), e.stages[0])
    elif (
        optimizer is not None
        and _steps_alone(optimizer)
        and any(p.requires_grad for p in model.parameters())
    ):
        trial, steps = copy.deepcopy((model, optimizer))
    else:
        return
    inputs, targets = e.batches["train"]
    if len(targets) == 1 and any(
        isinstance(m, _BatchNorm) for m in train_mode(trial).modules() if m.training
    ):
        yield Finding(
            "a batch of one",
            "there is one photo to train on, and BatchNorm cannot norm a single one",
            f"len(data.train) is {len(e.data.train)}, batch_size {e.batch_size}",
            "give it more photos, or larger batches",
        )
        return
    try:
        yield from _try_steps(e, trial, inputs, targets, steps, e.task)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as err:
        yield Finding(
            "stops with an error",
            "a training step stops with an error",
            f"{first_line(err)}",
            "look at one batch: dtype and shape of its images and targets, and what the model takes",
        )


def _steps_alone(optimizer: torch.optim.Optimizer) -> bool:
    """Can its step be made without a closure of the learner's, or his way to call it?"""
    return torchs(optimizer) and not isinstance(optimizer, torch.optim.LBFGS)


def _computed_once(model: nn.Module, inputs: Any, task: Task) -> tuple[nn.Module, Any]:
    """What lies behind the frozen part, and what that gives for this batch; or the model and the batch."""
    with suppress(ValueError):
        cut = cut_model(model) if type(task).forward is Task.forward else None
        if cut is not None and isinstance(inputs, Tensor):
            return cut.rest(model), cut.prefix(model)(inputs)
    return model, inputs


def _try_steps(
    e: Evidence,
    trial: nn.Module,
    inputs: Any,
    targets: Any,
    optimizer: torch.optim.Optimizer,
    task: Task,
    steps: int = 6,
) -> Iterator[Finding]:
    """A few steps on a copy of the model, at the optimizer's learning rate."""
    train_mode(trial)
    device = next(trial.parameters()).device
    inputs, targets = to_device(inputs, device), to_device(targets, device)
    before = {n: p.detach().clone() for n, p in _pretrained(trial)}
    start = {n: p.detach().clone() for n, p in trial.named_parameters() if p.requires_grad}
    rest, features = _computed_once(trial, inputs, task)
    losses: list[float] = []
    for _ in range(steps):
        loss = task.loss(task.forward(rest, features, targets), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            break
    lr = max(group["lr"] for group in optimizer.param_groups)
    if not math.isfinite(losses[0]):
        yield not_finite(
            "the loss of the first training batch", "its inputs and the weights are finite, before any step",
            "look at the targets: a batch in which nothing counts, a class weight of 0, a logarithm of 0",
        )  # fmt: skip
        return
    now = dict(trial.named_parameters())
    if not losses[-1] < 1.5 * losses[0] + 0.5:  # also true for nan
        yield too_fast(
            f"on one and the same batch the loss went from {losses[0]:.2f} to {losses[-1]:.2f} nats "
            f"in {steps} steps", lr,
        )  # fmt: skip
        return
    moved = {n: ((now[n] - then).norm() / then.norm()).item() for n, then in before.items()}
    furthest = max(moved, key=lambda n: moved[n], default="")
    if furthest and moved[furthest] > FAR:
        yield too_fast(
            f"{furthest} of the pre-trained weights has moved by {moved[furthest]:.0%} of its size "
            f"in {steps} steps", lr,
        )  # fmt: skip
    size = {n: then.norm().clamp(min=1e-3 * then.numel() ** 0.5) for n, then in start.items()}
    most = max(
        (((now[n] - then).norm() / size[n]).item() for n, then in start.items()), default=1.0
    )
    if lr > 0 and most < NEAR and not e.told("nothing moves", *OTHER_FAULTS):
        yield stands_still(
            f"in {steps} steps no tensor moved by more than {most:.0e} of its size", lr
        )


def _pretrained(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The trainable matrices that came with pre-trained weights: not those of a new head."""
    origin = origin_of(model)
    if origin is None or origin.weights is None:
        return
    loaded = origin.reference
    for name, p in model.named_parameters():
        then = loaded.get(name)
        if p.requires_grad and p.ndim > 1 and then is not None and then.shape == p.shape:
            yield name, p.detach()


# -- epochs ------------------------------------------------------------------------------------


def while_training(history: Any, data: Any = None, answers: Answers | None = None) -> list[Finding]:
    """Findings from the newest epoch: a loss that rises where it should fall, answers worse than guesses.

    With `answers`, those of its validation, also classes that are named as one another.
    """
    rows, told = history.epochs, {f["name"] for f in history.findings}
    found: list[Finding] = []
    if rows and "classes numbered differently" not in told:
        if answers is not None and answers.table is not None:
            found += exchanged(rows[-1], answers.table)
        if data is not None and not found:
            found += worse_than_guessing(rows[-1], data)
        found = [f for f in found if f.name not in told]
    if len(rows) < 2:
        return found
    old, new = rows[-2], rows[-1]
    rose = new["train_loss"] > 1.5 * old["train_loss"] + 0.1
    if not rose or told & {"learning rate too high", "label smoothing outweighs the labels"}:
        return found
    return [
        *found,
        Finding(
            "learning rate too high",
            f"the training loss rose in epoch {new['epoch']} (training {new['train']})",
            f"from {old['train_loss']:.2f} to {new['train_loss']:.2f} nats",
            "lower the learning rate of this stage, or give it a longer warm-up",
        ),
    ]


STEPS = Check(
    "first steps",
    "model, data, stages or optimizer",
    "six steps on a copy",
    lambda e: e.data is not None,
    _first_steps,
)
