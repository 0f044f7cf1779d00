"""A stage: which layer groups train, for how long, how fast.

Fine-tuning is min over θ, φ of L(θ, φ): θ the pre-trained weights, φ the new ones. Each method is a list of
stages, each of which says which of them may move.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from ftcourse.models.freezing import freeze, train_mode, unfreeze
from ftcourse.models.groups import group_parameters, layer_groups
from ftcourse.training.numbers import is_number, whole

__all__ = ["Stage", "apply_stage", "make_optimizer", "make_scheduler", "parameter_groups"]


@dataclass(frozen=True)
class Stage:
    """One stage of fine-tuning.

    Args:
        train: "head", "all", the name of a layer group ("layer4": that group and all after it), or a tuple of
            names (exactly those groups).
        only: a regular expression; of the groups that train, only parameters whose name has a match do, and the
            head: "bias" for BitFit, "lora_" for LoRA (lesson 16).
        epochs: passes over the training split.
        lr: peak learning rate of the backbone's groups, and of the head unless `head_lr` is given.
        head_lr: peak learning rate of the head.
        layer_decay: each group towards the input learns this many times as fast as the next one
            (discriminative learning rates, ULMFiT, https://arxiv.org/abs/1801.06146).
        weight_decay: decoupled for "adamw"; never applied to norms and biases.
        optimizer: "adamw" or "sgd" (momentum 0.9, Nesterov).
        schedule: "cosine" (to zero), or "constant".
        warmup: fraction of the stage's steps in which the learning rate rises linearly.
        augment: False trains on the transform of the validation split: each photo the same in every epoch. For a
            `Split`, a torchvision data set, or a Subset of one; of another the photos are taken as it gives them,
            which `history.notes` tells.

    Raises:
        ValueError: a setting outside its range; the message names it.
    """

    train: str | tuple[str, ...] = "head"
    epochs: int = 5
    lr: float = 1e-3
    head_lr: float | None = None
    layer_decay: float = 1.0
    weight_decay: float = 1e-2
    optimizer: str = "adamw"
    schedule: str = "cosine"
    warmup: float = 0.1
    augment: bool = True
    only: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.train, list):
            object.__setattr__(self, "train", tuple(self.train))
        names = (self.train,) if isinstance(self.train, str) else self.train
        if (
            not isinstance(names, tuple)
            or not names
            or not all(isinstance(n, str) and n for n in names)
        ):
            raise ValueError(f"Stage: train={self.train!r}; name a layer group, several, or 'all'")
        object.__setattr__(self, "epochs", whole("Stage: epochs", self.epochs, 1))
        for name in ("lr", "head_lr", "weight_decay", "layer_decay", "warmup"):
            value = getattr(self, name)
            if not (is_number(value) or (name == "head_lr" and value is None)):
                raise ValueError(f"Stage: {name}={value!r} is not a finite number")
        for name in ("lr", "head_lr"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"Stage: {name}={value}, but a learning rate is above 0")
        if self.weight_decay < 0:
            raise ValueError(f"Stage: weight_decay={self.weight_decay}, but a decay is at least 0")
        if not 0 <= self.warmup < 1:
            raise ValueError(
                f"Stage: warmup={self.warmup} is a fraction of the steps, 0 to below 1"
            )
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"Stage: layer_decay={self.layer_decay} lies above 0 and at most at 1")
        if self.optimizer not in ("adamw", "sgd"):
            raise ValueError(f"Stage: optimizer={self.optimizer!r}; use 'adamw' or 'sgd'")
        if self.schedule not in ("cosine", "constant"):
            raise ValueError(f"Stage: schedule={self.schedule!r}; use 'cosine' or 'constant'")
        try:
            re.compile(self.only or "")
        except re.error as err:
            raise ValueError(f"Stage: only={self.only!r} is no regular expression ({err})") from err

    @property
    def label(self) -> str:
        """What trains, in a word, for tables and plots."""
        return self.train if isinstance(self.train, str) else "+".join(self.train)

    def groups(self, model: nn.Module) -> list[str]:
        """The names of the layer groups that train, from the input to the head.

        Raises:
            ValueError: the model has no such group.
        """
        known = list(layer_groups(model))
        wanted = (self.train,) if isinstance(self.train, str) else self.train
        for name in wanted:
            if name not in known and name != "all":
                raise ValueError(
                    f"Stage(train={self.train!r}): no layer group {name!r}; "
                    f"this model has: {', '.join(known)}, and 'all'"
                )
        if wanted == ("all",):
            return known
        if isinstance(self.train, str):
            return known[known.index(self.train) :]
        return [name for name in known if name in wanted]

    def to_dict(self) -> dict[str, Any]:
        """All settings, ready for JSON."""
        return asdict(self)


def apply_stage(model: nn.Module, stage: Stage) -> nn.Module:
    """Freeze everything but the stage's groups (and in them all but `stage.only`); returns the model.

    Raises:
        ValueError: the model has no such group, or none of its parameters (or none that `only` matches).
    """
    freeze(model)
    unfreeze(model, *stage.groups(model))
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(
            f"Stage(train={stage.train!r}): nothing to train, for these groups have no parameters of their own; a "
            f"tied weight trains with the first group that has it"
        )
    if stage.only is None:
        return model
    head = {id(p) for p in group_parameters(model)["head"]}
    matches = 0
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and id(parameter) not in head:
            parameter.requires_grad = re.search(stage.only, name) is not None
            matches += parameter.requires_grad
    if not matches:
        raise ValueError(f"Stage(only={stage.only!r}): matches no parameter outside of the head")
    return train_mode(model) if model.training else model


def parameter_groups(model: nn.Module, stage: Stage) -> list[dict[str, Any]]:
    """What the optimizer gets: only what trains, with the learning rate and decay of each group.

    Each entry has `name`, `params`, `lr` and `weight_decay`. Norms and biases (one-dimensional) get none.
    """
    owned, names = group_parameters(model), stage.groups(model)
    entries = []
    for distance, name in enumerate(reversed(names)):
        lr = stage.lr * stage.layer_decay**distance
        if name == "head":
            lr = stage.head_lr or stage.lr
        params = [p for p in owned[name] if p.requires_grad]
        matrices, vectors = [p for p in params if p.ndim > 1], [p for p in params if p.ndim <= 1]
        for suffix, some, decay in (
            ("", matrices, stage.weight_decay),
            (" (norm, bias)", vectors, 0.0),
        ):
            if some:
                entry = {"name": name + suffix, "params": some, "lr": lr, "weight_decay": decay}
                entries.append(entry)
    return entries[::-1]


def make_optimizer(model: nn.Module, stage: Stage) -> torch.optim.Optimizer:
    """The stage's optimizer over the parameters that train."""
    groups = parameter_groups(model, stage)
    devices = {p.device.type for group in groups for p in group["params"]}
    fused = (
        True if devices <= {"cpu", "cuda"} else None
    )  # one pass over the weights instead of many
    if stage.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=stage.lr, momentum=0.9, nesterov=True, fused=fused)
    return torch.optim.AdamW(groups, lr=stage.lr, fused=fused)


def make_scheduler(
    optimizer: torch.optim.Optimizer, stage: Stage, steps_per_epoch: int
) -> LambdaLR:
    """Linear warm-up, then a cosine to zero or a constant; stepped once a batch."""
    total = stage.epochs * steps_per_epoch
    warm = round(stage.warmup * total)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / (warm + 1)
        if stage.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, total - warm))))

    return LambdaLR(optimizer, factor)
