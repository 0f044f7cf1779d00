"""Questions of lesson 08, unfreeze."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import ftcourse as ft
from ftcourse.exercises import Choice, Draw, Formula, Wrong
from ftcourse.exercises.gives import Unfit, mapping, tensor
from ftcourse.exercises.match import Match

# ------------------------------------------------------------------------------- 8.1 first_step


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


def _by_torch(
    weights: Tensor, gradient: Tensor, lr: float, decay: float, distance: int, weight_decay: float
) -> Tensor:
    """What AdamW itself makes of the weights in its first step."""
    for _ in range(distance):
        lr *= decay
    parameter = nn.Parameter(weights.clone())
    parameter.grad = gradient.clone()
    torch.optim.AdamW([parameter], lr=lr, weight_decay=weight_decay).step()
    return parameter.detach()


def _groups(draw: Draw) -> Iterator[tuple[Any, ...]]:
    """Vectors and matrices; gradients of both signs and zero; with and without decay of either kind."""
    for shape, decay, distance, weight_decay in (
        ((4, 3), 1.0, 0, 0.0),
        ((5,), 0.5, 0, 0.2),
        ((4, 3), 0.5, 3, 0.0),
        ((2, 2, 3), 0.9, 5, 0.0),
        ((4, 3), 0.7, 1, 0.3),
        ((6,), 0.6, 2, 0.5),
        ((3, 4), 0.8, 4, draw.real(0.1, 1.0)),
    ):
        gradient = draw.normal(*shape).sign() * 10 ** draw.uniform(-2, 2, *shape)
        gradient.view(-1)[0] = 0.0
        yield draw.normal(*shape), gradient, draw.real(0.01, 0.05), decay, distance, weight_decay


def _setting(w: Tensor, g: Tensor, lr: float, decay: float, distance: int, wd: float) -> str:
    return f"with lr={lr:.3g}, layer_decay={decay}, distance={distance}, weight_decay={wd:.3g}"


def _same_weights(answer: Tensor, right: Tensor) -> bool:
    """To a millionth: the steps are small beside the weights."""
    if answer.shape != right.shape:
        return False
    return torch.allclose(answer, right, rtol=0, atol=2e-6, equal_nan=True)


def _step(rate: Callable, pull: Callable) -> Callable:
    """weights - `pull` with the rate lr * `rate`(layer_decay, distance)."""

    def mistaken(w: Tensor, g: Tensor, lr: float, decay: float, distance: int, wd: float) -> Tensor:
        return w - pull(lr * rate(decay, distance), w, g, wd)

    return mistaken


def _power(decay: float, distance: int) -> float:
    return decay**distance


def _both(rate: float, w: Tensor, g: Tensor, wd: float) -> Tensor:
    return rate * (g.sign() + wd * w)


_RATE = "multiply the rate by layer_decay once for each group of distance."

first_step = Formula(
    number="10.1",
    name="first_step",
    reference=_first_step,
    why="Each weight moves by the rate of its group, however small its gradient is; PyTorch's AdamW "
    "makes the same step.",
    hints=(
        "two lines: first the rate of the group, then the step.",
        "the step has two parts, both times the rate: the gradient without its size, and the pull to zero.",
    ),
    worked=(
        "def first_step(weights, gradient, lr, layer_decay, distance, weight_decay):\n"
        "    rate = lr * layer_decay**distance\n"
        "    return weights - rate * (gradient.sign() + weight_decay * weights)"
    ),
    gives=tensor(hint="return the new weights, in the shape of the old ones."),
    cases=_groups,
    second=_by_torch,
    agree=_same_weights,
    describe=_setting,
    mistakes=(
        (
            _step(_power, lambda r, w, g, wd: -_both(r, w, g, wd)),
            Wrong("the weights go uphill", "against the gradient: subtract."),
        ),
        (
            _step(_power, lambda r, w, g, wd: r * (wd * w - g.sign())),
            Wrong("the weights go uphill", "against the gradient: subtract."),
        ),
        *(
            (
                _step(_power, pull),
                Wrong(
                    "the step is as large as the gradient: that is SGD",
                    "in its first step AdamW divides the gradient by its own size; only the sign is left.",
                ),
            )
            for pull in (
                lambda r, w, g, wd: r * (g + wd * w),
                lambda r, w, g, wd: r * g,
            )
        ),
        (
            _step(lambda decay, distance: 1.0, _both),
            Wrong("each group has the rate of the head's", _RATE),
        ),
        (
            _step(lambda decay, distance: decay * distance, _both),
            Wrong("the rate is multiplied by the distance", _RATE),
        ),
        (_step(lambda decay, distance: decay, _both), Wrong("the distance plays no part", _RATE)),
        (
            _step(lambda decay, distance: (1 - decay) ** distance, _both),
            Wrong(
                "layer_decay is taken for what is lost",
                "it is what is left: 0.9 for nine tenths of the rate.",
            ),
        ),
        (
            _step(lambda decay, distance: decay ** (distance + 1), _both),
            Wrong("the rate falls once too often", "at distance 0, the head, the rate is lr."),
        ),
        (
            _step(lambda decay, distance: decay**-distance, _both),
            Wrong("the rates grow towards the input", "each group is slower than the next."),
        ),
        (
            _step(_power, lambda r, w, g, wd: r * g.sign()),
            Wrong(
                "weight decay changes nothing",
                "AdamW also subtracts rate * weight_decay * weights.",
            ),
        ),
        (
            _step(_power, lambda r, w, g, wd: r * g.sign() + wd * w),
            Wrong(
                "the pull to zero is not multiplied by the rate",
                "the whole step is, the pull to zero too.",
            ),
        ),
        (
            _step(_power, lambda r, w, g, wd: r * (g.sign() - wd * w)),
            Wrong("weight decay makes the weights grow", "it pulls them to zero."),
        ),
        (
            _step(_power, lambda r, w, g, wd: r * (g + wd * w).sign()),
            Wrong(
                "weight decay is inside of the sign, as in the older Adam",
                "the W of AdamW: the pull to zero stands beside the gradient's step.",
            ),
        ),
        (
            _step(_power, lambda r, w, g, wd: r * (w.sign() + wd * w)),
            Wrong("it is the sign of the weights", "the sign of the gradient."),
        ),
        (
            _step(_power, lambda r, w, g, wd: r * (torch.where(g > 0, 1.0, -1.0) + wd * w)),
            Wrong(
                "a weight whose gradient is zero moves", "no gradient, no step: sign() of 0 is 0."
            ),
        ),
        (
            _step(_power, lambda r, w, g, wd: r * (g / g.abs() + wd * w)),
            Wrong("where the gradient is zero the weight becomes nan", "0 / 0: sign() of 0 is 0."),
        ),
    ),
)

# ------------------------------------------------------------------------------ 8.2 match_runs

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
    number="10.2",
    name="match_runs",
    reference=_MATCH,
    why="C moves every group alike, for AdamW's steps have the length of the rate; A falls off by "
    "0.3 a group; D stands still below layer4; in B not one weight below the head moves, and all "
    "statistics do.",
    hints=(
        "start with the groups that stand at zero: which run leaves their weights alone?",
        "then the slope from the stem to the head; and of BatchNorm's statistics, which move without any weight "
        "moving.",
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

# ---------------------------------------------------------------------------- 8.3 schedule_bug

schedule_bug = Choice(
    number="10.3",
    name="schedule_bug",
    reference="c",
    why="The schedule was made for 40 steps and gets 5: it is still warming up when training ends, "
    "and never falls. Step it once a batch, next to optimizer.step().",
    hints=(
        "count: how often is scheduler.step() called in all, and how many steps was it made for?",
        "once an epoch or once a batch? After so many calls, where on the curve above are you?",
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

# ----------------------------------------------------------------------------- 8.4 interpolate

State = dict[str, Tensor]


def _interpolate(before: State, after: State, share: float) -> State:
    return {name: (1 - share) * before[name] + share * after[name] for name in after}


def _by_lerp(before: State, after: State, share: float) -> State:
    return {k: torch.lerp(before[k].double(), v.double(), share).float() for k, v in after.items()}


def _network(classes: int) -> nn.Sequential:
    parts = (("conv1", nn.Conv2d(3, 4, 3)), ("bn1", nn.BatchNorm2d(4)), ("flatten", nn.Flatten()))
    return nn.Sequential(OrderedDict([*parts, ("fc", nn.Linear(64, classes))]))


def _state(draw: Draw, classes: int) -> State:
    """The state of a network of its own, statistics included."""
    model = _network(classes)
    state = {k: draw.normal(*v.shape) for k, v in model.state_dict().items() if v.ndim}
    counter = {"bn1.num_batches_tracked": draw.integers(1, 9)}
    return {k: counter.get(k, state.get(k)) for k in model.state_dict()}  # type: ignore[misc]


def _pairs(draw: Draw) -> Iterator[tuple[State, State, float]]:
    for share in (0.25, 1.0, 0.0, 0.5, draw.real(0.6, 0.95)):
        classes = draw.whole(2, 5)
        yield _state(draw, classes), _state(draw, classes), share


def _a_state(value: Any) -> State:
    found = mapping(hint="return a dict with the same names as `after`.")(value)
    if any(not isinstance(v, Tensor) for v in found.values()):
        raise Unfit("not all values of the dict are tensors", "mix tensor by tensor.")
    return found


def _same_state(answer: State, right: State) -> bool:
    """All names, and the same numbers; a counter of batches may be any: nobody uses it."""
    same = tensor()
    return answer.keys() == right.keys() and all(
        answer[k].shape == v.shape and torch.allclose(same(answer[k]), same(v), atol=1e-5)
        for k, v in right.items()
        if "num_batches" not in k
    )


def _only(kind: Callable[[str], bool], other: Callable[[State, State, str], Tensor]) -> Callable:
    """Right for the names of this kind; the others get something else."""

    def mistaken(before: State, after: State, share: float) -> State:
        right = _interpolate(before, after, share)
        return {k: v if kind(k) else other(before, after, k) for k, v in right.items()}

    return mistaken


def _statistic(name: str) -> bool:
    return "running" in name or "num_batches" in name


def _missing(before: State, after: State, share: float) -> State:
    return {k: v for k, v in _interpolate(before, after, share).items() if not _statistic(k)}


def _takes_it(attempt: Callable) -> Wrong | None:
    """Can a network load what comes back?"""
    draw = Draw(0)
    try:
        _network(3).load_state_dict(attempt(_state(draw, 3), _state(draw, 3), 0.5))
    except RuntimeError:
        return Wrong("the network cannot load it", "the same names and shapes as in `after`.")
    return None


_STATISTICS = Wrong(
    "the weights are mixed right, and BatchNorm's statistics are not",
    "BatchNorm's statistics go the same way as the weights.",
)
_HEAD = Wrong("the head is not mixed", "all names of `after` alike, those of fc too.")

interpolate = Formula(
    number="10.4",
    name="interpolate",
    reference=_interpolate,
    why="Each tensor lies on the straight line between the two networks, BatchNorm's statistics "
    "included.",
    hints=(
        "a new dict with the same names; each tensor is a mixture of two.",
        "go through the names; (1 - share) of the one network and share of the other.",
    ),
    worked=(
        "def interpolate(before, after, share):\n"
        "    return {\n"
        "        name: (1 - share) * before[name] + share * after[name]\n"
        "        for name in after\n"
        "    }"
    ),
    gives=_a_state,
    cases=_pairs,
    second=_by_lerp,
    agree=_same_state,
    also=_takes_it,
    describe=lambda before, after, share: f"for share={share:.2g}",
    mistakes=(
        (
            lambda before, after, share: _interpolate(after, before, share),
            Wrong("share and 1 - share are exchanged", "share=1 is `after`, share=0 is `before`."),
        ),
        (_only(lambda k: not _statistic(k), lambda before, after, k: after[k]), _STATISTICS),
        (_only(lambda k: not _statistic(k), lambda before, after, k: before[k]), _STATISTICS),
        (_only(lambda k: not k.startswith("fc"), lambda before, after, k: after[k]), _HEAD),
        (_only(lambda k: not k.startswith("fc"), lambda before, after, k: before[k]), _HEAD),
        (
            _missing,
            Wrong(
                "BatchNorm's statistics are missing",
                "go through all names of `after`: BatchNorm's statistics belong to the state, too.",
            ),
        ),
        (
            lambda before, after, share: after,
            Wrong("it is `after`, whatever the share", "mix the two, tensor by tensor."),
        ),
        (
            lambda before, after, share: before,
            Wrong("it is `before`, whatever the share", "mix the two, tensor by tensor."),
        ),
        (
            lambda before, after, share: {k: before[k] + share * after[k] for k in after},
            Wrong("the shares do not sum to one", "(1 - share) of `before`."),
        ),
        (
            lambda before, after, share: {k: (before[k] + after[k]) / 2 for k in after},
            Wrong("it is the middle, whatever the share", "(1 - share) and share, not a half."),
        ),
    ),
)

# ---------------------------------------------------------------------------- 8.5 choose_stages

_PLANS = {"old and new": "a", "birds": "b", "X-rays": "c"}
_TOO_FAST = Wrong(
    "in d θ takes steps of 0.03, about the size of its own weights",
    "look again at the sweep of learning rates.",
)

choose_stages = Match(
    number="10.5",
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
