"""Answers to the questions of lesson 04."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import ftcourse as ft

NAMES = {"torch": torch, "F": F, "ft": ft, "nn": nn}

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


def by_name(model, lr):
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.grad is None:
                continue
            model.get_parameter(name).sub_(p.grad * lr)


def through_foreach(model, lr):
    held = [p for p in model.parameters() if p.grad is not None]
    with torch.inference_mode(False), torch.no_grad():
        torch._foreach_add_(held, [p.grad for p in held], alpha=-lr)


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
    for p in model[-2].parameters():
        if p.grad is not None:
            p -= lr * p.grad


@torch.no_grad()
def weights_alone(model, lr):
    for name, p in model.named_parameters():
        if p.grad is not None and "weight" in name:
            p -= lr * p.grad


def gradients_switched_off(model, lr):
    torch.set_grad_enabled(False)
    for p in model.parameters():
        if p.grad is not None:
            p -= lr * p.grad


# ------------------------------------------------------------------------------------------ 4.4


def loop(
    mode=ft.train_mode,
    zero=lambda model, optimizer: optimizer.zero_grad(),
    loss_of=F.cross_entropy,
    result=lambda losses, sizes, loader: (
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
        return result(losses, sizes, loader)

    return attempt


def by_the_data_set(losses, sizes, loader):
    """PyTorch's own idiom."""
    return sum(a * n for a, n in zip(losses, sizes, strict=True)) / len(loader.dataset)


def zero_at_the_end(model, loader, optimizer):
    ft.train_mode(model)
    loss_fn = nn.CrossEntropyLoss(reduction="sum")
    total, count = torch.zeros(()), 0
    optimizer.zero_grad()
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


def in_numpy(losses, sizes, loader):
    return np.average(losses, weights=sizes)


def with_enumerate(model, loader, optimizer):
    ft.train_mode(model)
    criterion = nn.CrossEntropyLoss()
    running = 0.0
    for _i, batch in enumerate(loader):
        optimizer.zero_grad(set_to_none=False)
        x, y = batch
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        running += loss.detach() * x.size(0)
    return running / len(loader.dataset)


def by_hand_modes(model):
    model.train()
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d) and not m.weight.requires_grad:
            m.eval()


def never_steps(model, loader, optimizer):
    ft.train_mode(model)
    for images, targets in loader:
        F.cross_entropy(model(images), targets).backward()
        optimizer.zero_grad()
        optimizer.step()
    return 1.0


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


def one_step_at_the_end(model, loader, optimizer):
    ft.train_mode(model)
    optimizer.zero_grad()
    total = count = 0
    for images, targets in loader:
        loss = F.cross_entropy(model(images), targets)
        loss.backward()
        total, count = total + loss.item() * len(targets), count + len(targets)
    optimizer.step()
    return total / count


def softmax_first(logits, targets):
    return F.cross_entropy(logits.softmax(1), targets)


RIGHT = {
    "sgd_step": [
        through_data,
        with_add,
        with_the_optimizer,
        with_copy,
        by_name,
        through_foreach,
    ],
    "order": ["a, b, d", "ABD", ["d", "b", "a"], {"a", "b", "d"}, "a, b and d", "a b d"],
    "true_accuracy": [
        34 / 40,
        0.85,
        torch.tensor(0.85),
        30 / 40 + 4 / 40,
        "34/40",
        "85 %",
        Fraction(17, 20),
        np.float32(0.85),
    ],
    "train_one_epoch": [
        loop(),
        zero_at_the_end,
        with_the_package,
        loop(result=by_the_data_set),
        loop(result=in_numpy),
        with_enumerate,
        loop(mode=by_hand_modes, zero=lambda model, optimizer: model.zero_grad()),
    ],
    "honest_number": ["c", "C", "c)", ["c"], {"c"}, " c "],
}

