"""What says that it repeats itself is taken at its word, and only while it is what it was."""

from __future__ import annotations

import gc
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset
from torchvision import transforms as v1
from torchvision.transforms import v2

import ftcourse as ft
from ftcourse.data.insects.dataset import InsectSplit
from ftcourse.data.transforms import eval_transforms, train_transforms
from ftcourse.training.repeats import (
    NotKept,
    Same,
    alive,
    changed,
    looked_at,
    mark,
    random_kept,
    random_states,
    same_item,
    state_of,
    why_not,
)
from tests.conftest import Blobs


def split(transform=None, n: int = 6, kind: type = ft.Split) -> ft.Split:
    photos = torch.randint(0, 256, (n, 3, 8, 8), dtype=torch.uint8)
    return kind(photos, [i % 2 for i in range(n)], ["a", "b"], transform=transform)


# -- what a data set says ----------------------------------------------------------------------

STEADY = [
    *(
        None,
        eval_transforms(8),
        v2.Resize(8),
        nn.Sequential(v2.CenterCrop(4), v2.ToDtype(torch.float32)),
    ),
    *(v2.Compose([v2.ToImage(), v2.Compose([v2.Pad(1), v2.ToPureTensor()])]), v1.Grayscale(3)),
    *(
        nn.Identity(),
        v2.Identity(),
        v2.RGB(),
        v2.FiveCrop(4),
        v2.TenCrop(4),
        v2.Normalize([0.5], [1.0]),
    ),
    *(v1.ToTensor(), v2.ToPILImage(), v1.PILToTensor(), v2.ConvertImageDtype(), v1.Resize(8)),
]
RESTLESS = [
    *(train_transforms(8), v2.RandomHorizontalFlip(), v2.Compose([v2.Resize(8), v2.RandomCrop(4)])),
    *(
        v1.Compose([v1.RandomRotation(3)]),
        nn.Sequential(v2.ColorJitter(0.1)),
        v2.RandomApply([v2.Pad(1)]),
    ),
]


@pytest.mark.parametrize("transform", STEADY, ids=lambda t: type(t).__name__)
def test_a_split_repeats_itself_with_a_transform_free_of_chance(transform):
    assert why_not(split(transform)) is None


@pytest.mark.parametrize("transform", RESTLESS, ids=lambda t: type(t).__name__)
def test_a_split_with_a_random_transform_does_not(transform):
    assert "draws anew each time" in why_not(split(transform))


class Resize(v2.Resize):
    """A subclass may do anything."""


@pytest.mark.parametrize(
    "transform",
    [Resize(8), v2.Lambda(lambda x: x), lambda x: x],
    ids=["class", "Lambda", "function"],
)
def test_a_transform_that_is_not_known_has_to_say_so_and_the_reason_tells_how(transform):
    assert "set the attribute of that transform: repeats = True" in why_not(split(transform))
    transform.repeats = True
    assert why_not(split(transform)) is None
    assert why_not(split(v2.Compose([v2.Resize(8), transform]))) is None
    transform.repeats = False
    assert why_not(split(transform)) is not None


class Foreign(Dataset):
    def __init__(self, items: list) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int):
        return self.items[i], 0


class OwnReading(ft.Split):
    def __getitem__(self, i: int):
        return super().__getitem__(i)


def test_a_data_set_of_another_kind_has_to_say_so_and_the_reason_tells_how():
    pairs = TensorDataset(torch.rand(4, 3), torch.zeros(4))
    for data in (Foreign([1, 2]), pairs, split(kind=OwnReading), [(1, 2)]):
        assert "set its attribute: repeats = True" in why_not(data)
    foreign = Foreign([1, 2])
    foreign.repeats = True
    assert why_not(foreign) is None
    foreign.repeats = "yes"  # no answer to the question
    assert why_not(foreign) is not None


def test_parts_and_sums_are_what_their_data_is():
    steady, restless = split(), split(v2.RandomHorizontalFlip())
    assert why_not(Subset(steady, [0])) is None
    assert why_not(ConcatDataset([steady, Subset(steady, [1])])) is None
    assert why_not(Subset(restless, [0])) is not None
    assert why_not(ConcatDataset([steady, restless])) is not None


def test_images_that_are_made_when_asked_for_are_not_known_to_repeat():
    class Drawn:
        def __len__(self) -> int:
            return 2

        def __getitem__(self, i: int):
            return torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8)

    assert "Drawn" in why_not(ft.Split(Drawn(), [0, 1], ["a", "b"]))


# -- what it is made of ------------------------------------------------------------------------


def test_an_object_is_the_same_as_itself_only_and_nothing_once_it_is_gone():
    one, two = Foreign([]), Foreign([])
    held = Same(one)
    assert held == Same(one) and held != Same(two) and alive(held)
    assert alive({"images": (int, (held,))})
    del one
    gc.collect()
    assert held != held
    assert not alive({"images": (int, (held,))})
    items = [1]  # a list, which cannot be referred to weakly
    assert Same(items) == Same(items) and Same(items) != Same([1])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES, VALUES)
def test_marks_of_plain_values_are_equal_where_the_values_are(one, two):
    assert (mark(one) == mark(two)) == (repr(one) == repr(two))
    assert mark([True]) != mark([1])
    assert mark({"a": 1}) != mark({"b": 1})


def test_what_holds_itself_has_a_mark():
    by_name: dict = {}
    by_name["all"] = by_name

    def handler(x):
        return x

    handler.known = {handler: 1}  # as a registry notes what it has registered
    items: list = [by_name]
    items.append(items)
    for one in (by_name, handler, items):
        assert mark(one) == mark(one)


