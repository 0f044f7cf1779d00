"""Lesson 08's mystery runs are what the answer says of them."""

from __future__ import annotations

from itertools import pairwise

import torch

from ftcourse.exercises import lesson08 as check


def test_6_2_the_four_runs_look_as_the_answer_says():
    rows = check.mystery_runs(torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 0, 1]), steps=2)
    moved = {k: [r["moved"] for r in v[:5]] for k, v in rows.items()}
    statistics = {k: [r["stats_moved"] for r in v[:5]] for k, v in rows.items()}
    assert moved["B"] == [0] * 5 and min(statistics["B"]) > 0
    assert moved["D"][:4] == [0] * 4 == statistics["D"][:4] and moved["D"][4] > 0
    shares = [a / c for a, c in zip(moved["A"], moved["C"], strict=True)]
    assert all(low < 0.5 * high for low, high in pairwise(shares))
