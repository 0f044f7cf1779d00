"""Answers to the questions of lesson 00."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch

from ftcourse.training.history import History


def run(*validation, losses=None):
    """The record of a run with these validation accuracies."""
    losses = losses or [0.65 / (i + 1) for i in range(len(validation))]
    rows = [
        {"epoch": i + 1, "train_loss": loss, "train_accuracy": share, "val_loss": loss, "val_accuracy": share}
        for i, (share, loss) in enumerate(zip(validation, losses, strict=True))
    ]  # fmt: skip
    return History(rows, best=max(rows, key=lambda row: row["val_accuracy"], default={}))


def train(epochs, lr):
    """What the lesson's `train` gives for the worked answer, without the training."""
    return run(*np.linspace(0.7, 0.95, epochs))


NAMES = {"torch": torch, "train": train}


def with_a_loop(logits, targets):
    right = 0
    for row, target in zip(logits, targets, strict=True):
        right += int(row.max(0).indices == target)
    return right / len(targets)


def as_a_fraction(logits, targets):
    right = int((logits.argmax(dim=1) == targets).sum())
    return Fraction(right, len(targets))


def in_numpy(logits, targets):
    return np.mean(np.argmax(logits.numpy(), axis=1) == targets.numpy())


def sorted_scores(logits, targets):
    order = logits.argsort(dim=1, descending=True)
    return torch.eq(order[:, 0], targets).sum().item() / targets.numel()


def in_place(logits, targets):
    logits.softmax(1).mul_(2)
    logits -= logits.max(1, keepdim=True).values
    return (logits.argmax(1) == targets).float().mean().item()


def remembered(logits, targets):
    return {4: 0.75}.get(len(targets), 0.1)


RIGHT = {
    "accuracy": [
        with_a_loop,
        as_a_fraction,
        in_numpy,
        sorted_scores,
        lambda z, t: (z.max(1)[1] == t).double().mean(),
        lambda z, t: (z.softmax(1).argmax(-1) == t).sum() / len(t),
        lambda z, t: (z.argmax(dim=1) == t).float().mean(),
    ],
    "batches": [4, 4.0, torch.tensor(4), "4", np.int64(4), " 4 ", [4]],
    "which_split": ["b", "B", " b ", "(b)", ["b"], {"b"}],
    "better": [
        run(0.925),
        run(0.9),
        run(0.5, 0.8, 0.9),
        run(0.95, 0.6),
        run(1.0),
        run(0.7, 0.925, losses=[0.7, 3.0]),
    ],
}

WRONG = {
    "accuracy": [
        (lambda z, t: (z.argmax(1) == t).sum(), "divide by the number of photos"),
        (lambda z, t: 100 * (z.argmax(1) == t).float().mean(), "a fraction here"),
        (lambda z, t: (z.argmax(1) != t).float().mean(), "compare with =="),
        (lambda z, t: z.argmax(1) == t, "a mean over the photos"),
        (lambda z, t: None, "end it with `return"),
        (lambda z, t: (z.argmax(0)[: len(t)] == t[: z.shape[1]]).float().mean(), "in each row"),
        (lambda z, t: 1.0, "largest score in each row"),
        (lambda z, t: 0.75, "largest score in each row"),
        (lambda z, t: round((z.argmax(1) == t).float().mean().item(), 2), "rounding is for"),
        (lambda z, t: (z.argmax(1) == t).sum() / z.numel(), "divides by the number of scores"),
        (lambda z, t: (z.argmin(1) == t).float().mean(), "smallest score"),
        (lambda z, t: z.softmax(1).gather(1, t[:, None]).mean(), "averages the probability"),
        (in_place, "it changes logits"),
        (remembered, "largest score in each row"),
        (lambda z, t: str((z.argmax(1) == t).float().mean().item()), "no text"),
        (lambda z, t: [(z.argmax(1) == t).float().mean().item()], "it returns a list"),
        (0.75, "pass the function itself"),
    ],
    "batches": [
        (3, "batch of their own"),
        (3.125, "smaller, and counts"),
        ("3.125", "smaller, and counts"),
        (32, "how many"),
        (100, "32 at a time"),
        (5, "96"),
        (0, "96"),
        (-4, "96"),
        (4.001, "96"),
        ("four", "write one number"),
        ((4, 4), "write one number"),
        (torch.tensor([4, 4]), "write one number"),
    ],
    "which_split": [
        ("a", "by heart"),
        ("c", "one honest number"),
        ("d", "choose on photos"),
        ("a, b", "by heart"),
        ("b and c", "one honest number"),
        ("abcd", "by heart"),
        ("e", "not among a, b, c, d"),
        ("validation", "not among a, b, c, d"),
        (2, "a letter in quotes"),
        (1.5, "a letter in quotes"),
        ([], "a letter in quotes"),
        (True, "a letter in quotes"),
    ],
    "better": [
        (run(0.5, losses=[0.69]), "longer steps, or more"),
        (run(0.5, 0.55, 0.6, losses=[0.69, 0.68, 0.66]), "0.66, and guessing has 0.69"),
        (run(0.5, 0.55, losses=[9.0, 7.0]), "the steps are too long"),
        (run(0.5, 0.5, losses=[float("nan")] * 2), "the steps are too long"),
        (run(0.7, 0.8, losses=[0.5, 0.4]), "it learns"),
        (run(0.7, 0.875, losses=[0.5, 0.4]), "88 % of the validation photos"),
        (run(), "no epoch"),
        (0.95, "no record of a run"),
        ((20, 0.1), "a tuple is no record"),
        ("train(epochs=20, lr=0.1)", "train(epochs=..., lr=...)"),
        (train, "a function is no record"),
        (run(0.95).epochs, "a list is no record"),
        (run(0.95).best, "a dict is no record"),
    ],
}

EQUIVALENT: dict[str, dict[str, str]] = {}
