"""Lesson 05's questions, proven with right answers written differently and typical wrong ones."""

from __future__ import annotations

import time

import pytest
import torch
from helpers import assert_right, assert_worked_answer_is_right, assert_wrong
from torch.nn import functional as F

from ftcourse.exercises import lesson05 as check

# ------------------------------------------------------------------------------------------ 5.1


@pytest.mark.parametrize("attempt", ["b, d", "DB", ["b", "d"], {"d", "b"}])
def test_5_1_takes_the_letters_in_any_order(attempt, capsys):
    assert_right(check.all_moved, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        ("a", "do not move in place"),
        ("b, c, d", "three things must be"),
        ("b", "program by program"),
        ("x", "a letter in quotes"),
    ],
)
def test_5_1_tells_wrong_choices_apart(attempt, hint, capsys):
    assert_wrong(check.all_moved, attempt, hint, capsys)


# ------------------------------------------------------------------------------------------ 5.2


def best_of_several(run, wait, repeats=5):
    """Each waited for; the first, which takes longer, is never the best."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        wait()
        times.append(time.perf_counter() - start)
    return min(times)


def waits_for_each(run, wait, repeats=5):
    run()
    wait()
    total = 0.0
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        wait()
        total += time.perf_counter() - start
    return total / repeats


def warms_up_longer(run, wait, repeats=5):
    for _ in range(3):
        run()
    wait()
    start = time.time()
    [run() for _ in range(repeats)]
    wait()
    return (time.time() - start) / repeats


def as_a_tensor(run, wait, repeats=5):
    return torch.tensor(warms_up_longer(run, wait, repeats))


@pytest.mark.parametrize("attempt", [waits_for_each, best_of_several, warms_up_longer, as_a_tensor])
def test_5_2_takes_any_honest_clock(attempt, capsys):
    assert_right(check.measure, attempt, capsys)


def timing(warm=True, wait_first=True, wait_last=True, divide=True, times=None):
    """A clock of which one piece can be left out."""

    def attempt(run, wait, repeats=5):
        if warm:
            run()
        if wait_first:
            wait()
        start = time.perf_counter()
        for _ in range(times or repeats):
            run()
        if wait_last:
            wait()
        return (time.perf_counter() - start) / (repeats if divide else 1)

    return attempt


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (timing(wait_last=False), "before the last look at the clock"),
        (timing(wait_first=False, wait_last=False), "before you read the clock"),
        (timing(warm=False), "the first run"),
        (timing(wait_first=False), "after the warm-up as well"),
        (timing(divide=False), "divide by repeats"),
        (lambda run, wait, repeats: 1000 * timing()(run, wait, repeats), "not milliseconds"),
        (lambda run, wait, repeats: timing()(run, wait, 1), "by the clock"),
        (lambda run, wait, repeats: None, "return the seconds"),
        (lambda run, wait, repeats: 0.02, "with the parentheses"),
        (lambda run, wait: 0.02, "when does run() return"),
    ],
)
def test_5_2_tells_dishonest_clocks_apart(attempt, hint, capsys):
    assert_wrong(check.measure, attempt, hint, capsys)


def test_the_miniature_device_returns_at_once_and_works_in_order():
    device, done = check.MiniDevice(), []
    start = time.perf_counter()
    for i in range(3):
        device.submit(lambda i=i: (time.sleep(0.05), done.append(i)))
    assert time.perf_counter() - start < 0.05
    device.wait()
    assert done == [0, 1, 2] and time.perf_counter() - start >= 0.14


# ------------------------------------------------------------------------------------------ 5.3


@pytest.mark.parametrize("attempt", [4, 4.0, 100 / (20 + 80 / 16), torch.tensor(4)])
def test_5_3_takes_the_factor(attempt, capsys):
    assert_right(check.speed_up, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (16, "loading still takes"),
        (25, "than 100 ms"),
        (5, "80 / 16 ms"),
        (6.25, "does not become faster"),
        (20, "old step divided"),
        (3, "how long does a step take"),
    ],
)
def test_5_3_tells_wrong_factors_apart(attempt, hint, capsys):
    assert_wrong(check.speed_up, attempt, hint, capsys)


# ------------------------------------------------------------------------------------------ 5.4


@pytest.mark.parametrize("attempt", [16 * 11_177_538 / 1e6, 179, 16 * 11.177538, 180])
def test_5_4_takes_the_megabytes(attempt, capsys):
    assert_right(check.adam_bytes, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (44.7, "come on top"),
        (89.4, "two more numbers"),
        (134, "two of its own"),
        (11.2, "a float32 has four"),
        (16 * 11_177_538, "divide by 1e6"),
        (300, "AdamW keeps two"),
    ],
)
def test_5_4_tells_wrong_counts_apart(attempt, hint, capsys):
    assert_wrong(check.adam_bytes, attempt, hint, capsys)


# ------------------------------------------------------------------------------------------ 5.5


def sums_then_divides(model, images, targets, size):
    for start in range(0, len(images), size):
        part = slice(start, start + size)
        loss = F.cross_entropy(model(images[part]), targets[part], reduction="sum")
        (loss / len(images)).backward()


def by_hand(model, images, targets, size):
    params = list(model.parameters())
    for x, y in zip(images.split(size), targets.split(size), strict=True):
        gradients = torch.autograd.grad(F.cross_entropy(model(x), y), params)
        for p, g in zip(params, gradients, strict=True):
            share = g * (len(y) / len(targets))
            p.grad = share if p.grad is None else p.grad + share


def one_by_one(model, images, targets, size):
    model.zero_grad()
    for x, y in zip(images, targets, strict=True):
        (F.cross_entropy(model(x[None]), y[None]) / len(images)).backward()


@pytest.mark.parametrize("attempt", [sums_then_divides, by_hand, one_by_one])
def test_5_5_takes_any_way_to_the_gradient_of_the_batch(attempt, capsys):
    assert_right(check.accumulate, attempt, capsys)


def pieces(weight=lambda n, total: n / total, zero=False, step=False, drop_last=False):
    """Accumulation of which one piece can be wrong."""

    def attempt(model, images, targets, size):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in zip(images.split(size), targets.split(size), strict=True):
            if drop_last and len(x) < size:
                continue
            if zero:
                optimizer.zero_grad()
            (F.cross_entropy(model(x), y) * weight(len(x), len(images))).backward()
            if step:
                optimizer.step()

    return attempt


def no_backward(model, images, targets, size):
    for x, y in zip(images.split(size), targets.split(size), strict=True):
        F.cross_entropy(model(x), y)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (pieces(weight=lambda n, total: 1), "for its share"),
        (pieces(weight=lambda n, total: 1 / 3), "weight by photos"),
        (pieces(weight=lambda n, total: n), "number of all photos"),
        (pieces(weight=lambda n, total: -n / total), "backward() adds"),
        (pieces(zero=True), "no zero_grad between"),
        (pieces(zero=True, weight=lambda n, total: 1), "no zero_grad between"),
        (pieces(step=True), "no step here"),
        (pieces(drop_last=True), "takes it along"),
        (no_backward, "backward() for each piece"),
        (lambda m, x, y, size: F.cross_entropy(m(x), y).backward(), "at most `size`"),
        (lambda m, x, y: None, "backward() adds"),
    ],
)
def test_5_5_tells_wrong_sums_apart(attempt, hint, capsys):
    assert_wrong(check.accumulate, attempt, hint, capsys)


def test_the_worked_answers_are_right(capsys):
    for exercise in (
        check.all_moved,
        check.measure,
        check.speed_up,
        check.adam_bytes,
        check.accumulate,
    ):
        assert_worked_answer_is_right(exercise, capsys, torch=torch, F=F, time=time)
