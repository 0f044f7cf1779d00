"""Lesson 10's questions, proven with right answers written differently and typical wrong ones."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from helpers import assert_right, assert_worked_answer_is_right, assert_wrong
from torch import nn
from torch.nn import functional as F

import ftcourse as ft
from ftcourse.exercises import lesson10 as check
from ftcourse.models.backbones import head_of


@pytest.mark.parametrize("attempt", ["c", "C", ["c"]])
def test_10_1_takes_the_letter(attempt, capsys):
    assert_right(check.below_guessing, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"), [("a", "below 0.5"), ("b", "below 0.5"), ("d", "to be so wrong")]
)
def test_10_1_answers_each_wrong_option(attempt, hint, capsys):
    assert_wrong(check.below_guessing, attempt, hint, capsys)


@pytest.mark.parametrize(
    "attempt", [0.31, 0.3133, math.log(1 + math.exp(-1)), torch.tensor(0.3133)]
)
def test_10_2_takes_the_floor_to_two_decimals(attempt, capsys):
    assert_right(check.lowest_loss, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (0, "can it give that"),
        (0.693, "how far down"),
        (0.731, "minus its log"),
        (1.313, "on the right"),
        (0.368, "its log"),
        (0.2, "first softmax"),
    ],
)
def test_10_2_tells_wrong_floors_apart(attempt, hint, capsys):
    assert_wrong(check.lowest_loss, attempt, hint, capsys)


# ---------------------------------------------------------------------------- 10.3 make_ready


def with_the_package(model, num_classes):
    stage = ft.Stage(train="layer4", lr=1e-3)
    ft.apply_stage(ft.replace_head(model, num_classes), stage)
    return model, ft.make_optimizer(model, stage)


def by_name_with_sgd(model, num_classes):
    model.fc = nn.Linear(512, num_classes)
    for name, p in model.named_parameters():
        p.requires_grad = name.startswith(("layer4", "fc"))
    groups = [{"params": model.layer4.parameters()}, {"params": model.fc.parameters(), "lr": 0.1}]
    return [model, torch.optim.SGD(groups, lr=0.01, momentum=0.9)]


def a_head_of_zeros_with_dropout(model, num_classes):
    model.requires_grad_(False)
    head = nn.Linear(512, num_classes)
    nn.init.zeros_(head.weight)
    model.fc = nn.Sequential(nn.Dropout(0.2), head)
    model.layer4.requires_grad_(True)
    return model, torch.optim.Adam(model.parameters())  # frozen tensors do no harm in it


@pytest.mark.parametrize(
    "attempt", [with_the_package, by_name_with_sgd, a_head_of_zeros_with_dropout]
)
def test_10_3_takes_any_order_that_trains_layer4_and_head(attempt, capsys):
    assert_right(check.make_ready, attempt, capsys)


def program_e(model, num_classes):
    model.fc = nn.Linear(512, num_classes)
    model.requires_grad_(False)
    model.layer4.requires_grad_(True)
    model.fc.requires_grad = True
    return model, torch.optim.AdamW(model.parameters())


def program_f(model, num_classes):
    model.requires_grad_(False)
    model.layer4.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters())
    model.fc = nn.Linear(512, num_classes)
    return model, optimizer


def holds_both_heads(model, num_classes):
    model.requires_grad_(False)
    old, model.fc = model.fc, nn.Linear(512, num_classes)
    model.layer4.requires_grad_(True)
    return model, torch.optim.AdamW([*model.parameters(), *old.parameters()])


def head_alone(model, num_classes):
    model.requires_grad_(False)
    model.fc = nn.Linear(512, num_classes)
    return model, torch.optim.AdamW(model.fc.parameters())


def everything(model, num_classes):
    model.fc = nn.Linear(512, num_classes)
    return model, torch.optim.AdamW(model.parameters())


def keeps_the_head(model, num_classes):
    return model, torch.optim.AdamW(model.parameters())


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (program_e, "freeze first, then replace"),
        (program_f, "make the optimizer last"),
        (holds_both_heads, "from the parameters the model has then"),
        (head_alone, "are they thawed"),
        (everything, "then thaw those of layer4"),
        (keeps_the_head, "model.fc.in_features, num_classes"),
        (lambda model, n: model, "return model, optimizer"),
        (lambda model, n: (torch.optim.SGD(model.parameters(), lr=1), model), "the model first"),
    ],
)
def test_10_3_tells_wrong_setups_apart(attempt, hint, capsys):
    assert_wrong(check.make_ready, attempt, hint, capsys)


# --------------------------------------------------------------------------- 10.4 accuracy_on


def on_a_copy(model, loader):
    copied = copy.deepcopy(model).eval()
    hits = [copied(x).argmax(1) == y for x, y in loader]
    return torch.cat(hits).float().mean()


def weighted_by_hand(model, loader):
    modes = {m: m.training for m in model.modules()}
    model.eval()
    share = sum((model(x).argmax(1) == y).float().mean().item() * len(y) for x, y in loader)
    for m, mode in modes.items():
        m.training = mode
    return share / sum(len(y) for _, y in loader)


@pytest.mark.parametrize(
    "attempt", [on_a_copy, weighted_by_hand, lambda model, loader: careful(model, loader)]
)
def test_10_4_takes_any_validation_that_leaves_the_model_alone(attempt, capsys):
    assert_right(check.accuracy_on, attempt, capsys)


def careful(model, loader):
    """eval, and afterwards the package's train mode."""
    accuracy = left_asleep(model, loader)
    ft.train_mode(model)
    return accuracy


