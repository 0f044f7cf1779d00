"""Answers to the questions of lesson 99."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

NAMES = {"torch": torch, "nn": nn}


def by_vectors(model):
    moving = [p for p in model.parameters() if p.requires_grad]
    moved = parameters_to_vector(moving).numel() if moving else 0
    return moved / parameters_to_vector(model.parameters()).numel()


def with_a_loop(model):
    moving = total = 0
    for _, p in model.named_parameters():
        total += p.nelement()
        if p.requires_grad:
            moving += p.nelement()
    return torch.tensor(moving / total)


def in_numpy(model):
    sizes = np.array([p.numel() for p in model.parameters()])
    return sizes[[p.requires_grad for p in model.parameters()]].sum() / sizes.sum()


def what_is_left(model):
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    return 1 - frozen / sum(p.numel() for p in model.parameters())


def as_a_fraction(model):
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return Fraction(sum(n for n, moves in sizes if moves), sum(n for n, _ in sizes))


def with_masks(model):
    moves = torch.cat(
        [torch.full((p.numel(),), float(p.requires_grad)) for p in model.parameters()]
    )
    return moves.double().mean()


def of_tensors(model):
    return sum(p.requires_grad for p in model.parameters()) / len(list(model.parameters()))


def not_divided(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def thaws(model):
    model.requires_grad_(True)
    return by_vectors(model)


RIGHT = {
    "trained_share": [
        by_vectors,
        with_a_loop,
        in_numpy,
        what_is_left,
        as_a_fraction,
        with_masks,
    ],
    "what_shrinks": ["b", "B", "b.", " b ", ["b"], {"b"}],
}

WRONG = {
    "trained_share": [
        (of_tensors, "p.numel()"),
        (not_divided, "divide by"),
        (lambda m: 1 - by_vectors(m), "True for what may move"),
        (lambda m: 100 * by_vectors(m), "which tensors of the model may move"),
        (lambda m: None, "return"),
        (lambda m: 0.5, "which tensors of the model may move"),
        (lambda m: [by_vectors(m)], "it returns a list"),
        (lambda m: f"{by_vectors(m):.0%}", "no text"),
        (thaws, "it changes model"),
        (lambda m: by_vectors(m[0]), "which tensors of the model may move"),
        (0.2, "pass the function itself"),
    ],
    "what_shrinks": [
        ("a", "beside a weight"),
        ("c", "beside a weight"),
        ("a, b", "beside a weight"),
        ("b and c", "beside a weight"),
        ("abc", "beside a weight"),
        ("d", "not among a, b, c"),
        ("gradients", "a letter in quotes"),
        (1, "a letter in quotes"),
        ([], "a letter in quotes"),
        (True, "a letter in quotes"),
    ],
}

EQUIVALENT: dict[str, dict[str, str]] = {}
