"""Exercises: three states, never an error, and hints that fit the mistake."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from ftcourse.exercises import Choice, Exercise, Function, Value, Wrong, progress, same_value


def make_double():
    def judge(f):
        got = f(3)
        return None if got == 6 else Wrong(f"f(3) is {got!r}", None if got == 3 else "times two.")

    return Function(
        number="9.1",
        name="double",
        reference=lambda x: 2 * x,
        why="Twice.",
        hints=("look at 3.", "2 * x."),
        worked="def double(x):\n    return 2 * x",
        judge=judge,
    )


def make_value(**more):
    texts = {"why": "So.", "hints": ("first.", "second."), "worked": "guess = 4"}
    return Value(number="9.2", name="value", reference=4, **texts, **more)


def make_choice(reference="b"):
    texts = {"why": "So.", "hints": ("first.", "second."), "worked": 'answer = "b"'}
    options = {"a": Wrong("a is too cold", "warmer."), "b": None, "c": None, "d": Wrong("no")}
    return Choice(number="9.3", name="choice", reference=reference, options=options, **texts)


@pytest.fixture(autouse=True)
def no_progress(monkeypatch):
    monkeypatch.setenv("FTCOURSE_PROGRESS", "off")
    monkeypatch.setattr(progress, "_here", {})


# ------------------------------------------------------------------------------ three states


def test_a_stub_is_not_attempted_and_the_reference_comes_back(capsys):
    def stub(x):
        raise NotImplementedError

    exercise = make_double()
    assert exercise(stub) == exercise.reference
    out = capsys.readouterr().out
    assert "9.1 waits for your answer" in out and "Hint" not in out


def test_a_wrong_answer_draws_its_hint_and_the_reference_comes_back(capsys):
    exercise = make_double()
    assert exercise(lambda x: x + 2) is exercise.reference
    out = capsys.readouterr().out
    assert "9.1 not yet: f(3) is 5" in out and "Hint: times two." in out
    exercise(lambda x: x)
    assert "Hint: look at 3." in capsys.readouterr().out


def test_a_right_answer_comes_back_with_the_reason(capsys):
    def double(x):
        return x + x

    assert make_double()(double) is double
    assert "9.1 right. Twice." in capsys.readouterr().out


@pytest.mark.parametrize("attempt", [None, ...])
@pytest.mark.parametrize("make", [make_double, make_value, make_choice])
def test_no_answer_yet_is_not_attempted_for_every_kind(make, attempt, capsys):
    exercise = make()
    assert exercise(attempt) == exercise.reference
    assert "waits for your answer" in capsys.readouterr().out


class Hostile:
    def __repr__(self):
        raise RuntimeError("no repr")

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    def __iter__(self):
        raise RuntimeError("no iteration")


@pytest.mark.parametrize("make", [make_double, make_value, make_choice])
@pytest.mark.parametrize(
    "attempt",
    [Hostile(), object(), float("nan"), "", "zz", [], {}, {1: 2}, lambda: 0, torch.zeros(0), type],
)
def test_a_check_never_raises_and_never_calls_nonsense_right(make, attempt, capsys):
    exercise = make()
    assert exercise(attempt) == exercise.reference
    out = capsys.readouterr().out
    assert "right" not in out.split("check.")[0] and "Traceback" not in out


def test_an_error_in_the_learners_code_is_told_in_one_line_with_its_place(capsys):
    def broken(x):
        y = 0
        return x / y

    make_double()(broken)
    out = " ".join(capsys.readouterr().out.split())
    assert "it stops with ZeroDivisionError: division by zero, in line 3 of your function" in out


def test_leaving_the_interpreter_is_a_wrong_answer(capsys):
    make_double()(lambda x: exit())
    assert "SystemExit" in capsys.readouterr().out


def test_the_call_in_place_of_the_function_is_recognised(capsys):
    make_double()(6)
    assert "without calling it" in capsys.readouterr().out


def test_running_the_check_twice_asks_for_the_own_cell(capsys):
    exercise = make_double()
    exercise(exercise(lambda x: x))
    assert "run its cell again, then this one" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("first", [None, "?", 3, ["?"]])
@pytest.mark.parametrize("make", [make_double, make_value, make_choice])
def test_what_the_check_returned_is_no_answer_however_often_it_is_run(make, first, capsys):
    exercise = make()
    answer = exercise(exercise(first))
    for _ in range(2):
        capsys.readouterr()
        answer = exercise(answer)
        assert "waits" in capsys.readouterr().out
    assert answer == exercise.reference
    assert not progress.state().get(exercise.number, {}).get("right")


def test_the_same_answer_by_the_learner_counts(capsys):
    for make, own in ((make_value, 4), (make_choice, "b")):
        exercise = make()
        exercise(None)
        exercise(own)
        assert "right." in capsys.readouterr().out


def test_a_returned_dict_that_the_learner_has_changed_is_an_answer(capsys):
    from ftcourse.exercises import lesson08 as check

    answer = check.match_runs(None)
    answer["one rate"] = "A"
    check.match_runs(answer)
    assert "not yet" in capsys.readouterr().out


def test_a_check_leaves_random_numbers_and_gradients_as_they_were():
    def meddling(x):
        torch.manual_seed(1)
        torch.set_grad_enabled(False)
        return 2 * x

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    make_double()(meddling)
    assert torch.equal(torch.rand(3), expected)
    assert torch.is_grad_enabled()


def test_hints_come_one_after_the_other_and_then_point_to_the_solution(capsys):
    exercise = make_double()
    outs = []
    for _ in range(3):
        exercise.hint()
        outs.append(capsys.readouterr().out)
    assert "Hint 1 of 2" in outs[0] and "look at 3" in outs[0]
    assert "Hint 2 of 2" in outs[1] and "2 * x" in outs[1]
    assert "check.double.solution()" in outs[2]
    exercise.solution()
    assert "return 2 * x" in capsys.readouterr().out


# ------------------------------------------------------------------------------------- kinds


@pytest.mark.parametrize("attempt", [4, 4.0, torch.tensor(4), "4", [4], "8/2", "= 4", np.int8(4)])
def test_a_value_may_be_written_in_several_ways(attempt, capsys):
    exercise = make_value()
    assert exercise(attempt) == 4 and "right." in capsys.readouterr().out


def test_a_typical_wrong_value_draws_its_own_hint(capsys):
    exercise = make_value(
        mistakes=((5, Wrong("one too many", "count.")), (lambda a: a < 0, Wrong("neg", "sign.")))
    )
    for attempt, words in ((5, "Hint: count."), (-1, "Hint: sign."), (7, "Hint: first.")):
        exercise(attempt)
        assert words in capsys.readouterr().out


@pytest.mark.parametrize("attempt", ["b", "B", " b ", "(b)", ["b"], {"b"}])
def test_a_choice_may_be_written_in_several_ways(attempt, capsys):
    assert make_choice()(attempt) == "b" and "right." in capsys.readouterr().out


def test_a_choice_says_what_speaks_against_a_wrong_option(capsys):
    make_choice()("a")
    out = capsys.readouterr().out
    assert "a is too cold" in out and "warmer." in out
    make_choice()("x")
    assert "is not among a, b, c, d" in capsys.readouterr().out


def test_a_choice_with_two_letters_wants_both(capsys):
    exercise = make_choice("b, c")
    for both in ("c b", "b and c", "B & C", "bc", ["c", "b"], "b, c."):
        assert exercise(both) == "b, c" and "right." in capsys.readouterr().out
    exercise("b")
    assert "1 more is true" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ((1, 2), [1, 2], True),
        (torch.Size([1, 2]), (1, 2), True),
        (torch.tensor([1.0, 2.0]), [1, 2], True),
        (0.30000001, 0.3, True),
        ("a ", "a", True),
        ({"x": 1}, {"x": 1.0}, True),
        ((1, 2), (2, 1), False),
        ((1, 2), (1, 2, 3), False),
        ("1", 1, False),
        ({"x": 1}, {"y": 1}, False),
    ],
)
def test_same_value(a, b, same):
    assert same_value(a, b) is same


def test_every_lessons_exercises_are_numbered_and_named_as_the_lesson_calls_them():
    import importlib

    for module_name, numbers in progress.exercises().items():
        lesson = int(module_name.removeprefix("lesson"))
        assert numbers == [f"{lesson}.{i + 1}" for i in range(len(numbers))]
        module = importlib.import_module(f"ftcourse.exercises.{module_name}")
        for name, exercise in vars(module).items():
            if isinstance(exercise, Exercise):
                assert exercise.name == name
                assert len(exercise.hints) == 2 and exercise.worked and exercise.why


# --------------------------------------------------------------------------------- odd answers


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no text either")


class LeavesOnRepr:
    def __repr__(self):
        raise SystemExit


class FailsAtAnyTouch:
    def __call__(self, x):
        raise ValueError("inside")

    def __getattr__(self, name):
        raise RuntimeError(f"no {name}")


class FailsLater:
    """A result that is fine until somebody looks at it."""

    def __eq__(self, other):
        raise RuntimeError("too late")

    __float__ = __len__ = __repr__ = __iter__ = __bool__ = lambda self: 1 / 0


def raises_unprintable(x):
    raise Unprintable


def raises_a_bare_base_exception(x):
    raise BaseException("all the way down")


def never_ends_recursing(x):
    return never_ends_recursing(x)


@pytest.mark.parametrize(
    "attempt",
    [
        raises_unprintable,
        raises_a_bare_base_exception,
        never_ends_recursing,
        lambda x: FailsLater(),
        lambda x: LeavesOnRepr(),
        lambda x: __import__("sys").exit(3),
    ],
)
def test_a_function_that_fails_in_an_odd_way_is_a_wrong_answer(attempt, capsys):
    exercise = make_double()
    assert exercise(attempt) == exercise.reference
    out = capsys.readouterr().out
    assert "9.1 not yet" in out and "Traceback" not in out


@pytest.mark.parametrize("make", [make_double, make_value, make_choice])
@pytest.mark.parametrize("kind", [LeavesOnRepr, FailsLater, FailsAtAnyTouch])
def test_a_value_that_fails_in_an_odd_way_is_a_wrong_answer(make, kind, capsys):
    exercise = make()
    assert exercise(kind()) == exercise.reference
    assert "not yet" in capsys.readouterr().out


def numbers():
    i = 0
    while True:
        yield i
        i += 1


@pytest.mark.parametrize("make", [make_value, make_choice])
def test_an_endless_answer_is_not_read(make, capsys):
    make()(numbers())
    out = capsys.readouterr().out
    assert "it is a generator, which can be read once only" in " ".join(out.split())


@pytest.mark.parametrize("attempt", [lambda x: numbers(), lambda x: map(str, numbers())])
def test_an_endless_result_is_not_read(attempt, capsys):
    exercise = make_double()
    exercise.judge = lambda f: None if list(f(3)) else Wrong("empty")
    exercise(attempt)
    out = " ".join(capsys.readouterr().out.split())
    assert "what your function returns" in out and "return in place of yield" in out


def test_an_interrupt_goes_through():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_double()(interrupted)


def test_what_the_attempt_prints_comes_before_the_verdict_and_in_part(capsys):
    def talks(x):
        for i in range(5000):
            print("looking at", i, end=" ")
            print()
        return 2 * x

    assert make_double()(talks) is talks
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "   your code prints: looking at 0 " and len(lines) == 10
    assert lines[-2:][0] == "   your code prints more" and "9.1 right" in lines[-1]


def test_pytorchs_own_not_implemented_error_is_no_stub(capsys):
    class NoForward(torch.nn.Module):
        pass

    make_double()(lambda x: NoForward()(x))
    out = " ".join(capsys.readouterr().out.split())
    assert "9.1 not yet" in out and 'missing the required "forward" function' in out


def test_a_check_leaves_the_default_dtype_as_it_was():
    def meddling(x):
        torch.set_default_dtype(torch.float64)
        return 2 * x

    make_double()(meddling)
    assert torch.get_default_dtype() is torch.float32


def test_a_reference_that_the_lesson_changes_stays_right():
    texts = {"why": "So.", "hints": ("a.", "b."), "worked": "x"}
    exercise = Value(number="9.4", name="board", reference={"A": [1]}, **texts)
    exercise(None)["A"].append(2)
    assert exercise(None) == {"A": [1]}


def test_every_lessons_functions_judge_alike_after_an_attempt_that_spoils_its_input(capsys):
    """The judge's own numbers must not come from tensors that the attempt was handed and changed."""
    import importlib

    def spoil(*args, **kwargs):
        for value in (*args, *kwargs.values()):
            if isinstance(value, torch.Tensor):
                with torch.no_grad():
                    value.zero_()
            if isinstance(value, (list, dict)):
                value.clear()

    for module_name in progress.exercises():
        module = importlib.import_module(f"ftcourse.exercises.{module_name}")
        for exercise in vars(module).values():
            if isinstance(exercise, Function):
                exercise(spoil)
                assert f"{exercise.number} not yet" in capsys.readouterr().out
                exercise(exercise.worked and _own_copy(exercise.reference))
                assert f"{exercise.number} right" in capsys.readouterr().out, exercise.number


