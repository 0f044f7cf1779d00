"""Lesson 02's questions, proven with right answers written differently and typical wrong ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers import assert_right, assert_worked_answer_is_right, assert_wrong
from torch import nn
from torch.nn import functional as F
from torchvision import models

import ftcourse as ft
from ftcourse.exercises import lesson02 as check


def with_setattr(model, n):
    setattr(model, "fc", nn.Linear(model.fc.weight.shape[1], n))  # noqa: B010
    return model


def with_dropout(model, n):
    model.fc = nn.Sequential(nn.Dropout(0.2), nn.Linear(model.fc.in_features, n))
    return model


def without_bias(model, n):
    model.fc = nn.Linear(model.fc.in_features, n, bias=False)
    return model


@pytest.mark.parametrize("attempt", [ft.replace_head, with_setattr, with_dropout, without_bias])
def test_2_1_takes_any_new_head(attempt, capsys):
    assert_right(check.new_head, attempt, capsys)


def only_the_label(model, n):
    model.fc.out_features = n
    return model


def always_512(model, n):
    model.fc = nn.Linear(512, n)
    return model


def appended(model, n):
    model.fc = nn.Sequential(model.fc, nn.Linear(7, n))
    return model


def another_network(model, n):
    return models.resnet18(num_classes=n)


def frozen(model, n):
    model.fc = nn.Linear(model.fc.in_features, n).requires_grad_(False)
    return model


def the_layer_alone(model, n):
    model.fc = nn.Linear(model.fc.in_features, n)
    return model.fc


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (only_the_label, "must be a new nn.Linear"),
        (always_512, "in_features"),
        (appended, "replace, do not append"),
        (another_network, "keep the model"),
        (frozen, "requires_grad"),
        (the_layer_alone, "return the model"),
        (lambda model, n: None, "return model"),
        (lambda model, n: with_setattr(model, n + 1), "build a nn.Linear"),
    ],
)
def test_2_1_tells_wrong_heads_apart(attempt, hint, capsys):
    assert_wrong(check.new_head, attempt, hint, capsys)


@pytest.mark.parametrize("attempt", [1026, 1026.0, torch.tensor(1026)])
def test_2_2_takes_the_count(attempt, capsys):
    assert_right(check.count_of_phi, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (1024, "a bias, too"),
        (1025, "each of the two"),
        (513, "two scores"),
        (102600, "two"),
        (11177538, "new layer alone"),
        (99, "weighted sum"),
    ],
)
def test_2_2_tells_wrong_counts_apart(attempt, hint, capsys):
    assert_wrong(check.count_of_phi, attempt, hint, capsys)


@pytest.mark.parametrize("attempt", [math.log(37), 3.61, -np.log(1 / 37), torch.tensor(3.611)])
def test_2_3_takes_the_loss_to_two_decimals(attempt, capsys):
    assert_right(check.chance_loss, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (1 / 37, "minus its logarithm"),
        (math.log(1 / 37), "never negative"),
        (math.log2(37), "natural"),
        (1.57, "natural"),
        (0.69, "37 breeds"),
        (5.3, "37 scores"),
        (0, "knows nothing"),
        (2.0, "which probability"),
        ("3.6 or so", "which probability"),
    ],
)
def test_2_3_tells_wrong_losses_apart(attempt, hint, capsys):
    assert_wrong(check.chance_loss, attempt, hint, capsys)


def with_a_loop(features, logits, targets):
    p, w = logits.softmax(1), torch.zeros(logits.shape[1], features.shape[1])
    b = torch.zeros(logits.shape[1])
    for i, t in enumerate(targets):
        error = p[i].clone()
        error[t] -= 1
        w, b = w + torch.outer(error, features[i]), b + error
    return w / len(targets), b / len(targets)


def with_autograd(features, logits, targets):
    weight = torch.zeros(logits.shape[1], features.shape[1], requires_grad=True)
    bias = torch.zeros(logits.shape[1], requires_grad=True)
    F.cross_entropy(logits + features @ weight.T + bias, targets).backward()
    return [weight.grad, bias.grad]


def in_place(features, logits, targets):
    error = logits.softmax(dim=-1)
    error[torch.arange(len(targets)), targets] -= 1
    error /= len(targets)
    return torch.einsum("nc,nf->cf", error, features), error.sum(dim=0)


@pytest.mark.parametrize("attempt", [with_a_loop, with_autograd, in_place])
def test_2_4_takes_any_right_gradient(attempt, capsys):
    assert_right(check.phi_gradient, attempt, capsys)


def error(z, t):
    return z.softmax(1) - F.one_hot(t, z.shape[1])


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (lambda f, z, t: (error(z, t).T @ f, error(z, t).sum(0)), "divide by len(targets)"),
        (lambda f, z, t: (-error(z, t).T @ f / 6, -error(z, t).mean(0)), "minus what should"),
        (lambda f, z, t: (z.softmax(1).T @ f / 6, z.softmax(1).mean(0)), "one_hot(targets)"),
        (lambda f, z, t: (f.T @ error(z, t) / 6, error(z, t).mean(0)), "transpose"),
        (lambda f, z, t: (error(z, t).T @ f / 6, error(z, t)), "average the error"),
        (lambda f, z, t: (error(z, t).T @ f / 6, error(z, t).sum(0)), "divide by"),
        (lambda f, z, t: (error(z, t).T @ f / 6, torch.zeros(3)), "error.mean(0)"),
        (lambda f, z, t: error(z, t).T @ f / 6, "two tensors"),
        (lambda f, z, t: None, "return"),
        (lambda f, z, t: (z.T @ f / 6, z.mean(0)), "softmax(logits)"),
    ],
)
def test_2_4_tells_wrong_gradients_apart(attempt, hint, capsys):
    assert_wrong(check.phi_gradient, attempt, hint, capsys)


def by_autograd_to_the_features(weight, logits, targets):
    """Any features with these logits will do: what comes before does not matter to the gradient."""
    z = logits.clone().requires_grad_()
    nn.functional.cross_entropy(z, targets).backward()
    return z.grad @ weight


def photo_by_photo(weight, logits, targets):
    rows = []
    for scores, target in zip(logits, targets, strict=True):
        error = scores.exp() / scores.exp().sum()
        error[target] -= 1
        rows.append(weight.T @ error / len(targets))
    return torch.stack(rows)


@pytest.mark.parametrize("attempt", [by_autograd_to_the_features, photo_by_photo])
def test_2_5_takes_any_way_to_the_message(attempt, capsys):
    assert_right(check.feature_gradient, attempt, capsys)


def message(scale=1.0, target=True, matrix=True):
    def attempt(weight, logits, targets):
        error = logits.softmax(1)
        if target:
            error = error - nn.functional.one_hot(targets, logits.shape[1])
        return scale * (error @ weight / len(targets) if matrix else error)

    return attempt


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (message(-1), "minus what should have"),
        (message(4), "divide by len(targets)"),
        (message(target=False), "one_hot(targets)"),
        (message(4, target=False), "one_hot(targets)"),
        (message(matrix=False), "error @ weight"),
        (lambda weight, logits, targets: logits @ weight, "sent back through the weight"),
        (lambda weight, logits, targets: None, "return ..."),
        (lambda weight, logits, targets: weight.T @ logits.T, "error @ weight"),
    ],
)
def test_2_5_tells_wrong_messages_apart(attempt, hint, capsys):
    assert_wrong(check.feature_gradient, attempt, hint, capsys)


@pytest.mark.parametrize("attempt", ["b", "B", "b."])
def test_2_6_takes_the_letter(attempt, capsys):
    assert_right(check.the_order, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [("a", "holds tensors"), ("c", "what is model.fc"), ("d", "which optimizer")],
)
def test_2_6_answers_each_wrong_option(attempt, hint, capsys):
    assert_wrong(check.the_order, attempt, hint, capsys)


def test_the_worked_answers_are_right(capsys):
    for exercise in (
        check.new_head,
        check.count_of_phi,
        check.phi_gradient,
        check.feature_gradient,
        check.the_order,
    ):
        assert_worked_answer_is_right(exercise, capsys, nn=nn, torch=torch)
    assert_worked_answer_is_right(check.chance_loss, capsys, math=math)
