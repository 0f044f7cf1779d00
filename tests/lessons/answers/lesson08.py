"""Answers to the questions of lesson 08."""

from __future__ import annotations

from collections import OrderedDict
from types import MappingProxyType

import torch
from torch import nn

NAMES = {"torch": torch}

# ------------------------------------------------------------------------------------------ 8.1


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


# ------------------------------------------------------------------------------------------ 8.4


def with_lerp(before, after, share):
    return {
        k: torch.lerp(before[k], v, share) if v.is_floating_point() else v for k, v in after.items()
    }


def in_steps(before, after, share):
    mixed = {k: v.clone().float() for k, v in before.items()}
    for name in mixed:
        mixed[name] += share * (after[name] - before[name])
    return mixed


def ordered(before, after, share):
    mixed = OrderedDict()
    for (name, a), b in zip(before.items(), after.values(), strict=True):
        mixed[name] = a.mul(1 - share).add(b.mul(share))
    return mixed


def with_a_sum(before, after, share):
    return {k: sum(s * d[k] for s, d in ((1 - share, before), (share, after))) for k in before}


def stacked(before, after, share):
    shares = torch.tensor([1 - share, share])
    return {
        k: torch.tensordot(shares, torch.stack([before[k].float(), after[k].float()]), dims=1)
        for k in after
    }


def in_doubles(before, after, share):
    return {k: before[k].double() + share * (after[k].double() - before[k]) for k in after}


def reversed_shares(before, after, share):
    return {k: share * before[k] + (1 - share) * after[k] for k in after}


def weights_alone(before, after, share):
    return {
        k: after[k] if "running" in k else (1 - share) * before[k] + share * after[k] for k in after
    }


def keeps_the_head(before, after, share):
    return {
        k: after[k] if k.startswith("fc.") else (1 - share) * before[k] + share * after[k]
        for k in after
    }


def without_statistics(before, after, share):
    names = [k for k in after if "running" not in k and "num_batches" not in k]
    return {k: (1 - share) * before[k] + share * after[k] for k in names}


def mutates(before, after, share):
    for name, value in after.items():
        if value.is_floating_point():
            value.mul_(share).add_((1 - share) * before[name])
    return after


def one_more(before, after, share):
    return {**reversed_shares(after, before, share), "share": torch.tensor(share)}


def flat(before, after, share):
    return {k: ((1 - share) * before[k] + share * after[k]).flatten() for k in after}


MATCH = {
    "one rate": "C",
    "layer_decay=0.3": "A",
    "layer4 and head": "D",
    "head, with model.train()": "B",
}
PLANS = {"old and new": "a", "birds": "b", "X-rays": "c"}


def written(answer):
    """A dict of letters as people write it."""
    return [
        answer,
        {k: v.lower() for k, v in answer.items()},
        {k: v.upper() for k, v in answer.items()},
        {k: f" {v}" for k, v in answer.items()},
        {k: f"({v})" for k, v in answer.items()},
        dict(reversed(answer.items())),
        OrderedDict(answer),
        MappingProxyType(answer),
    ]


RIGHT = {
    "first_step": [with_torch, in_a_loop, with_where, by_adam, in_numpy, in_double],
    "match_runs": written(MATCH),
    "schedule_bug": ["c", "C", ["c"], {"c"}, "c.", " c "],
    "interpolate": [with_lerp, in_steps, ordered, with_a_sum, stacked, in_doubles],
    "choose_stages": written(PLANS),
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
    "match_runs": [
        ({**MATCH, "one rate": "A", "layer_decay=0.3": "C"}, "0.3 times as far"),
        ({**MATCH, "layer4 and head": "B", "head, with model.train()": "D"}, "orange ones do"),
        ({**MATCH, "layer4 and head": "C", "one rate": "D"}, "first four groups empty"),
        ({**MATCH, "one rate": "A"}, "0.3 times as far"),
        ({**MATCH, "one rate": None}, "from a to d"),
        ({**MATCH, "one rate": "E"}, "from a to d"),
        ({**MATCH, "one rate": "C and A"}, "from a to d"),
        ({**MATCH, "one rate": 3}, "from a to d"),
        ({"one rate": "C"}, "keep the names"),
        ({**MATCH, "another": "A"}, "keep the names"),
        ("C, A, D, B", "letter for each"),
        (["C", "A", "D", "B"], "letter for each"),
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
    "interpolate": [
        (reversed_shares, "share=1 is `after`"),
        (weights_alone, "the same way as the weights"),
        (keeps_the_head, "those of fc too"),
        (without_statistics, "belong to the state"),
        (mutates, "it changes after"),
        (one_more, "for share="),
        (flat, "for share="),
        (lambda before, after, share: after, "tensor by tensor"),
        (lambda before, after, share: before, "tensor by tensor"),
        (lambda b, a, share: {k: b[k] + share * a[k] for k in a}, "sum to one"),
        (lambda b, a, share: {k: (b[k] + a[k]) / 2 for k in a}, "the middle"),
        (lambda before, after, share: None, "returns nothing"),
        (lambda before, after, share: list(after.values()), "the same names"),
        (lambda before, after, share: (1 - share) * before + share * after, "a new dict"),
        (lambda b, a, share: {k: (b[k] + a[k]).sum().item() for k in a}, "tensor by tensor"),
    ],
    "choose_stages": [
        ({**PLANS, "old and new": "b"}, "to the last bit"),
        ({**PLANS, "old and new": "c"}, "to the last bit"),
        ({**PLANS, "X-rays": "b"}, "as fast as the late ones"),
        ({**PLANS, "X-rays": "a"}, "as fast as the late ones"),
        ({**PLANS, "birds": "c"}, "only a little"),
        ({**PLANS, "X-rays": "d"}, "sweep"),
        ({**PLANS, "birds": "x"}, "from a to d"),
        ({**PLANS, "birds": None}, "from a to d"),
        ({"birds": "b"}, "keep the names"),
        ("abc", "letter for each"),
        (3, "letter for each"),
    ],
}

EQUIVALENT: dict[str, dict[str, str]] = {}
