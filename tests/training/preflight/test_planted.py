"""Mistakes that outsiders planted are named, and sound set-ups draw no finding.

The whole bench takes minutes: `python benchmarks/preflight.py` runs it and writes what is read here. Some of each
kind are run anew.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.training.preflight import planted, planted_finetune, sound

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results" / "preflight.json"
ROWS = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]
# One of each kind, for those that a small network has tests of in other files.
QUICK = ["weights=None, and all but the head frozen"]
QUIET = ["a timm-like network with a mean and std of its own"]
THROUGH = ["channels turned round in both"]


def rows(part: str) -> list[dict]:
    return [row for row in ROWS if row["part"] == part]


@pytest.mark.parametrize(
    ("part", "made"),
    [
        ("by hand", planted.PLANTED),
        ("through finetune", planted_finetune.PLANTED),
        ("sound", sound.SOUND),
    ],
)
def test_the_results_are_those_of_the_bench_as_it_is(part, made):
    assert [row["what"] for row in rows(part)] == list(made)


def test_of_mistakes_by_hand_nine_of_ten_are_named_and_of_those_through_finetune_eleven_of_twelve():
    for part, share in (("by hand", 45 / 51), ("through finetune", 11 / 12)):
        named = [row["named"] for row in rows(part)]
        assert sum(named) >= share * len(named), [r["what"] for r in rows(part) if not r["named"]]
    assert len(rows("by hand")) >= 51 and len(rows("through finetune")) >= 12


def test_forty_sound_set_ups_drew_no_finding():
    assert len(rows("sound")) >= 40
    assert {row["what"]: row["found"] for row in rows("sound") if row["found"]} == {}


@pytest.mark.parametrize("what", QUICK)
def test_a_mistake_planted_by_hand_is_named(what):
    make, names = planted.PLANTED[what]
    assert names & {finding.name for finding in make().findings()}


@pytest.mark.parametrize("what", THROUGH)
def test_a_mistake_handed_to_finetune_is_named(what):
    make, names = planted_finetune.PLANTED[what]
    assert names & set(planted_finetune.findings(make))


@pytest.mark.parametrize("what", QUIET)
def test_a_sound_set_up_draws_no_finding(what):
    assert [finding.name for finding in sound.SOUND[what]()] == []
