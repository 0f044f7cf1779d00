"""Evidence in a run: the first steps of the learner's own function, steps on a copy, and epochs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ftcourse.models.backbones import origin_of
from ftcourse.models.freezing import is_frozen, train_mode
from ftcourse.models.modes import unchanged
from ftcourse.tasks.task import Task, to_device
from ftcourse.training.frozen_prefix import cut_model
from ftcourse.training.preflight.check import Check, Evidence, Finding
from ftcourse.training.preflight.model import drift
from ftcourse.training.preflight.validation import worse_than_guessing
from ftcourse.training.stages import apply_stage, make_optimizer

__all__ = ["STEPS", "WATCHED", "while_training"]

FAR = 1.0  # pre-trained weights that go so far in six steps, relative to their size, are lost


class _Enough(BaseException):
    """Ends the learner's training function after a few steps; no `except Exception` swallows it."""


def _training_findings(
    model: nn.Module, train: Callable, optimizer: torch.optim.Optimizer, steps: int = 4
) -> Iterator[Finding]:
    """Run the first steps of a training function; look at what it does to statistics and gradients."""
    optimizer_state = copy.deepcopy(optimizer.state_dict())
    fresh: dict[nn.Parameter, Tensor] = {}  # what backward has added since the last step
    awake: dict[str, None] = {}
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    unlike = made = 0

    def collect(p: nn.Parameter, grad: Tensor) -> None:
        fresh[p] = fresh[p] + grad if p in fresh else grad.clone()

    def before_step(*_: Any) -> None:
        nonlocal unlike, made
        if made == steps:
            raise _Enough
        made += 1
        unlike += any(_unlike(p.grad, g) for p, g in fresh.items())
        fresh.clear()

    hooks: list[Any] = [optimizer.register_step_pre_hook(before_step)]
    for p in model.parameters():
        if p.requires_grad and id(p) in held:
            hooks.append(p.register_hook(lambda grad, p=p: collect(p, grad)))
    for name, m in model.named_modules():
        if isinstance(m, _BatchNorm) and m.track_running_stats and is_frozen(m):
            hooks.append(
                m.register_forward_pre_hook(
                    lambda m, _, name=name: awake.setdefault(name) if m.training else None
                )
            )
    try:
        with unchanged(model), suppress(_Enough):
            train(model)
    finally:
        for hook in hooks:
            hook.remove()
        optimizer.load_state_dict(optimizer_state)
    if awake:
        yield drift(
            f"your training ran {len(awake)} of them in train mode, {next(iter(awake))} the first"
        )
    if unlike:
        yield Finding(
            "gradients not cleared",
            "the optimizer steps with gradients of earlier batches in them",
            f"in {unlike} of the first {made} steps p.grad was not what backward had added since the last step",
            "call optimizer.zero_grad() once for each optimizer.step()",
        )


def _unlike(a: Tensor | None, b: Tensor) -> bool:
    """Do two gradients point in different directions? (Clipping and scaling turn no sign.)"""
    if a is None:
        return False
    turned = b.abs()[a.to(b.device) * b < 0].sum()
    return bool(turned > 0.05 * b.abs().sum())


def _watched(e: Evidence) -> Iterator[Finding]:
    assert e.train is not None and e.optimizer is not None
    yield from _training_findings(e.model, e.train, e.optimizer)


def _first_steps(e: Evidence) -> Iterator[Finding]:
    if e.loss_fails:
        return
    model, optimizer = e.model, e.optimizer
    if e.stages:
        trial = copy.deepcopy(model)
        steps = make_optimizer(apply_stage(trial, e.stages[0]), e.stages[0])
    elif optimizer is not None and any(p.requires_grad for p in model.parameters()):
        trial, steps = copy.deepcopy((model, optimizer))
    else:
        return
    yield from _try_steps(trial, *e.batches["train"], steps, e.task)


def _computed_once(model: nn.Module, inputs: Any, task: Task) -> tuple[nn.Module, Any]:
    """What lies behind the frozen part, and what that gives for this batch; or the model and the batch."""
    with suppress(ValueError):
        cut = cut_model(model) if type(task).forward is Task.forward else None
        if cut is not None and isinstance(inputs, Tensor):
            return cut.rest(model), cut.prefix(model)(inputs)
    return model, inputs


def _try_steps(
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
    rest, features = _computed_once(trial, inputs, task)
    losses = []
    for _ in range(steps):
        loss = task.loss(task.forward(rest, features, targets), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    seen = ""
    if not losses[-1] < 1.5 * losses[0] + 0.5:  # also true for nan
        seen = (
            f"on one and the same batch the loss went from {losses[0]:.2f} to {losses[-1]:.2f} nats"
        )
    else:
        now = dict(trial.named_parameters())
        moved = {n: ((now[n] - then).norm() / then.norm()).item() for n, then in before.items()}
        furthest = max(moved, key=lambda n: moved[n], default="")
        if furthest and moved[furthest] > FAR:
            seen = f"{furthest} of the pre-trained weights has moved by {moved[furthest]:.0%} of its size"
    if seen:
        lr = max(group["lr"] for group in optimizer.param_groups)
        yield Finding(
            "learning rate too high",
            "the learning rate is too high for these weights",
            f"{seen} in {steps} steps with lr={lr:g}",
            f"divide it by 10: lr={lr / 10:g}",
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


def while_training(history: Any, data: Any = None) -> list[Finding]:
    """Findings from the newest epoch: a loss that rises where it should fall, answers worse than guesses."""
    rows, told = history.epochs, {f["name"] for f in history.findings}
    found: list[Finding] = []
    if rows and "classes numbered differently" not in told and data is not None:
        found += worse_than_guessing(rows[-1], data)
    if len(rows) < 2:
        return found
    old, new = rows[-2], rows[-1]
    if "learning rate too high" in told or not new["train_loss"] > 1.5 * old["train_loss"] + 0.1:
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


WATCHED = Check(
    "training function",
    "model, optimizer, train",
    "its first four steps",
    lambda e: e.train is not None and e.optimizer is not None,
    _watched,
)
STEPS = Check(
    "first steps",
    "model, data, stages or optimizer",
    "six steps on a copy",
    lambda e: e.data is not None,
    _first_steps,
)
