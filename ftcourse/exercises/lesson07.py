"""Questions of lesson 07, learning_rates."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import ftcourse as ft
from ftcourse.exercises import Choice, Draw, Formula, Wrong
from ftcourse.exercises.gives import number, tensor
from ftcourse.exercises.settings import Settings

# ------------------------------------------------------------------------------- 7.1 first_step


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
    number="7.1",
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

# ---------------------------------------------------------------------------- 7.2 schedule_bug

schedule_bug = Choice(
    number="7.2",
    name="schedule_bug",
    reference="c",
    why="The schedule was made for 40 steps and gets 5: it is still warming up when training ends, "
    "and never falls. Step it once a batch, next to optimizer.step().",
    hints=(
        "count: how often is scheduler.step() called in all, and how many steps was it made for?",
        "once an epoch or once a batch? After so many calls, where on the curve of a stage are you?",
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

# -------------------------------------------------------------------------------- 7.3 half_way

Curve = tuple[list[float], list[float]]


def _half_way(rates: list[float], losses: list[float]) -> float:
    half = (losses[0] + min(losses)) / 2
    return next(rate for rate, loss in zip(rates, losses, strict=True) if loss <= half)


def _half_way_by_numpy(rates: list[float], losses: list[float]) -> float:
    curve = np.asarray(losses)
    gone = (curve[0] - curve) / max(curve[0] - curve.min(), 1e-12)
    return rates[int(np.argmax(gone >= 0.5 - 1e-9))] if curve.min() < curve[0] else rates[0]


def _curves(draw: Draw) -> Iterator[Curve]:
    """Curves as a finder gives them: down and up again; a rise first; no fall at all; half-way met exactly."""
    yield [1e-4, 1e-3, 1e-2, 1e-1, 1.0], [0.8, 0.7, 0.5, 0.2, 0.9]
    yield [1e-5, 1e-4, 1e-3, 1e-2], [1.0, 0.75, 0.5, 3.0]  # exactly half-way at the second
    yield [1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0], [0.7, 0.9, 0.8, 0.44, 0.3, 0.2, 0.4]
    yield [1e-3, 1e-2, 1e-1], [0.4, 0.6, 2.0]
    for _ in range(3):
        count = draw.whole(12, 40)
        rates = np.geomspace(1e-5, draw.real(0.1, 1.0), count).tolist()
        start, low = draw.real(0.6, 1.2), draw.real(0.05, 0.3)
        at = count * draw.real(0.5, 0.8)
        steps = np.arange(count)
        fall = start - (start - low) / (1 + np.exp(-(steps - 0.7 * at) / (0.06 * count)))
        rise = np.where(steps > at, 0.02 * np.exp((steps - at) / (0.08 * count)), 0.0)
        noise = 0.01 * draw.normal(count).numpy()
        yield rates, (fall + rise + noise).tolist()


def _steepest(rates: list[float], losses: list[float]) -> float:
    return rates[int(np.argmin(np.diff(losses))) + 1]


def _on_the_way_up(rates: list[float], losses: list[float]) -> float:
    half = (losses[0] + min(losses)) / 2
    return [rate for rate, loss in zip(rates, losses, strict=True) if loss <= half][-1]


def _first_below(rates: list[float], losses: list[float], limit: float) -> float:
    return next((r for r, loss in zip(rates, losses, strict=True) if loss <= limit), rates[-1])


half_way = Formula(
    number="7.3",
    name="half_way",
    reference=_half_way,
    why="Half-way down the loss still falls fast: there a step is large enough to learn, and well below "
    "the rate that ruins.",
    hints=(
        "two lines: which loss is half of the way, from the start to the lowest point? And which rate gets "
        "there first?",
        "half of the way is the mean of the first loss and the smallest one. Then go through both lists side by "
        "side, and stop at the first loss that is not above it.",
    ),
    worked=(
        "def half_way(rates, losses):\n"
        "    half = (losses[0] + min(losses)) / 2\n"
        "    for rate, loss in zip(rates, losses):\n"
        "        if loss <= half:\n"
        "            return rate"
    ),
    gives=number("return one rate."),
    cases=_curves,
    second=_half_way_by_numpy,
    describe=lambda rates, losses: (
        f"for {len(rates)} rates, losses from {losses[0]:.2f} down to {min(losses):.2f}"
    ),
    mistakes=(
        (
            lambda rates, losses: rates[losses.index(min(losses))],
            Wrong(
                "that is the rate of the lowest loss, where the curve is about to turn",
                "there a step is nearly too large; the way down, and half of it.",
            ),
        ),
        (
            _steepest,
            Wrong(
                "that is where the loss falls most from one step to the next",
                "on a noisy curve that can be anywhere: take half of the way down.",
            ),
        ),
        (
            _on_the_way_up,
            Wrong(
                "that is the last rate below half-way, when the loss climbs again",
                "the first one, on the way down.",
            ),
        ),
        (
            lambda rates, losses: _first_below(rates, losses, losses[0] / 2),
            Wrong(
                "half of the first loss is not half of the way",
                "the way ends at the lowest loss, not at zero.",
            ),
        ),
        (
            lambda rates, losses: _first_below(rates, losses, (max(losses) + min(losses)) / 2),
            Wrong(
                "half of the way is counted from the highest loss",
                "the way begins at the first loss; the highest one comes when training has broken.",
            ),
        ),
        (
            lambda rates, losses: _first_below(rates, losses, (losses[0] + losses[-1]) / 2),
            Wrong(
                "half of the way is counted to the last loss",
                "it ends at the lowest loss; at the last one training has broken.",
            ),
        ),
        (
            lambda rates, losses: float(
                losses.index(next(loss for loss in losses if loss <= (losses[0] + min(losses)) / 2))
            ),
            Wrong("that is a position in the list", "return the rate that stands there."),
        ),
        (
            lambda rates, losses: (losses[0] + min(losses)) / 2,
            Wrong("that is the loss half-way down", "return the rate at which it is reached."),
        ),
        (
            lambda rates, losses: min(losses),
            Wrong("that is a loss", "return the rate at which half of the way is reached."),
        ),
    ),
)

# ---------------------------------------------------------------------------------- 7.4 rescue

START = {"lr": 1e-2, "head_lr": 1e-2, "layer_decay": 1.0, "warmup": 0.0}
GOAL = 0.45  # validation loss


@functools.lru_cache(maxsize=1)
def _insects() -> tuple[Any, Any, nn.Module]:
    """Training photos without augmentation, validation photos, and a network with a new head."""
    data = ft.load_data("pocket-insects", classes=("ants", "bees"), size=64, progress=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ft.replace_head(ft.load_backbone("resnet18"), 2)
    return data.train.with_transform(data.val.transform), data.val, model


def one_epoch(
    lr: float, head_lr: float, layer_decay: float = 1.0, warmup: float = 0.0
) -> dict[str, float]:
    """Validation loss and accuracy after 8 steps of all layers, from a new head, on 120 ants and bees."""
    plain, val, fresh = _insects()
    stage = ft.Stage(
        "all", epochs=1, lr=lr, head_lr=head_lr, layer_decay=layer_decay, warmup=warmup,
        weight_decay=0.0,
    )  # fmt: skip
    model = copy.deepcopy(fresh)
    optimizer = ft.make_optimizer(ft.apply_stage(model, stage), stage)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        loader = DataLoader(plain, batch_size=16, shuffle=True)
        scheduler = ft.make_scheduler(optimizer, stage, steps_per_epoch=len(loader))
        ft.train_one_epoch(model, loader, optimizer, scheduler=scheduler)
    return ft.evaluate(model, val)


_tried = functools.lru_cache(maxsize=64)(one_epoch)


def _judge_rescue(settings: dict[str, Any]) -> Wrong | None:
    found = _tried(**settings)
    loss = found["loss"]
    if loss < GOAL:
        return None
    seen = f"the validation loss is {loss:.3g} after the epoch, and {GOAL} is to be beaten"
    if settings["head_lr"] < 2e-3 and settings["lr"] < 5e-4:
        return Wrong(
            seen, "nothing is ruined, and eight steps are few: the new head can go faster."
        )
    if settings["head_lr"] > 2e-2 and settings["lr"] < 2e-3:
        return Wrong(seen, "the head overshoots: which rate did the finder name for it?")
    if loss > 1.0:
        return Wrong(seen, "θ is being ruined: compare lr with the size of the weights.")
    return Wrong(seen, "no ruin, and too slow: which groups could go faster?")


rescue = Settings(
    number="7.4",
    name="rescue",
    reference={"lr": 1e-3, "head_lr": 1e-2, "layer_decay": 1.0, "warmup": 0.1},
    why="The rates of θ decide whether it survives, those of the head whether eight steps are enough. Other rates "
    "do it as well: 0.01 for layer4 with a steep layer_decay spares the early layers. With more steps, go lower.",
    hints=(
        "first stop the ruin: which of the rates is as large as the weights it moves?",
        "then the pace: eight steps only. The new head has nothing to lose, and the finder has named its rate.",
    ),
    worked='rates = {"lr": 1e-3, "head_lr": 1e-2, "layer_decay": 1.0, "warmup": 0.1}',
    start=START,
    choices={
        "lr": (1e-7, 1.0, "a learning rate"),
        "head_lr": (1e-7, 1.0, "a learning rate"),
        "layer_decay": (0.01, 1.0, "what each group has of the rate of the next one"),
        "warmup": (0.0, 0.9, "a share of the steps"),
    },
    judge=_judge_rescue,
)
