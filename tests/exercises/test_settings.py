"""Open tasks: settings that are changed until they behave; untouched ones wait, others are tried as meant."""

from __future__ import annotations

import pytest

from ftcourse.exercises import Wrong, progress
from ftcourse.exercises.settings import Settings

START = {"size": 8, "rate": 1.0, "kind": "slow", "still": True}


@pytest.fixture(autouse=True)
def no_progress(monkeypatch):
    monkeypatch.setenv("FTCOURSE_PROGRESS", "off")
    monkeypatch.setattr(progress, "_here", {})


@pytest.fixture
def task():
    tried = []

    def judge(settings):
        tried.append(settings)
        return Wrong("too large", "smaller.") if settings["size"] * settings["rate"] > 4 else None

    made = Settings(
        number="9.9",
        name="task",
        reference={**START, "size": 2},
        why="So.",
        hints=("first.", "second."),
        worked='plan = {"size": 2}',
        start=START,
        choices={
            "size": (1, 100, "a size"),
            "rate": (0.0, 1.0, "a rate"),
            "kind": ("slow", "fast", "none"),
            "still": (True, False),
        },
        judge=judge,
    )
    return made, tried


@pytest.mark.parametrize(
    "blank",
    [None, ..., dict(START), dict.fromkeys(START), {**START, "rate": "1"}, {**START, "size": 8.0}],
)
def test_settings_that_are_as_they_were_wait_and_nothing_is_tried(task, capsys, blank):
    exercise, tried = task
    assert exercise(blank) == exercise.reference
    assert capsys.readouterr().out.startswith("⏳") and not tried


def test_settings_are_tried_as_they_are_meant_and_handed_back(task, capsys):
    exercise, tried = task
    given = {"size": "2", "rate": "50 %", "kind": "fast", "still": False}
    meant = {"size": 2, "rate": 0.5, "kind": "fast", "still": False}
    assert exercise(given) == meant and tried == [meant]
    assert "✅ 9.9 right. So." in capsys.readouterr().out
    assert given["size"] == "2"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": 9}, "too large"),
        ({"size": 0}, "a size: a whole number from 1 to 100"),
        ({"size": 2.5}, "a whole number"),
        ({"rate": float("nan")}, "a rate: a number from 0 to 1"),
        ({"rate": True}, "a rate: a number"),
        ({"kind": "Fast"}, "'slow' or 'fast' or 'none'"),
        ({"still": 1}, "True or False"),
        ({"more": 1}, "keep the names: size, rate, kind, still"),
    ],
)
def test_what_does_not_fit_is_told_with_what_would(task, capsys, change, words):
    exercise, _ = task
    exercise({**START, **change})
    out = " ".join(capsys.readouterr().out.split())
    assert "❌ 9.9 not yet" in out and words in out, out


def test_the_reference_that_was_handed_out_is_no_answer(task, capsys):
    exercise, _ = task
    handed = exercise(None)
    exercise(handed)
    assert "this is the reference answer" in capsys.readouterr().out
    handed["size"] = 3  # changed by the learner: now it is one
    exercise(handed)
    assert "✅" in capsys.readouterr().out
