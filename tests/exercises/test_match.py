"""A question that gives each name its letter: what is an answer, and what is none yet."""

from __future__ import annotations

import pytest

from ftcourse.exercises import Wrong, progress
from ftcourse.exercises.match import Match


@pytest.fixture
def pairs(monkeypatch):
    monkeypatch.setenv("FTCOURSE_PROGRESS", "off")
    monkeypatch.setattr(progress, "_here", {})
    tells = {("one", "b"): Wrong("seen", "of the pair"), "two": Wrong("seen", "of two")}
    return Match(
        number="0.9",
        name="pairs",
        reference={"one": "a", "two": "B"},
        why="So it is.",
        hints=("look", "go on"),
        worked='answer = {"one": "a", "two": "B"}',
        letters="abc",
        tells={**tells, "one": Wrong("seen", "of one")},
    )


@pytest.mark.parametrize("blank", [None, ..., "", "?", " ? "])
def test_blanks_wait_and_a_blank_beside_a_letter_does_not(pairs, blank, capsys):
    pairs({"one": blank, "two": blank})
    assert "waits" in capsys.readouterr().out
    pairs({"one": "a", "two": blank})
    assert "from a to c" in capsys.readouterr().out


@pytest.mark.parametrize("letter", ["b", "B", " b ", "(b)", ["b"], {"B"}, ("b",)])
def test_a_letter_is_taken_as_people_write_it(pairs, letter, capsys):
    pairs({"one": "a", "two": letter})
    assert "0.9 right" in capsys.readouterr().out


@pytest.mark.parametrize("letter", ["ab", ["a", "b"], "d", [], 2, "because", {"b": 1}])
def test_what_is_not_one_letter_is_told(pairs, letter, capsys):
    pairs({"one": "a", "two": letter})
    assert "each name gets a letter from a to c" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("one", "two", "hint"), [("b", "b", "of the pair"), ("c", "c", "of two"), ("c", "b", "of one")]
)
def test_the_pair_is_told_before_the_name_and_names_in_their_order(pairs, one, two, hint, capsys):
    pairs({"one": one, "two": two})
    assert f"Hint: {hint}" in capsys.readouterr().out
