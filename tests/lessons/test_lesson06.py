"""Lesson 06's questions, proven with right answers written differently and typical wrong ones."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from helpers import assert_right, assert_worked_answer_is_right, assert_wrong, said
from torch import nn

from ftcourse.exercises import lesson06 as check


def with_torch(weights, gradient, lr, layer_decay, distance, weight_decay):
    parameter = nn.Parameter(weights)
    parameter.grad = gradient
    torch.optim.AdamW([parameter], lr * layer_decay**distance, weight_decay=weight_decay).step()
    return parameter


def in_a_loop(weights, gradient, lr, layer_decay, distance, weight_decay):
    for _ in range(distance):
        lr *= layer_decay
    weights = weights * (1 - lr * weight_decay)
    return weights - lr * gradient / gradient.abs()


def in_place(weights, gradient, lr, layer_decay, distance, weight_decay):
    rate = lr * layer_decay**distance
    weights -= rate * (torch.where(gradient > 0, 1.0, -1.0) + weight_decay * weights)
    return weights


@pytest.mark.parametrize("attempt", [with_torch, in_a_loop, in_place])
def test_6_1_takes_any_way_to_make_the_step(attempt, capsys):
    assert_right(check.first_step, attempt, capsys)


def uphill(w, g, lr, decay, distance, wd):
    return w + lr * decay**distance * (g.sign() + wd * w)


def sgd(w, g, lr, decay, distance, wd):
    return w - lr * decay**distance * (g + wd * w)


def one_rate(w, g, lr, decay, distance, wd):
    return w - lr * (g.sign() + wd * w)


def times_distance(w, g, lr, decay, distance, wd):
    return w - lr * decay * distance * (g.sign() + wd * w)


def no_decay(w, g, lr, decay, distance, wd):
    return w - lr * decay**distance * g.sign()


def decay_without_rate(w, g, lr, decay, distance, wd):
    return w - lr * decay**distance * g.sign() - wd * w


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (uphill, "subtract"),
        (sgd, "only the sign is left"),
        (one_rate, "once for each group of distance"),
        (times_distance, "lr * layer_decay ** distance"),
        (no_decay, "AdamW also subtracts"),
        (decay_without_rate, "the pull to zero too"),
        (lambda *given: None, "`return`"),
        (lambda *given: given[2], "in the shape of the old ones"),
        (lambda w, g, lr, decay, distance, wd: w - rate * g, "two lines"),  # noqa: F821
    ],
)
def test_6_1_tells_wrong_steps_apart(attempt, hint, capsys):
    assert_wrong(check.first_step, attempt, hint, capsys)


MATCH = {
    "one rate": "C",
    "layer_decay=0.3": "A",
    "layer4 and head": "D",
    "head, with model.train()": "B",
}


@pytest.mark.parametrize(
    "attempt",
    [MATCH, {k: v.lower() for k, v in MATCH.items()}, {k: f" {v}" for k, v in MATCH.items()}],
)
def test_6_2_takes_the_letters_in_any_case(attempt, capsys):
    assert_right(check.match_runs, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        ({**MATCH, "one rate": "A", "layer_decay=0.3": "C"}, "0.3 times as far"),
        ({**MATCH, "layer4 and head": "B", "head, with model.train()": "D"}, "orange ones do"),
        ({**MATCH, "layer4 and head": "C", "one rate": "D"}, "first four groups empty"),
        ({**MATCH, "one rate": "A"}, "0.3 times as far"),
        ({**MATCH, "one rate": None}, "from a to d"),
        ({**MATCH, "one rate": "E"}, "from a to d"),
        ({"one rate": "C"}, "keep the names"),
        ("C, A, D, B", "letter for each"),
        ({**MATCH, "one rate": 3}, "from a to d"),
    ],
)
def test_6_2_tells_wrong_matches_apart(attempt, hint, capsys):
    assert_wrong(check.match_runs, attempt, hint, capsys)


def test_6_2_left_blank_is_not_attempted(capsys):
    assert "not attempted" in said(check.match_runs, dict.fromkeys(MATCH), capsys)


def test_6_2_the_four_runs_look_as_the_answer_says():
    rows = check.mystery_runs(torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 0, 1]), steps=2)
    moved = {k: [r["moved"] for r in v[:5]] for k, v in rows.items()}
    statistics = {k: [r["stats_moved"] for r in v[:5]] for k, v in rows.items()}
    assert moved["B"] == [0] * 5 and min(statistics["B"]) > 0
    assert moved["D"][:4] == [0] * 4 == statistics["D"][:4] and moved["D"][4] > 0
    shares = [a / c for a, c in zip(moved["A"], moved["C"], strict=True)]
    assert all(low < 0.5 * high for low, high in pairwise(shares))


@pytest.mark.parametrize("attempt", ["c", "C", ["c"]])
def test_6_3_takes_the_letter(attempt, capsys):
    assert_right(check.schedule_bug, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        ("a", "cosine never come"),
        ("b", "moved on"),
        ("d", "how many times"),
        ("e", "a letter in quotes"),
    ],
)
def test_6_3_answers_each_wrong_option(attempt, hint, capsys):
    assert_wrong(check.schedule_bug, attempt, hint, capsys)


def with_lerp(before, after, share):
    return {
        k: torch.lerp(before[k], v, share) if v.is_floating_point() else v for k, v in after.items()
    }


def in_steps(before, after, share):
    mixed = {k: v.clone().float() for k, v in before.items()}
    for name in mixed:
        mixed[name] += share * (after[name] - before[name])
    return mixed


@pytest.mark.parametrize("attempt", [with_lerp, in_steps])
def test_6_4_takes_any_way_to_interpolate(attempt, capsys):
    assert_right(check.interpolate, attempt, capsys)


def reversed_shares(before, after, share):
    return {k: share * before[k] + (1 - share) * after[k] for k in after}


def weights_alone(before, after, share):
    return {
        k: after[k] if "running" in k else (1 - share) * before[k] + share * after[k] for k in after
    }


def without_statistics(before, after, share):
    names = [k for k in after if "running" not in k and "num_batches" not in k]
    return {k: (1 - share) * before[k] + share * after[k] for k in names}


def mutates(before, after, share):
    for name, value in after.items():
        if value.is_floating_point():
            value.mul_(share).add_((1 - share) * before[name])
    before["0.weight"] += 1
    return after


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (reversed_shares, "share=1 is `after`"),
        (weights_alone, "the same way as the weights"),
        (without_statistics, "belong to the state"),
        (mutates, "make a new dict"),
        (lambda before, after, share: after, "tensor by tensor"),
        (lambda before, after, share: None, "return a dict"),
        (lambda before, after, share: list(after.values()), "the same names"),
        (lambda before, after, share: (1 - share) * before + share * after, "a new dict"),
    ],
)
def test_6_4_tells_wrong_mixtures_apart(attempt, hint, capsys):
    assert_wrong(check.interpolate, attempt, hint, capsys)


PLANS = {"old and new": "a", "birds": "b", "X-rays": "c"}


@pytest.mark.parametrize("attempt", [PLANS, {k: v.upper() for k, v in PLANS.items()}])
def test_6_5_takes_the_plans_in_any_case(attempt, capsys):
    assert_right(check.choose_stages, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        ({**PLANS, "old and new": "b"}, "to the last bit"),
        ({**PLANS, "X-rays": "b"}, "as fast as the late ones"),
        ({**PLANS, "X-rays": "a"}, "as fast as the late ones"),
        ({**PLANS, "birds": "c"}, "only a little"),
        ({**PLANS, "X-rays": "d"}, "sweep"),
        ({**PLANS, "birds": "x"}, "from a to d"),
        ({"birds": "b"}, "keep the names"),
        ("abc", "letter for each"),
    ],
)
def test_6_5_tells_wrong_choices_apart(attempt, hint, capsys):
    assert_wrong(check.choose_stages, attempt, hint, capsys)


def test_the_worked_answers_are_right(capsys):
    for exercise in (
        check.first_step,
        check.match_runs,
        check.schedule_bug,
        check.interpolate,
        check.choose_stages,
    ):
        assert_worked_answer_is_right(exercise, capsys)
