"""Groups that the user names stay in one split; a name that fits nothing is told."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ftcourse.data.loading import load_data
from ftcourse.data.splits import Data


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    """Twelve patients with four photos each, two of each class, in a folder for each patient."""
    rng = np.random.default_rng(0)
    for k in range(48):
        patient, label = k % 12, "ab"[k // 12 % 2]
        folder = tmp_path / "photos" / label / f"ward{patient}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"p{patient:02d}_{k:03d}.png")
    return tmp_path / "photos"


def patients_of(data: Data) -> list[set[str]]:
    return [{p.name[:3] for p in getattr(data, s).paths} for s in ("train", "val", "test")]


def table(
    folder: Path, name: str = "patients.csv", key=lambda p: p.name, column: str = "file"
) -> Path:
    lines = [f"{key(p)},{p.name[:3]}" for p in sorted(folder.rglob("*.png"))]
    file = folder.parent / name
    file.write_text("\n".join([f"{column},patient", *lines]))
    return file


WAYS = {
    "parent": lambda root: "parent",
    "expression": lambda root: r"^(p\d+)_",
    "compiled": lambda root: re.compile(r"^(p\d+)_"),
    "expression on the path": lambda root: r"/(ward\d+)/",
    "table": lambda root: f"{table(root)}:patient",
    "table by stem": lambda root: f"{table(root, key=lambda p: p.stem, column='id')}:patient",
    "table by path": lambda root: (
        f"{table(root, key=lambda p: p.relative_to(root).as_posix())}:patient"
    ),
    "mapping": lambda root: {p.name: p.name[:3] for p in root.rglob("*.png")},
    "function": lambda root: lambda path: path.name[:3],
}


@pytest.mark.parametrize("way", WAYS)
def test_photos_of_one_patient_lie_in_one_split_however_that_is_said(patients, way):
    data = load_data(patients, layout="classes", size=16, groups=WAYS[way](patients))
    train, val, test = patients_of(data)
    assert not train & val and not train & test and not val & test
    assert data.counts == {"train": 32, "val": 8, "test": 8}  # 2 of 12 patients each
    assert any("stay in one split: 12 groups" in note for note in data.notes)


def test_without_groups_patients_are_split_apart(patients):
    train, _, test = patients_of(load_data(patients, layout="classes", size=16))
    assert train & test


@pytest.mark.parametrize(
    ("groups", "sentence"),
    [
        (r"^(q\d+)_", r"fits none of 48 photos, such as a/ward0/p00_000\.png"),
        (r"^p\d+_", r"needs one group in parentheses, .* but has 0"),
        (r"^(p)(\d+)_", r"but has 2"),
        (r"^(p\d+_", r"not a regular expression \("),
        ({"x.png": 1}, "the mapping: fits none"),
        ("nowhere.csv:patient", r"nowhere\.csv: no such file"),
    ],
)
def test_groups_that_cannot_be_meant_are_refused_with_the_reason(patients, groups, sentence):
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        load_data(patients, layout="classes", size=16, groups=groups)


def test_a_column_that_is_not_there_is_named_with_those_that_are(patients):
    with pytest.raises(ValueError, match=r"no column 'camera'; it has file, patient"):
        load_data(patients, layout="classes", size=16, groups=f"{table(patients)}:camera")


def test_a_table_that_gives_a_file_two_groups_is_refused_with_the_line(patients):
    file = table(patients)
    file.write_text("file,patient\np00_000.png,one\np00_000.png,two\n")
    with pytest.raises(ValueError, match=r"line 3: p00_000\.png is in two groups, two and one"):
        load_data(patients, layout="classes", size=16, groups=f"{file}:patient")


def test_another_kind_of_groups_says_what_may_be_given(patients):
    with pytest.raises(TypeError, match=r'give "parent", "file", a regular expression'):
        load_data(patients, layout="classes", size=16, groups=5)


def test_photos_in_no_group_are_counted_and_stand_for_themselves(patients):
    for i in range(3):
        pixels = np.random.default_rng(99 + i).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(patients / "a" / f"loose{i}.png")
    data = load_data(patients, layout="classes", size=16, groups="parent")
    note = next(n for n in data.notes if "stay in one split" in n)
    assert "In no group, so each for itself: 3 of 51 photos (a/loose0.png" in note


def test_a_group_in_two_given_splits_is_told(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for label in "ab":
            (tmp_path / split / label).mkdir(parents=True)
            for i in range(3):
                name = f"{'shared' if i == 0 else f'{split}{i}'}_{label}.png"
                pixels = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / label / name)
    notes = load_data(tmp_path, size=16, groups=r"^(\w+)_").notes
    assert any(n.startswith("Photos of one group lie in different splits: ") for n in notes)


def test_pocket_insects_have_no_groups():
    with pytest.raises(ValueError, match="photos in files"):
        load_data("pocket-insects", groups="parent")
