"""Questions of lesson 15, ship it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ftcourse.exercises import Choice, Function, Wrong

# ------------------------------------------------------------------------------- 15.1 first_cure

first_cure = Choice(
    number="15.1",
    name="first_cure",
    reference="b",
    why="The same photo in train and in test: the network has seen the answer. The test score rises, "
    "and nothing else tells you. The other three cost accuracy, but you see that they do.",
    hints=(
        "three of the four make the network worse. Which one makes the *score* better?",
        "what has the network seen before it is tested?",
    ),
    worked='answer = "b"',
    options={
        "a": Wrong(
            "a file that cannot be read stops the loading, with its name: nobody overlooks that",
            "look for the one that raises the score.",
        ),
        "b": None,
        "c": Wrong(
            "twice as many ants as bees shows in the recall of the bees",
            "look for the one that raises the score.",
        ),
        "d": Wrong(
            "small photos are blurred, and the score falls: you will notice",
            "look for the one that raises the score.",
        ),
    },
)

# ---------------------------------------------------------------------------------- 15.2 cam


def _cam(maps: Tensor, gradients: Tensor) -> Tensor:
    weights = gradients.mean((1, 2))
    heat = (weights[:, None, None] * maps).sum(0).relu()
    return heat / heat.max().clamp(min=1e-9)


def _judge_cam(attempt: Callable) -> Wrong | None:
    g = torch.Generator().manual_seed(3)
    maps, gradients = torch.rand(5, 3, 4, generator=g), torch.randn(5, 3, 4, generator=g)
    right = _cam(maps, gradients)
    answer = attempt(maps.clone(), gradients.clone())
    if answer is None:
        return Wrong("your function returns nothing", "end it with `return ...`.")
    heat = torch.as_tensor(answer).detach().float()
    if heat.shape != right.shape:
        return Wrong(
            f"the heat has shape {tuple(heat.shape)}, expected {tuple(right.shape)}",
            "sum over the channels, dimension 0, and over nothing else.",
        )
    if torch.allclose(heat, right, atol=1e-4):
        return None
    raw = (gradients.mean((1, 2))[:, None, None] * maps).sum(0)
    if torch.allclose(heat, raw.relu(), atol=1e-4):
        return Wrong("the largest value is not 1", "divide by the maximum at the end.")
    if torch.allclose(heat, raw, atol=1e-4) or torch.allclose(heat, raw / raw.max(), atol=1e-4):
        return Wrong(
            "some heat is negative",
            "what speaks against the class is no heat: clip at 0, with .relu(), before dividing.",
        )
    elementwise = (gradients * maps).sum(0).relu()
    if torch.allclose(heat, elementwise / elementwise.max(), atol=1e-4):
        return Wrong(
            "each pixel has a weight of its own",
            "one weight a channel: the mean of its gradient over height and width.",
        )
    plain = maps.sum(0)
    if torch.allclose(heat, plain / plain.max(), atol=1e-4):
        return Wrong("the gradients play no part", "they say how much each channel counts.")
    return Wrong(
        "the numbers differ from the reference",
        "weights = gradients.mean((1, 2)), then the weighted sum of the maps.",
    )


cam = Function(
    number="15.2",
    name="cam",
    reference=_cam,
    why="Each channel's map counts as much as the score of the class depends on it. That is Grad-CAM.",
    hints=(
        "first one weight a channel: the mean of its gradient over height and width.",
        "weigh the maps, sum over the channels, clip at 0 with .relu(), divide by the maximum.",
    ),
    worked=(
        "def cam(maps, gradients):\n"
        "    weights = gradients.mean((1, 2))\n"
        "    heat = (weights[:, None, None] * maps).sum(0).relu()\n"
        "    return heat / heat.max()"
    ),
    judge=_judge_cam,
)

# --------------------------------------------------------------------------- 15.3 best_temperature


def _best_temperature(logits: Tensor, targets: Tensor, candidates: Any) -> float:
    losses = [F.cross_entropy(logits / float(t), targets).item() for t in candidates]
    return float(candidates[int(np.argmin(losses))])


def _judge_best_temperature(attempt: Callable) -> Wrong | None:
    g = torch.Generator().manual_seed(5)
    honest = 1.5 * torch.randn(300, 3, generator=g)
    targets = torch.multinomial(honest.softmax(1), 1, generator=g).squeeze(1)
    candidates = [0.5, 1.0, 2.0, 4.0, 8.0]
    for sharpened in (0.5, 4.0):
        logits = sharpened * honest
        right = _best_temperature(logits, targets, candidates)
        answer = attempt(logits.clone(), targets.clone(), list(candidates))
        if answer is None:
            return Wrong("your function returns nothing", "end it with `return ...`.")
        value = float(answer)
        if value == right:
            continue
        if value in (0, 1, 2, 3, 4) and value == candidates.index(right):
            return Wrong(
                f"it returns {value:g}, the place of the best candidate",
                "return the candidate itself.",
            )
        times = [F.cross_entropy(logits * t, targets).item() for t in candidates]
        if value == candidates[int(np.argmin(times))]:
            return Wrong(
                "the logits were multiplied", "a temperature divides: logits / temperature."
            )
        losses = [F.cross_entropy(logits / t, targets).item() for t in candidates]
        if value == candidates[int(np.argmax(losses))]:
            return Wrong("it takes the largest loss", "the smallest cross-entropy is the best.")
        return Wrong(
            f"it chooses {value:g} where {right:g} has the smallest cross-entropy",
            "compute F.cross_entropy(logits / t, targets) for each t, and take the smallest.",
        )
    return None


best_temperature = Function(
    number="15.3",
    name="best_temperature",
    reference=_best_temperature,
    why="One number, chosen by the loss on photos that were not trained on. The order of the scores, "
    "and so every answer, stays as it was.",
    hints=(
        "cross-entropy is small when the probabilities are honest: try each candidate.",
        "min(candidates, key=lambda t: F.cross_entropy(logits / t, targets).item()).",
    ),
    worked=(
        "def best_temperature(logits, targets, candidates):\n"
        "    return min(candidates, key=lambda t: F.cross_entropy(logits / t, targets).item())"
    ),
    judge=_judge_best_temperature,
)

# -------------------------------------------------------------------------------- 15.4 wrong_line

wrong_line = Choice(
    number="15.4",
    name="wrong_line",
    reference="c",
    why="The mean and the standard deviation belong to values from 0 to 1. Subtracted from bytes up to "
    "255 they do next to nothing, and the network gets inputs some hundred times too large.",
    hints=(
        "follow the range of the numbers from line to line. Which range do mean and std expect?",
        "a byte goes from 0 to 255. mean is about 0.45.",
    ),
    worked='answer = "c"',
    options={
        "a": Wrong(
            "resizing the short side to 146 is what the transforms of the run do",
            "follow the range of the numbers.",
        ),
        "b": Wrong(
            "cutting out the middle 128 x 128 is what the transforms of the run do",
            "follow the range of the numbers.",
        ),
        "c": None,
        "d": Wrong(
            "the network wants channels first and a batch dimension, and gets both",
            "follow the range of the numbers.",
        ),
    },
)

# ----------------------------------------------------------------------------------- 15.5 to_int8


def _to_int8(w: Tensor) -> tuple[Tensor, float]:
    scale = w.abs().max().item() / 127
    return (w / scale).round().clamp(-127, 127).to(torch.int8), scale


def _judge_to_int8(attempt: Callable) -> Wrong | None:
    w = 0.3 * torch.randn(64, 9, generator=torch.Generator().manual_seed(7))
    w[3, 4] = -1.9
    answer = attempt(w.clone())
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        return Wrong("it does not return a pair", "return q, scale.")
    q, scale = torch.as_tensor(answer[0]), float(answer[1])
    if q.dtype != torch.int8:
        return Wrong(f"q has the type {q.dtype}", "end with .to(torch.int8).")
    if q.shape != w.shape:
        return Wrong(f"q has shape {tuple(q.shape)}", "it has the shape of w.")
    if scale <= 0:
        return Wrong(f"the scale is {scale:g}", "the scale is w.abs().max() / 127, above 0.")
    error = (q.float() * scale - w).abs().max().item()
    if scale > 1.05 * 1.9 / 127:
        return Wrong(
            f"the scale is {scale:.4f}, so of the 255 steps only some are used",
            "the largest absolute weight becomes 127: scale = w.abs().max() / 127.",
        )
    if error > 1:
        return Wrong(
            f"a weight comes back wrong by {error:.2f}: the bytes ran over",
            "the largest *absolute* weight becomes 127; mind that -1.9 is farther out than the maximum.",
        )
    if error > 0.51 * scale * 1.02:
        return Wrong(
            f"the largest error is {error / scale:.2f} of a step, and half a step is possible",
            "converting cuts off the decimals; .round() first.",
        )
    return None


to_int8 = Function(
    number="15.5",
    name="to_int8",
    reference=_to_int8,
    why="255 equal steps from the largest weight down to its negative. No weight comes back wrong by "
    "more than half a step.",
    hints=(
        "how large is a step, if the largest absolute weight is to become 127?",
        "scale = w.abs().max().item() / 127, then (w / scale).round().to(torch.int8).",
    ),
    worked=(
        "def to_int8(w):\n"
        "    scale = w.abs().max().item() / 127\n"
        "    return (w / scale).round().to(torch.int8), scale"
    ),
    judge=_judge_to_int8,
)
