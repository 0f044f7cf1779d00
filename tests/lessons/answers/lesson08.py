"""Answers to the questions of lesson 08."""

from __future__ import annotations

from collections import OrderedDict
from types import MappingProxyType

import torch

NAMES = {"torch": torch}

# ------------------------------------------------------------------------------------------ 8.2


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
PLANS = {"old and new": "a", "birds": "a", "drawings": "b", "X-rays": "c"}


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


PLAN = {"lr": 1e-3, "head_lr": 1e-3, "layer_decay": 0.2, "statistics move": False, "share": 1.0}
FIRST = {"lr": 3e-4, "head_lr": 3e-4, "layer_decay": 1.0, "statistics move": True, "share": 1.0}

RIGHT = {
    "match_runs": written(MATCH),
    "interpolate": [with_lerp, in_steps, ordered, with_a_sum, stacked, in_doubles],
    "choose_stages": written(PLANS),
    "old_and_new": [
        PLAN,
        {name: value if value is False else str(value) for name, value in PLAN.items()},
        dict(reversed(PLAN.items())),
        MappingProxyType(PLAN),
        {**PLAN, "lr": 3e-4, "head_lr": 3e-4, "layer_decay": 0.5},
        {**PLAN, "share": 1, "layer_decay": "1/5"},
        {**PLAN, "share": 0.5},
    ],
}

WRONG = {
    "match_runs": [
        ({**MATCH, "one rate": "A", "layer_decay=0.3": "C"}, "0.3 times as far"),
        ({**MATCH, "layer4 and head": "B", "head, with model.train()": "D"}, "all statistics have"),
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
        ({**PLANS, "birds": "b"}, "the cheapest plan"),
        ({**PLANS, "birds": "c"}, "the cheapest plan"),
        ({**PLANS, "drawings": "a"}, "unlike the pre-training"),
        ({**PLANS, "drawings": "c"}, "for thirty epochs"),
        ({**PLANS, "X-rays": "d"}, "sweep"),
        ({**PLANS, "birds": "x"}, "from a to d"),
        ({**PLANS, "birds": None}, "from a to d"),
        ({"birds": "a"}, "keep the names"),
        ("abc", "letter for each"),
        (3, "letter for each"),
    ],
    "old_and_new": [
        ({**FIRST, "lr": 1e-4}, "without any gradient"),
        ({**FIRST, "layer_decay": 0.3}, "without any gradient"),
        ({**FIRST, "statistics move": False}, "the early layers move"),
        ({**PLAN, "lr": 1e-6, "head_lr": 1e-6}, "little is gained"),
        ({**PLAN, "share": 0.0}, "little is gained"),
        ({**PLAN, "statistics move": "no"}, "True or False"),
        ({**PLAN, "statistics move": 0}, "True or False"),
        ({**PLAN, "share": 2}, "from 0 to 1"),
        ({**PLAN, "lr": -1}, "from 1e-07 to 1"),
        ({**PLAN, "layer_decay": "none"}, "from 0.01 to 1"),
        ({**PLAN, "epochs": 3}, "keep the names"),
        ("all", "keep its form"),
    ],
}

EQUIVALENT: dict[str, dict[str, str]] = {}
