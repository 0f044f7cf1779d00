"""Answers to the questions of lesson 11."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

NAMES = {"np": np, "torch": torch, "nn": nn, "F": F}

# ------------------------------------------------------------------------------------------ 11.1


def counted_by_pytorch(in_channels, out_channels, kernel, height, width):
    layer = nn.Conv2d(in_channels, out_channels, kernel, bias=False)
    photo = torch.zeros(1, in_channels, height + kernel - 1, width + kernel - 1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(photo)
    return counter.get_total_flops()


def sum_over_outputs(in_channels, out_channels, kernel, height, width):
    return sum(2.0 * in_channels * kernel**2 for _ in range(out_channels)) * height * width


def by_the_weights(in_channels, out_channels, kernel, height, width):
    layer = nn.Conv2d(in_channels, out_channels, kernel, bias=False)
    return 2 * layer.weight.numel() * height * width


def as_a_tensor(*numbers):
    kernel = numbers[2]
    return 2 * torch.tensor([*numbers, kernel]).prod()


def as_integers(i, o, k, h, w):
    multiplications = additions = np.int64(i) * o * k**2 * h * w
    return multiplications + additions


# ------------------------------------------------------------------------------------------ 11.4


def step_by_step(epochs, frozen, trains):
    slow = sum(frozen + trains for _ in range(epochs))
    return slow / (frozen + sum(trains for _ in range(epochs)))


def from_below(epochs, frozen, trains):
    return 1 / ((frozen / epochs + trains) / (frozen + trains))


def what_is_saved(epochs, frozen, trains):
    slow = epochs * (frozen + trains)
    return slow / (slow - (epochs - 1) * frozen)


def as_a_fraction(epochs, frozen, trains):
    f, t = Fraction(frozen), Fraction(trains)
    return epochs * (f + t) / (f + epochs * t)


def by_matrices(epochs, frozen, trains):
    parts = np.array([frozen, trains])
    return (parts @ [epochs, epochs]) / (parts @ [1, epochs])


# ------------------------------------------------------------------------------------------ 11.6


@torch.no_grad()
def features_of(backbone, *groups):
    return [backbone(group) for group in groups]


def nearest_mean(backbone, images, labels, new):
    known, asked = features_of(backbone, images, new)
    means = torch.stack([known[labels == k].mean(0) for k in (0, 1)])
    return torch.cdist(asked, means).argmin(1)


def by_logistic_regression(backbone, images, labels, new):
    known, asked = features_of(backbone, images, new)
    return (
        LogisticRegression(max_iter=500).fit(known.numpy(), labels.numpy()).predict(asked.numpy())
    )


def by_neighbours(backbone, images, labels, new):
    known, asked = (f.numpy() for f in features_of(backbone, images, new))
    return KNeighborsClassifier(1).fit(known, labels).predict(asked).tolist()


def ridge(backbone, images, labels, new):
    known, asked = features_of(backbone, images, new)
    mean, std = known.mean(0), known.std(0) + 1e-6
    known, asked = (known - mean) / std, (asked - mean) / std
    sign = 2.0 * labels - 1
    weights = known.T @ torch.linalg.solve(known @ known.T + 512 * torch.eye(len(known)), sign)
    return (asked @ weights > 0).long()


def a_head(backbone, images, labels, new, steps=60, lr=0.05, sign=1, rows=slice(None)):
    known, asked = features_of(backbone, images[rows], new)
    head = nn.Linear(512, 2)
    optimizer = torch.optim.SGD(head.parameters(), lr=lr, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        (sign * F.cross_entropy(head(known), labels[rows])).backward()
        optimizer.step()
    return head(asked).max(1).indices


def in_batches(backbone, images, labels, new):
    kept = torch.cat([features_of(backbone, part)[0] for part in torch.cat([images, new]).split(8)])

    class Kept(nn.Module):
        def forward(self, rows):
            return kept[rows]

    return nearest_mean(Kept(), torch.arange(24), labels, torch.arange(24, 48))


def as_it_was_given(backbone, images, labels, new, steps=10):
    """The lesson's program, with its first line deleted."""
    head = nn.Linear(512, 2)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(steps):
        loss = F.cross_entropy(head(backbone(images)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return head(backbone(new)).argmax(1)


def mirrored_as_well(backbone, images, labels, new):
    both = torch.cat([images, images.flip(3)])
    return nearest_mean(backbone, both, labels.repeat(2), new)


def in_train_mode(backbone, images, labels, new):
    return nearest_mean(backbone.train(), images, labels, new)


def scores(backbone, images, labels, new):
    known, asked = features_of(backbone, images, new)
    return asked @ (known[labels == 1].mean(0) - known[labels == 0].mean(0))


RIGHT = {
    "conv_flops": [
        lambda i, o, k, h, w: 2 * i * o * k * k * h * w,
        counted_by_pytorch,
        sum_over_outputs,
        by_the_weights,
        as_a_tensor,
        as_integers,
        lambda *numbers: 2 * math.prod(numbers) * numbers[2],
    ],
    "at_224": [
        3.61,
        3.6,
        torch.tensor(3.61375),
        "3.61 GFLOP",
        "≈ 3.6",
        3.627124736,
        np.float64(3.63),
    ],
    "stem_only": ["b", "B", ["b"], {"b"}, "(b)", " b"],
    "speedup": [
        step_by_step,
        from_below,
        what_is_saved,
        as_a_fraction,
        by_matrices,
        lambda e, f, t: torch.tensor(e * (f + t) / (f + e * t)),
    ],
    "which_cache": ["a, d", "DA", {"a", "d"}, ["d", "a"], "a and d", "a d"],
    "frugal": [
        nearest_mean,
        by_logistic_regression,
        by_neighbours,
        ridge,
        a_head,
        in_batches,
        lambda b, x, y, new: nearest_mean(b, x, y, new).float().round().to(torch.int32),
    ],
}

WRONG = {
    "conv_flops": [
        (lambda i, o, k, h, w: i * o * k * k * h * w, "2 FLOPs"),
        (lambda i, o, k, h, w: 2 * i * o * k * h * w, "k x k places"),
        (lambda i, o, k, h, w: 4 * i * o * k * h * w, "k x k places"),
        (lambda i, o, k, h, w: 2 * i * o * h * w, "k x k places"),
        (lambda i, o, k, h, w: 2 * o * k * k * h * w, "all input channels"),
        (lambda i, o, k, h, w: 2 * i * k * k * h * w, "each output channel"),
        (lambda i, o, k, h, w: 2 * (i + o) * k * k * h * w, "times"),
        (lambda i, o, k, h, w: 2 * i * o * k * k, "at each place"),
        (lambda i, o, k, h, w: 2 * i * o * k * k * h * h, "height x width"),
        (lambda i, o, k, h, w: 2 * i * o * k * k * (h - k + 1) * (w - k + 1), "already"),
        (lambda i, o, k, h, w: (2 * i * k * k + 1) * o * h * w, "no bias"),
        (lambda i, o, k, h, w: (2 * i * k * k - 1) * o * h * w, "usually counted"),
        (lambda i, o, k, h, w: 2 * i * o * k * k * w * w, "height x width"),
        (lambda i, o, k, h, w: 2 * k * k * h * w, "at each input channel"),
        (lambda i, o, k, h, w: 2 * i * k * k + o * h * w, "all the products"),
        (lambda i, o, k, h, w: 2 * i * o * 9 * h * w, "how many products"),
        (lambda i, o, k, h, w: 2 * i * o * k * k * (h // 2) * (w // 2), "how many products"),
        (lambda i, o, k, h, w: i * o * k * k * h * w / 1e6, "not millions"),
        (lambda i, o, k, h, w: 2 * i * o * k * k * h * w / 1e9, "not millions"),
        (lambda i, o, k, h, w: f"{2 * i * o * k * k * h * w:,}", "the number itself"),
        (lambda i, o, k, h, w: 77070336, "how many products"),
        (lambda i, o, k, h, w: None, "returns nothing"),
        (lambda i, o: 3, "how many products"),
    ],
    "at_224": [
        (1.18 * 1.75, "both grow"),
        (1.18, "larger"),
        (1.18 * 1.75**3, "two sides"),
        (3.06, "times the 1.18"),
        (1.75, "both sides"),
        (0.385, "takes more"),
        (3.7, "at the end only"),
        (3.62, "at the end only"),
        (3.64, "at the end only"),
        (3.5, "at the end only"),
        (3.61375e9, "billions"),
        (3613.75, "thousands"),
        (1.81, "products and additions"),
        (2.95, "*times* width"),
        (float("inf"), "which factors"),
        (12, "which factors"),
        (-3.6, "which factors"),
        ("many", "write one number"),
        ((3, 6), "write one number"),
    ],
    "stem_only": [
        ("a", "no longer needed"),
        ("c", "on its way"),
        ("d", "on its way"),
        ("z", "letter in quotes"),
        ("a, b", "no longer needed"),
        ("b and c", "on its way"),
        ("abcd", "no longer needed"),
        (0.5, "letter in quotes"),
        ("half", "letter in quotes"),
        ([], "letter in quotes"),
    ],
    "speedup": [
        (lambda e, f, t: (f + e * t) / (e * (f + t)), "upside down"),
        (lambda e, f, t: (f + t) / t if t else e, "once is not never"),
        (lambda e, f, t: e, "both ways"),
        (lambda e, f, t: (f + t) / (f + e * t), "makes both in each epoch"),
        (lambda e, f, t: (e * f + t) / (f + e * t), "makes both in each epoch"),
        (lambda e, f, t: (e * f + t) / (f + t), "in each epoch, both ways"),
        (lambda e, f, t: e * (f + t) - (f + e * t), "divide"),
        (lambda e, f, t: round(e * (f + t) / (f + e * t), 1), "rounded"),
        (lambda e, f, t: (f + t) / t, "once is not never"),
        (lambda e, f, t: e * (f + t) / (f + (e - 1) * t), "all E epochs train"),
        (lambda e, f, t: 1 - (f + e * t) / (e * (f + t)), "*times* less"),
        (lambda e, f, t: e * f / (f + e * t), "makes both in each epoch"),
        (lambda e, f, t: e * (f + t) / max(f + e * t, 1), "both totals"),
        (lambda e, f, t: e * (f + t) / (f + e * t + 1e-3), "both totals"),
        (lambda e, f, t: e * f + t / (f + e * t), "both totals"),
        (lambda e, f, t: 11.0, "both totals"),
        (lambda e, f, t: None, "returns nothing"),
        (lambda e, f, t: e + f + t, "both totals"),
        (lambda e, f, t: (e * (f + t), f + e * t), "slow / once"),
        (lambda e, f, t: e * (f + t) // (f + e * t), "both totals"),
    ],
    "which_cache": [
        ("a, b, d", "in epoch 2"),
        ("a, c, d", "which mode"),
        ("a, d, e", "which weights"),
        ("b", "in epoch 2"),
        ("c", "which mode"),
        ("a", "1 more is true"),
        ("d", "1 more is true"),
        ("a, b, c, d, e", "in epoch 2"),
        ("f", "a letter in quotes"),
        (1, "a letter in quotes"),
        ([], "a letter in quotes"),
    ],
    "frugal": [
        (as_it_was_given, "16 GFLOP are allowed"),
        (lambda *given: as_it_was_given(*given, steps=2), "what is computed more than once"),
        (mirrored_as_well, "16 GFLOP are allowed"),
        (lambda b, x, y, new: nearest_mean(b, x, y, (new, b(new))[0]), "16 GFLOP are allowed"),
        (lambda b, x, y, new: a_head(b, x, y, new, sign=-1), "19 are asked for"),
        (lambda b, x, y, new: a_head(b, x, y, new, rows=slice(12)), "19 are asked for"),
        (lambda b, x, y, new: torch.zeros(len(new), dtype=torch.long), "12 of 24"),
        (lambda b, x, y, new: 1 - nearest_mean(b, x, y, new), "what is learnt from"),
        (lambda b, x, y, new: nearest_mean(b, x, y, new)[:12], "one label for each new photo"),
        (lambda b, x, y, new: F.one_hot(nearest_mean(b, x, y, new)), "place of its highest score"),
        (scores, "argmax gives it"),
        (in_train_mode, "backbone"),
        (lambda b, x, y, new: None, "returns nothing"),
        (True, "pass the function itself"),
    ],
}

EQUIVALENT: dict[str, dict[str, str]] = {
    "frugal": {
        "constant: 2 -> 3": "a third class that is never right is soon never said",
        "constant: 0.01 -> 0.02": "another rate that learns",
        "keyword forgotten: torch.optim.Adam(..., lr=0.01) -> ": "Adam's own rate learns, too",
        "constant: 30 -> 31": "one step more costs next to nothing",
        "statement removed: optimizer.zero_grad() -> pass": "gradients that add up lead there as well: the "
        "numbers are what is asked for",
    },
}
