"""Questions of lesson 06, unfreeze."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import ftcourse as ft
from ftcourse.exercises import Choice, Function, Wrong
from ftcourse.exercises.match import Match

# ------------------------------------------------------------------------------- 6.1 first_step


def _first_step(
    weights: Tensor,
    gradient: Tensor,
    lr: float,
    layer_decay: float,
    distance: int,
    weight_decay: float,
) -> Tensor:
    rate = lr * layer_decay**distance
    return weights - rate * (gradient.sign() + weight_decay * weights)


def _by_torch(weights: Tensor, gradient: Tensor, rate: float, weight_decay: float) -> Tensor:
    """What AdamW itself makes of the weights in its first step."""
    parameter = nn.Parameter(weights.clone())
    parameter.grad = gradient.clone()
    torch.optim.AdamW([parameter], lr=rate, weight_decay=weight_decay).step()
    return parameter.detach()


def _judge_first_step(attempt: Callable) -> Wrong | None:
    shape = (4, 3)
    for lr, layer_decay, distance, weight_decay in (
        (1e-2, 1.0, 0, 0.0),
        (1e-2, 0.5, 3, 0.0),
        (1e-2, 0.5, 2, 0.3),
    ):
        weights, gradient = torch.randn(shape), torch.randn(shape)
        given = weights.clone()
        answer = attempt(given, gradient.clone(), lr, layer_decay, distance, weight_decay)
        if answer is None:
            return Wrong("your function returns nothing", "end it with `return` and the weights.")
        if not isinstance(answer, Tensor) or answer.shape != shape:
            return Wrong(
                f"it returns {_kind(answer)} for weights of shape {shape}",
                "return the new weights, in the shape of the old ones.",
            )
        rate = lr * layer_decay**distance
        right = _by_torch(weights, gradient, rate, weight_decay)
        if torch.allclose(answer.detach().float(), right, atol=1e-6):
            continue
        setting = f"lr={lr}, layer_decay={layer_decay}, distance={distance}, "
        setting += f"weight_decay={weight_decay}"
        return _wrong_step(answer.detach().float(), weights, gradient, rate, setting, right)
    return None


def _wrong_step(
    answer: Tensor, weights: Tensor, gradient: Tensor, rate: float, setting: str, right: Tensor
) -> Wrong:
    """Which of the usual slips gives this answer?"""
    moved, sign = answer - weights, gradient.sign()

    def is_step(step: Tensor) -> bool:
        return torch.allclose(moved, step, atol=1e-6)

    if is_step(rate * sign):
        return Wrong("the weights go uphill", "against the gradient: subtract.")
    if is_step(-rate * gradient):
        return Wrong(
            "the step is as large as the gradient: that is SGD",
            "in its first step AdamW divides the gradient by its own size; only the sign is left.",
        )
    if is_step(-1e-2 * sign):
        return Wrong(
            f"with {setting} the step is {1e-2:g}, the rate of the head's group",
            "multiply the rate by layer_decay once for each group of distance.",
        )
    if is_step(-rate * sign):
        return Wrong(
            f"with {setting} weight decay changes nothing",
            "AdamW also subtracts rate * weight_decay * weights.",
        )
    if not torch.allclose(answer, right, atol=1e-6) and "weight_decay=0.0" not in setting:
        return Wrong(
            f"right without weight decay, and not with {setting}",
            "the whole step, the pull to zero too, is multiplied by the rate: "
            "rate * (sign + weight_decay * weights).",
        )
    length = moved.abs().mean().item()
    return Wrong(
        f"with {setting} a weight moves by {length:.2g} on average, and should by {rate:.2g}",
        "the group's rate is lr * layer_decay ** distance.",
    )


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return type(value).__name__


first_step = Function(
    number="6.1",
    name="first_step",
    reference=_first_step,
    why="Each weight moves by the rate of its group, however small its gradient is; PyTorch's AdamW "
    "makes the same step.",
    hints=(
        "two lines: first the rate of the group, then the step.",
        "rate = lr * layer_decay ** distance; subtract rate * gradient.sign(), and also "
        "rate * weight_decay * weights.",
    ),
    worked=(
        "def first_step(weights, gradient, lr, layer_decay, distance, weight_decay):\n"
        "    rate = lr * layer_decay**distance\n"
        "    return weights - rate * (gradient.sign() + weight_decay * weights)"
    ),
    judge=_judge_first_step,
)

# ------------------------------------------------------------------------------ 6.2 match_runs

_MATCH = {"one rate": "C", "layer_decay=0.3": "A", "layer4 and head": "D"}
_MATCH["head, with model.train()"] = "B"


def mystery_runs(images: Tensor, targets: Tensor, steps: int = 4) -> dict[str, list[dict]]:
    """The rows of `freeze_report` for four short runs on these images, by letter.

    images float32 (N, 3, H, W), targets int64 (N,). Which run is which is for the learner to find.
    """
    stages = {
        "one rate": ft.Stage("all", lr=1e-4, weight_decay=0.0),
        "layer_decay=0.3": ft.Stage("all", lr=1e-4, layer_decay=0.3, weight_decay=0.0),
        "layer4 and head": ft.Stage("layer4", lr=1e-4, weight_decay=0.0),
        "head, with model.train()": ft.Stage("head", lr=1e-4, weight_decay=0.0),
    }
    reports = {}
    for name, stage in stages.items():
        model = ft.replace_head(ft.load_backbone("resnet18"), int(targets.max()) + 1)
        ft.apply_stage(model, stage)
        optimizer = ft.make_optimizer(model, stage)
        for _ in range(steps):
            model.train() if "train()" in name else ft.train_mode(model)
            F.cross_entropy(model(images), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
        reports[_MATCH[name]] = ft.freeze_report(model).rows
    return dict(sorted(reports.items()))


match_runs = Match(
    number="6.2",
    name="match_runs",
    reference=_MATCH,
    why="C moves every group alike, for AdamW's steps have the length of the rate; A falls off by "
    "0.3 a group; D stands still below layer4; in B not one weight below the head moves, and all "
    "statistics do.",
    hints=(
        "start with the groups that stand at zero: which run leaves their weights alone?",
        "then the slope: layer_decay=0.3 makes each group move 0.3 times as far as the next. And "
        "model.train() moves BatchNorm's statistics without moving a weight.",
    ),
    worked=(
        'answer = {\n    "one rate": "C",\n    "layer_decay=0.3": "A",\n'
        '    "layer4 and head": "D",\n    "head, with model.train()": "B",\n}'
    ),
    letters="abcd",
    tells={
        "head, with model.train()": Wrong(
            "the run in which only the head should move is another one",
            "in which panel do no blue bars stand below the head, and orange ones do?",
        ),
        "layer4 and head": Wrong(
            "the run with frozen stem to layer3 is another one",
            "in which panel are the first four groups empty, weights and statistics?",
        ),
        "one rate": Wrong(
            "the two runs in which everything moves are the other way round",
            "layer_decay=0.3 makes each group move 0.3 times as far as the next one.",
        ),
        "layer_decay=0.3": Wrong(
            "the run with layer_decay=0.3 is another one",
            "layer_decay=0.3 makes each group move 0.3 times as far as the next one.",
        ),
    },
)

# ---------------------------------------------------------------------------- 6.3 schedule_bug

schedule_bug = Choice(
    number="6.3",
    name="schedule_bug",
    reference="c",
    why="The schedule was made for 40 steps and gets 5: it is still warming up when training ends, "
    "and never falls. Step it once a batch, next to optimizer.step().",
    hints=(
        "count: how often is scheduler.step() called in all, and how many steps was it made for?",
        "warm-up takes 4 of 40 steps. After 5 calls, where on the curve above are you?",
    ),
    worked='answer = "c"',
    options={
        "a": Wrong(
            "without warm-up the rate would start high, and it would not fall either",
            "why does the cosine never come?",
        ),
        "b": Wrong(
            "5 epochs of 8 batches are 40 steps: line 2 counts right",
            "and how often is the schedule moved on?",
        ),
        "c": None,
        "d": Wrong(
            "a new optimizer in each epoch would lose what AdamW remembers, and start the schedule "
            "again five times",
            "how many times is scheduler.step() called?",
        ),
    },
)

# ----------------------------------------------------------------------------- 6.4 interpolate

State = dict[str, Tensor]


def _interpolate(before: State, after: State, share: float) -> State:
    return {name: (1 - share) * before[name] + share * after[name] for name in after}


def _two_states() -> tuple[nn.Module, State, State]:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 2))
    states = []
    for batches in (1, 3):
        for parameter in model.parameters():
            nn.init.normal_(parameter)
        with torch.no_grad():
            for _ in range(batches):
                model(torch.randn(8, 3, 6, 6) + batches)
        states.append({k: v.clone() for k, v in model.state_dict().items()})
    return model, states[0], states[1]


def _judge_interpolate(attempt: Callable) -> Wrong | None:
    model, before, after = _two_states()
    copies = ({k: v.clone() for k, v in s.items()} for s in (before, after))
    kept_before, kept_after = copies
    for share in (0.25, 1.0, 0.0):
        answer = attempt(before, after, share)
        if answer is None:
            return Wrong("your function returns nothing", "return a dict, a name to each tensor.")
        if not isinstance(answer, Mapping):
            return Wrong(
                f"it returns {_kind(answer)}", "return a dict with the same names as `after`."
            )
        for state, kept in ((before, kept_before), (after, kept_after)):
            if any(not torch.equal(state[k], kept[k]) for k in kept):
                return Wrong(
                    "it changes the dicts it is given",
                    "make a new dict, and no in-place operation such as += on their tensors.",
                )
        missing = [name for name in after if name not in answer]
        if missing:
            return Wrong(
                f"{len(missing)} tensors are missing, {missing[0]} among them",
                "go through all names of `after`: BatchNorm's statistics belong to the state, too.",
            )
        if wrong := _wrong_mixture(answer, before, after, share):
            return wrong
        model.load_state_dict(dict(answer))
    return None


def _wrong_mixture(answer: Mapping, before: State, after: State, share: float) -> Wrong | None:
    for name, right in _interpolate(before, after, share).items():
        if not before[name].is_floating_point():
            continue  # a counter of batches: nobody uses it
        if torch.allclose(answer[name].float(), right, atol=1e-5):
            continue
        if torch.allclose(answer[name].float(), before[name] + after[name] - right, atol=1e-5):
            return Wrong(
                f"share={share:g} gives what belongs to {1 - share:g}",
                "share=1 is `after`, share=0 is `before`.",
            )
        if "running" in name:
            return Wrong(
                f"the weights are mixed right, and {name} is not",
                "BatchNorm's statistics go the same way as the weights.",
            )
        return Wrong(
            f"for share={share:g}, {name} is not {1 - share:g} x before + {share:g} x after",
            "(1 - share) times the one plus share times the other, tensor by tensor.",
        )
    return None


interpolate = Function(
    number="6.4",
    name="interpolate",
    reference=_interpolate,
    why="Each tensor lies on the straight line between the two networks, BatchNorm's statistics "
    "included.",
    hints=(
        "a new dict with the same names; each tensor is a mixture of two.",
        "{name: (1 - share) * before[name] + share * after[name] for name in after}",
    ),
    worked=(
        "def interpolate(before, after, share):\n"
        "    return {\n"
        "        name: (1 - share) * before[name] + share * after[name]\n"
        "        for name in after\n"
        "    }"
    ),
    judge=_judge_interpolate,
)

# ---------------------------------------------------------------------------- 6.5 choose_stages

_PLANS = {"old and new": "a", "birds": "b", "X-rays": "c"}
_TOO_FAST = Wrong(
    "in d θ takes steps of 0.03, about the size of its own weights",
    "look again at the sweep of learning rates.",
)

choose_stages = Match(
    number="6.5",
    name="choose_stages",
    reference=_PLANS,
    why="Old and new: only where no weight of θ and no statistic moves does the old head go on "
    "unchanged. Birds: θ is good already; move it, but gently, and from a fitted head. X-rays: there "
    "is much to change in θ and enough photos to change it by; still the head first, for it costs "
    "little.",
    hints=(
        "ask twice: how much of θ has to change for these photos, and what is lost if it does?",
        "one of them must not move θ at all; one has every reason to move it far.",
    ),
    worked='answer = {"old and new": "a", "birds": "b", "X-rays": "c"}',
    letters="abcd",
    tells={
        **{(name, "d"): _TOO_FAST for name in _PLANS},
        "old and new": Wrong(
            "in b and c θ moves, and the old head was made for the old θ",
            "which plan leaves θ, and its statistics, to the last bit?",
        ),
        "X-rays": Wrong(
            "X-rays look like nothing in the pre-training, and there are thousands of them",
            "which plan lets the early layers learn as fast as the late ones?",
        ),
        "birds": Wrong(
            "birds are near the pre-training, and there are some photos to learn from",
            "which plan moves the early layers, but only a little?",
        ),
    },
)
