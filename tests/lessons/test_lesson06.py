"""What lesson 06 tells of a real GPU is what was measured, and its plan counts what is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftcourse import results
from ftcourse.exercises import lesson06 as check

ROOT = Path(__file__).resolve().parents[2]


def test_the_package_has_the_results_of_the_gpu_as_they_were_measured():
    measured = json.loads((ROOT / "benchmarks/results/speed_gpu.json").read_text(encoding="utf-8"))
    stored = results.load("speed_gpu")
    for key in ("command", "gpu", "versions", "runs"):
        assert stored[key] == measured[key]


def test_6_4_counts_photos_and_what_is_kept_for_each():
    whole, piece = (
        check.needed({"train": "all", "photos at a time": n, "pixels": 64, "bits": 32})
        for n in (64, 16)
    )
    assert whole["activations"] == pytest.approx(4 * piece["activations"])
    assert whole["weights, gradients, AdamW"] == pytest.approx(16 * 11_177_538 / 1e6, abs=0.2)
    assert check.needed(dict(check.START))["together"] > 2 * check.BUDGET
