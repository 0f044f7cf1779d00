"""Lesson 08's mystery runs are what the answer says of them, and its key agrees with the measured methods."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch

from ftcourse import results
from ftcourse.exercises import lesson08 as check


def test_8_1_the_four_runs_look_as_the_answer_says():
    runs = check.mystery_runs(torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 0, 1]), steps=2)
    moved = {k: [r["moved"] for r in v.rows[:5]] for k, v in runs.items()}
    statistics = {k: [r["stats_moved"] for r in v.rows[:5]] for k, v in runs.items()}
    assert moved["B"] == [0] * 5 and min(statistics["B"]) > 0
    assert moved["D"][:4] == [0] * 4 == statistics["D"][:4] and moved["D"][4] > 0
    shares = [a / c for a, c in zip(moved["A"], moved["C"], strict=True)]
    assert all(low < 0.5 * high for low, high in pairwise(shares))


def mean(name, method):
    """Test accuracy in percent of a method at 100 photos a class and 64 pixels, and half of its interval."""
    (row,) = [
        r
        for r in results.load(name)["summary"]
        if (r["classes"], r["pixels"], r["per_class"], r["method"]) == (2, 64, 100, method)
    ]
    return 100 * row["mean"], 100 * row["interval95"]


def test_8_3_agrees_with_the_measured_methods():
    head, half = mean("methods_insects", "linear probe")
    for method in ("all", "LP-FT"):  # drawings: moving pays
        moved, other = mean("methods_insects", method)
        assert moved - other > head + half
    head, _ = mean("methods_photos", "linear probe")
    for method in ("last block", "all", "LP-FT"):  # real photos: by no more than a photo of 153
        assert mean("methods_photos", method)[0] - head < 1.5 * 100 / 153


RUNS = results.load("forgetting")["runs"]


def values(kind, name, key):
    found = [r[key] for r in RUNS if (r["kind"], r["name"]) == (kind, name)]
    assert len(found) == 5
    return np.array(found)


def test_what_lesson_08_says_of_five_draws_is_what_was_measured():
    first = [values("first steps", f"{head} head", "kept") for head in ("random", "fitted")]
    assert (first[1] > first[0]).all()

    def kept(name):
        return values("treatments", name, "kept").mean()

    for name in ("a tenth of the rate", "statistics kept", "all"):
        assert kept(name) < 0.6
    assert kept("statistics kept, a tenth") > 0.9
    moving = ("all", "a tenth of the rate", "statistics kept", "statistics kept, L2-SP")
    best = values("treatments", "statistics kept, a tenth", "accuracy").mean()
    assert all(best > values("treatments", name, "accuracy").mean() for name in moving)
    assert best <= values("treatments", "head alone", "accuracy").mean() + 1e-9
    middle, end = (values("line", share, "accuracy") for share in ("0.4", "1.0"))
    assert (middle > end).all()
