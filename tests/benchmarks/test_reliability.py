"""docs/reliability.md is what its command writes, and what it says stands in results that are there."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"


def program(name: str):
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
    return module


@pytest.fixture(scope="module")
def reliability():
    return program("reliability")


def test_the_page_is_what_its_command_writes(reliability):
    assert reliability.PAGE.read_text(encoding="utf-8") == reliability.page()


def test_all_that_was_counted_ended_well(reliability):
    counted = json.loads(reliability.COUNTED.read_text(encoding="utf-8"))["tests"]
    assert counted and all(row["passed"] and not row["failed"] for row in counted.values())
    assert all((ROOT / file).exists() for row in counted.values() for file in row["files"])


def test_a_row_without_results_is_left_out(reliability, monkeypatch, tmp_path):
    monkeypatch.setattr(reliability, "RESULTS", tmp_path)
    monkeypatch.setattr(reliability, "COUNTED", tmp_path / "reliability.json")
    rows = [line for line in reliability.page().splitlines() if line.startswith("| ")]
    assert len(rows) == 2  # the title and the line below it


def test_tests_are_counted_by_running_them(reliability):
    row = reliability.count(("tests/benchmarks/test_reliability.py",), "without_results")
    assert row == {"passed": 1, "failed": 0, "skipped": 0}
    assert reliability.count(("tests/no_such_file.py",), "") is None


def test_each_promise_names_a_test_that_is_there():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
    assert len(named) >= 8
    for file, test in named:
        code = (ROOT / file).read_text(encoding="utf-8")
        assert not test or f"def {test}(" in code, (file, test)
