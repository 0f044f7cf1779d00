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


def assert_wrong(exercise, attempt, hint, capsys):
    """The attempt is called wrong, and the hint it draws has these words."""
    out = said(exercise, attempt, capsys)
    assert f"{exercise.number} not yet" in out, out
    drawn = out.split("Hint: ", 1)[1].split(" More: ")[0]
    assert hint in drawn, out


def assert_worked_answer_is_right(exercise, capsys, **names):
    """Run the text that `solution()` shows, and check what it defines last."""
    before = set(names)
    exec(exercise.worked, names)
    defined = [k for k in names if k not in before and not k.startswith("__")]
    assert_right(exercise, names[defined[-1]], capsys)
