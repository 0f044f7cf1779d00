"""Answers to the questions of lesson 07."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

NAMES = {"torch": torch}

# ------------------------------------------------------------------------------------------ 7.1


def with_torch(weights, gradient, lr, layer_decay, distance, weight_decay):
    parameter = nn.Parameter(weights.clone())
    parameter.grad = gradient
    torch.optim.AdamW([parameter], lr * layer_decay**distance, weight_decay=weight_decay).step()
    return parameter


def in_a_loop(weights, gradient, lr, layer_decay, distance, weight_decay):
    for _ in range(distance):
        lr *= layer_decay
    weights = weights * (1 - lr * weight_decay)
    return weights - lr * torch.nan_to_num(gradient / gradient.abs())


def with_where(weights, gradient, lr, layer_decay, distance, weight_decay):
    rate = lr * pow(layer_decay, distance)
    sign = torch.where(gradient > 0, 1.0, torch.where(gradient < 0, -1.0, 0.0))
    return weights - rate * sign - rate * weight_decay * weights


def by_adam(weights, gradient, lr, layer_decay, distance, weight_decay):
    """Adam's own formula, with the corrections for the first step."""
    rate = lr * layer_decay**distance
    m, v = 0.1 * gradient / (1 - 0.9), 0.001 * gradient**2 / (1 - 0.999)
    return weights * (1 - rate * weight_decay) - rate * m / (v.sqrt() + 1e-8)


def in_numpy(weights, gradient, lr, layer_decay, distance, weight_decay):
    import numpy as np

    w, g = weights.numpy(), gradient.numpy()
    return w - lr * layer_decay**distance * (np.sign(g) + weight_decay * w)


def in_double(weights, gradient, lr, layer_decay, distance, weight_decay):
    new = weights.double().clone()
    new -= lr * layer_decay**distance * (gradient.double().sign() + weight_decay * new)
    return new


def in_place(weights, gradient, lr, layer_decay, distance, weight_decay):
    weights -= lr * layer_decay**distance * (gradient.sign() + weight_decay * weights)
    return weights


def spoils_the_gradient(weights, gradient, lr, layer_decay, distance, weight_decay):
    return weights - lr * layer_decay**distance * (gradient.sign_() + weight_decay * weights)


def step(rate=lambda decay, distance: decay**distance, pull=lambda g, w, wd: g.sign() + wd * w):
    return lambda w, g, lr, decay, distance, wd: w - lr * rate(decay, distance) * pull(g, w, wd)


def decay_without_rate(w, g, lr, decay, distance, wd):
    return w - lr * decay**distance * g.sign() - wd * w


# ------------------------------------------------------------------------------------------ 7.3


def with_an_index(rates, losses):
    lowest = min(losses)
    for i in range(len(losses)):
        if losses[0] - losses[i] >= 0.5 * (losses[0] - lowest) - 1e-12:
            return rates[i]


def in_an_array(rates, losses):
    import numpy as np

    curve = np.array(losses)
    return np.array(rates)[(curve <= (curve[0] + curve.min()) / 2).argmax()]


def with_tensors(rates, losses):
    curve = torch.tensor(losses, dtype=torch.float64)
    below = torch.nonzero(curve <= (curve[0] + curve.min()) / 2)
    return torch.tensor(rates, dtype=torch.float64)[below[0]]


def with_next(rates, losses):
    half = min(losses) + (losses[0] - min(losses)) / 2
    return next(r for r, loss in zip(rates, losses, strict=True) if not loss > half + 1e-12)


def smallest_of_those_below(rates, losses):
    return min(
        r for r, loss in zip(rates, losses, strict=True) if 2 * loss <= losses[0] + min(losses)
    )


def in_a_while(rates, losses):
    i = 0
    while losses[i] > (losses[0] + sorted(losses)[0]) / 2:
        i += 1
    return rates[i]


def on_the_curve(limit, which=0):
    return lambda rates, losses: [
        r for r, loss in zip(rates, losses, strict=True) if loss <= limit(losses)
    ][which]


def half_of_start(rates, losses):
    return next((r for r, v in zip(rates, losses, strict=True) if v <= losses[0] / 2), rates[-1])


def from_the_highest(rates, losses):
    half = (max(losses) + min(losses)) / 2
    return next((r for r, v in zip(rates, losses, strict=True) if v <= half), rates[-1])


def to_the_last(rates, losses):
    half = (losses[0] + losses[-1]) / 2
    return next((r for r, v in zip(rates, losses, strict=True) if v <= half), rates[-1])


def a_third(rates, losses):
    half = losses[0] - (losses[0] - min(losses)) / 3
    return next(r for r, v in zip(rates, losses, strict=True) if v <= half)


def steepest(rates, losses):
    falls = [a - b for a, b in pairwise(losses)]
    return rates[falls.index(max(falls)) + 1]


def the_position(rates, losses):
    return [v <= (losses[0] + min(losses)) / 2 for v in losses].index(True)


def sorts_in_place(rates, losses):
    losses.sort()
    return rates[0]


GOOD = {"lr": 1e-3, "head_lr": 1e-2, "layer_decay": 1.0, "warmup": 0.0}
BAD = {"lr": 1e-2, "head_lr": 1e-2, "layer_decay": 1.0, "warmup": 0.0}