def test_a_large_array_goes_by_its_identity_and_a_smaller_one_by_its_contents_too():
    def of(n: int):
        return mark(np.broadcast_to(np.uint8(0), n))[1]  # takes no memory

    assert of(2**26) is not None and of(2**26 + 1) is None


def flipped(data: ft.Split) -> None:
    data.targets[3] = 1 - data.targets[3]


def painted(data: ft.Split) -> None:
    data.images[0, 0, 0, 0].add_(1)  # a view of the tensor


def retargeted(data: ft.Split) -> None:
    data.index[0], data.index[1] = data.index[1], data.index[0]


def with_other_images(data: ft.Split) -> None:
    data.images = data.images.clone()


def with_other_transform(data: ft.Split) -> None:
    data.transform = v2.Resize(8)


def with_other_settings(data: ft.Split) -> None:
    data.transform.size = [4]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (flipped, "targets"), (painted, "images"), (retargeted, "index"), (with_other_images, "images"),
        (with_other_transform, "transform"), (with_other_settings, "transform"),
    ],
)  # fmt: skip
def test_each_change_of_a_split_is_seen_and_named(change, name):
    data = split(v2.Resize(8))
    before = state_of(data)
    assert changed(before, state_of(data)) is None
    change(data)
    assert changed(before, state_of(data)) == name


class Jitter:
    """A transform of somebody's own, with a switch of the name that modules have."""

    training = False

    def __init__(self) -> None:
        self.training = True

    def __call__(self, x):
        return x


def test_a_switch_of_a_transform_is_seen_and_the_mode_of_a_module_is_not():
    data = split(Jitter())
    before = state_of(data)
    data.transform.training = False
    assert changed(before, state_of(data)) == "transform"
    data = split(v2.Resize(8))
    before = state_of(data)
    data.transform.eval()
    assert changed(before, state_of(data)) is None


def test_names_of_classes_and_files_are_no_part_of_the_items():
    data = split()
    before = state_of(data)
    data.classes, data.class_to_idx = ["ant", "bee"], {"ant": 0, "bee": 1}
    data.paths, data.any_thread = ["1.jpg"] * 6, False
    assert changed(before, state_of(data)) is None


def test_copies_of_a_split_with_the_same_photos_and_transform_are_the_same_data():
    resize = v2.Resize(8)
    data = split(resize)
    assert changed(state_of(data), state_of(data.with_transform(resize))) is None
    assert changed(state_of(data), state_of(data.subset(range(6)))) is None
    assert changed(state_of(data), state_of(data.subset(range(5)))) is not None
    assert changed(state_of(data), state_of(data.with_transform(v2.Resize(8)))) == "transform"


def test_another_target_of_the_same_photos_is_other_data():
    insects = ft.load_data(
        "pocket-insects", per_class=2, val_per_class=1, test_per_class=1, size=32
    )
    assert isinstance(insects.val, InsectSplit)
    masks = insects.val.with_target("mask")
    assert changed(state_of(insects.val), state_of(masks)) == "target"


def test_arrays_lists_and_what_lies_inside_of_a_foreign_data_set_are_compared():
    class Wrapped(Foreign):
        def __init__(self) -> None:
            super().__init__([("a.jpg", 0), ("b.jpg", 1)])
            self.inner, self.array, self.scale = Blobs(4, 0), np.arange(4), 1.0

    def changes(data: Wrapped) -> dict:
        return {
            "items": lambda: data.items.__setitem__(1, ("b.jpg", 0)),
            "array": lambda: data.array.__setitem__(2, 7),
            "inner.images": lambda: data.inner.images.mul_(2),
            "inner.targets": lambda: data.inner.targets.reverse(),
            "scale": lambda: setattr(data, "scale", 2.0),
        }

    for name in changes(Wrapped()):
        data = Wrapped()
        before = state_of(data)
        changes(data)[name]()
        assert changed(before, state_of(data)) == name


# -- reading it, which can only refuse -----------------------------------------------------------


class Reads(Foreign):
    """Calls something for each item; counts how often."""

    def __init__(self, draw) -> None:
        super().__init__(list(range(9)))
        self.draw, self.reads = draw, 0

    def __getitem__(self, i: int):
        self.reads += 1
        return torch.full((1,), float(i)) + self.draw(i), 0


OWN = np.random.default_rng(0)
COINS = {
    "PyTorch": lambda i: torch.rand(()),
    "NumPy": lambda i: np.random.rand(),
    "Python": lambda i: random.random(),
    "a generator of its own": lambda i: OWN.random(),
    "a draw that changes nothing": lambda i: 0 * torch.rand(()),
}


@pytest.mark.parametrize("draw", COINS.values(), ids=COINS)
def test_what_gives_another_item_or_draws_is_refused(draw):
    with pytest.raises(NotKept):
        looked_at(Reads(draw))


def test_items_of_several_parts_are_the_same_where_all_their_parts_are():
    def item(value: float) -> dict:
        return {"pixels": torch.full((2,), value), "boxes": [np.ones(2), (1, "a")]}

    assert same_item(item(1.0), item(1.0)) and not same_item(item(1.0), item(2.0))
    assert not same_item({"a": 1}, {"b": 1}) and not same_item({"a": 1}, {"a": 1, "b": 1})


def test_a_look_tells_three_items_and_what_changes_by_reading():
    items, restless = looked_at(Reads(lambda i: 0.0))
    assert list(items) == [0, 4, 8]
    assert restless == {"reads"}
    items, restless = looked_at(Reads(lambda i: torch.rand(())), again=False)
    assert restless == {"reads"}


@pytest.mark.parametrize("draw", list(COINS.values())[:3], ids=list(COINS)[:3])
def test_each_shared_generator_is_watched_and_put_back(draw):
    before = random_states()
    with random_kept():
        draw(0)
        assert random_states() != before
    assert random_states() == before
