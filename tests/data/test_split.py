"""A split is its items: whatever is chosen, copied or transformed, photo i keeps its label and its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ftcourse.data.photos import PhotoCache
from ftcourse.data.splits import Data, Split
from ftcourse.data.transforms import eval_transforms

CLASSES = ["ants", "bees", "wasps"]
quick = settings(max_examples=40, deadline=None)


def photos(n: int) -> torch.Tensor:
    """Photo i has the value i everywhere."""
    return torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).repeat(1, 3, 4, 6)


def a_split(n: int = 12, **options) -> Split:
    targets = [i % 3 for i in range(n)]
    paths = [Path(f"{i}.png") for i in range(n)]
    return Split(photos(n), targets, CLASSES, **{"paths": paths} | options)


def numbers(split: Split) -> list[int]:
    return [int(split.image(i)[0, 0, 0]) for i in range(len(split))]


def indices(n: int):
    return st.lists(st.integers(0, n - 1), min_size=1, max_size=10)


@quick
@given(indices(12), st.data())
def test_a_subset_of_a_subset_is_the_photos_at_those_positions_with_all_that_belongs_to_them(
    first, data
):
    split = a_split()
    second = data.draw(indices(len(first)))
    part = split.subset(first).subset(iter(second))
    expected = [first[i] for i in second]
    assert len(part) == len(second) and numbers(part) == expected
    assert part.targets == [i % 3 for i in expected] == [label for _, label in part]
    assert part.paths == [Path(f"{i}.png") for i in expected]
    assert (part.classes, part.class_to_idx) == (CLASSES, {"ants": 0, "bees": 1, "wasps": 2})
    assert numbers(split) == list(range(12)) and len(split.paths) == 12  # the first is as it was


@quick
@given(indices(12))
def test_the_counts_are_those_of_the_labels_also_of_classes_without_photos(chosen):
    counts = a_split().subset(chosen).counts()
    assert counts == {c: sum(i % 3 == k for i in chosen) for k, c in enumerate(CLASSES)}
    assert list(counts) == CLASSES


def test_an_item_is_the_photo_as_it_is_or_transformed_and_its_label():
    split = a_split()
    image, label = split[4]
    assert image.dtype == torch.uint8 and image.shape == (3, 4, 6) and label == 1
    doubled = split.with_transform(lambda x: 2 * x)
    assert int(doubled[4][0].max()) == 8 and doubled[4][1] == 1
    assert int(doubled.image(4).max()) == 4  # untransformed still
    assert int(doubled.with_transform(None)[4][0].max()) == 4
    assert doubled.subset([5, 4])[1][0].max() == 8  # a subset keeps the transform
    assert doubled.images is split.images  # shared, not copied


def test_a_split_on_another_device_has_the_same_items_and_leaves_the_first_where_it_was():
    split = a_split(transform=lambda x: 2 * x)
    there = split.on(torch.device("cpu"))
    assert there.device == torch.device("cpu") and split.device is None
    assert torch.equal(there[3][0], split[3][0]) and numbers(there) == numbers(split)
    assert there.subset([1]).device == there.device
    assert split.any_thread and there.any_thread


def test_targets_and_an_index_of_any_integer_type_become_plain_numbers():
    split = Split(photos(5), torch.tensor([2, 0]), tuple(CLASSES), index=np.array([4, 1]))
    assert split.targets == [2, 0] and {type(t) for t in split.targets} == {int}
    assert split.index == [4, 1] and {type(i) for i in split.index} == {int}
    assert numbers(split) == [4, 1] and split.classes == CLASSES and split.paths is None
    assert split.subset([1]).paths is None


@pytest.mark.parametrize("n", [2, 4])
def test_as_many_targets_as_photos_are_needed(n):
    with pytest.raises(ValueError, match=f"3 images but {n} targets"):
        Split(photos(3), [0] * n, CLASSES)


def test_a_photo_from_memory_is_loaded_in_its_colours_and_the_right_way_up():
    image = torch.zeros(1, 3, 2, 3, dtype=torch.uint8)
    image[0, 0, 0, 2] = 200  # red, at the right of the upper row
    loaded = Split(image, [0], CLASSES).load(0)
    assert loaded.mode == "RGB" and loaded.size == (3, 2)
    assert loaded.getpixel((2, 0)) == (200, 0, 0) and loaded.getpixel((0, 1)) == (0, 0, 0)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = []
    for i in range(4):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(np.full((80, 100, 3), 10 * i, dtype=np.uint8)).save(paths[-1])
    return paths


def from_files(files: list[Path]) -> Split:
    return Split(PhotoCache(files, side=20), [0, 1, 2, 0], CLASSES, paths=files)


def test_photos_from_files_are_kept_small_and_loaded_in_full(files):
    split = from_files(files).subset([3, 1])
    assert split.image(0).shape == (3, 20, 25) and int(split.image(0).max()) == 30
    assert split.load(0).size == (100, 80) and split.load(1).getpixel((0, 0)) == (10, 10, 10)


def test_for_larger_crops_files_are_read_again_and_for_smaller_ones_shared(files):
    split = from_files(files)
    larger = split.with_transform(eval_transforms(50))
    assert larger.image(2).shape[1] == 57  # 1.14 x 50
    assert split.with_transform(eval_transforms(10)).images is split.images
    assert split.image(2).shape[1] == 20


def test_what_is_let_go_is_read_anew_when_it_is_needed(files):
    split = from_files(files).subset([2, 0])
    assert int(split.image(1).max()) == 0 and int(split.image(0).max()) == 20
    for path in files:
        Image.fromarray(np.full((80, 100, 3), 99, dtype=np.uint8)).save(path)
    split.let_go(0)
    assert int(split.image(0).max()) == 99  # from its file
    assert int(split.image(1).max()) == 0  # still in memory
    a_split().let_go(0)  # what is in memory alone stays there
    assert numbers(a_split())[0] == 0


def test_a_split_says_how_many_photos_of_which_class():
    assert repr(a_split(7)) == "Split(7 photos: ants 3, bees 2, wasps 2)"
    many = Split(photos(7), range(7), list("abcdefg"))
    assert repr(many) == "Split(7 photos: a 1, b 1, c 1, d 1, e 1, f 1, ...)"
    six = many.subset(range(6))
    six.classes = six.classes[:6]
    assert repr(six) == "Split(6 photos: a 1, b 1, c 1, d 1, e 1, f 1)"


def a_data(**more) -> Data:
    split = a_split()
    parts = (split.subset(range(6)), split.subset([6, 7]), split.subset([8, 9, 10]))
    return Data(CLASSES, *parts, **more)


def test_data_counts_its_splits_and_says_what_was_decided():
    data = a_data(name="photos/", notes=["one", "two"])
    assert data.counts == {"train": 6, "val": 2, "test": 3}
    assert repr(data).splitlines() == [
        "photos/: 3 classes (ants, bees, wasps)",
        "photos: train 6, val 2, test 3",
        "note: one",
        "note: two",
    ]
    assert repr(a_data()).startswith("data: 3 classes") and a_data().audit is None
    a_data().notes.append("x")
    assert a_data().notes == []


@pytest.mark.parametrize(("n", "more"), [(8, False), (9, True)])
def test_of_many_classes_eight_are_named(n, more):
    data = a_data()
    data.classes = list("abcdefghi")[:n]
    assert f"{n} classes (a, b, c, d, e, f, g, h{', ...' if more else ''})" in repr(data)


def test_data_with_other_transforms_has_one_for_training_and_one_for_the_rest():
    data = a_data(name="x", notes=["y"])
    other = data.with_transforms(lambda x: x + 100, lambda x: x + 200)
    added = [int(getattr(other, s)[0][0].max()) for s in ("train", "val", "test")]
    assert added == [100, 206, 208]
    assert (other.name, other.notes, other.classes) == ("x", ["y"], CLASSES)
    assert int(data.val[0][0].max()) == 6 and data.train.images is other.train.images
