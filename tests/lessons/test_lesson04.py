"""Lesson 04's questions, proven with right answers written differently and typical wrong ones."""

from __future__ import annotations

import pytest
import torch
from helpers import assert_right, assert_worked_answer_is_right, assert_wrong
from torch import nn
from torch.nn import functional as F

import ftcourse as ft
from ftcourse.exercises import lesson04 as check

# ------------------------------------------------------------------------------------------ 4.1


def through_data(model, lr):
    for p in model.parameters():
        if p.requires_grad:
            p.data = p.data - lr * p.grad


@torch.no_grad()
def with_add(model, lr):
    for p in [p for p in model.parameters() if p.grad is not None]:
        p.add_(p.grad, alpha=-lr)


def with_the_optimizer(model, lr):
    torch.optim.SGD(model.parameters(), lr=lr).step()


def with_copy(model, lr):
    with torch.no_grad():
        for p in model.parameters():
            if p.grad is not None:
                p.copy_(p - lr * p.grad)
    return model


@pytest.mark.parametrize("attempt", [through_data, with_add, with_the_optimizer, with_copy])
def test_4_1_takes_any_way_to_make_the_step(attempt, capsys):
    assert_right(check.sgd_step, attempt, capsys)


def update(change):
    """A wrong step: `change(p, lr)` on each parameter with a gradient, without autograd."""

    @torch.no_grad()
    def attempt(model, lr):
        for p in model.parameters():
            if p.grad is not None:
                change(p, lr)

    return attempt


def recorded(model, lr):
    for p in model.parameters():
        if p.grad is not None:
            p -= lr * p.grad


@torch.no_grad()
def frozen_as_well(model, lr):
    for p in model.parameters():
        p -= lr * p.grad


@torch.no_grad()
def frozen_decay(model, lr):
    for p in model.parameters():
        p -= lr * (p if p.grad is None else p.grad)


@torch.no_grad()
def a_new_name(model, lr):
    for p in model.parameters():
        if p.grad is not None:
            p = p - lr * p.grad


@torch.no_grad()
def head_alone(model, lr):
    for p in model[-1].parameters():
        p -= lr * p.grad


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (recorded, "with torch.no_grad()"),
        (frozen_as_well, "skip the parameters"),
        (frozen_decay, "no gradient, no step"),
        (a_new_name, "change the tensor itself"),
        (update(lambda p, lr: p.add_(lr * p.grad)), "minus"),
        (update(lambda p, lr: p.sub_(p.grad)), "lr times the gradient"),
        (update(lambda p, lr: p.sub_(lr * p.grad.sign())), "one line a parameter"),
        (head_alone, "loop over all"),
        (lambda model, lr: model.step(lr), "one line a parameter"),
        (lambda model: None, "one line a parameter"),
    ],
)
def test_4_1_tells_wrong_steps_apart(attempt, hint, capsys):
    assert_wrong(check.sgd_step, attempt, hint, capsys)


# ------------------------------------------------------------------------------------------ 4.2


@pytest.mark.parametrize("attempt", ["a, b, d", "ABD", ["d", "b", "a"], {"a", "b", "d"}])
def test_4_2_takes_the_letters_in_any_order(attempt, capsys):
    assert_right(check.order, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        ("c", "when step() is called"),
        ("a, b, d, e", "Who takes away"),
        ("a, b", "for each program"),
        ("f", "a letter in quotes"),
    ],
)
def test_4_2_tells_wrong_choices_apart(attempt, hint, capsys):
    assert_wrong(check.order, attempt, hint, capsys)


# ------------------------------------------------------------------------------------------ 4.3


@pytest.mark.parametrize("attempt", [34 / 40, 0.85, torch.tensor(0.85), 30 / 40 + 4 / 40])
def test_4_3_takes_the_share(attempt, capsys):
    assert_right(check.true_accuracy, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        ((30 / 32 + 4 / 8) / 2, "count photos"),
        (0.72, "count photos"),
        (34, "divide by all"),
        (85, "a fraction"),
        (30 / 32, "last 8 photos"),
        (0.5, "first 32 photos"),
        (0.8, "forget the batches"),
        ("0.85", "forget the batches"),
    ],
)
def test_4_3_tells_wrong_shares_apart(attempt, hint, capsys):
    assert_wrong(check.true_accuracy, attempt, hint, capsys)


