"""What lesson 07 says of five draws is what `benchmarks/rates.py` measured, and its run to rescue is ruined."""

from __future__ import annotations

from ftcourse import results
from ftcourse.exercises import lesson07 as check

RUNS = results.load("rates")["runs"]
ALL, HEAD = ([r for r in RUNS if r["train"] == train] for train in ("all", "head"))


def test_the_ruin_begins_between_0_001_and_0_003():
    assert len(ALL) == len(HEAD) == 5
    for run in ALL:
        loss = dict(zip(run["rates"], run["losses"], strict=True))
        assert loss[0.003] > 1 and loss[0.003] > 1.6 * loss[0.001] and loss[0.01] > 3
        assert loss[1e-5] > run["start_loss"]


def test_the_finder_names_a_good_rate_for_a_head_and_a_safe_one_for_all_layers():
    assert {run["suggestion"] for run in HEAD} == {0.009}
    assert {run["best"] for run in HEAD} == {0.01, 0.03}
    assert all(run["suggestion"] <= 3e-4 < run["from_a_new_head"] for run in ALL)
    assert sum(run["suggestion"] == run["best"] for run in ALL) <= 2


def test_7_4_begins_with_a_ruin():
    assert check.one_epoch(**check.START)["loss"] > 2
