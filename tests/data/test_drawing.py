"""Splits do not leak: what belongs together is in one split, and the rest is drawn as if there were no groups."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from ftcourse.data.drawing import draw
from ftcourse.data.folders import Photo
from ftcourse.data.inspection import Inspection
from ftcourse.data.loading import load_data
from ftcourse.data.splits import Data

SHARES = {"val": 0.15, "test": 0.15}


def members(*labels: str) -> list[Inspection]:
    """Photos by label, each another file."""
    names = [f"{label}/{i:04d}.jpg" for i, label in enumerate(labels)]
    photos = [Photo(Path(n), n, label, "all") for n, label in zip(names, labels, strict=True)]
    return sorted((Inspection(p, sha256=p.name) for p in photos), key=lambda one: one.photo.name)


def units_by(unit_numbers: list[int], found: list[Inspection]) -> dict[str, int]:
    return {one.photo.name: n for one, n in zip(found, unit_numbers, strict=True)}


labelled_units = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 25)), min_size=20, max_size=120
)


@settings(max_examples=100, deadline=None)
@given(labelled_units, st.integers(0, 3))
def test_no_unit_is_in_two_splits_and_no_photo_is_lost(photos, seed):
    found = members(*sorted(label for label, _ in photos))
    unit_of = units_by([unit for _, unit in photos], found)
    try:
        parts = draw(found, SHARES, seed, Path("photos"), unit_of)
    except ValueError as err:
        assert "may lie in different splits" in str(err) or "need at least" in str(err)
        assume(False)
    where: dict[int, set[str]] = {}
    for split, drawn in parts.items():
        assert {one.photo.label for one in drawn} == {one.photo.label for one in found}
        for one in drawn:
            where.setdefault(unit_of[one.photo.name], set()).add(split)
    assert all(len(splits) == 1 for splits in where.values())
    assert sorted(o.photo.name for p in parts.values() for o in p) == [o.photo.name for o in found]


@settings(max_examples=50, deadline=None)
@given(st.integers(3, 60), st.integers(3, 60), st.integers(0, 99))
def test_a_unit_a_photo_is_what_is_drawn_without_units(a, b, seed):
    found = members(*"a" * a, *"b" * b)
    alone = units_by(list(range(a + b)), found)
    plain, units = (draw(found, SHARES, seed, Path("x"), u) for u in (None, alone))
    assert plain == units
    for label, n in (("a", a), ("b", b)):
        for split in ("val", "test"):
            own = sum(one.photo.label == label for one in plain[split])
            assert own == max(1, int(0.15 * n + 0.5))


def test_units_of_several_classes_are_drawn_near_the_share_of_each():
    """Twenty cameras, each with photos of both classes, one class three times as frequent."""
    found = members(*"a" * 300, *"b" * 100)
    unit_of = {one.photo.name: i % 20 for i, one in enumerate(found)}
    for seed in range(5):
        parts = draw(found, SHARES, seed, Path("x"), unit_of)
        for split in ("val", "test"):
            count = Counter(one.photo.label for one in parts[split])
            assert count == {"a": 45, "b": 15}  # three of twenty cameras


def test_a_large_unit_does_not_make_a_split_much_larger_than_its_share():
    found = members(*"a" * 100, *"b" * 100)
    numbers = [0] * 60 + list(range(1, 41))
    unit_of = units_by([*numbers, *(100 + n for n in numbers)], found)
    for seed in range(5):
        parts = draw(found, SHARES, seed, Path("x"), unit_of)
        assert len(parts["val"]) == len(parts["test"]) == 30


def test_the_rank_of_a_unit_does_not_grow_with_its_size():
    """Large units are drawn as often as small ones, so the test split is no split of small groups."""
    found = members(*"a" * 110)
    numbers = [i // 10 for i in range(100)] + list(range(10, 20))  # ten of ten photos, ten of one
    small = 0
    for seed in range(100):
        parts = draw(found, {"test": 0.5}, seed, Path("x"), units_by(numbers, found))
        assert 50 <= len(parts["test"]) <= 60
        small += len(
            {one.photo.name for one in parts["test"]} & {one.photo.name for one in found[100:]}
        )
    assert 3.5 < small / 100 < 7.5  # of ten


def test_with_too_few_groups_the_error_says_what_to_do():
    found = members(*"a" * 9, *"b" * 9)
    unit_of = units_by([0] * 5 + [1] * 4 + list(range(2, 11)), found)
    with pytest.raises(ValueError) as err:
        draw(found, SHARES, 0, Path("photos"), unit_of)
    assert "class 'a' has 9 photos, but only 2 groups" in str(err.value)
    assert "need 3 a class: add photos" in str(err.value) and 'groups="file"' in str(err.value)


# -- scenes, each seen five times ------------------------------------------------------------------


def frame(scene: int, shift: int) -> Image.Image:
    coarse = np.random.default_rng(scene).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    whole = Image.fromarray(coarse).resize((110, 110), Image.Resampling.BICUBIC)
    return whole.crop((5 + shift, 5 - shift, 105 + shift, 105 - shift))  # up to 2 % of 100 pixels


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    """60 scenes in five frames each, labelled at random: nothing can be learnt but scenes."""
    root = tmp_path_factory.mktemp("scenes")
    labels = np.random.default_rng(7).permutation(np.arange(60) % 2)
    for scene, label in enumerate(labels):
        folder = root / "ab"[label] / f"scene{scene:02d}"
        folder.mkdir(parents=True)
        for k, shift in enumerate((-2, -1, 0, 1, 2)):
            frame(scene, shift).save(folder / f"{scene:02d}_{k}.jpg")
    return root


def scenes_of(data: Data) -> dict[str, set[str]]:
    return {s: {p.parent.name for p in getattr(data, s).paths} for s in data.counts}


def nearest_neighbour(data: Data) -> float:
    """Accuracy on the test split of the label of the training photo that looks most alike."""
    train, test = (
        np.stack([s.load(i).resize((8, 8)) for i in range(len(s))])
        .reshape(len(s), -1)
        .astype(float)
        for s in (data.train, data.test)
    )
    nearest = ((test[:, None] - train[None]) ** 2).sum(-1).argmin(1)
    return float(np.mean(np.array(data.train.targets)[nearest] == data.test.targets))


def test_frames_of_a_scene_lie_in_one_split_and_random_labels_are_not_learnt(scenes):
    accuracies = []
    for seed in range(4):
        data = load_data(scenes, seed=seed, size=32)
        where = scenes_of(data)
        assert not where["train"] & where["test"] and not where["train"] & where["val"]
        assert not where["val"] & where["test"] and sum(map(len, where.values())) == 60
        assert data.counts == {"train": 200, "val": 50, "test": 50} and data.near_train == {}
        accuracies.append(nearest_neighbour(data))
    spread = 1.96 * 0.5 / np.sqrt(4 * 10)  # 4 tests of 10 scenes
    assert abs(np.mean(accuracies) - 0.5) < spread


def test_drawn_photo_by_photo_the_same_scenes_are_recognised_and_a_note_says_so(scenes):
    data = load_data(scenes, size=32, groups="file")
    assert nearest_neighbour(data) > 0.95
    assert len(data.near_train["test"]) == len(data.test)
    assert any("Nearly identical photos lie in different splits" in note for note in data.notes)
