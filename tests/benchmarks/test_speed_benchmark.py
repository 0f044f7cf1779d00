"""The benchmark's own arithmetic: medians, ratios, what counts as done. Its runs are not repeated here."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from PIL import Image

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def speed():
    sys.path.insert(0, str(FOLDER))
    spec = importlib.util.spec_from_file_location("speed", FOLDER / "speed.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(program: str, cpu: float, row: str = "head-5", **more) -> dict:
    base = {"row": row, "work": "head", "epochs": 5, "train_photos": 96, "threads": 1}
    base |= {"photos_of": "generated", "variant": "", "program": program, "cpu": cpu, "wall": cpu}
    return base | {"peak_mb": 100, "accuracy": 1.0, "foreign_load": 0.0} | more


def test_ratios_are_of_medians_and_within_a_row(speed):
    runs = [run("ftcourse", cpu) for cpu in (2.0, 1.0, 9.0)]
    runs += [run("tutorial loop", cpu) for cpu in (10.0, 30.0, 20.0)]
    runs += [run("tutorial loop", 7.0, row="all-1")]  # without a run of this project: no ratio
    found = {(e["row"], e["program"]): e for e in speed.summarise(runs)}
    assert found["head-5", "tutorial loop"]["ratio"] == 10.0
    assert found["head-5", "ftcourse"]["range"] == [1.0, 9.0]
    assert found["head-5", "ftcourse"]["runs"] == 3
    assert "ratio" not in found["all-1", "tutorial loop"]


def test_of_wall_seconds_only_those_of_a_quiet_machine_count(speed):
    runs = [run("ftcourse", 9.0, wall=5.0, threads=2, foreign_load=0.01)]
    runs += [run("ftcourse", 9.0, wall=99.0, threads=2, foreign_load=0.2)]
    runs += [run("ftcourse", 9.0, wall=99.0, threads=1, foreign_load=0.2)]
    two, one = speed.summarise(runs)
    assert (two["threads"], two["seconds"], two["runs"]) == (2, 5.0, 1)
    assert (one["threads"], one["seconds"], one["runs"]) == (1, 9.0, 1)
    page = speed.page(
        [two, one],
        {"runs": runs, "versions": {}, "network": "", "python": "", "cpu": "", "command": ""},
    )
    assert "left out are 1 of 3 runs" in page


def test_the_network_all_start_from_has_the_statistics_of_these_photos(speed, tmp_path):
    import torch

    import ftcourse as ft

    root = speed.make_photos(tmp_path / "photos", train=4, val=2)
    state = torch.load(speed.weights_file(root))
    pocket = ft.load_backbone().state_dict()
    assert torch.equal(state["layer1.0.conv1.weight"], pocket["layer1.0.conv1.weight"])
    assert not torch.allclose(state["bn1.running_mean"], pocket["bn1.running_mean"], rtol=0.01)
    assert state["fc.weight"].shape == (1000, 512)


def test_photos_are_the_size_of_the_ones_that_are_promised_and_the_same_each_time(speed, tmp_path):
    root = speed.make_photos(tmp_path, train=4, val=2)
    files = sorted(p.relative_to(root).as_posix() for p in root.rglob("*.jpg"))
    assert len(files) == 4 + 2 + 2
    first = (root / files[0]).read_bytes()
    with Image.open(root / files[0]) as image:
        assert (image.size, image.format) == ((500, 375), "JPEG")
    (root / files[0]).unlink()
    speed.make_photos(tmp_path, train=4, val=2)
    assert (root / files[0]).read_bytes() == first


@pytest.mark.parametrize("name", ["speed.json", "speed_gpu.json"])
def test_the_page_and_the_results_file_agree(speed, name):
    file = FOLDER / "results" / name
    results = json.loads(file.read_text())
    assert speed.page(speed.summarise(results["runs"]), results, name) == (
        file.with_suffix(".md").read_text()
    )