def counted(model, loader):
    hits = [model(x).argmax(1) == y for x, y in loader]
    return torch.cat(hits).float().mean().item()


def left_asleep(model, loader):
    model.eval()
    return counted(model, loader)


def all_awake_again(model, loader):
    accuracy = left_asleep(model, loader)
    model.train()
    return accuracy


def mean_of_batches(model, loader):
    model.eval()
    return sum((model(x).argmax(1) == y).float().mean().item() for x, y in loader) / len(loader)


def only_norms_asleep(model, loader):
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.eval()
    torch.manual_seed(4)
    return counted(model, loader)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (counted, "model.eval() first"),
        (left_asleep, "put it back"),
        (all_awake_again, "each module's own mode"),
        (mean_of_batches, "divide once"),
        (only_norms_asleep, "dropout as well"),
        (lambda model, loader: 100 * on_a_copy(model, loader), "a fraction"),
        (lambda model, loader: 19 * on_a_copy(model, loader).item(), "divide by the number"),
        (lambda model, loader: None, "return ..."),
    ],
)
def test_10_4_tells_wrong_validations_apart(attempt, hint, capsys):
    assert_wrong(check.accuracy_on, attempt, hint, capsys)


# --------------------------------------------------------------------------- 10.5 looks_sound


def with_the_package_alone(model, optimizer, images, targets):
    from types import SimpleNamespace

    classes = range(head_of(model)[1].out_features)
    data = SimpleNamespace(classes=classes, train=None, val=None)
    items = list(zip(images, targets.tolist(), strict=True))
    data.train, data.val = items[::2], items[1::2]
    found = ft.preflight(model, data, optimizer=optimizer)
    return not found


def step_on_a_copy(model, optimizer, images, targets):
    """Another way to see the head: it must have moved after a step."""
    if not -5 < images.min() < -0.5:
        return False
    if any(
        isinstance(m, nn.BatchNorm2d) and m.training and not m.weight.requires_grad
        for m in model.modules()
    ):
        return False
    trial, same = copy.deepcopy((model, optimizer))
    logits = trial(images)
    if (logits.sum(1) - 1).abs().max() < 1e-3 and logits.min() >= 0:
        return False
    before = [p.detach().clone() for p in trial.fc.parameters()]
    F.cross_entropy(logits, targets).backward()
    same.step()
    return not any(torch.equal(a, b) for a, b in zip(before, trial.fc.parameters(), strict=True))


@pytest.mark.parametrize("attempt", [with_the_package_alone, step_on_a_copy])
def test_10_5_takes_any_checklist_that_finds_the_faults(attempt, capsys):
    assert_right(check.looks_sound, attempt, capsys)


def without(*left_out):
    """The reference's conditions, some left out."""

    def attempt(model, optimizer, images, targets):
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        head = list(model.fc.parameters())
        norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        with torch.no_grad():
            logits = copy.deepcopy(model).eval()(images)
        conditions = {
            "trains": all(p.requires_grad for p in head),
            "held": all(id(p) in held for p in head),
            "high": images.max() < 5,
            "low": images.min() < -0.5,
            "softmax": not torch.allclose(logits.sum(1), torch.ones(len(logits)), atol=1e-3),
            "norms": all(m.weight.requires_grad or not m.training for m in norms),
        }
        return all(bool(v) for k, v in conditions.items() if k not in left_out)

    return attempt


def trains_the_model(model, optimizer, images, targets):
    F.cross_entropy(model(images), targets).backward()
    optimizer.step()
    return True


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (without("trains"), "requires_grad of the head"),
        (without("held"), "compare id(p)"),
        (without("low", "high"), "images.min() and images.max()"),
        (without("low"), "values below zero"),
        (without("softmax"), "sum to one"),
        (without("norms"), "while its weight does not train"),
        (lambda *setup: True, "requires_grad of the head"),
        (lambda *setup: False, "Print them one by one"),
        (lambda model, *rest: bool(model.eval()), "put a copy into eval mode"),
        (lambda *setup: ["all is well"], "True or False"),
        (trains_the_model, "copy.deepcopy(model)"),
    ],
)
def test_10_5_says_which_fault_was_missed(attempt, hint, capsys):
    assert_wrong(check.looks_sound, attempt, hint, capsys)


def test_the_worked_answers_are_right(capsys):
    names = {"nn": nn, "torch": torch, "F": F, "copy": copy, "math": math}
    for exercise in (
        check.below_guessing,
        check.lowest_loss,
        check.make_ready,
        check.accuracy_on,
        check.looks_sound,
    ):
        assert_worked_answer_is_right(exercise, capsys, **names)