WRONG = {
    "sgd_step": [
        (recorded, "with torch.no_grad()"),
        (frozen_as_well, "skip the parameters"),
        (frozen_decay, "no gradient, no step"),
        (a_new_name, "change the tensor itself"),
        (update(lambda p, lr: p.add_(lr * p.grad)), "minus"),
        (update(lambda p, lr: p.sub_(p.grad)), "lr times the gradient"),
        (update(lambda p, lr: p.sub_(lr * p.grad.sign())), "one line a parameter"),
        (update(lambda p, lr: p.sub_(lr * p.grad.abs())), "one line a parameter"),
        (update(lambda p, lr: p.sub_(0.1 * p.grad)), "one line a parameter"),
        (update(lambda p, lr: p.sub_(lr * p.grad).sub_(lr * p.grad)), "one line a parameter"),
        (update(lambda p, lr: p.sub_(p.grad.mul_(lr))), "leave p.grad"),
        (update(lambda p, lr: p.sub_(lr * p.grad) and None), "Boolean"),
        (head_alone, "loop over all"),
        (weights_alone, "loop over all"),
        (gradients_switched_off, "put back what you switch"),
        (lambda model, lr: model.step(lr), "one line a parameter"),
        (lambda model: None, "TypeError"),
    ],
    "order": [
        ("c", "when step() is called"),
        ("a, b, d, e", "Who takes away"),
        ("e", "Who takes away"),
        ("a, b, c, d, e", "when step() is called"),
        ("a, b", "1 more is true"),
        ("a", "2 more are true"),
        ("d", "2 more are true"),
        ("f", "a letter in quotes"),
        ("all", "a letter in quotes"),
        (3, "a letter in quotes"),
        ([], "a letter in quotes"),
    ],
    "true_accuracy": [
        ((30 / 32 + 4 / 8) / 2, "count photos"),
        (0.72, "count photos"),
        (34, "divide by all"),
        (85, "a fraction"),
        (30 / 32, "last 8 photos"),
        (0.5, "first 32 photos"),
        (6 / 40, "right ones"),
        (0.8, "forget the batches"),
        (0.86, "forget the batches"),
        (-0.85, "forget the batches"),
        ("most", "write one number"),
        ((0.94, 0.5), "write one number"),
    ],
    "train_one_epoch": [
        (loop(mode=lambda model: model.train()), "ft.train_mode(model)"),
        (loop(mode=lambda model: None), "come in eval mode"),
        (loop(mode=lambda model: model.eval()), "come in eval mode"),
        (loop(zero=lambda model, optimizer: None), "optimizer.zero_grad()"),
        (loop(batches=slice(1)), "inside the loop"),
        (loop(batches=slice(2)), "nothing else changes weights"),
        (
            loop(loss_of=lambda a, b: F.cross_entropy(a, b) * len(b)),
            "nothing else changes weights",
        ),
        (loop(loss_of=softmax_first), "takes the logits"),
        (loop(result=lambda losses, sizes, _: sum(losses) / len(losses)), "loss.item() * len(t"),
        (loop(result=lambda losses, sizes, _: sum(losses)), "divide by the number of photos"),
        (loop(result=lambda losses, sizes, _: sum(losses) / sum(sizes)), "times len(targets)"),
        (loop(result=lambda losses, sizes, _: losses[-1]), "add up over the epoch"),
        (loop(result=lambda losses, sizes, _: None), "return the mean loss"),
        (loop(result=lambda losses, sizes, _: losses), "return one number"),
        (loop(result=lambda losses, sizes, _: 3.0), "divided by the sum"),
        (loop(result=lambda losses, sizes, _: losses[0]), "divided by the sum"),
        (never_steps, "in this order"),
        (returns_early, "inside the loop"),
        (keeps_graphs, "a plain number"),
        (one_step_at_the_end, "one step of the optimizer for each batch"),
        (lambda model, loader, optimizer: 0.5, "in this order"),
        (lambda model, loader: 0.5, "before the loop the mode"),
    ],
    "honest_number": [
        ("a", "no say"),
        ("b", "without looking"),
        ("d", "the one network"),
        ("e", "a letter"),
        ("a, c", "no say"),
        ("b and c", "without looking"),
        ("abcd", "no say"),
        (0.84, "a letter"),
        ("0.84", "a letter"),
        (2, "a letter"),
    ],
}

EQUIVALENT: dict[str, dict[str, str]] = {}
