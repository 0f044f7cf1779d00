"""The default recipe of `ftcourse train`: which stages, for how many epochs, by how many photos there are.

Every number of the recipe is in this file. Head first, then the last block, then everything: a new head on top of
good features sends large, meaningless gradients into them until it fits (LP-FT, https://arxiv.org/abs/2202.10054).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from ftcourse.data.transforms import DEFAULT_SIZE
from ftcourse.training.stages import Stage

__all__ = ["STRATEGIES", "default_size", "recipe", "resolve_strategy"]

STRATEGIES = ("auto", "head", "layer4", "full")

# How fast each stage learns; a strategy is the stages up to the one that it names.
HEAD = Stage("head", lr=1e-2)
LAYER4 = Stage("layer4", lr=5e-4, head_lr=1e-3)
ALL = Stage("all", lr=3e-4, head_lr=1e-3, layer_decay=0.7)
STAGES = {
    "head": (HEAD,),
    "layer4": (HEAD, LAYER4),
    "full": (HEAD, LAYER4, ALL),
}

# With random weights there is nothing to keep: everything learns, as fast, from the first step.
SCRATCH = (Stage("all", lr=1e-3),)


@dataclass(frozen=True)
class Row:
    """For fewer than `below` training photos a class: what "auto" means, and the epochs of each stage."""

    below: float
    auto: str
    epochs: dict[str, int]


TABLE = (
    Row(20, "layer4", {"head": 8, "layer4": 12, "all": 12}),
    Row(500, "full", {"head": 5, "layer4": 6, "all": 12}),
    Row(math.inf, "full", {"head": 2, "layer4": 3, "all": 8}),
)


def default_size(preset: Any) -> int:
    """Side of the square the network sees, in pixels, from the weights' transforms (None: no such)."""
    crop = getattr(preset, "crop_size", None)
    return int(crop[0] if isinstance(crop, (list, tuple)) else crop or DEFAULT_SIZE)


def resolve_strategy(
    strategy: str, n_train: int, num_classes: int, from_scratch: bool = False
) -> str:
    """The strategy that "auto" means: by the training photos a class; from scratch always "full".

    Raises:
        ValueError: no such strategy.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy={strategy!r}: use {', '.join(STRATEGIES)}")
    if strategy != "auto":
        return strategy
    return "full" if from_scratch else _row(n_train, num_classes).auto


def recipe(
    strategy: str,
    n_train: int,
    num_classes: int,
    epochs: int | None = None,
    from_scratch: bool = False,
    last: str = "layer4",
    lr: float | None = None,
) -> list[Stage]:
    """The stages of a strategy.

    | strategy | stages                                                        |
    | -------- | ------------------------------------------------------------- |
    | head     | head                                                          |
    | layer4   | head, layer4                                                  |
    | full     | head, layer4, all                                             |
    | auto     | under 20 training photos a class as layer4, otherwise as full |

    Args:
        epochs: of all stages together, shared out in the recipe's proportions. With fewer epochs than
            stages the middle ones are dropped first, the last one never.
        from_scratch: the backbone has random weights; "auto" and "full" then train everything at once, for as many
            epochs as "full" has in all. "head" and "layer4" are done as asked.
        last: the layer group that stands for layer4 in other networks than a ResNet, see `last_block`.
        lr: peak learning rate of the last stage; all other rates keep their proportion to it.

    Raises:
        ValueError: no such strategy, or no epochs.
    """
    if lr is not None:
        stages = recipe(strategy, n_train, num_classes, epochs, from_scratch, last)
        peak = stages[-1].lr
        return [
            replace(
                stage,
                lr=lr * (stage.lr / peak),
                head_lr=stage.head_lr and lr * (stage.head_lr / peak),
            )
            for stage in stages
        ]
    if epochs is not None and epochs < 1:
        raise ValueError(f"epochs={epochs}: at least one is needed")
    name = resolve_strategy(strategy, n_train, num_classes, from_scratch)
    lengths = _row(n_train, num_classes).epochs
    if from_scratch and name == "full":
        return [replace(SCRATCH[0], epochs=epochs or sum(lengths.values()))]
    stages = [
        replace(stage, epochs=lengths[stage.label], train=last if stage is LAYER4 else stage.train)
        for stage in STAGES[name]
    ]
    if epochs is None:
        return stages
    while len(stages) > epochs:
        del stages[-2]
    shares = _share_out(epochs, [stage.epochs for stage in stages])
    return [replace(stage, epochs=n) for stage, n in zip(stages, shares, strict=True)]


def _row(n_train: int, num_classes: int) -> Row:
    return next(row for row in TABLE if n_train / num_classes < row.below)


def _share_out(total: int, weights: list[int]) -> list[int]:
    """Whole numbers of at least 1 with this total, as near to the proportions as can be."""
    shares = [1] * len(weights)
    for _ in range(total - len(weights)):
        # the one that is furthest behind its due; the first of equals
        behind = [w * total / sum(weights) - s for w, s in zip(weights, shares, strict=True)]
        shares[behind.index(max(behind))] += 1
    return shares