RIGHT = {
    "first_step": [with_torch, in_a_loop, with_where, by_adam, in_numpy, in_double],
    "schedule_bug": ["c", "C", ["c"], {"c"}, "c.", " c "],
    "half_way": [
        with_an_index,
        in_an_array,
        with_tensors,
        with_next,
        smallest_of_those_below,
        in_a_while,
    ],
    "rescue": [
        GOOD,
        {name: str(value) for name, value in GOOD.items()},
        dict(reversed(GOOD.items())),
        {**GOOD, "lr": 3e-4},
        {**GOOD, "layer_decay": 1},
        {**GOOD, "lr": "1/1000", "warmup": "0 %"},
        {**BAD, "layer_decay": 0.1},
    ],
}

WRONG = {
    "first_step": [
        (lambda w, *rest: 2 * w - step()(w, *rest), "subtract"),
        (step(pull=lambda g, w, wd: wd * w - g.sign()), "subtract"),
        (step(pull=lambda g, w, wd: g + wd * w), "only the sign is left"),
        (step(pull=lambda g, w, wd: g), "only the sign is left"),
        (step(rate=lambda decay, distance: 1), "once for each group of distance"),
        (step(rate=lambda decay, distance: decay * distance), "once for each group of distance"),
        (step(rate=lambda decay, distance: decay), "the distance plays no part"),
        (step(rate=lambda decay, distance: (1 - decay) ** distance), "it is what is left"),
        (step(rate=lambda decay, distance: 0.5**distance), "two lines"),
        (step(rate=lambda decay, distance: decay ** (distance + 1)), "once too often"),
        (step(rate=lambda decay, distance: decay**-distance), "grow towards the input"),
        (step(pull=lambda g, w, wd: g.sign()), "AdamW also subtracts"),
        (step(pull=lambda g, w, wd: g.sign() - wd * w), "pulls them to zero"),
        (step(pull=lambda g, w, wd: (g + wd * w).sign()), "inside of the sign"),
        (step(pull=lambda g, w, wd: w.sign() + wd * w), "the sign of the gradient"),
        (step(pull=lambda g, w, wd: torch.where(g > 0, 1, -1) + wd * w), "no gradient, no step"),
        (step(pull=lambda g, w, wd: g / g.abs() + wd * w), "nan"),
        (decay_without_rate, "the pull to zero too"),
        (in_place, "it changes weights"),
        (spoils_the_gradient, "it changes gradient"),
        (lambda *given: None, "returns nothing"),
        (lambda *given: given[2], "the shape is"),
        (lambda w, g, lr, decay, distance, wd: w - rate * g, "two lines"),  # noqa: F821
    ],
    "schedule_bug": [
        ("a", "cosine never come"),
        ("b", "moved on"),
        ("d", "how many times"),
        ("e", "a letter in quotes"),
        ("a, c", "cosine never come"),
        ("c and d", "how many times"),
        ("abcd", "cosine never come"),
        (3, "a letter in quotes"),
        (1e-3, "a letter in quotes"),
        ([], "a letter in quotes"),
    ],
    "half_way": [
        (lambda rates, losses: rates[losses.index(min(losses))], "the lowest loss"),
        (steepest, "from one step to the next"),
        (on_the_curve(lambda v: (v[0] + min(v)) / 2, -1), "on the way down"),
        (half_of_start, "the way ends at the lowest loss"),
        (from_the_highest, "the way begins at the first loss"),
        (to_the_last, "counted to the last loss"),
        (a_third, "rates, losses from"),
        (the_position, "a position in the list"),
        (lambda rates, losses: (losses[0] + min(losses)) / 2, "the loss half-way down"),
        (lambda rates, losses: min(losses), "that is a loss"),
        (sorts_in_place, "it changes losses"),
        (lambda rates, losses: None, "returns nothing"),
        (lambda rates, losses: rates, "return one rate"),
        (lambda rates, losses: rates[len(rates)], "IndexError"),
    ],
    "rescue": [
        ({**BAD, "head_lr": 1e-3}, "being ruined"),
        ({**BAD, "warmup": 0.3}, "being ruined"),
        ({"lr": 1e-4, "head_lr": 1e-4, "layer_decay": 1.0, "warmup": 0.0}, "can go faster"),
        ({**BAD, "lr": 1e-4, "head_lr": 0.1}, "the head overshoots"),
        ({**GOOD, "lr": 0}, "from 1e-07 to 1"),
        ({**GOOD, "lr": -1e-3}, "from 1e-07 to 1"),
        ({**GOOD, "head_lr": "fast"}, "a learning rate: a number"),
        ({**GOOD, "layer_decay": 2}, "from 0.01 to 1"),
        ({**GOOD, "warmup": 1}, "a share of the steps"),
        ({**GOOD, "lr": None}, "a learning rate: a number"),
        ({**GOOD, "lr": True}, "a learning rate: a number"),
        ({"lr": 1e-3}, "keep the names"),
        ({**GOOD, "epochs": 5}, "keep the names"),
        (1e-3, "keep its form"),
        ([1e-3, 1e-2], "keep its form"),
        (iter(GOOD), "can be read once only"),
    ],
}

EQUIVALENT: dict[str, dict[str, str]] = {}
