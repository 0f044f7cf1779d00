"""Lesson 15's questions, proven with right answers written differently and typical wrong ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import assert_right, assert_worked_answer_is_right, assert_wrong

from ftcourse.exercises import lesson15 as check


@pytest.mark.parametrize("attempt", ["b", "B", "b)"])
def test_15_1_takes_the_letter(attempt, capsys):
    assert_right(check.first_cure, attempt, capsys)


@pytest.mark.parametrize("attempt", ["a", "c", "d"])
def test_15_1_answers_each_wrong_option(attempt, capsys):
    assert_wrong(check.first_cure, attempt, "raises the score", capsys)


def by_einsum(maps, gradients):
    heat = torch.einsum("c,chw->hw", gradients.flatten(1).mean(1), maps).clamp(min=0)
    return heat / heat.max()


def in_a_loop(maps, gradients):
    heat = torch.zeros(maps.shape[1:])
    for one, gradient in zip(maps, gradients, strict=True):
        heat += gradient.mean() * one
    heat = heat.numpy()
    return np.maximum(heat, 0) / heat.max()


@pytest.mark.parametrize("attempt", [by_einsum, in_a_loop])
def test_15_2_takes_any_way_to_weigh_the_maps(attempt, capsys):
    assert_right(check.cam, attempt, capsys)


def weighted(maps, gradients):
    return (gradients.mean((1, 2))[:, None, None] * maps).sum(0)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (weighted, "clip at 0"),
        (lambda m, g: weighted(m, g).relu(), "divide by the maximum"),
        (lambda m, g: (m * g).sum(0).relu() / (m * g).sum(0).max(), "one weight a channel"),
        (lambda m, g: m.sum(0) / m.sum(0).max(), "how much each channel counts"),
        (lambda m, g: weighted(m, g)[None], "sum over the channels"),
        (lambda m, g: None, "return"),
        (lambda m, g: m.mean(0), "weights = gradients.mean"),
        (lambda m, g: m @ g, "one weight a channel"),
    ],
)
def test_15_2_tells_wrong_heat_apart(attempt, hint, capsys):
    assert_wrong(check.cam, attempt, hint, capsys)


def by_hand(logits, targets, candidates):
    best, found = float("inf"), None
    for t in candidates:
        log_p = (logits / t).log_softmax(1)
        loss = -log_p[torch.arange(len(targets)), targets].mean()
        if loss < best:
            best, found = loss, t
    return found


def as_tensor(logits, targets, candidates):
    losses = torch.stack([F.cross_entropy(logits / t, targets) for t in candidates])
    return torch.tensor(candidates)[losses.argmin()]


@pytest.mark.parametrize("attempt", [by_hand, as_tensor])
def test_15_3_takes_any_search(attempt, capsys):
    assert_right(check.best_temperature, attempt, capsys)


def the_place(logits, targets, candidates):
    return int(np.argmin([F.cross_entropy(logits / t, targets) for t in candidates]))


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (the_place, "return the candidate itself"),
        (lambda x, y, c: min(c, key=lambda t: F.cross_entropy(x * t, y).item()), "divides"),
        (lambda x, y, c: max(c, key=lambda t: F.cross_entropy(x / t, y).item()), "smallest"),
        (lambda x, y, c: None, "return"),
        (lambda x, y, c: 1.0, "for each t"),
        (lambda x, y, c: min(c, key=lambda t: F.cross_entropy(x / t)), "try each candidate"),
    ],
)
def test_15_3_tells_wrong_searches_apart(attempt, hint, capsys):
    assert_wrong(check.best_temperature, attempt, hint, capsys)


@pytest.mark.parametrize("attempt", ["c", " C "])
def test_15_4_takes_the_letter(attempt, capsys):
    assert_right(check.wrong_line, attempt, capsys)


@pytest.mark.parametrize("attempt", ["a", "b", "d"])
def test_15_4_answers_each_wrong_option(attempt, capsys):
    assert_wrong(check.wrong_line, attempt, "range of the numbers", capsys)


def in_numpy(w):
    w = w.numpy()
    scale = float(np.abs(w).max()) / 127
    return torch.from_numpy(np.rint(w / scale).astype(np.int8)), scale


def by_torch(w):
    scale = (w.abs().max() / 127).item()
    return torch.clamp(torch.round(w / scale), -128, 127).to(torch.int8), scale


@pytest.mark.parametrize("attempt", [in_numpy, by_torch])
def test_15_5_takes_any_way_to_eight_bits(attempt, capsys):
    assert_right(check.to_int8, attempt, capsys)


def steps(w, scale):
    return (w / scale).round().to(torch.int8), scale


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (lambda w: ((w / (1.9 / 127)).to(torch.int8), 1.9 / 127), ".round() first"),
        (lambda w: steps(w, w.max().item() / 127), "largest *absolute* weight"),
        (lambda w: steps(w, 1 / 8), "becomes 127"),
        (lambda w: ((w / 0.015).round(), 0.015), "torch.int8"),
        (lambda w: w.to(torch.int8), "return q, scale"),
        (lambda w: steps(w.flatten(), 1.9 / 127), "the shape of w"),
    ],
)
def test_15_5_tells_wrong_bytes_apart(attempt, hint, capsys):
    assert_wrong(check.to_int8, attempt, hint, capsys)


def test_the_worked_answers_are_right(capsys):
    for exercise in (
        check.first_cure,
        check.cam,
        check.best_temperature,
        check.wrong_line,
        check.to_int8,
    ):
        assert_worked_answer_is_right(exercise, capsys, torch=torch, F=F)
