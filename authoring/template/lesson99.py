"""Questions of lesson 99, my_topic."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from ftcourse.exercises import Choice, Function, Wrong

# ----------------------------------------------------------------------------- 99.1 trained_share


def _trained_share(model: nn.Module) -> float:
    moving = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return moving / sum(p.numel() for p in model.parameters())


def _judge_trained_share(attempt: Callable) -> Wrong | None:
    """Looks at behaviour: calls the attempt on a network of its own, 9 of whose 45 weights may move."""
    model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 1), nn.Linear(1, 2))
    model[0].requires_grad_(False)
    answer = attempt(model)
    if answer is None:
        return Wrong("your function returns nothing", "end it with `return ...`.")
    value = float(torch.as_tensor(answer))
    if abs(value - 9 / 45) < 1e-6:
        return None
    if abs(value - 4 / 6) < 1e-6:
        return Wrong(
            "it counts tensors, 4 of 6", "count the weights in each: p.numel(), not one for each p."
        )
    if abs(value - 9) < 1e-6:
        return Wrong("it counts 9 weights that move", "divide by the number of all weights.")
    if abs(value - 36 / 45) < 1e-6:
        return Wrong("this is the share that is frozen", "requires_grad is True for what may move.")
    return Wrong(f"where 9 of 45 weights may move it returns {value:.3g}, expected 0.2")


trained_share = Function(
    number="99.1",
    name="trained_share",
    reference=_trained_share,
    why="«Why the right answer is right»: weights are counted, not tensors.",
    hints=(
        "«where to look»: model.parameters() gives the tensors; which may move, how large is each?",
        "«nearly how»: sum p.numel() over those with p.requires_grad; divide by the sum over all.",
    ),
    worked=(
        "def trained_share(model):\n"
        "    moving = sum(p.numel() for p in model.parameters() if p.requires_grad)\n"
        "    return moving / sum(p.numel() for p in model.parameters())"
    ),
    judge=_judge_trained_share,
)

# ------------------------------------------------------------------------------ 99.2 what_shrinks

what_shrinks = Choice(
    number="99.2",
    name="what_shrinks",
    reference="b",
    why="A frozen weight has no gradient, and the optimizer keeps nothing for it.",
    hints=(
        "which of the three exist for a weight only while it trains?",
        "AdamW keeps a gradient and two running means for each weight that may move.",
    ),
    worked='answer = "b"',
    options={
        "a": Wrong("a frozen weight is still there", "what is kept beside a weight that trains?"),
        "b": None,
        "c": Wrong("the photos stay as many", "what is kept beside a weight that trains?"),
    },
)
