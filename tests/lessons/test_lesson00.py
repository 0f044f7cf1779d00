"""Lesson 00's questions, proven with right answers written differently and typical wrong ones."""

from __future__ import annotations

import pytest
import torch
from helpers import assert_right, assert_worked_answer_is_right, assert_wrong

from ftcourse.exercises import lesson00 as check


def with_a_loop(logits, targets):
    right = 0
    for row, target in zip(logits, targets, strict=True):
        right += int(row.max(0).indices == target)
    return right / len(targets)


@pytest.mark.parametrize(
    "attempt",
    [
        with_a_loop,
        lambda z, t: (z.max(1)[1] == t).double().mean(),
        lambda z, t: (z.softmax(1).argmax(-1) == t).sum() / len(t),
    ],
)
def test_0_1_takes_any_right_accuracy(attempt, capsys):
    assert_right(check.accuracy, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (lambda z, t: (z.argmax(1) == t).sum(), "divide"),
        (lambda z, t: 100 * (z.argmax(1) == t).float().mean(), "fraction"),
        (lambda z, t: (z.argmax(1) != t).float().mean(), "=="),
        (lambda z, t: z.argmax(1) == t, "mean"),
        (lambda z, t: None, "return"),
        (lambda z, t: (z.argmax(0) == t).float().mean(), "largest score in each row"),
        (lambda z, t: 1.0, "largest score in each row"),
    ],
)
def test_0_1_tells_wrong_accuracies_apart(attempt, hint, capsys):
    assert_wrong(check.accuracy, attempt, hint, capsys)


@pytest.mark.parametrize("attempt", [4, 4.0, torch.tensor(4), "4"])
def test_0_2_takes_the_number(attempt, capsys):
    assert_right(check.batches, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (3, "batch of their own"),
        (3.125, "smaller"),
        (32, "how many"),
        (100, "32 at a time"),
        (5, "96"),
        ("four", "96"),
    ],
)
def test_0_2_tells_wrong_numbers_apart(attempt, hint, capsys):
    assert_wrong(check.batches, attempt, hint, capsys)


@pytest.mark.parametrize("attempt", ["b", "B"])
def test_0_3_takes_the_letter(attempt, capsys):
    assert_right(check.which_split, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"), [("a", "by heart"), ("c", "one honest number"), ("d", "not trained on")]
)
def test_0_3_answers_each_wrong_option(attempt, hint, capsys):
    assert_wrong(check.which_split, attempt, hint, capsys)


def test_the_worked_answers_are_right(capsys):
    for exercise in (check.accuracy, check.batches, check.which_split):
        assert_worked_answer_is_right(exercise, capsys, torch=torch)