def _own_copy(reference):
    return lambda *args, **kwargs: reference(*args, **kwargs)


@pytest.mark.parametrize("lesson", sorted(progress.exercises()))
def test_a_lessons_check_cells_run_twice_solve_nothing(lesson, capsys, monkeypatch, tmp_path):
    import importlib

    monkeypatch.setenv("FTCOURSE_PROGRESS", str(tmp_path / "p.json"))
    module = importlib.import_module(f"ftcourse.exercises.{lesson}")
    for exercise in (e for e in vars(module).values() if isinstance(e, Exercise)):
        exercise(exercise(exercise(None)))
        assert "✅" not in capsys.readouterr().out, exercise.number
    assert progress.state() == {}


def no_gradients(x):
    torch.set_grad_enabled(False)
    return 2 * x


def other_dtype(x):
    torch.set_default_dtype(torch.float64)
    return 2 * x


def one_thread(x):
    torch.set_num_threads(torch.get_num_threads() + 1)
    return 2 * x


def other_home(x):

    os.environ["HOME"] = "/nowhere"
    return 2 * x


def large_figures(x):
    import matplotlib

    matplotlib.rcParams["figure.dpi"] = 7.0
    return 2 * x


@pytest.mark.parametrize(
    ("attempt", "word"),
    [
        (no_gradients, "gradient mode"),
        (other_dtype, "default dtype"),
        (one_thread, "number of threads"),
        (other_home, "environment"),
        (large_figures, "matplotlib's settings"),
    ],
)
def test_a_switch_left_over_is_told_and_put_back(attempt, word, capsys, monkeypatch):

    import matplotlib

    monkeypatch.setenv("HOME", "/home/me")
    switches = lambda: (  # noqa: E731
        torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads(),
        os.environ["HOME"], matplotlib.rcParams["figure.dpi"],
    )  # fmt: skip
    before, exercise = switches(), make_double()
    assert exercise(attempt) is exercise.reference
    out = " ".join(capsys.readouterr().out.split())
    assert f"what it gives is right, but it leaves {word}" in out.replace("the ", "").replace(
        "PyTorch's ", ""
    )
    assert switches() == before


def test_a_switch_that_is_put_back_by_the_attempt_is_no_fault(capsys):
    def careful(x):
        with torch.no_grad():
            return 2 * x

    assert make_double()(careful) is careful


def test_the_miniature_device_of_lesson_05_returns_at_once_and_works_in_order():
    import time

    from ftcourse.exercises.lesson05 import MiniDevice

    device, done = MiniDevice(), []
    start = time.perf_counter()
    for i in range(3):
        device.submit(lambda i=i: (time.sleep(0.05), done.append(i)))
    assert time.perf_counter() - start < 0.05
    device.wait()
    assert done == [0, 1, 2] and time.perf_counter() - start >= 0.14
