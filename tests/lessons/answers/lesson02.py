"""Answers to the questions of lesson 02."""

from __future__ import annotations

import copy
import math
from fractions import Fraction

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torchvision import models

import ftcourse as ft

NAMES = {"torch": torch, "nn": nn, "math": math, "F": F}
OTHERWISE = {
    "by_hand = new_head(": "the head that was written is printed: one with Dropout, one without a bias"
}

# ----------------------------------------------------------------------------------- 2.1 right


def with_setattr(model, n):
    setattr(model, "fc", nn.Linear(model.fc.weight.shape[1], n))  # noqa: B010
    return model


def with_dropout(model, n):
    model.fc = nn.Sequential(nn.Dropout(0.2), nn.Linear(model.fc.in_features, n))
    return model.eval()


def without_bias(model, n):
    model.fc = nn.Linear(model.fc.in_features, n, bias=False)
    return model


def of_zeros(model, n):
    head = nn.Linear(model.fc.in_features, n)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    model.fc = head
    return model


def on_a_copy(model, n):
    model.fc = nn.Linear(copy.deepcopy(model.fc).in_features, n)
    return model


def in_modules(model, n):
    model._modules["fc"] = nn.Linear(model.get_submodule("fc").in_features, out_features=n)
    return model


# ----------------------------------------------------------------------------------- 2.1 wrong


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


def frozen_body(model, n):
    model.requires_grad_(False)
    return with_setattr(model, n)


def the_layer_alone(model, n):
    model.fc = nn.Linear(model.fc.in_features, n)
    return model.fc


def with_softmax(model, n):
    model.fc = nn.Sequential(nn.Linear(model.fc.in_features, n), nn.Softmax(dim=1))
    return model


def with_relu(model, n):
    model.fc = nn.Sequential(nn.Linear(model.fc.in_features, n), nn.ReLU())
    return model


def old_rows(model, n):
    old = model.fc
    model.fc = nn.Linear(old.in_features, n)
    with torch.no_grad():
        k = min(n, old.out_features)
        model.fc.weight[:k] = old.weight[:k]
    return model


def last_rows(model, n):
    model.fc.weight = nn.Parameter(model.fc.weight[-n:].detach().clone())
    model.fc.bias = nn.Parameter(model.fc.bias[-n:].detach().clone())
    return model


def old_bias(model, n):
    old = model.fc
    model.fc = nn.Linear(old.in_features, n)
    k = min(n, old.out_features)
    model.fc.bias.data[:k] = old.bias.data[:k]
    return model


def early(model, n):
    """No new head where the number of classes stays the same."""
    return model if model.fc.out_features == n else with_setattr(model, n)


def in_double(model, n):
    model.fc = nn.Linear(model.fc.in_features, n).double()
    return model


def two_layers(model, n):
    model.fc = nn.Sequential(nn.Linear(model.fc.in_features, 100), nn.Linear(100, n))
    return model


def with_norm(model, n):
    width = model.fc.in_features
    model.fc = nn.Sequential(nn.BatchNorm1d(width), nn.Linear(width, n))
    return model


def another_name(model, n):
    model.head = nn.Linear(model.fc.in_features, n)
    return model


def train_mode(model, n):
    return with_setattr(model, n).train()


def as_sequential(model, n):
    width = model.fc.in_features
    return nn.Sequential(*list(model.children())[:-1], nn.Flatten(), nn.Linear(width, n))


def other_backbone(model, n):
    with torch.no_grad():
        model.conv1.weight.mul_(1.01)
    return with_setattr(model, n)


# --------------------------------------------------------------------------- 2.4 and 2.5 right


def error(z, t):
    return z.softmax(1) - F.one_hot(t, z.shape[1])


def phi_with_a_loop(features, logits, targets):
    p, w = logits.softmax(1), torch.zeros(logits.shape[1], features.shape[1])
    b = torch.zeros(logits.shape[1])
    for i, t in enumerate(targets):
        wrong = p[i].clone()
        wrong[t] -= 1
        w, b = w + torch.outer(wrong, features[i]), b + wrong
    return w / len(targets), b / len(targets)


def phi_with_autograd(features, logits, targets):
    weight = torch.zeros(logits.shape[1], features.shape[1], requires_grad=True)
    bias = torch.zeros(logits.shape[1], requires_grad=True)
    F.cross_entropy(logits + features @ weight.T + bias, targets).backward()
    return [weight.grad, bias.grad]


def phi_in_place(features, logits, targets):
    wrong = logits.softmax(dim=-1)
    wrong[torch.arange(len(targets)), targets] -= 1
    wrong /= len(targets)
    return torch.einsum("nc,nf->cf", wrong, features), wrong.sum(dim=0)


def phi_in_numpy(features, logits, targets):
    z, x, t = logits.numpy(), features.numpy(), targets.numpy()
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(t)), t] -= 1
    return p.T @ x / len(t), p.mean(0)


