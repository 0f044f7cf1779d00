"""The measured comparison of methods says what the documents say of it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from statistics import mean, stdev

import pytest

from ftcourse import results

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def methods():
    spec = importlib.util.spec_from_file_location("methods", BENCHMARKS / "methods.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def means(name, classes, pixels, per_class):
    runs = results.load(name)["runs"]
    cell = [
        r
        for r in runs
        if (r["classes"], r["pixels"], r["per_class"]) == (classes, pixels, per_class)
    ]
    return {
        m: mean(r["accuracy"] for r in cell if r["method"] == m)
        for m in {r["method"] for r in cell}
    }


@pytest.mark.parametrize(("classes", "pixels"), [(2, 64), (2, 128), (6, 128)])
def test_pre_training_is_worth_ten_points_at_20_insects_a_class(classes, pixels):
    found = means("methods_insects", classes, pixels, 20)
    assert found["linear probe"] >= found["scratch"] + 0.10


@pytest.mark.parametrize("classes", [2, 6])
def test_full_fine_tuning_is_best_at_100_insects_a_class_and_has_room_above(classes):
    found = means("methods_insects", classes, 128, 100)
    assert max(found, key=found.get) == "LP-FT"
    assert 0.85 <= found["LP-FT"] <= 0.97


@pytest.mark.parametrize("name", ["methods_insects", "methods_photos"])
def test_each_run_has_the_recipe_that_was_chosen_on_other_photos(name, methods):
    runs = [r for r in results.load(name)["runs"] if r["pixels"] == methods.PIXELS]
    assert runs
    tried = json.loads((BENCHMARKS / "results" / "methods_recipes.json").read_text())["runs"]
    assert not {r["seed"] for r in runs} & {r["seed"] for r in tried}
    for r in runs:
        assert r["recipe"] == methods.chosen(r["method"]), (r["method"], r["recipe"])


@pytest.mark.parametrize("name", ["methods_insects", "methods_photos"])
def test_the_summary_has_the_mean_and_students_interval_of_its_runs(name):
    found = results.load(name)
    for row in found["summary"]:
        keys = ("pixels", "classes", "per_class", "method")
        values = [r["accuracy"] for r in found["runs"] if all(r[k] == row[k] for k in keys)]
        assert len(values) == row["seeds"] >= 2
        assert row["mean"] == pytest.approx(mean(values), abs=1e-4)
        factor = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}[len(values)]
        assert row["interval95"] == pytest.approx(
            factor * stdev(values) / len(values) ** 0.5, abs=1e-3
        )
