"""Lesson 14's questions, proven with right answers written differently and typical wrong ones."""

from __future__ import annotations

import pytest
import torch
from helpers import assert_right, assert_worked_answer_is_right, assert_wrong
from torch.nn import functional as F

from ftcourse.exercises import lesson14 as check


@pytest.mark.parametrize("attempt", [73_728, 73728.0, torch.tensor(73_728)])
def test_14_1_takes_the_count(attempt, capsys):
    assert_right(check.count_lora, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (36_864, "A *and* B"),
        (12_288, "six layers"),
        (6_144, "two in each"),
        (1_769_472, "A and B instead"),
        (147_456, "8 rows"),
        (74_883, "A and B alone"),
        (110_592, "query and value only"),
        (1, "how many numbers has A"),
    ],
)
def test_14_1_tells_wrong_counts_apart(attempt, hint, capsys):
    assert_wrong(check.count_lora, attempt, hint, capsys)


def with_linear(x, weight, bias, A, B, scale):
    return F.linear(x, weight, bias) + F.linear(F.linear(x, A), B) * scale


def merged_first(x, weight, bias, A, B, scale):
    return F.linear(x, weight + scale * B @ A, bias)


def with_einsum(x, weight, bias, A, B, scale):
    detour = torch.einsum("...i,ri,or->...o", x, A, B)
    return torch.einsum("...i,oi->...o", x, weight) + bias + scale * detour


@pytest.mark.parametrize("attempt", [with_linear, merged_first, with_einsum])
def test_14_2_takes_any_way_to_add_the_detour(attempt, capsys):
    assert_right(check.lora_forward, attempt, capsys)


def frozen(x, weight, bias, A, B, scale):
    return x @ weight.T + bias


def unscaled(x, weight, bias, A, B, scale):
    return x @ weight.T + bias + x @ A.T @ B.T


def without_bias(x, weight, bias, A, B, scale):
    return x @ weight.T + scale * (x @ A.T @ B.T)


def detour_alone(x, weight, bias, A, B, scale):
    return scale * (x @ A.T @ B.T)


def all_scaled(x, weight, bias, A, B, scale):
    return scale * (x @ weight.T + bias + x @ A.T @ B.T)


def stops_at_a(x, weight, bias, A, B, scale):
    return scale * (x @ A.T)


def no_gradient(x, weight, bias, A, B, scale):
    return with_linear(x, weight, bias, A.detach(), B, scale)


def wrong_way_round(x, weight, bias, A, B, scale):
    return x @ weight.T + bias + scale * (x @ B.T @ A.T)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (frozen, "add scale times"),
        (unscaled, "multiplied by scale"),
        (without_bias, "keeps its bias"),
        (detour_alone, "added to the frozen"),
        (all_scaled, "only the path"),
        (stops_at_a, "ends where that of W ends"),
        (no_gradient, "no_grad and detach"),
        (wrong_way_round, "order do A and B act"),
        (lambda *args: None, "return the layer's output"),
    ],
)
def test_14_2_tells_wrong_layers_apart(attempt, hint, capsys):
    assert_wrong(check.lora_forward, attempt, hint, capsys)


@pytest.mark.parametrize("attempt", ["b", "B)", ["b"]])
def test_14_3_takes_the_letter(attempt, capsys):
    assert_right(check.init, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [("a", "never learns"), ("c", "B A x then"), ("d", "begin as the pre-trained")],
)
def test_14_3_answers_each_wrong_option(attempt, hint, capsys):
    assert_wrong(check.init, attempt, hint, capsys)


def by_outer_products(weight, A, B, scale):
    return weight + scale * sum(torch.outer(B[:, k], A[k]) for k in range(len(A)))


def on_a_copy(weight, A, B, scale):
    new = weight.clone()
    new += torch.matmul(B * scale, A)
    return new


@pytest.mark.parametrize("attempt", [by_outer_products, on_a_copy])
def test_14_4_takes_any_way_to_merge(attempt, capsys):
    assert_right(check.merge, attempt, capsys)


def in_place(weight, A, B, scale):
    weight += scale * B @ A
    return weight


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (lambda weight, A, B, scale: weight + B @ A, "scale times"),
        (lambda weight, A, B, scale: scale * B @ A, "added to it"),
        (lambda weight, A, B, scale: weight - scale * B @ A, "take an adapter out"),
        (lambda weight, A, B, scale: A.T @ B.T, "which product"),
        (in_place, "make a new one"),
        (lambda weight, A, B, scale: None, "return the new weight"),
        (lambda weight, A, B, scale: weight + scale * A @ B, "take x out"),
    ],
)
def test_14_4_tells_wrong_merges_apart(attempt, hint, capsys):
    assert_wrong(check.merge, attempt, hint, capsys)


@pytest.mark.parametrize("attempt", ["c", "C", {"c"}])
def test_14_5_takes_the_letter(attempt, capsys):
    assert_right(check.only_the_head, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"), [("a", "to train another"), ("b", "should not"), ("d", "Something does")]
)
def test_14_5_answers_each_wrong_option(attempt, hint, capsys):
    assert_wrong(check.only_the_head, attempt, hint, capsys)


def test_the_worked_answers_are_right(capsys):
    for exercise in (
        check.count_lora,
        check.lora_forward,
        check.init,
        check.merge,
        check.only_the_head,
    ):
        assert_worked_answer_is_right(exercise, capsys, torch=torch)
