"""Answers to the questions of lesson 11."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

NAMES = {"np": np}

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
}

EQUIVALENT: dict[str, dict[str, str]] = {}
