"""Lesson 09's questions, proven with right answers written differently and typical wrong ones."""

from __future__ import annotations

import pytest
import torch
from helpers import assert_right, assert_worked_answer_is_right, assert_wrong
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ftcourse.exercises import lesson09 as check


def counted_by_pytorch(in_channels, out_channels, kernel, height, width):
    layer = nn.Conv2d(in_channels, out_channels, kernel, padding="same", bias=False)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(torch.zeros(1, in_channels, height, width))
    return counter.get_total_flops()


def sum_over_outputs(in_channels, out_channels, kernel, height, width):
    return sum(2.0 * in_channels * kernel**2 for _ in range(out_channels)) * height * width


@pytest.mark.parametrize(
    "attempt",
    [lambda i, o, k, h, w: 2 * i * o * k * k * h * w, counted_by_pytorch, sum_over_outputs],
)
def test_9_1_takes_any_way_to_count(attempt, capsys):
    assert_right(check.conv_flops, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (lambda i, o, k, h, w: i * o * k * k * h * w, "2 FLOPs"),
        (lambda i, o, k, h, w: 2 * i * o * k * h * w, "k x k places"),
        (lambda i, o, k, h, w: 2 * i * o * h * w, "k x k places"),
        (lambda i, o, k, h, w: 2 * o * k * k * h * w, "all input channels"),
        (lambda i, o, k, h, w: 2 * i * k * k * h * w, "each output channel"),
        (lambda i, o, k, h, w: 2 * i * o * k * k, "at each place"),
        (lambda i, o, k, h, w: (2 * i * k * k + 1) * o * h * w, "no bias"),
        (lambda i, o, k, h, w: None, "count of FLOPs"),
        (lambda i, o: 3, "how many products"),
    ],
)
def test_9_1_tells_wrong_counts_apart(attempt, hint, capsys):
    assert_wrong(check.conv_flops, attempt, hint, capsys)


@pytest.mark.parametrize("attempt", [3.64, 3.6, 1.18 * 3.0625, torch.tensor(3.65), "3.64"])
def test_9_2_takes_the_square(attempt, capsys):
    assert_right(check.at_224, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (1.18 * 1.75, "both grow"),
        (1.18, "larger"),
        (1.18 * 1.75**3, "two sides"),
        (3.06, "times the 1.18"),
        (12, "which factors"),
        ("many", "which factors"),
    ],
)
def test_9_2_tells_wrong_counts_apart(attempt, hint, capsys):
    assert_wrong(check.at_224, attempt, hint, capsys)


@pytest.mark.parametrize("attempt", ["b", "B", ["b"]])
def test_9_3_takes_the_letter(attempt, capsys):
    assert_right(check.stem_only, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        ("a", "no longer needed"),
        ("c", "on its way"),
        ("d", "on its way"),
        ("z", "letter in quotes"),
    ],
)
def test_9_3_answers_each_wrong_option(attempt, hint, capsys):
    assert_wrong(check.stem_only, attempt, hint, capsys)


def step_by_step(epochs, frozen, trains):
    slow = sum(frozen + trains for _ in range(epochs))
    return slow / (frozen + sum(trains for _ in range(epochs)))


@pytest.mark.parametrize(
    "attempt", [step_by_step, lambda e, f, t: torch.tensor(e * (f + t) / (f + e * t))]
)
def test_9_4_takes_any_way_to_divide(attempt, capsys):
    assert_right(check.speedup, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (lambda e, f, t: (f + e * t) / (e * (f + t)), "upside down"),
        (lambda e, f, t: (f + t) / t if t else e, "once is not never"),
        (lambda e, f, t: e, "both ways"),
        (lambda e, f, t: (f + t) / (f + e * t), "makes both in each epoch"),
        (lambda e, f, t: None, "slow / once"),
        (lambda e, f, t: e + f + t, "both totals"),
    ],
)
def test_9_4_tells_wrong_ratios_apart(attempt, hint, capsys):
    assert_wrong(check.speedup, attempt, hint, capsys)


@pytest.mark.parametrize("attempt", ["a, d", "DA", {"a", "d"}])
def test_9_5_takes_the_letters(attempt, capsys):
    assert_right(check.which_cache, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        ("a, b, d", "in epoch 2"),
        ("a, c, d", "which mode"),
        ("a, d, e", "which weights"),
        ("a", "would the slow way"),
    ],
)
def test_9_5_tells_wrong_choices_apart(attempt, hint, capsys):
    assert_wrong(check.which_cache, attempt, hint, capsys)


def test_the_worked_answers_are_right(capsys):
    for exercise in (
        check.conv_flops,
        check.at_224,
        check.stem_only,
        check.speedup,
        check.which_cache,
    ):
        assert_worked_answer_is_right(exercise, capsys)