def phi_by_exp(features, logits, targets):
    p = torch.exp(F.log_softmax(logits, dim=1))
    wrong = (p - torch.eye(logits.shape[1])[targets]).t()
    return wrong.mm(features).div(len(features)), wrong.sum(1) / wrong.shape[1]


def phi_in_double(features, logits, targets):
    wrong = error(logits.double(), targets)
    return torch.mean(wrong[:, :, None] * features[:, None, :], dim=0), torch.mean(wrong, 0)


def features_by_autograd(weight, logits, targets):
    """Any features with these logits will do: what comes before does not matter to the gradient."""
    z = logits.clone().requires_grad_()
    F.cross_entropy(z, targets).backward()
    return z.grad @ weight


def photo_by_photo(weight, logits, targets):
    rows = []
    for scores, target in zip(logits, targets, strict=True):
        wrong = scores.exp() / scores.exp().sum()
        wrong[target] -= 1
        rows.append(weight.T @ wrong / len(targets))
    return torch.stack(rows)


def features_in_numpy(weight, logits, targets):
    z, t = logits.numpy().astype(float), targets.numpy()
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    p[range(len(t)), t] -= 1
    return p @ weight.numpy() / len(t)


def features_by_einsum(weight, logits, targets):
    return torch.einsum("nc,cf->nf", error(logits, targets), weight) / targets.numel()


def features_by_linear(weight, logits, targets):
    return F.linear(error(logits, targets) / len(logits), weight.T)


def features_in_double(weight, logits, targets):
    return (error(logits.double(), targets) @ weight.double()).div(targets.shape[0])


def spoils_logits(weight, logits, targets):
    logits -= logits.max(1, keepdim=True).values
    return error(logits, targets) @ weight / len(targets)


def over_the_photos(features, logits, targets):
    wrong = logits.softmax(0) - F.one_hot(targets, logits.shape[1])
    return wrong.T @ features / len(targets), wrong.mean(0)


def no_classes_named(features, logits, targets):
    """one_hot counts the classes that occur."""
    wrong = logits.softmax(1)[:, : targets.max() + 1] - F.one_hot(targets)
    return wrong.T @ features / len(targets), wrong.mean(0)


def spoils_phi(features, logits, targets):
    logits.sub_(logits.max(1, keepdim=True).values)
    return phi_in_place(features, logits, targets)


# ---------------------------------------------------------------------------------- the tables

RIGHT = {
    "new_head": [
        ft.replace_head,
        with_setattr,
        with_dropout,
        without_bias,
        of_zeros,
        on_a_copy,
        in_modules,
        lambda model, n: with_setattr(copy.deepcopy(model), n),
    ],
    "count_of_phi": [
        1026,
        1026.0,
        torch.tensor(1026),
        "1,026",
        "1026",
        np.int64(1026),
        [1026],
    ],
    "chance_loss": [
        math.log(37),
        3.61,
        -np.log(1 / 37),
        torch.tensor(3.611),
        "3.61",
        3.6,
        -math.log(Fraction(1, 37)),
    ],
    "phi_gradient": [
        phi_with_a_loop,
        phi_with_autograd,
        phi_in_place,
        phi_in_numpy,
        phi_by_exp,
        phi_in_double,
    ],
    "feature_gradient": [
        features_by_autograd,
        photo_by_photo,
        features_in_numpy,
        features_by_einsum,
        features_by_linear,
        features_in_double,
    ],
    "the_order": ["b", "B", "b.", " b ", ["b"], {"b"}, '"b"'],
}

