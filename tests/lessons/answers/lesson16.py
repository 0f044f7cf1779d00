"""Answers to the questions of lesson 16."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

NAMES = {"torch": torch, "F": F}

# ----------------------------------------------------------------------------------------- 16.2


def with_linear(x, weight, bias, A, B, scale):
    return F.linear(x, weight, bias) + F.linear(F.linear(x, A), B) * scale


def merged_first(x, weight, bias, A, B, scale):
    return F.linear(x, weight + scale * B @ A, bias)


def with_einsum(x, weight, bias, A, B, scale):
    detour = torch.einsum("...i,ri,or->...o", x, A, B)
    return torch.einsum("...i,oi->...o", x, weight) + bias + scale * detour


def from_the_left(x, weight, bias, A, B, scale):
    columns = x.transpose(-1, -2)
    return (weight @ columns + scale * (B @ (A @ columns))).transpose(-1, -2) + bias


def scaled_early(x, weight, bias, A, B, scale):
    return torch.matmul(x, weight.t()).add(bias).add((scale * x) @ A.mT @ B.mT)


def with_addmm(x, weight, bias, A, B, scale):
    flat = x.reshape(-1, x.shape[-1])
    out = torch.addmm(torch.addmm(bias, flat, weight.T), flat @ A.T, B.T, alpha=scale)
    return out.reshape(*x.shape[:-1], len(weight))


def stops_at_a(x, weight, bias, A, B, scale):
    return scale * (x @ A.T)


def no_gradient(x, weight, bias, A, B, scale):
    return with_linear(x, weight, bias, A.detach(), B, scale)


@torch.no_grad()
def nothing_learns(x, weight, bias, A, B, scale):
    return with_linear(x, weight, bias, A, B, scale)


def cuts_the_input(x, weight, bias, A, B, scale):
    return F.linear(x.detach(), weight, bias) + scale * (x @ A.T @ B.T)


def cuts_b(x, weight, bias, A, B, scale):
    return F.linear(x, weight, bias) + scale * (x @ A.T @ B.data.T)


def wrong_way_round(x, weight, bias, A, B, scale):
    return x @ weight.T + bias + scale * (x @ B.T @ A.T)


def new_parameters(x, weight, bias, A, B, scale):
    return with_linear(x, weight, bias, nn.Parameter(A), B, scale)


def spoils_weight(x, weight, bias, A, B, scale):
    weight += scale * B @ A
    return F.linear(x, weight, bias)


def plain(path):
    """`path` of the frozen layer's output, the detour's and the scale."""
    return lambda x, weight, bias, A, B, s: path(x @ weight.T + bias, x @ A.T @ B.T, s)


# ----------------------------------------------------------------------------------------- 16.4


def by_outer_products(weight, A, B, scale):
    return weight + scale * sum(torch.outer(B[:, k], A[k]) for k in range(len(A)))


def on_a_copy(weight, A, B, scale):
    new = weight.clone()
    new += torch.matmul(B * scale, A)
    return new


def by_addmm(weight, A, B, scale):
    return torch.addmm(weight, B, A, alpha=scale)


def in_numpy(weight, A, B, scale):
    return weight.numpy() + scale * np.dot(B.numpy(), A.numpy())


def by_forward(weight, A, B, scale):
    """The layer's answer to each unit vector."""
    units = torch.eye(weight.shape[1])
    return (units @ weight.T + scale * (units @ A.T @ B.T)).T


def in_double(weight, A, B, scale):
    return torch.einsum("or,ri->oi", B.double(), A.double()).mul(scale).add(weight)


def in_place(weight, A, B, scale):
    weight += scale * B @ A
    return weight


RIGHT = {
    "count_lora": [
        73_728,
        73728.0,
        torch.tensor(73_728),
        "73,728",
        (73, 728),
        np.int64(73_728),
        "73728",
    ],
    "lora_forward": [
        with_linear,
        merged_first,
        with_einsum,
        from_the_left,
        scaled_early,
        with_addmm,
    ],
    "init": ["b", "B)", ["b"], {"b"}, " b ", "B"],
    "merge": [by_outer_products, on_a_copy, by_addmm, in_numpy, by_forward, in_double],
    "only_the_head": ["c", "C", {"c"}, ["c"], "(c)", " c"],
    "fit_the_change": [
        {"r": 4, "alpha": 8, "lr": 0.01},
        {"r": 4, "alpha": 4, "lr": 0.03},
        {"r": 4, "alpha": 1, "lr": 0.1},
        {"alpha": 16.0, "lr": 3e-2, "r": 4.0},
        {"r": "4", "alpha": "32", "lr": "2e-2"},
        {"r": torch.tensor(4), "alpha": np.float64(4), "lr": torch.tensor(0.1)},
        {"r": 4, "alpha": 64, "lr": 0.01},
    ],
}

