"""What the tests of the lessons' questions share."""

from __future__ import annotations


def said(exercise, attempt, capsys) -> str:
    """What the check prints about an attempt, on one line."""
    capsys.readouterr()
    exercise(attempt)
    return " ".join(capsys.readouterr().out.split())


def assert_right(exercise, attempt, capsys):
    out = said(exercise, attempt, capsys)
    assert f"{exercise.number} right." in out, out
