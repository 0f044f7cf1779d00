"""Units larger than a split's share: one of them is drawn all the same, and the one that fits best."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftcourse.data.drawing import draw
from ftcourse.data.inspection import Inspection
from tests.data.test_drawing import SHARES, members, units_by


def drawn(sizes: list[int], seed: int = 0, shares: dict[str, float] = SHARES) -> dict[str, Counter]:
    """Units of these sizes, all of one class: the sizes of the units in each split."""
    found = members(*"a" * sum(sizes))
    numbers = [unit for unit, size in enumerate(sizes) for _ in range(size)]
    unit_of = units_by(numbers, found)
    parts = draw(found, shares, seed, Path("x"), unit_of)
    for part in parts.values():
        names = [one.photo.name for one in part]
        assert names == sorted(names)
    return {
        split: Counter(unit_of[one.photo.name] for one in part) for split, part in parts.items()
    }


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(40, 60), min_size=3, max_size=6, unique=True),
    st.integers(0, 9),
)
def test_where_each_unit_is_larger_than_twice_the_share_the_smallest_are_drawn(sizes, seed):
    parts = drawn(sizes, seed, {"val": 0.05, "test": 0.05})
    smallest, next_one = sorted(sizes)[:2]
    assert sorted(parts["test"].values()) == [smallest]  # the test split is drawn first
    assert sorted(parts["val"].values()) == [next_one]
    assert sorted(parts["train"].values()) == sorted(sizes)[2:]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=3, max_size=40), st.integers(0, 9))
def test_a_split_is_as_near_to_its_share_as_half_a_unit(sizes, seed):
    parts = drawn(sizes, seed)
    wanted = max(1, int(0.15 * sum(sizes) + 0.5))
    assert parts["train"]
    for split in ("val", "test"):
        assert parts[split]
        total = parts[split].total()
        last = max(parts[split].values())
        assert total - wanted <= max(last / 2, min(sizes)) or len(parts[split]) == 1
    assert set().union(*parts.values()) == set(range(len(sizes)))


@pytest.mark.parametrize("n", [3, 4, 10, 33, 100])
@pytest.mark.parametrize("share", [0.05, 0.15, 0.5])
def test_of_single_photos_a_split_has_its_share_rounded_and_one_at_least(n, share):
    parts = drawn([1] * n, shares={"test": share})
    assert parts["test"].total() == min(n - 1, max(1, int(share * n + 0.5)))


def test_what_a_unit_brings_is_counted_in_shares_so_that_a_scarce_class_weighs_as_much():
    """Each photo of s is in a unit with a crowd of p. Any of these units may be drawn, not the smallest alone."""
    found = members(*"p" * 157, *"s" * 3)
    unit_of = units_by([0] * 55 + [1] * 52 + [2] * 50 + [0, 1, 2], found)
    seen = set()
    for seed in range(20):
        parts = draw(found, {"test": 0.15}, seed, Path("x"), unit_of)
        units = {unit_of[one.photo.name] for one in parts["test"]}
        assert len(units) == 1
        seen |= units
    assert seen == {0, 1, 2}


def test_over_many_draws_classes_that_share_units_come_near_to_their_shares():
    """A scarce class and a plentiful one in units of both: the scarce one is drawn first, and no unit too many."""
    distances = []
    for seed in range(40):
        random = Random(seed)
        found = members(*"a" * 60, *"b" * 20)
        numbers = [random.randrange(24) for _ in range(60)] + [
            random.randrange(8) for _ in range(20)
        ]
        parts = draw(found, SHARES, seed, Path("x"), units_by(numbers, found))
        for split in ("val", "test"):
            count = Counter(one.photo.label for one in parts[split])
            distances += [abs(count["a"] - 9) / 9, abs(count["b"] - 3) / 3]
    # 0.169; drawn in the order of their names it is 0.190, with a unit more where one is enough 0.200
    assert sum(distances) / len(distances) < 0.18


def with_copies(n: int, copies: int) -> list[Inspection]:
    """So many photos of one class, of which the first are one file."""
    found = members(*"a" * n)
    return [replace(one, sha256="one file") for one in found[:copies]] + found[copies:]


def test_byte_identical_files_go_to_train_where_they_can():
    found = with_copies(20, copies=6)
    for seed in range(10):
        parts = draw(found, SHARES, seed, Path("x"))
        assert {o.photo.name for o in found[:6]} <= {o.photo.name for o in parts["train"]}


@pytest.mark.parametrize(
    ("n", "copies", "said"),
    [
        (1, 0, "has 1 photo; the splits need at least 3 different ones"),
        (2, 0, "has 2 photos; the splits need at least 3 different ones"),
        (4, 4, "has 4 photos, 1 of them different; the splits need at least 3 different ones"),
        (5, 4, "has 5 photos, 2 of them different; the splits need at least 3 different ones"),
    ],
)
def test_too_few_photos_are_told_with_how_many_of_them_differ(n, copies, said):
    with pytest.raises(ValueError) as err:
        draw(with_copies(n, copies), SHARES, 0, Path("photos"))
    assert str(err.value) == f"photos: class 'a' {said} a class: add photos or remove the class"


@pytest.mark.parametrize(("units", "said"), [(1, "only 1 group that"), (2, "only 2 groups that")])
def test_too_few_groups_are_told_as_such(units, said):
    found = members(*"a" * 8)
    with pytest.raises(ValueError, match=f"class 'a' has 8 photos, but {said}"):
        draw(found, SHARES, 0, Path("photos"), units_by([i % units for i in range(8)], found))
