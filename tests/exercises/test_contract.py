"""What holds for every exercise: copies, compared arguments, converted results, named mistakes, honest errors."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from ftcourse.exercises import Choice, Formula, Function, Value, Wrong, agrees, gives, progress
from ftcourse.exercises.drawn import Draw
from ftcourse.exercises.written import as_letters, as_number, as_numbers, equals, unit_mistake

TEXTS = {"why": "So.", "hints": ("first.", "second."), "worked": "x = 1"}


@pytest.fixture(autouse=True)
def no_progress(monkeypatch):
    monkeypatch.setenv("FTCOURSE_PROGRESS", "off")
    monkeypatch.setattr(progress, "_here", {})


def mean(values):
    return values.mean()


def drawn(draw):
    for n in (1, 2, 5):
        yield (draw.normal(n) + 3,)


def make_formula(**more):
    texts = {"number": "9.5", "name": "mean", "reference": mean, "gives": gives.number("mean()")}
    mistakes = (
        (lambda v: v.sum(), Wrong("it adds up", "divide.")),
        (lambda v: v.median(), Wrong("it is the median", "the mean is another.")),
    )
    return Formula(**{"cases": drawn, "mistakes": mistakes, **texts, **TEXTS, **more})


def make_function(judge, reference=lambda x: x, **more):
    return Function(
        number="9.6", name="f", judge=judge, **{"reference": reference, **TEXTS, **more}
    )


def said(exercise, attempt, capsys):
    capsys.readouterr()
    exercise(attempt)
    return " ".join(capsys.readouterr().out.split())


# ------------------------------------------------------------------------------------- formulas


@pytest.mark.parametrize(
    "attempt",
    [
        lambda v: float(v.mean()),
        lambda v: torch.mean(v),
        lambda v: np.mean(v.numpy()),
        lambda v: v.double().mean(),
        lambda v: sum(v.tolist()) / len(v),
        lambda v: v.mean(dim=0, keepdim=True),
    ],
)
def test_a_result_is_converted_in_the_check_and_in_the_lesson(attempt, capsys):
    exercise = make_formula()
    assert "9.5 right." in said(exercise, attempt, capsys)
    back = exercise(attempt)
    assert type(back(torch.ones(3))) is float
    assert "9.5 right." in said(exercise, back, capsys)  # it is still the learner's


def test_a_mistake_is_named_only_where_it_gives_all_the_answers(capsys):
    exercise = make_formula()
    assert "it adds up" in said(exercise, lambda v: v.sum(), capsys)
    assert "it is the median" in said(exercise, lambda v: v.median(), capsys)
    # right for one value, a sum for two, something else for five: neither is named
    odd = lambda v: v.sum() if len(v) < 3 else v.max()  # noqa: E731
    assert "Hint: first." in said(exercise, odd, capsys)


def test_what_is_drawn_is_another_at_each_try(capsys):
    exercise, answers = make_formula(), {}

    def remembered(values):
        return answers.get(tuple(values.tolist()), 0.0)

    for _ in range(3):
        for case in drawn(Draw(exercise.tries)):
            answers[tuple(case[0].tolist())] = float(case[0].mean())
        exercise.tries += 1
        assert "not yet" in said(exercise, remembered, capsys)


def test_an_input_for_which_it_stops_is_told(capsys):
    out = said(make_formula(), lambda v: v.mean() if len(v) < 5 else v.nothing(), capsys)
    assert "for a tensor of shape" not in out and "for [" in out and "it stops with" in out


def test_what_else_is_asked_comes_after_the_results(capsys):
    exercise = make_formula(also=lambda f: Wrong("too slow"))
    assert "it adds up" in said(exercise, lambda v: v.sum(), capsys)
    assert "too slow" in said(exercise, lambda v: v.mean(), capsys)


# ------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("spoil", "value"),
    [
        (lambda v: v.zero_(), torch.ones(3)),
        (lambda v: v.__setitem__(0, 5), np.ones(3)),
        (lambda v: v.append(1), [0]),
        (lambda v: v.update(a=2), {"a": 1}),
        (lambda v: v["boxes"].add_(1), {"boxes": torch.zeros(2)}),
        (lambda v: v[0].add_(1), [torch.zeros(2)]),
        (lambda v: v.resize_(1), torch.zeros(2)),
        (lambda v: v.requires_grad_(True), torch.zeros(2)),
    ],
)
def test_an_argument_that_is_changed_is_told_by_its_name_and_the_checks_own_is_kept(
    spoil, value, capsys
):
    before = repr(value)

    def attempt(given):
        spoil(given)
        return 1

    exercise = make_function(lambda f: f(value) and None, reference=lambda photo: 1)
    assert "it changes photo: it came back with other values" in said(exercise, attempt, capsys)
    assert repr(value) == before
    assert "right." in said(exercise, lambda given: 1, capsys)


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout())


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda m: m.eval(), "in another mode"),
        (lambda m: m[0].requires_grad_(False), "requires_grad of 2 tensors"),
        (lambda m: m[0].weight.data.zero_(), "0.weight has other values"),
        (lambda m: m(torch.randn(4, 2)), "running_mean has other values"),
        (lambda m: m.append(nn.Linear(2, 2)), "other layers"),
    ],
)
def test_a_model_that_is_changed_is_told_and_put_back(spoil, words, capsys):
    model = Net()

    def attempt(model):
        spoil(model)

    exercise = make_function(lambda f: f(model), reference=lambda model: None)
    assert words in said(exercise, attempt, capsys)
    if "layers" not in words:
        assert all(m.training for m in model.modules())
        assert all(p.requires_grad for p in model.parameters())
        assert model[0].weight.any() and not model[1].running_mean.any()
    allowed = make_function(lambda f: f(model), reference=lambda model: None, changes=("model",))
    assert "right." in said(allowed, attempt, capsys)


# ----------------------------------------------------------------------------- errors of the check


def broken_judge(f):
    f(1)
    raise RuntimeError("disk full")


def test_an_error_of_the_check_is_not_blamed_on_the_learner(capsys):
    out = said(make_function(broken_judge), lambda x: x, capsys)
    assert out.startswith("❔ 9.6 cannot be judged here") and "disk full" in out
    assert "no mistake of yours" in out and progress.state() == {}


def test_a_result_that_the_check_cannot_use_is_a_wrong_answer(capsys):
    exercise = make_function(lambda f: None if f(2) + 1 == 3 else Wrong("no"))
    out = said(exercise, lambda x: "2", capsys)
    assert "9.6 not yet: the check cannot use what it returns: TypeError" in out


def test_an_error_in_the_attempt_comes_first_even_where_the_check_is_broken(capsys):
    assert "it stops with ZeroDivisionError" in said(
        make_function(broken_judge), lambda x: 1 / 0, capsys
    )


# ------------------------------------------------------------------------------- numbers and words


@pytest.mark.parametrize(
    ("written", "number"),
    [
        (8394754, 8394754), ("8,394,754", 8394754), ((8, 394, 754), 8394754), ("8_394_754", 8394754),
        ((1, 0), 1000), ("1/3", 1 / 3), (Fraction(1, 3), 1 / 3), ("33 %", 0.33), ("0.33", 0.33),
        ("= 25", 25), ("≈ 178.8 MB", 178.8), ("178.8mb", 178.8), ("1e3", 1000.0), (np.float32(0.5), 0.5),
        (torch.tensor([4]), 4), ([4], 4), ("−3", -3),
    ],
)  # fmt: skip
def test_a_number_may_be_written_as_people_write_it(written, number):
    assert as_number(written, "MB") == pytest.approx(number)


@pytest.mark.parametrize(
    "written",
    ["four", "", "1/0", "1,2", "8,39,754", (8, 39), (1, 2, 3), True, None, object(), "1 2", torch.ones(2)],
)  # fmt: skip
def test_what_is_no_number_is_none(written):
    assert as_number(written) is None


def test_several_numbers_may_be_written_in_several_ways():
    for written in ((256, 10, 10), [256, 10, 10], "256, 10, 10", "(256, 10, 10)", "256 x 10 x 10"):
        assert as_numbers(written) == (256, 10, 10)
    assert as_numbers(torch.Size([256, 10, 10])) == (256, 10, 10)
    assert as_numbers(torch.tensor([256, 10])) == (256, 10)
    assert as_numbers("256 by 10") is None and as_numbers(256) is None


@pytest.mark.parametrize(
    ("number", "reference", "same"),
    [
        (0.33, 1 / 3, True), (0.333, 1 / 3, True), (0.3, 1 / 3, False), (0.34, 1 / 3, False),
        (3.61, 3.6109, True), (3.6, 3.6109, True), (3.62, 3.6109, False), (3.7, 3.6109, False),
        (180, 178.8, True), (179, 178.8, True), (178, 178.8, False), (4, 4, True), (4.0, 4, True),
        (0.2450999915599823, 0.2451272, True),  # 0.2451 in a float32 tensor
        (4.001, 4, False), (float("nan"), 0.5, False), (float("inf"), 0.5, False), (-0.33, 1 / 3, False),
    ],
)  # fmt: skip
def test_a_number_may_be_rounded_to_two_digits_or_more_and_a_count_not(number, reference, same):
    assert equals(number, reference) is same


@pytest.mark.parametrize(
    ("number", "unit"),
    [(170.5, "MiB"), (0.1788, "GB"), (178.8e6, "bytes"), (178.8, None), (1, None)],
)
def test_another_unit_of_memory_is_recognised(number, unit):
    found = unit_mistake(number, 178.8, "MB")
    assert found == (unit if number != 178.8 else None)


def test_another_unit_draws_a_hint_of_its_own(capsys):
    exercise = Value(number="9.7", name="v", reference=178.8, unit="MB", **TEXTS)
    assert "that is the number of MiB, and MB are asked for" in said(exercise, 170.52, capsys)
    assert "right." in said(exercise, "178.8 MB", capsys)
    assert exercise("179 MB") == 178.8  # the lesson goes on with the number


@pytest.mark.parametrize(
    ("answer", "letters"),
    [
        ("b", "b"), ("b and d", "bd"), ("B & D", "bd"), ("bd", "bd"), ("(b), (d)", "bd"), (["b", "d"], "bd"),
        ({"d", "b"}, "bd"), ("b or d", "bd"), ("answer: b", "b"), ("", ""),
    ],
)  # fmt: skip
def test_letters_may_be_written_in_several_ways(answer, letters):
    assert as_letters(answer, "abcd") == set(letters)


@pytest.mark.parametrize("answer", [3, 0.84, ["b", 3], object(), True])
def test_what_has_no_letters_is_told_how_to_answer(answer, capsys):
    options = {"a": Wrong("no"), "b": None}
    exercise = Choice(number="9.8", name="c", reference="b", options=options, **TEXTS)
    assert "answer with a letter in quotes" in said(exercise, answer, capsys)


# ---------------------------------------------------------------------------------- what is given


@pytest.mark.parametrize(
    ("convert", "value", "expected"),
    [
        (gives.number(), Fraction(1, 4), 0.25),
        (gives.number(), np.array([0.25]), 0.25),
        (gives.whole(), torch.tensor(3.0), 3),
        (gives.truth(), np.bool_(True), True),
        (gives.truth(), torch.tensor(False), False),
        (gives.tensor(), np.array([1.0, 2.0]), torch.tensor([1.0, 2.0])),
        (gives.tensor(), [torch.tensor(1.0), torch.tensor(2.0)], torch.tensor([1.0, 2.0])),
        (gives.tensor(torch.int64), torch.tensor([1, 2], dtype=torch.int32), torch.tensor([1, 2])),
        (gives.several(gives.whole()), (1, np.int64(2)), [1, 2]),
        (gives.tuple_of(gives.number(), None), [torch.tensor(0.5), "x"], (0.5, "x")),
        (gives.optional(gives.whole()), None, None),
        (gives.mapping(), {"a": 1}, {"a": 1}),
    ],
)
def test_what_is_meant_is_converted(convert, value, expected):
    found = convert(value)
    assert type(found) is type(expected) and agrees(found, expected)
    if isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype


@pytest.mark.parametrize(
    ("convert", "value", "words"),
    [
        (gives.number(), None, "returns nothing"),
        (gives.number(), torch.ones(2), "2 numbers, expected one"),
        (gives.number(), "0.5", "a str"),
        (gives.number(), Decimal(1), "a Decimal"),
        (gives.number(), [0.5], "a list"),
        (gives.whole(), 3.5, "whole number"),
        (gives.whole(), float("nan"), "whole number"),
        (gives.truth(), 1, "an int"),
        (gives.tensor(), "x", "a str"),
        (gives.tensor(torch.int64), torch.tensor([True]), "torch.bool"),
        (gives.tensor(torch.int64), torch.tensor([1.0]), "torch.float32"),
        (gives.tensor(torch.bool), torch.tensor([1]), "torch.int64"),
        (gives.several(), "abc", "a str"),
        (gives.several(), 3, "an int"),
        (gives.tuple_of(None, None), (1, 2, 3), "3 values, expected 2"),
        (gives.tuple_of(None, None), {}, "a dict"),
        (gives.mapping(), [1], "a list"),
        (gives.module(), None, "nothing"),
        (gives.module(), 3, "int"),
    ],
)
def test_what_is_not_asked_for_is_refused_with_what_came(convert, value, words):
    with pytest.raises(gives.Unfit, match=words):
        convert(value)


def test_two_answers_are_the_same_up_to_rounding_in_the_same_containers():
    assert agrees(0.30000001, 0.3) and agrees([1, 2.0], (1, 2)) and agrees({"a": None}, {"a": None})
    assert agrees(float("nan"), float("nan")) and agrees(torch.tensor(1.0), 1)
    assert not agrees(0.301, 0.3) and not agrees([1], 1) and not agrees(None, 0)
    assert not agrees(torch.ones(1), torch.ones(2)) and not agrees("1", 1) and not agrees(3, 4)
    assert not agrees({"a": 1}, {"b": 1}) and not agrees([1, 2], [1])


def test_a_right_answer_works_with_the_tensors_of_a_lesson(capsys):
    """Those made in inference mode, and those with gradients, which no check has drawn."""

    def by_autograd(values):
        weight = torch.ones(len(values), requires_grad=True)
        with torch.enable_grad():
            (values * weight).mean().backward()
        return weight.grad.sum()

    with torch.inference_mode():
        made = torch.tensor([1.0, 3.0])
    exercise = make_formula()
    for attempt in (by_autograd, lambda v: v.numpy().mean()):
        assert "9.5 right." in said(exercise, attempt, capsys)
        back = exercise(attempt)
        for values in (made, torch.tensor([1.0, 3.0], requires_grad=True)):
            assert back(values) == 2.0


def test_an_error_of_the_answers_own_is_raised_in_the_lesson(capsys):
    back = make_formula()(lambda v: v.mean() if v.ndim == 1 else v @ v)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        back(torch.ones(2, 3))
