"""All exercises alike: right answers are taken, wrong ones refused for what is wrong, small mistakes noticed."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest
from helpers import said, said_and_given
from mutated import defined, mutants

from ftcourse.exercises import Draw, Exercise, Formula, Function, progress

LESSONS = sorted(progress.exercises())


def exercises(lesson):
    module = importlib.import_module(f"ftcourse.exercises.{lesson}")
    return [e for e in vars(module).values() if isinstance(e, Exercise)]


def answers(lesson):
    return importlib.import_module(f"answers.{lesson}")


ALL = [
    pytest.param(lesson, e, id=f"{lesson}-{e.name}")
    for lesson in LESSONS
    for e in exercises(lesson)
]
FUNCTIONS = [p for p in ALL if isinstance(p.values[1], Function)]
FORMULAS = [p for p in ALL if isinstance(p.values[1], Formula)]


@pytest.fixture(autouse=True)
def no_progress(monkeypatch):
    monkeypatch.setenv("FTCOURSE_PROGRESS", "off")
    monkeypatch.setattr(progress, "_here", {})


@pytest.mark.parametrize("lesson", LESSONS)
def test_each_exercise_has_its_answers_and_no_other_has(lesson):
    given, names = answers(lesson), {e.name for e in exercises(lesson)}
    assert set(given.RIGHT) == set(given.WRONG) == names
    assert set(given.EQUIVALENT) <= names
    assert {k: len(v) for k, v in given.RIGHT.items() if len(v) < 6} == {}
    assert {k: len(v) for k, v in given.WRONG.items() if len(v) < 10} == {}


@pytest.mark.parametrize(("lesson", "exercise"), ALL)
def test_right_answers_are_taken_and_taken_again(lesson, exercise, capsys):
    for i, answer in enumerate(answers(lesson).RIGHT[exercise.name]):
        out, returned = said_and_given(exercise, answer, capsys)
        assert f"✅ {exercise.number} right." in out, (i, out)
        if i < 2 or isinstance(exercise, Formula):  # others are judged by what they do, for seconds
            assert f"✅ {exercise.number} right." in said(exercise, returned, capsys), i


@pytest.mark.parametrize(("lesson", "exercise"), ALL)
def test_wrong_answers_are_refused_for_what_is_wrong(lesson, exercise, capsys):
    for i, (answer, words) in enumerate(answers(lesson).WRONG[exercise.name]):
        out = said(exercise, answer, capsys)
        assert f"❌ {exercise.number} not yet:" in out, (i, out)
        assert words in out.split("not yet:")[1].split(" More: ")[0], (i, out)


@pytest.mark.parametrize(("lesson", "exercise"), ALL)
def test_the_worked_answer_is_right(lesson, exercise, capsys):
    out = said(exercise, defined(exercise.worked, answers(lesson).NAMES), capsys)
    assert f"✅ {exercise.number} right." in out, out


@pytest.mark.parametrize(("lesson", "exercise"), FUNCTIONS)
def test_a_small_mistake_in_the_worked_answer_is_noticed(lesson, exercise, capsys):
    given = answers(lesson)
    if exercise.name in getattr(given, "BY_OUTCOME", ()):
        pytest.skip("judged by what comes of it: a small change that still gets there is right")
    expected, taken = given.EQUIVALENT.get(exercise.name, {}), []
    for told, code in mutants(exercise.worked):
        try:
            answer = defined(code, given.NAMES)
        except Exception:  # it cannot even be defined
            continue
        if f"✅ {exercise.number}" in said(exercise, answer, capsys):
            taken.append(told)
    assert sorted(taken) == sorted(expected)


@pytest.mark.parametrize(("lesson", "exercise"), FORMULAS)
def test_another_formula_agrees_with_the_reference(lesson, exercise):
    assert exercise.second is not None
    for seed in range(20):
        for case in exercise.cases(Draw(seed)):
            right = exercise.expected(exercise.reference, case)
            second = exercise.expected(exercise.second, case)
            assert exercise.agreeing(second, right), (seed, case, second, right)


@pytest.mark.parametrize(("lesson", "exercise"), FORMULAS)
def test_each_known_mistake_differs_from_the_reference_and_from_the_others(
    lesson, exercise, capsys
):
    """Diagnosis: each mistake, given as an answer, draws its own words, whatever the seed."""
    for mistaken, wrong in exercise.mistakes:
        for _ in range(3):
            out = said(exercise, mistaken, capsys)
            assert " ".join(wrong.observed.split()) in out, (wrong, out)


@pytest.mark.parametrize(("lesson", "exercise"), ALL)
def test_no_hint_is_the_answer(lesson, exercise):
    for hint in exercise.hints:
        text = " ".join(hint.split())
        for line in exercise.worked.splitlines():
            body = line.split("#")[0].removeprefix("    return ").strip()
            assert len(body) < 12 or line.startswith("def ") or body not in text, body
        if not isinstance(exercise, Function):
            assert not re.search(rf"(?<![\w.]){re.escape(str(exercise.reference))}(?![\w.])", text)
            continue
        words = set(re.findall(r"[A-Za-z_]\w+", exercise.worked)) - KEYWORDS
        found = words & set(re.findall(r"[A-Za-z_]\w+", text))
        assert len(found) <= 0.6 * len(words), (hint, sorted(words - found))


KEYWORDS = {"def", "return", "for", "in", "if", "else", "not", "and", "or", "with", "is", "None"}


@pytest.mark.parametrize(("lesson", "exercise"), ALL)
def test_nothing_is_said_of_an_untouched_exercise_but_that_it_waits(lesson, exercise, capsys):
    def stub(*args, **kwargs):
        raise NotImplementedError

    blank = stub if isinstance(exercise, Function) else None
    for answer in (blank, exercise(blank), exercise(exercise(blank))):
        out = said(exercise, answer, capsys)
        assert out.startswith(f"⏳ {exercise.number} waits") and "Hint" not in out, out
    assert exercise.number not in progress.state()


def test_the_answers_are_many():
    """The counts that docs/reliability.md tells."""
    given = [answers(lesson) for lesson in LESSONS]
    right = sum(len(v) for a in given for v in a.RIGHT.values())
    wrong = sum(len(v) for a in given for v in a.WRONG.values())
    assert right >= 6 * len(ALL) and wrong >= 10 * len(ALL), (right, wrong)
    assert all(reason for a in given for v in a.EQUIVALENT.values() for reason in v.values())
    assert inspect.getdoc(importlib.import_module("answers"))
