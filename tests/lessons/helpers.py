"""What the tests of the lessons' questions share."""

from __future__ import annotations


def said_and_given(exercise, attempt, capsys):
    """What the check prints about an attempt, on one line, and what it hands back."""
    capsys.readouterr()
    given = exercise(attempt)
    return " ".join(capsys.readouterr().out.split()), given


def said(exercise, attempt, capsys) -> str:
    """What the check prints about an attempt, on one line."""
    return said_and_given(exercise, attempt, capsys)[0]


def assert_right(exercise, attempt, capsys):
    out = said(exercise, attempt, capsys)
    assert f"{exercise.number} right." in out, out
