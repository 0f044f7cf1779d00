"""Answers to the questions of lesson 06."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import nn
from torch.nn import functional as F

NAMES = {"torch": torch, "F": F}

# ------------------------------------------------------------------------------------------ 6.3


def sums_then_divides(model, images, targets, size):
    for start in range(0, len(images), size):
        part = slice(start, start + size)
        loss = F.cross_entropy(model(images[part]), targets[part], reduction="sum")
        (loss / len(images)).backward()


def by_hand(model, images, targets, size):
    params = list(model.parameters())
    for x, y in zip(images.split(size), targets.split(size), strict=True):
        gradients = torch.autograd.grad(F.cross_entropy(model(x), y), params)
        for p, g in zip(params, gradients, strict=True):
            share = g * (len(y) / len(targets))
            p.grad = share if p.grad is None else p.grad + share


def one_by_one(model, images, targets, size):
    model.zero_grad()
    for x, y in zip(images, targets, strict=True):
        (F.cross_entropy(model(x[None]), y[None]) / len(images)).backward()


def with_a_gradient_for_backward(model, images, targets, size):
    for x, y in zip(torch.split(images, size), torch.split(targets, size), strict=True):
        loss = nn.CrossEntropyLoss()(model(x), y)
        loss.backward(gradient=torch.tensor(x.size(0) / images.size(0)))


def with_a_loader(model, images, targets, size):
    data = torch.utils.data.TensorDataset(images, targets)
    for x, y in torch.utils.data.DataLoader(data, batch_size=size):
        ((F.cross_entropy(model(x), y) * len(y)) / len(data)).backward()


def scales_at_the_end(model, images, targets, size):
    for x, y in zip(images.split(size), targets.split(size), strict=True):
        F.cross_entropy(model(x), y, reduction="sum").backward()
    for p in model.parameters():
        p.grad /= len(images)


def pieces(weight=lambda n, total, k: n / total, zero=False, step=False, drop_last=False):
    """Accumulation of which one piece can be wrong."""

    def attempt(model, images, targets, size):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        parts = list(zip(images.split(size), targets.split(size), strict=True))
        for x, y in parts:
            if drop_last and len(x) < size:
                continue
            if zero:
                optimizer.zero_grad()
            (F.cross_entropy(model(x), y) * weight(len(x), len(images), len(parts))).backward()
            if step:
                optimizer.step()

    return attempt


def no_backward(model, images, targets, size):
    for x, y in zip(images.split(size), targets.split(size), strict=True):
        F.cross_entropy(model(x), y)


def one_backward_at_the_end(model, images, targets, size):
    total = 0
    for x, y in zip(images.split(size), targets.split(size), strict=True):
        total = total + F.cross_entropy(model(x), y) * len(x) / len(images)
    total.backward()


def keeps_the_graphs(model, images, targets, size):
    losses = []
    for x, y in zip(images.split(size), targets.split(size), strict=True):
        losses.append(F.cross_entropy(model(x), y) * len(x) / len(images))
        losses[-1].backward(retain_graph=True)


def in_chunks(model, images, targets, size):
    for x, y in zip(images.chunk(size), targets.chunk(size), strict=True):
        (F.cross_entropy(model(x), y) * len(x) / len(images)).backward()


def clipped(model, images, targets, size):
    pieces()(model, images, targets, size)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)


def left_in_eval(model, images, targets, size):
    model.eval()
    pieces()(model, images, targets, size)


def left_frozen(model, images, targets, size):
    pieces()(model, images, targets, size)
    model.requires_grad_(False)


def spoils_images(model, images, targets, size):
    images /= 1.5
    pieces()(model, images, targets, size)


def twice(model, images, targets, size):
    for _ in range(2):
        pieces(lambda n, total, k: n / total / 2)(model, images, targets, size)


PLAN = {"train": "all", "photos at a time": 16, "pieces": 4, "pixels": 224, "bits": 32}
FIRST = {"train": "all", "photos at a time": 64, "pieces": 1, "pixels": 224, "bits": 32}

RIGHT = {
    "speed_up": [4, 4.0, 100 / (20 + 80 / 16), torch.tensor(4), "4", "100/25", Fraction(100, 25)],
    "adam_bytes": [
        16 * 11_177_538 / 1e6,
        179,
        16 * 11.177538,
        180,
        178.8,
        "178.84 MB",
        "179",
        torch.tensor(178.84),
    ],
    "accumulate": [
        sums_then_divides,
        by_hand,
        one_by_one,
        with_a_gradient_for_backward,
        with_a_loader,
        scales_at_the_end,
    ],
    "fits": [
        PLAN,
        {**PLAN, "photos at a time": 8, "pieces": 8},
        {**PLAN, "photos at a time": 1, "pieces": 64},
        {**PLAN, "photos at a time": 32, "pieces": 2, "bits": 16},
        {**PLAN, "pixels": 256, "bits": 16},
        {**PLAN, "photos at a time": "16", "pieces": 4.0},
        dict(reversed(PLAN.items())),
    ],
}

WRONG = {
    "speed_up": [
        (16, "loading still takes"),
        (25, "than 100 ms"),
        (5, "80 / 16 ms"),
        (6.25, "does not become faster"),
        (20, "old step divided"),
        (0.25, "turn it round"),
        ("25 %", "turn it round"),
        (3, "how long does a step take"),
        (4.1, "how long does a step take"),
        (-4, "how long does a step take"),
        ("four times", "write one number"),
        ((100, 25), "write one number"),
    ],
    "adam_bytes": [
        (44.7, "come on top"),
        (89.4, "two more numbers"),
        (134, "two of its own"),
        (11.2, "a float32 has four"),
        (357.7, "a float32 has four"),
        (16 * 11_177_538, "the number of bytes"),
        ("178,840,608", "the number of bytes"),
        (170.6, "the number of MiB"),
        (0.179, "the number of GB"),
        (178, "AdamW keeps two"),
        (300, "AdamW keeps two"),
        ("a lot", "write one number in MB"),
    ],
    "accumulate": [
        (pieces(weight=lambda n, total, k: 1), "for its share"),
        (pieces(weight=lambda n, total, k: 1 / k), "weight by photos"),
        (pieces(weight=lambda n, total, k: n), "number of all photos"),
        (pieces(weight=lambda n, total, k: 1 / total), "times len(piece)"),
        (pieces(weight=lambda n, total, k: -n / total), "sign is turned"),
        (pieces(weight=lambda n, total, k: n / 10), "backward() adds"),
        (pieces(zero=True), "no zero_grad between"),
        (pieces(zero=True, weight=lambda n, total, k: 1), "no zero_grad between"),
        (pieces(step=True), "no step here"),
        (pieces(drop_last=True), "takes it along"),
        (no_backward, "backward() for each piece"),
        (one_backward_at_the_end, "backward() for each piece, at once"),
        (keeps_the_graphs, "backward() for each piece, at once"),
        (in_chunks, "at most `size`"),
        (twice, "each once"),
        (clipped, "backward() adds"),
        (left_in_eval, "nothing but what is in p.grad"),
        (left_frozen, "nothing but what is in p.grad"),
        (spoils_images, "it changes images"),
        (lambda m, x, y, size: F.cross_entropy(m(x), y).backward(), "at most `size`"),
        (lambda m, x, y: None, "backward() adds"),
    ],
    "fits": [
        ({**FIRST, "bits": 16}, "which part is the largest"),
        ({**FIRST, "photos at a time": 32, "pieces": 2}, "which part is the largest"),
        ({**FIRST, "photos at a time": 16}, "pieces times photos"),
        ({**FIRST, "pieces": 4}, "pieces times photos"),
        ({**FIRST, "train": "head"}, "all of them to move"),
        ({**PLAN, "train": "layer4"}, "all of them to move"),
        ({**FIRST, "pixels": 64}, "the task wants 224"),
        ({**PLAN, "bits": 8}, "32 or 16"),
        ({**PLAN, "train": "stem"}, "'head' or 'layer4' or 'all'"),
        ({**PLAN, "photos at a time": 0}, "photos in the network at once"),
        ({**PLAN, "pieces": 2.5}, "a whole number"),
        ({"bits": 16}, "keep the names"),
        ("16 bits", "keep its form"),
    ],
}

EQUIVALENT: dict[str, dict[str, str]] = {}