# ------------------------------------------------------------------------------------------ 4.4


def loop(
    mode=ft.train_mode,
    zero=lambda model, optimizer: optimizer.zero_grad(),
    loss_of=F.cross_entropy,
    result=lambda losses, sizes: (
        sum(a * n for a, n in zip(losses, sizes, strict=True)) / sum(sizes)
    ),
    batches=slice(None),
):
    """A loop of which one piece can be replaced by a wrong one."""

    def attempt(model, loader, optimizer):
        mode(model)
        losses, sizes = [], []
        for images, targets in list(loader)[batches]:
            zero(model, optimizer)
            loss = loss_of(model(images), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            sizes.append(len(targets))
        return result(losses, sizes)

    return attempt


def zero_at_the_end(model, loader, optimizer):
    ft.train_mode(model)
    loss_fn = nn.CrossEntropyLoss(reduction="sum")
    total, count = torch.zeros(()), 0
    for images, targets in loader:
        loss = loss_fn(model(images), targets)
        (loss / len(targets)).backward()
        optimizer.step()
        model.zero_grad()
        total += loss.detach()
        count += len(images)
    return total / count


def with_the_package(model, loader, optimizer):
    return ft.train_one_epoch(model, loader, optimizer, F.cross_entropy)["loss"]


@pytest.mark.parametrize("attempt", [loop(), zero_at_the_end, with_the_package])
def test_4_4_takes_any_loop_that_makes_the_steps(attempt, capsys):
    assert_right(check.train_one_epoch, attempt, capsys)


def never_steps(model, loader, optimizer):
    ft.train_mode(model)
    for images, targets in loader:
        F.cross_entropy(model(images), targets).backward()
        optimizer.zero_grad()
        optimizer.step()


def returns_early(model, loader, optimizer):
    ft.train_mode(model)
    for images, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), targets)
        loss.backward()
        optimizer.step()
        return loss.item()


def keeps_graphs(model, loader, optimizer):
    ft.train_mode(model)
    total, count = 0, 0
    for images, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), targets)
        loss.backward()
        optimizer.step()
        total, count = total + loss * len(targets), count + len(targets)
    return total / count


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (loop(mode=lambda model: model.train()), "ft.train_mode(model)"),
        (loop(mode=lambda model: None), "comes in eval mode"),
        (loop(zero=lambda model, optimizer: None), "optimizer.zero_grad()"),
        (loop(batches=slice(1)), "inside the loop"),
        (loop(batches=slice(2)), "nothing else changes weights"),
        (loop(loss_of=lambda a, b: F.cross_entropy(a, b) * len(b)), "nothing else changes weights"),
        (
            loop(result=lambda losses, sizes: sum(losses) / len(losses)),
            "loss.item() * len(targets)",
        ),
        (loop(result=lambda losses, sizes: sum(losses)), "divide by the number of photos"),
        (loop(result=lambda losses, sizes: losses[-1]), "add up over the epoch"),
        (loop(result=lambda losses, sizes: None), "return the mean loss"),
        (loop(result=lambda losses, sizes: losses), "return one number"),
        (loop(result=lambda losses, sizes: 3.0), "divided by the sum"),
        (never_steps, "in this order"),
        (returns_early, "inside the loop"),
        (keeps_graphs, "a plain number"),
        (lambda model, loader, optimizer: 0.5, "in this order"),
        (lambda model, loader: 0.5, "before the loop the mode"),
    ],
)
def test_4_4_tells_wrong_loops_apart(attempt, hint, capsys):
    assert_wrong(check.train_one_epoch, attempt, hint, capsys)


# ------------------------------------------------------------------------------------------ 4.5


@pytest.mark.parametrize("attempt", ["c", "C", "c)"])
def test_4_5_takes_the_letter(attempt, capsys):
    assert_right(check.honest_number, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [("a", "no say"), ("b", "without looking"), ("d", "the one network"), ("e", "a letter")],
)
def test_4_5_answers_each_wrong_option(attempt, hint, capsys):
    assert_wrong(check.honest_number, attempt, hint, capsys)


def test_the_worked_answers_are_right(capsys):
    for exercise in (
        check.sgd_step,
        check.order,
        check.true_accuracy,
        check.train_one_epoch,
        check.honest_number,
    ):
        assert_worked_answer_is_right(exercise, capsys, torch=torch, F=F, ft=ft)