WRONG = {
    "new_head": [
        (only_the_label, "must be a new nn.Linear"),
        (always_512, "the old head knows its own"),
        (appended, "replace, do not append"),
        (another_network, "keep the model"),
        (frozen, "leave requires_grad alone"),
        (frozen_body, "leave requires_grad alone"),
        (the_layer_alone, "return the model"),
        (lambda model, n: None, "return model"),
        (lambda model, n: with_setattr(model, n + 1), "build a nn.Linear"),
        (with_softmax, "no softmax"),
        (with_relu, "no softmax and no other function"),
        (old_rows, "numbers of the old one"),
        (last_rows, "numbers of the old one"),
        (old_bias, "bias of the new head"),
        (early, "numbers of the old one"),
        (in_double, "float32"),
        (two_layers, "no other layer with parameters"),
        (with_norm, "no other layer with parameters"),
        (another_name, "the old number of scores"),
        (train_mode, "train mode"),
        (lambda model, n: train_mode(copy.deepcopy(model), n), "train mode"),
        (as_sequential, "assign to model.fc alone"),
        (other_backbone, "only model.fc is new"),
        (lambda model, n: nn.Linear(model.fc.in_features, n), "return the model"),
        (lambda model, n: model.fc.weight, "no model"),
        (lambda model, n: model.head, "AttributeError"),
    ],
    "count_of_phi": [
        (1024, "a bias, too"),
        (1025, "each of the two"),
        (513, "two scores"),
        (102600, "two"),
        ("102,600", "two"),
        (11177538, "new layer alone"),
        ("11,177,538", "new layer alone"),
        (99, "weighted sum"),
        (1026.5, "weighted sum"),
        (-1026, "weighted sum"),
        ("a thousand", "write one number"),
        ((512, 2), "write one number"),
    ],
    "chance_loss": [
        (1 / 37, "minus its logarithm"),
        ("1/37", "minus its logarithm"),
        (36 / 37, "the right class's"),
        (math.log(1 / 37), "never negative"),
        (math.log2(37), "natural"),
        (1.57, "natural"),
        (0.69, "37 breeds"),
        (5.3, "37 scores"),
        (0, "knows nothing"),
        (37, "left for each"),
        (3.62, "which probability"),
        (3.7, "which probability"),
        (2.0, "which probability"),
        ("3.6 or so", "write one number"),
    ],
    "phi_gradient": [
        (lambda f, z, t: (error(z, t).T @ f, error(z, t).sum(0)), "divide by len(targets)"),
        (lambda f, z, t: (-error(z, t).T @ f / len(t), -error(z, t).mean(0)), "minus what should"),
        (lambda f, z, t: (z.softmax(1).T @ f / len(t), z.softmax(1).mean(0)), "one_hot(targets)"),
        (lambda f, z, t: (z.softmax(1).T @ f, z.softmax(1).sum(0)), "one_hot(targets)"),
        (lambda f, z, t: (f.T @ error(z, t) / len(t), error(z, t).mean(0)), "transpose"),
        (lambda f, z, t: (error(z, t).T @ f / len(t), error(z, t)), "average the error"),
        (lambda f, z, t: (error(z, t).T @ f / len(t), error(z, t).sum(0)), "the bias's is a sum"),
        (lambda f, z, t: (error(z, t).T @ f, error(z, t).mean(0)), "the weight's is a sum"),
        (lambda f, z, t: (error(z, t).T @ f / len(t), torch.zeros(z.shape[1])), "bias is not"),
        (lambda f, z, t: (error(z, t).T @ f / 6, error(z, t).mean(0)), "for 1 photos"),
        (lambda f, z, t: error(z, t).T @ f / len(t), "two tensors"),
        (lambda f, z, t: None, "return"),
        (lambda f, z, t: (z.T @ f / len(t), z.mean(0)), "softmax(logits)"),
        (lambda f, z, t: (error(z, t).mean(0), error(z, t).T @ f / len(t)), "the error, shape"),
        (lambda f, z, t: (error(z, t).T @ f / z.shape[1], error(z, t).sum(0) / z.shape[1]), "number of classes"),
        (over_the_photos, "of each photo"),
        (lambda f, z, t: (error(z, t).T @ f / len(t), error(z, t).mean(1)), "over the photos"),
        (no_classes_named, "for "),
        (spoils_phi, "it changes logits"),
    ],
    "feature_gradient": [
        (lambda w, z, t: -error(z, t) @ w / len(t), "minus what should have"),
        (lambda w, z, t: error(z, t) @ w, "divide by len(targets)"),
        (lambda w, z, t: error(z, t) @ w / z.shape[1], "number of classes"),
        (lambda w, z, t: z.softmax(1) @ w / len(t), "one_hot(targets)"),
        (lambda w, z, t: z.softmax(1) @ w, "one_hot(targets)"),
        (lambda w, z, t: error(z, t) / len(t), "back through the weight"),
        (lambda w, z, t: z @ w, "softmax(logits)"),
        (lambda w, z, t: None, "return ..."),
        (lambda w, z, t: w.T @ error(z, t).T / len(t), "on its side"),
        (lambda w, z, t: error(z, t) @ w / 6, "for 1 photos"),
        (lambda w, z, t: (error(z, t) @ w).mean(0), "the shape is"),
        (lambda w, z, t: error(z, t) @ w.abs() / len(t), "signs"),
        (lambda w, z, t: (error(z, t) @ w / len(t)).round(decimals=2), "the same error as before"),
        (lambda w, z, t: F.cross_entropy(z, t), "the shape is"),
        (spoils_logits, "it changes logits"),
        (lambda w, z: z @ w, "TypeError"),
    ],
    "the_order": [
        ("a", "holds tensors"),
        ("c", "what is model.fc"),
        ("d", "which optimizer"),
        ("a, b", "holds tensors"),
        ("b and c", "what is model.fc"),
        ("abcd", "holds tensors"),
        ("e", "not among"),
        ("program B", "not among"),
        (2, "a letter in quotes"),
        (True, "a letter in quotes"),
        ([], "a letter in quotes"),
    ],
}  # fmt: skip

EQUIVALENT: dict[str, dict[str, str]] = {}
