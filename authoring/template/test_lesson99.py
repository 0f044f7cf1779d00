"""Lesson 99's questions, proven with right answers written differently and typical wrong ones."""

from __future__ import annotations

import pytest
import torch
from helpers import assert_right, assert_worked_answer_is_right, assert_wrong
from torch.nn.utils import parameters_to_vector

from ftcourse.exercises import lesson99 as check


def by_vectors(model):
    moving = parameters_to_vector(p for p in model.parameters() if p.requires_grad)
    return moving.numel() / parameters_to_vector(model.parameters()).numel()


def with_a_loop(model):
    moving = total = 0
    for _, p in model.named_parameters():
        total += p.nelement()
        if p.requires_grad:
            moving += p.nelement()
    return torch.tensor(moving / total)


@pytest.mark.parametrize("attempt", [by_vectors, with_a_loop])
def test_99_1_takes_any_right_count(attempt, capsys):
    assert_right(check.trained_share, attempt, capsys)


def of_tensors(model):
    return sum(p.requires_grad for p in model.parameters()) / len(list(model.parameters()))


def not_divided(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def frozen(model):
    return 1 - by_vectors(model)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (of_tensors, "p.numel()"),
        (not_divided, "divide by"),
        (frozen, "True for what may move"),
        (lambda model: None, "return"),
        (lambda model: 0.5, "which may move"),
    ],
)
def test_99_1_tells_wrong_counts_apart(attempt, hint, capsys):
    assert_wrong(check.trained_share, attempt, hint, capsys)


@pytest.mark.parametrize("attempt", ["b", "B", "b."])
def test_99_2_takes_the_letter(attempt, capsys):
    assert_right(check.what_shrinks, attempt, capsys)


@pytest.mark.parametrize(("attempt", "hint"), [("a", "beside a weight"), ("c", "beside a weight")])
def test_99_2_answers_each_wrong_option(attempt, hint, capsys):
    assert_wrong(check.what_shrinks, attempt, hint, capsys)


def test_the_worked_answers_are_right(capsys):
    for exercise in (check.trained_share, check.what_shrinks):
        assert_worked_answer_is_right(exercise, capsys)
