"""Evidence in the model and its optimizer: what trains, what is held, what comes out."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ftcourse.models.freezing import is_frozen
from ftcourse.models.groups import group_parameters
from ftcourse.tasks.task import to_device
from ftcourse.training.preflight.check import Check, Evidence, Finding

__all__ = ["CHECKS", "OUTPUTS", "drift"]


def _stages(e: Evidence) -> Iterator[Finding]:
    if not any("head" in stage.groups(e.model) for stage in e.stages):
        yield Finding(
            "head frozen",
            "no stage trains the head",
            f"the stages train {', '.join(s.label for s in e.stages)}; the head is in none of them",
            "add Stage(train='head'), or use train='all'",
        )


def _trains(e: Evidence) -> Iterator[Finding]:
    head = group_parameters(e.model)["head"]
    if not any(p.requires_grad for p in e.model.parameters()):
        yield Finding(
            "nothing trainable",
            "nothing will train",
            "requires_grad is False for every parameter" + _module_switch(e.model),
            "freeze first, then replace the head; or ft.unfreeze(model, 'head')",
        )
    elif not any(p.requires_grad for p in head):
        yield Finding(
            "head frozen",
            "the head is frozen, so the new classes cannot be learnt",
            f"requires_grad is False for the head's parameters{_module_switch(e.model)}",
            "ft.unfreeze(model, 'head')",
        )


def _batchnorm(e: Evidence) -> Iterator[Finding]:
    drifting = [
        n for n, m in e.model.named_modules()
        if isinstance(m, _BatchNorm) and m.training and m.track_running_stats and is_frozen(m)
    ]  # fmt: skip
    if drifting:
        yield drift(
            f"{len(drifting)} frozen BatchNorm layers are in train mode, {drifting[0]} the first"
        )


def drift(evidence: str) -> Finding:
    return Finding(
        "frozen BatchNorm in train mode",
        "the statistics of frozen BatchNorm layers will drift",
        evidence,
        "call ft.train_mode(model) instead of model.train()",
    )


def _module_switch(model: nn.Module) -> str:
    """Tells of `model.fc.requires_grad = True`, which only makes an attribute of the module."""
    switched = [n for n, m in model.named_modules() if "requires_grad" in vars(m)]
    if not switched:
        return ""
    return f"; requires_grad was set on the module {switched[0]!r}, where it does nothing"


def _optimizer(e: Evidence) -> Iterator[Finding]:
    model, optimizer = e.model, e.optimizer
    assert optimizer is not None
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    trainable = [p for p in model.parameters() if p.requires_grad]
    mine = {id(p) for p in model.parameters()}
    foreign = held - mine
    missing = [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in held]
    if foreign:
        yield Finding(
            "stale optimizer",
            "the optimizer holds parameters that are no longer in the model",
            f"{len(foreign)} of its {len(held)} tensors belong to no layer of this model",
            "make the optimizer after the head is replaced and the model is complete",
        )
    if missing:
        yield Finding(
            "parameters missing from the optimizer",
            "parameters that should train are not in the optimizer",
            f"{len(missing)} of {len(trainable)} trainable tensors are missing, {missing[0]} the first",
            "make the optimizer after freezing and thawing",
        )
    rates = [group["lr"] for group in optimizer.param_groups]
    if rates and max(rates) == 0:
        yield Finding(
            "learning rate zero",
            "the learning rate is zero",
            "every group of the optimizer has lr=0",
            "give it a learning rate above 0",
        )


def _outputs(e: Evidence) -> Iterator[Finding]:
    """Look at the outputs, and at the loss at step 0."""
    if e.loss_fails:
        return
    inputs, labels = e.batches["train"]
    device = next(e.model.parameters()).device
    labels = labels.to(device)
    with torch.no_grad():
        outputs = e.task.forward(e.model.eval(), to_device(inputs, device))
    if outputs.min() >= 0 and (outputs.sum(1) - 1).abs().max() < 1e-3:
        yield Finding(
            "softmax before cross-entropy",
            "the model ends in a softmax, and cross-entropy applies another",
            "each row of its outputs is positive and sums to 1",
            "remove the softmax: nn.CrossEntropyLoss takes logits",
        )
    chance = math.log(outputs.shape[1])
    start = F.cross_entropy(outputs, labels).item()
    if not start < 2 * chance + 1:
        yield Finding(
            "loss far from log C at step 0",
            "the loss is far above that of guessing before training begins",
            f"it is {start:.2f} nats; guessing among {outputs.shape[1]} classes gives {chance:.2f}",
            "check the inputs, the labels, and that the head is newly made",
        )


CHECKS = (
    Check("stages", "stages", "nothing", lambda e: bool(e.stages), _stages),
    Check("what trains", "model", "nothing", lambda e: not e.stages, _trains),
    Check("frozen BatchNorm", "model", "nothing", lambda e: not e.stages, _batchnorm),
    Check(
        "what the optimizer holds",
        "model, optimizer",
        "nothing",
        lambda e: not e.stages and e.optimizer is not None,
        _optimizer,
    ),
)
OUTPUTS = Check(
    "outputs",
    "model, data",
    "one batch forward",
    lambda e: e.data is not None and e.labels,
    _outputs,
)
