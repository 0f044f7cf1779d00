"""Results files: read by name, and clear about what is missing."""

from __future__ import annotations

import json

import pytest

from ftcourse import results

MADE = {"command": "python benchmarks/toy.py", "seeds": [0], "versions": {"torch": "2.5"}}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "HERE", tmp_path)
    return tmp_path


def test_a_results_file_is_read_by_its_name(folder):
    (folder / "toy.json").write_text(json.dumps({**MADE, "summary": [1]}))
    assert results.load("toy")["summary"] == [1]
    assert results.available() == ["toy"]


def test_a_missing_file_is_named_with_the_command_that_makes_it(folder):
    (folder / "toy.json").write_text(json.dumps(MADE))
    with pytest.raises(
        FileNotFoundError, match=r"nothing\.json.*there are: toy.*benchmarks/nothing\.py"
    ):
        results.load("nothing")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"toy\.json: is no JSON.*benchmarks/toy\.py"),
        ("[]", "lacks command, seeds, versions"),
        ('{"command": "x", "seeds": [0]}', "lacks versions"),
    ],
)
def test_a_file_that_does_not_say_how_it_was_made_is_refused(folder, text, message):
    (folder / "toy.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        results.load("toy")


def test_each_results_file_in_the_package_loads_and_names_its_script():
    for name in results.available():
        assert "benchmarks/" in results.load(name)["command"], name


def test_a_name_stands_for_one_file_in_the_package():
    assert results.path("toy").parts[-3:] == ("ftcourse", "results", "toy.json")
