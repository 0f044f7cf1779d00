"""Lesson 08's questions, proven with right answers written differently and typical wrong ones."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
import torch
from helpers import assert_right, assert_worked_answer_is_right, assert_wrong
from scipy import stats

from ftcourse import results
from ftcourse.exercises import lesson08 as check


def by_scipy(values):
    return stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))


def by_a_table(values):
    n = len(values)
    t = {3: 4.303, 5: 2.776, 8: 2.365}[n]
    half = t * statistics.stdev(values) / math.sqrt(n)
    return [statistics.mean(values) - half, statistics.mean(values) + half]


@pytest.mark.parametrize("attempt", [by_scipy, by_a_table, lambda v: torch.tensor(by_scipy(v))])
def test_8_1_takes_any_right_interval(attempt, capsys):
    assert_right(check.interval, attempt, capsys)


def around(values, half):
    return np.mean(values) - half, np.mean(values) + half


def t_of(values, q=0.975):
    return stats.t.ppf(q, len(values) - 1)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (lambda v: around(v, t_of(v) * np.std(v, ddof=1)), "divide by the square root"),
        (lambda v: around(v, 1.96 * np.std(v, ddof=1) / len(v) ** 0.5), "Student's t is larger"),
        (lambda v: around(v, t_of(v) * np.std(v) / len(v) ** 0.5), "ddof=1"),
        (lambda v: around(v, np.std(v, ddof=1) / len(v) ** 0.5), "multiply it by Student's t"),
        (lambda v: around(v, 1.96 * np.std(v) / len(v) ** 0.5), "ddof=1, and t"),
        (lambda v: around(v, t_of(v, 0.95) * np.std(v, ddof=1) / len(v) ** 0.5), "ppf(0.975)"),
        (lambda v: (min(v), max(v)), "grows with more runs"),
        (lambda v: (0.0, by_scipy(v)[1]), "in its middle"),
        (lambda v: np.mean(v), "lower and the upper end"),
        (lambda v: around(v, 0.3), "three steps"),
    ],
)
def test_8_1_tells_wrong_intervals_apart(attempt, hint, capsys):
    assert_wrong(check.interval, attempt, hint, capsys)


@pytest.mark.parametrize("attempt", [864, 865, 864.36, 900, np.int64(870)])
def test_8_2_takes_any_way_to_round(attempt, capsys):
    assert_right(check.test_photos, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (2401, "0.9 here"),
        (3457, "0.02 to each side"),
        (225, "1.96"),
        (9604, "0.09 belongs"),
        (29, "under a root"),
        (200, "solve for n"),
        ("many", "solve for n"),
    ],
)
def test_8_2_tells_wrong_counts_apart(attempt, hint, capsys):
    assert_wrong(check.test_photos, attempt, hint, capsys)


def by_interp(sizes, accuracies, target):
    rising = np.maximum.accumulate(accuracies) + 1e-9 * np.arange(len(accuracies))
    if target > rising[-1]:
        return None
    return float(np.exp(np.interp(target, rising, np.log(sizes))))


def by_search(sizes, accuracies, target):
    grid = np.geomspace(sizes[0], sizes[-1], 100_001)
    reached = np.interp(np.log(grid), np.log(sizes), accuracies) >= target
    return float(grid[reached.argmax()]) if reached.any() else math.nan


@pytest.mark.parametrize("attempt", [by_interp, by_search])
def test_8_3_takes_any_way_to_read_sideways(attempt, capsys):
    assert_right(check.photos_needed, attempt, capsys)


def straight(sizes, accuracies, target):
    return float(np.interp(target, accuracies, sizes))


def still_a_logarithm(sizes, accuracies, target):
    return float(np.interp(target, accuracies, np.log(sizes)))


def clamped(sizes, accuracies, target):
    return float(np.exp(np.interp(target, accuracies, np.log(sizes))))


def last_crossing(sizes, accuracies, target):
    if target <= accuracies[0]:
        return sizes[0]
    for i in range(len(sizes) - 1, 0, -1):
        if accuracies[i - 1] < target <= accuracies[i]:
            share = (target - accuracies[i - 1]) / (accuracies[i] - accuracies[i - 1])
            return sizes[i - 1] * (sizes[i] / sizes[i - 1]) ** share


def next_size(sizes, accuracies, target):
    return next((s for s, a in zip(sizes, accuracies, strict=True) if a >= target), None)


def nothing_below(sizes, accuracies, target):
    return None if target < accuracies[0] else by_interp(sizes, accuracies, target)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (straight, "the axis is logarithmic"),
        (still_a_logarithm, "take exp"),
        (clamped, "return None"),
        (last_crossing, "first crossing"),
        (next_size, "between two measured sizes"),
        (nothing_below, "the smallest size"),
        (lambda s, a, target: None, "a number of photos"),
        (lambda s, a, target: 33.3, "find the first size"),
    ],
)
def test_8_3_tells_wrong_readings_apart(attempt, hint, capsys):
    assert_wrong(check.photos_needed, attempt, hint, capsys)


@pytest.mark.parametrize("attempt", ["a, d", "DA", {"d", "a"}])
def test_8_4_takes_the_letters(attempt, capsys):
    assert_right(check.read_gains, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        ("a, b, d", "shown to be equal"),
        ("a, c, d", "how many of 153"),
        ("a", "where is zero"),
        ("e", "a letter in quotes"),
    ],
)
def test_8_4_tells_wrong_choices_apart(attempt, hint, capsys):
    assert_wrong(check.read_gains, attempt, hint, capsys)


def gain(name, per_class, method):
    """The 95 % interval of what a method gains over the linear probe, in points, at 64 pixels."""
    runs = [
        r
        for r in results.load(name)["runs"]
        if (r["classes"], r["pixels"], r["per_class"]) == (2, 64, per_class)
    ]
    by_seed = {
        m: {r["seed"]: r["accuracy"] for r in runs if r["method"] == m}
        for m in (method, "linear probe")
    }
    return by_scipy([100 * (a - by_seed["linear probe"][s]) for s, a in by_seed[method].items()])


def test_8_4_is_what_the_results_say():
    assert gain("methods_insects", 100, "all")[0] > 0
    for method in ("last block", "all", "LP-FT"):
        low, high = gain("methods_photos", 20, method)
        assert low < 0 < high
        assert high - low > 4
    low, high = gain("methods_photos", 100, "last block")
    assert 0 < low < 1 and (low + high) / 2 * 153 / 100 < 1.5  # about one photo
    low, high = gain("methods_insects", 20, "last block")
    assert low < 0 < high


@pytest.mark.parametrize("attempt", ["b, d", "DB", ["d", "b"]])
def test_8_5_takes_the_letters(attempt, capsys):
    assert_right(check.honest, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        ("a", "five seeds give on new photos"),
        ("b, c", "no part in any decision"),
        ("b", "was anything chosen"),
        ("x", "a letter in quotes"),
    ],
)
def test_8_5_tells_wrong_choices_apart(attempt, hint, capsys):
    assert_wrong(check.honest, attempt, hint, capsys)


def test_the_worked_answers_are_right(capsys):
    for exercise in (
        check.interval,
        check.test_photos,
        check.photos_needed,
        check.read_gains,
        check.honest,
    ):
        assert_worked_answer_is_right(exercise, capsys, t=stats.t, np=np)