WRONG = {
    "count_lora": [
        (36_864, "A *and* B"),
        ("36,864", "A *and* B"),
        (12_288, "six layers"),
        (6_144, "two in each"),
        (1_769_472, "A and B instead"),
        (147_456, "8 rows"),
        (74_883, "A and B alone"),
        (110_592, "query and value only"),
        (1, "how many numbers has A"),
        (-73_728, "how many numbers has A"),
        ("many", "write one number"),
        ((8, 384), "how many numbers has A"),
    ],
    "lora_forward": [
        (plain(lambda own, path, s: own), "add scale times"),
        (plain(lambda own, path, s: own + path), "multiplied by scale"),
        (lambda x, w, b, A, B, s: x @ w.T + s * (x @ A.T @ B.T), "keeps its bias"),
        (plain(lambda own, path, s: s * path), "added to the frozen"),
        (plain(lambda own, path, s: s * (own + path)), "only the path"),
        (plain(lambda own, path, s: own + path / s), "multiply by it"),
        (plain(lambda own, path, s: own - s * path), "it is added"),
        (lambda x, w, b, A, B, s: with_linear(x, w, b, A, B, s / len(A)), "α / r already"),
        (stops_at_a, "the shape is"),
        (no_gradient, "reaches A is not"),
        (nothing_learns, "no gradient reaches A"),
        (cuts_the_input, "reaches x is not"),
        (cuts_b, "reaches B is not"),
        (new_parameters, "reaches A is not"),
        (wrong_way_round, "order do A and B act"),
        (spoils_weight, "it changes weight"),
        (lambda *args: None, "returns nothing"),
    ],
    "init": [
        ("a", "never learns"),
        ("c", "B A x then"),
        ("d", "begin as the pre-trained"),
        ("e", "a letter in quotes"),
        ("a, b", "never learns"),
        ("b and c", "B A x then"),
        ("abcd", "never learns"),
        (0, "a letter in quotes"),
        ("zero", "a letter in quotes"),
        ([], "a letter in quotes"),
    ],
    "merge": [
        (lambda weight, A, B, scale: weight + B @ A, "scale times"),
        (lambda weight, A, B, scale: scale * B @ A, "added to it"),
        (lambda weight, A, B, scale: weight - scale * B @ A, "take an adapter out"),
        (lambda weight, A, B, scale: scale * (weight + B @ A), "only the product"),
        (lambda weight, A, B, scale: weight + B @ A / scale, "multiply by it"),
        (lambda weight, A, B, scale: weight + scale * B @ A / len(A), "α / r already"),
        (lambda weight, A, B, scale: (weight + scale * B @ A).T, "as the old one"),
        (lambda weight, A, B, scale: weight, "add the product"),
        (lambda weight, A, B, scale: A.T @ B.T, "the shape is"),
        (in_place, "it changes weight"),
        (lambda weight, A, B, scale: None, "returns nothing"),
        (lambda weight, A, B, scale: weight + scale * A @ B, "take x out"),
        (lambda weight, A, B, scale: nn.Linear(*weight.shape[::-1]), "expected a tensor"),
    ],
    "only_the_head": [
        ("a", "to train another"),
        ("b", "should not"),
        ("d", "Something does"),
        ("e", "a letter in quotes"),
        ("a, c", "to train another"),
        ("b and c", "should not"),
        ("abcd", "to train another"),
        (3, "a letter in quotes"),
        ("line 3", "a letter in quotes"),
        ([], "a letter in quotes"),
    ],
    "fit_the_change": [
        ({"r": 8, "alpha": 16, "lr": 0.03}, "a smaller r"),
        ({"r": 5, "alpha": 8, "lr": 0.03}, "640 numbers, and 600 are allowed"),
        ({"r": 3, "alpha": 8, "lr": 0.03}, "too few directions"),
        ({"r": 2, "alpha": 4, "lr": 0.03}, "too few directions"),
        ({"r": 4, "alpha": 8, "lr": 1e-3}, "the steps are too small"),
        ({"r": 1, "alpha": 1, "lr": 1e-4}, "a larger lr"),
        ({"r": 4, "alpha": 256, "lr": 0.1}, "a smaller lr"),
        ({"r": 4, "alpha": 1e5, "lr": 0.1}, "the error has exploded"),
        ({"r": 4, "alpha": 8}, "with three numbers"),
        ({"r": 4, "alpha": "a", "lr": 0.01}, "no number"),
        ({"r": 0, "alpha": 8, "lr": 0.01}, "r is 1, 2"),
        ({"r": 4, "alpha": -8, "lr": 0.01}, "all are above 0"),
        ((4, 8, 0.01), "with three numbers"),
        ("r = 4", "with three numbers"),
    ],
}

EQUIVALENT: dict[str, dict[str, str]] = {}
