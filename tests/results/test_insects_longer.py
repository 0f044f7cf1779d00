"""The stored run of lessons 13 and 14: its photos are those that the lessons draw, its answers fit them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch

import ftcourse as ft
from ftcourse import results
from ftcourse.tasks.segmentation import Segmentation

ROOT = Path(__file__).resolve().parents[2]
STORED = results.load("insects_longer")
LOADED = {
    "masks": {"target": "semantic"},
    "boxes": {"scene": True, "per_class": 50, "val_per_class": 10, "test_per_class": 30},
}  # as the lessons load them


@pytest.fixture(scope="module")
def benchmark():
    file = ROOT / "benchmarks" / "insects_longer.py"
    spec = importlib.util.spec_from_file_location("insects_longer", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("task", ["masks", "boxes"])
def test_the_photos_are_those_that_a_lesson_draws(task, benchmark):
    data = ft.load_data("pocket-insects", classes=("ants", "bees"), **LOADED[task], progress=False)
    part = STORED["tasks"][task]
    assert benchmark.checksums(data) == part["shown"]["crc32"]
    assert len(data.test) == part["setting"]["photos"]["test"]


def test_a_mask_is_packed_and_unpacked_without_loss(benchmark):
    mask = torch.randint(0, 3, (9, 7), generator=torch.Generator().manual_seed(0))
    runs = {k: torch.tensor(v) for k, v in benchmark.runs_of(mask).items()}
    assert torch.equal(runs["values"].repeat_interleave(runs["lengths"]).reshape(9, 7), mask)


def test_the_stored_masks_are_good_ones_of_these_photos():
    data = ft.load_data(
        "pocket-insects", classes=("ants", "bees"), target="semantic", progress=False
    )
    found = []
    for runs in STORED["tasks"]["masks"]["shown"]["found"]:
        values, lengths = torch.tensor(runs["values"]), torch.tensor(runs["lengths"])
        found.append(values.repeat_interleave(lengths).reshape(96, 96))
    truth = torch.stack([data.test.with_transform(None)[i][1] for i in range(len(found))])
    logits = torch.nn.functional.one_hot(torch.stack(found), 3).permute(0, 3, 1, 2).float()
    assert Segmentation(3).metrics([(logits, truth)])["miou"] > 0.6


def test_the_scores_are_those_of_a_segmenter_and_a_detector_that_work():
    masks, boxes = (STORED["tasks"][task]["runs"] for task in ("masks", "boxes"))
    assert min(run["miou"] for run in masks) > 0.65
    assert min(run["map_50"] for run in boxes) > 0.8
    assert {run["seed"] for run in masks + boxes} <= set(STORED["seeds"])


def test_the_page_is_what_the_command_writes_and_the_file_is_small(benchmark):
    page = (ROOT / "benchmarks" / "results" / "insects_longer.md").read_text(encoding="utf-8")
    assert benchmark.page(STORED) == page
    assert results.path("insects_longer").stat().st_size < 100_000
    assert json.loads(results.path("insects_longer").read_text(encoding="utf-8")) == STORED
