"""Pairs, labels in file names, torchvision's data sets: all come by one road, and what does not is told."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset
from torchvision.datasets import DatasetFolder, FakeData, ImageFolder
from torchvision.transforms import v2

from ftcourse.data.audit import audit
from ftcourse.data.index import Index
from ftcourse.data.loading import load_data
from ftcourse.data.sources import find


def photo(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for k, name in enumerate(f"{c}/{i}.png" for c in ("cat", "dog") for i in range(8)):
        photo(tmp_path / "d" / name, k)
    return tmp_path / "d"


def pairs_of(folder: Path) -> list[tuple[str, str]]:
    return [(str(p), p.parent.name) for p in sorted(folder.rglob("*.png"))]


# --- pairs ----------------------------------------------------------------------------------------


def test_pairs_are_split_as_the_class_folders_that_they_lie_in(folders):
    said, found = load_data(pairs_of(folders), size=16), load_data(folders, size=16)
    assert said.test.paths == found.test.paths and said.classes == found.classes
    assert said.name == "16 pairs"


def test_paths_of_pairs_begin_in_the_current_folder_and_labels_may_be_numbers(folders, monkeypatch):
    monkeypatch.chdir(folders)
    data = load_data(
        [(f"{c}/{i}.png", 10 - 8 * (c == "cat")) for c in ("cat", "dog") for i in range(8)]
    )
    assert data.classes == ["2", "10"]


def test_a_dict_of_splits_is_honoured(folders):
    pairs = pairs_of(folders)
    data = load_data(
        {"train": pairs[:6] + pairs[8:14], "valid": pairs[6:7] + pairs[14:15], "test": pairs[7::8]}
    )
    assert data.counts == {"train": 12, "val": 2, "test": 2}
    with pytest.raises(ValueError, match="the split 'holiday' is none of train, val, test"):
        load_data({"train": pairs, "holiday": pairs})


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (
            ("a.png", ["cat", "dog"]),
            r"the list, item 1: the label is \['cat', 'dog'\]; .*one label",
        ),
        (("a.png", ""), "the list, item 1: the label is empty"),
        (("a.png", None), "the list, item 1: the label is empty"),
        ("a.png", r"item 1: 'a\.png' is no pair \(file, label\)"),
        ((3, "cat"), "item 1: 3 is no path"),
        (("a.png", "cat"), r"the list, item 1: a\.png: cannot be decoded \(no such file"),
    ],
)
def test_a_pair_that_is_none_is_named(folders, pair, message):
    pairs = pairs_of(folders)
    pairs[1] = pair
    with pytest.raises(ValueError, match=message):
        load_data(pairs, size=16)


# --- labels in file names -------------------------------------------------------------------------


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    for k in range(16):
        photo(tmp_path / "f" / ("more" if k % 3 else "") / f"{('cat', 'dog')[k % 2]}_{k}.png", k)
    return tmp_path / "f"


def test_labels_are_found_in_the_names_of_files(flat):
    data = load_data(flat, labels=r"([a-z]+)_\d+", size=16)
    assert data.classes == ["cat", "dog"] and sum(data.counts.values()) == 16
    for split in (data.train, data.test):
        assert [data.classes[t] for t in split.targets] == [p.name[:3] for p in split.paths]


def test_names_that_the_expression_does_not_fit_are_counted_and_the_first_is_named(flat):
    photo(flat / "IMG.png", 99)
    photo(flat / "more" / "x.png", 98)
    with pytest.raises(ValueError, match=r"does not fit 2 of 18 photos, such as IMG\.png"):
        load_data(flat, labels=r"([a-z]+)_\d+")
    assert not audit(flat, labels=r"([a-z]+)_\d+").ok


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (r"([a-z]+)_(\d+)", "one group in parentheses, .* but has 2"),
        ("([a-z", "not a regular expression"),
    ],
)
def test_an_expression_that_is_none_is_told(flat, labels, message):
    with pytest.raises(ValueError, match=rf"labels=.*{message}"):
        load_data(flat, labels=labels)


def test_folders_of_splits_are_honoured_where_labels_are_in_names(tmp_path):
    for k in range(16):
        photo(tmp_path / ("train" if k < 12 else "test") / f"{'ab'[k % 2]}_{k}.png", k)
    data = load_data(tmp_path, labels=r"([a-z]+)_\d+", size=16)
    assert [p.parent.name for p in data.test.paths] == ["test"] * 4
    assert {p.parent.name for p in data.val.paths} == {"train"}


def test_a_flat_folder_says_how_labels_can_be_said(flat):
    (problem,) = find(flat).problems
    assert 'pass labels="REGEX"' in problem and ".csv" in problem


def test_two_ways_of_finding_labels_are_one_too_many(flat):
    with pytest.raises(ValueError, match="columns and labels: each says in its own way"):
        load_data(flat, labels=r"([a-z]+)_\d+", columns={"label": "x"})


# --- data sets ------------------------------------------------------------------------------------


def test_an_image_folder_is_split_as_the_folder_and_its_transform_is_told_to_be_unused(folders):
    shown = v2.Compose([v2.ToImage(), v2.RandomCrop(8)])
    data, found = load_data(ImageFolder(folders, shown), size=16), load_data(folders, size=16)
    assert data.test.paths == found.test.paths
    assert any("transform of ImageFolder is not used" in note for note in data.notes)


def test_a_pair_of_data_sets_is_train_and_what_is_held_out(folders):
    whole = ImageFolder(folders)
    train, held = Subset(whole, [*range(6), *range(8, 14)]), Subset(whole, [6, 7, 14, 15])
    for source in ((train, held), [train, held]):  # random_split gives a list
        data = load_data(source, size=16)
        held_out = [f"{p.parent.name}/{p.name}" for p in data.test.paths]
        assert held_out == ["cat/6.png", "cat/7.png", "dog/6.png", "dog/7.png"]


def test_a_photo_in_two_parts_is_told(folders):
    whole = ImageFolder(folders)
    with pytest.raises(
        ValueError, match=r"val \(ImageFolder\), item 3: cat/3\.png is there already, in train"
    ):
        load_data((whole, Subset(whole, [3, 12])))


def test_photos_in_memory_are_those_of_the_data_set_in_all_splits():
    fake = FakeData(30, (3, 20, 24), 2, transform=v2.ToImage())
    fake.classes = ["a", "b"]
    data = load_data(fake, size=16, transform=lambda image: image)
    bare = FakeData(30, (3, 20, 24), 2)
    known = {np.asarray(bare[i][0]).tobytes(): bare[i][1] for i in range(30)}
    for split in (data.train, data.val, data.test):
        assert split.paths is None
        for i, target in enumerate(split.targets):
            assert known.pop(np.asarray(split.load(i)).tobytes()) == target
            assert torch.equal(
                split[i][0], torch.from_numpy(np.array(split.load(i))).permute(2, 0, 1)
            )
    assert not known


class Items(Dataset):
    """Items as they are given."""

    def __init__(self, items, classes=("a", "b")):
        self.items, self.classes = items, classes

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def test_copies_in_memory_stay_in_one_split_and_the_audit_has_them():
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)) for _ in range(16)]
    photos = Items(
        [(image, i % 2) for i, image in enumerate([*images, *images[:1] * 4])], ["a", "b"]
    )
    photos.items[-4:] = [(images[0], 0)] * 4
    data = load_data(photos, size=16)
    first = np.asarray(images[0]).tobytes()
    holding = {
        s for s in data.counts for i in range(data.counts[s])
        if np.asarray(getattr(data, s).load(i)).tobytes() == first
    }  # fmt: skip
    assert len(holding) == 1
    assert len(audit(photos).of_kind("exact duplicates")) == 1


def test_paths_in_a_data_set_are_files(folders):
    items = [(path, int(label == "dog")) for path, label in pairs_of(folders)]
    data = load_data(Items(items, ["cat", "dog"]), size=16)
    assert data.test.paths == load_data(folders, size=16).test.paths


def test_files_that_a_data_set_reads_in_its_own_way_are_read_by_it(folders):
    def negative(path):
        return Image.eval(Image.open(path).convert("RGB"), lambda v: 255 - v)

    data = load_data(DatasetFolder(str(folders), negative, extensions=(".png",)), size=16)
    known = {np.asarray(negative(path)).tobytes() for path, _ in pairs_of(folders)}
    assert np.asarray(data.train.load(0)).tobytes() in known


@pytest.mark.parametrize(
    ("items", "classes", "message"),
    [
        (
            [(torch.zeros(3, 8, 8), 0)],
            ["a"],
            "Items, item 0: the photo is a Tensor, not a PIL image or a path",
        ),
        ([("a.png", 2)], ["a", "b"], "item 0: label 2, but there are 2 classes"),
        ([("a.png", [0, 1])], ["a", "b"], r"item 0: the label is \[0, 1\]; .*one label"),
        ([{"image": 1}], ["a"], "item 0: dict, not a pair"),
        ([("a.png", 0)], None, "Items: has no `classes`"),
    ],
)
def test_what_a_data_set_gives_amiss_is_told(items, classes, message):
    with pytest.raises(ValueError, match=message):
        load_data(Items(items, classes))


def test_data_sets_of_other_classes_are_no_pair(folders):
    other = Items([("a.png", 0)], ["dog", "cat"])
    with pytest.raises(ValueError, match="train has the classes cat, dog, but val dog, cat"):
        load_data((ImageFolder(folders), other))


def test_a_file_that_happens_to_have_the_name_of_an_item_is_not_taken_for_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = photo(tmp_path / "Items" / "000000.png", 0).rename(tmp_path / "Items" / "000000")
    os.utime(file, (0, 0))
    index = Index([], 16, "a version")
    index.file = tmp_path / "index.sqlite"
    item = find(Items([(Image.new("RGB", (8, 8)), 0)] * 2)).photos[0].path
    assert str(item) == "Items/000000" and index._state(file) and index._state(item) is None


# --- what is none of these ------------------------------------------------------------------------


def test_an_unknown_argument_is_told_with_those_that_there_are(folders):
    with pytest.raises(
        TypeError, match=r"load_data: no argument 'foo'; there are seed, val, .*layout"
    ):
        load_data(folders, foo=1)
    with pytest.raises(TypeError, match=r"no argument 'layuot'; there are .*classes"):
        load_data("pocket-insects", layuot=1)


@pytest.mark.parametrize("source", [3, None, iter([])])
def test_what_holds_no_photos_is_told_with_what_does(source):
    with pytest.raises(
        TypeError, match=r"give a folder, a table .*pairs \(file, label\), a data set"
    ):
        load_data(source)
