"""Benchmarks that nobody runs for months still run: what they import is there, and pages are what they write."""

from __future__ import annotations

import ast
import importlib
import json

import pytest

from tests.benchmarks.test_reliability import FOLDER, program


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.stem)
def test_what_a_benchmark_imports_of_the_package_is_there(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("ftcourse"):
            continue
        module = importlib.import_module(node.module)
        for name in (alias.name for alias in node.names):
            there = hasattr(module, name) or importlib.util.find_spec(f"{node.module}.{name}")
            assert there, f"{file.name}: {node.module} has no {name}"


def test_the_page_on_large_folders_is_what_its_command_writes():
    benchmark = program("large_folder")
    results = json.loads(benchmark.RESULT.read_text(encoding="utf-8"))
    stored = benchmark.RESULT.with_suffix(".md").read_text(encoding="utf-8")
    assert benchmark.page(results) == stored
    for photos, row in results["rows"].items():
        assert row["first"]["photos_used"] == row["second"]["photos_used"] == int(photos)


def test_a_large_folder_is_measured_in_processes_of_their_own(tmp_path):
    row = program("large_folder").measure(60)
    assert row["first"]["photos_used"] == 60 and row["second"]["peak_mb"] > 10
