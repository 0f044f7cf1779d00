"""Lesson 03's questions, proven with right answers written differently and typical wrong ones."""

from __future__ import annotations

import pytest
import torch
from helpers import assert_right, assert_worked_answer_is_right, assert_wrong
from torch import nn

import ftcourse as ft
from ftcourse.exercises import lesson03 as check


def with_the_method(model):
    return model.requires_grad_(False) and (model.fc.requires_grad_(True), model)[1]


def by_name(model):
    for name, p in model.named_parameters():
        p.requires_grad = name.startswith("fc.")
    return model


def both_by_hand(model):
    model.fc.weight.requires_grad = model.fc.bias.requires_grad = True
    return model


@pytest.mark.parametrize(
    "attempt", [with_the_method, by_name, both_by_hand, lambda model: ft.unfreeze(model, "head")]
)
def test_3_1_takes_any_way_to_thaw_the_head(attempt, capsys):
    assert_right(check.thaw_head, attempt, capsys)


def the_trap(model):
    model.fc.requires_grad = True
    return model


def the_weight_alone(model):
    model.fc.weight.requires_grad = True
    return model


def layer4_too(model):
    model.layer4.requires_grad_(True)
    model.fc.requires_grad_(True)
    return model


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (the_trap, "loop over model.fc.parameters()"),
        (the_weight_alone, "bias"),
        (layer4_too, "model.fc alone"),
        (lambda model: model.requires_grad_(True), "model.fc alone"),
        (lambda model: None, "return model"),
        (lambda model: model.fc.parameters(), "return model"),
        (lambda model: model.head, "which objects carry"),
    ],
)
def test_3_1_tells_wrong_ways_apart(attempt, hint, capsys):
    assert_wrong(check.thaw_head, attempt, hint, capsys)


@pytest.mark.parametrize("attempt", [8_394_754, 8394754.0, torch.tensor(8_394_754)])
def test_3_2_takes_the_count(attempt, capsys):
    assert_right(check.count_trained, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (8_393_728, "head trains as well"),
        (1_026, "layer4 trains as well"),
        (8_394_752, "two biases"),
        (8_496_328, "two classes"),
        (11_177_538, "stem to layer3"),
        (2_782_784, "count the others"),
        (64, "two rows"),
    ],
)
def test_3_2_tells_wrong_counts_apart(attempt, hint, capsys):
    assert_wrong(check.count_trained, attempt, hint, capsys)


@pytest.mark.parametrize("attempt", ["a, c, d", "DCA", ["a", "c", "d"], {"a", "d", "c"}])
def test_3_3_takes_the_letters_in_any_order(attempt, capsys):
    assert_right(check.which_train, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        ("b", "when B freezes"),
        ("a, b, c, d", "when B freezes"),
        ("a, c", "one question"),
        ("e", "a letter in quotes"),
    ],
)
def test_3_3_tells_wrong_choices_apart(attempt, hint, capsys):
    assert_wrong(check.which_train, attempt, hint, capsys)


def eval_then_wake(model):
    model.eval()
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        module.training = not own or any(p.requires_grad for p in own)


def by_group(model):
    model.train()
    for part in (model.bn1, model.layer1, model.layer2, model.layer3):
        part.eval()
    return model


@pytest.mark.parametrize("attempt", [ft.train_mode, eval_then_wake, by_group])
def test_3_4_takes_any_train_mode_that_respects_what_is_frozen(attempt, capsys):
    assert_right(check.train_mode, attempt, capsys)


def norms(model):
    return [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]


def all_norms_asleep(model):
    model.train()
    for module in norms(model):
        module.eval()


def no_momentum(model):
    model.train()
    for module in norms(model):
        if not module.weight.requires_grad:
            module.momentum = 0.0


def only_frozen_awake(model):
    for module in norms(model):
        module.train(module.weight.requires_grad)


def freezes_more(model):
    model.train().requires_grad_(False)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (lambda model: model.train(), "put those of frozen layers back"),
        (lambda model: model.eval(), "start with model.train()"),
        (all_norms_asleep, "put back only the frozen ones"),
        (no_momentum, "use the stored ones"),
        (only_frozen_awake, "for the whole model"),
        (freezes_more, "leave requires_grad alone"),
        (lambda model: 3, "return the model"),
        (lambda model: model.train(mode=None), "two steps"),
    ],
)
def test_3_4_tells_wrong_modes_apart(attempt, hint, capsys):
    assert_wrong(check.train_mode, attempt, hint, capsys)


@pytest.mark.parametrize("attempt", ["b", "B", "b)"])
def test_3_5_takes_the_letter(attempt, capsys):
    assert_right(check.frozen_too_late, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [("a", "which state"), ("c", "looks at p.grad"), ("d", "a gradient of zeros")],
)
def test_3_5_answers_each_wrong_option(attempt, hint, capsys):
    assert_wrong(check.frozen_too_late, attempt, hint, capsys)


def test_the_worked_answers_are_right(capsys):
    for exercise in (
        check.thaw_head,
        check.count_trained,
        check.which_train,
        check.train_mode,
        check.frozen_too_late,
    ):
        assert_worked_answer_is_right(exercise, capsys, nn=nn)
