"""Classes stand in the order of people: c2 before c10; a run that has another order keeps it."""

from __future__ import annotations

import random

from PIL import Image

from ftcourse.data.folders import scan
from ftcourse.data.natural import natural


def test_numbers_in_names_count_as_numbers():
    ordered = [
        "",
        "0",
        "1",
        "1b",
        "2",
        "10",
        "a1b2",
        "a1b10",
        "a2",
        "b",
        "c",
        "c1",
        "c2",
        "c10",
        "é1",
    ]
    for seed in range(5):
        mixed = random.Random(seed).sample(ordered, len(ordered))
        assert sorted(mixed, key=natural) == ordered
    assert sorted(["01", "1", "001"], key=natural) == ["001", "01", "1"]  # always the same


def test_the_classes_of_a_folder_stand_in_that_order(tmp_path):
    for name in ("c1", "c10", "c2"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "x.png")
    assert scan(tmp_path).classes == ["c1", "c2", "c10"]
