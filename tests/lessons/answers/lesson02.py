"""Answers to the questions of lesson 02."""

from __future__ import annotations

import builtins
import copy
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torchvision import models

import ftcourse as ft
from ftcourse.exercises import lesson02 as check

PHI_GRADIENT = check.phi_gradient.reference
# among the built-in names, so that the answer to 2.4 is seen to define it
BUILTINS = {**vars(builtins), "phi_gradient": PHI_GRADIENT}
NAMES = {"torch": torch, "nn": nn, "math": math, "F": F, "__builtins__": BUILTINS}
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


# --------------------------------------------------------------------------------------- 2.7


def descent(steps, lr):
    """Gradient descent with so many steps of this size."""

    def fit(features, targets, num_classes):
        W, b = torch.zeros(num_classes, features.shape[1]), torch.zeros(num_classes)
        for _ in range(steps):
            dW, db = PHI_GRADIENT(features, features @ W.T + b, targets)
            W, b = W - lr * dW, b - lr * db
        return W, b

    return fit


def by_adam(features, targets, num_classes):
    head = nn.Linear(features.shape[1], num_classes)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(300):
        loss = F.cross_entropy(head(features), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return head.weight, head.bias


def until_all_are_right(features, targets, num_classes):
    head = nn.Linear(features.shape[1], num_classes)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9)
    while not torch.equal(head(features).argmax(1), targets):
        optimizer.zero_grad()
        F.cross_entropy(head(features), targets).backward()
        optimizer.step()
    return [head.weight.detach(), head.bias.detach()]


def least_squares(features, targets, num_classes):
    """No training at all: the weighted sums that give exactly ones and zeros."""
    wanted = F.one_hot(targets, num_classes).float()
    return torch.linalg.lstsq(features, wanted).solution.T, torch.zeros(num_classes)


def in_numpy(features, targets, num_classes):
    x, y = features.numpy(), np.eye(num_classes)[targets.numpy()]
    W = np.linalg.pinv(x - x.mean(0)) @ (y - y.mean(0))
    return W.T.astype(np.float32), (y.mean(0) - x.mean(0) @ W).astype(np.float32)


def perceptron(features, targets, num_classes):
    """Rosenblatt's rule: move the right row towards a photo that is wrong, the other away."""
    W, b = torch.zeros(num_classes, features.shape[1]), torch.zeros(num_classes)
    for _ in range(2000):
        wrong = 0
        for x, t in zip(features, targets, strict=True):
            said = (W @ x + b).argmax()
            if said != t:
                W[t] += x
                W[said] -= x
                wrong += 1
        if not wrong:
            break
    return W, b


def one_step_again(features, targets, num_classes):
    """Each step starts from zero."""
    W, b = torch.zeros(num_classes, features.shape[1]), torch.zeros(num_classes)
    for _ in range(100):
        dW, db = PHI_GRADIENT(features, features @ W.T + b, targets)
    return W - 0.001 * dW, b - 0.001 * db


def on_its_side(features, targets, num_classes):
    W, b = least_squares(features, targets, num_classes)
    return W.T, b


def as_many_as_occur(features, targets, num_classes):
    return least_squares(features, targets, int(targets.max()) + 1)


def always_two(features, targets, num_classes):
    return least_squares(features, targets, 2)


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
        math.log,
        lambda n: -math.log(1 / n),
        lambda n: -np.log(1 / n),
        lambda n: torch.tensor(float(n)).log(),
        lambda n: F.cross_entropy(torch.ones(3, n), torch.zeros(3, dtype=torch.long)),
        lambda n: -torch.zeros(n).softmax(0)[0].log(),
        lambda n: round(math.log(n), 3),
        lambda n: math.log2(n) / math.log2(math.e),
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
    "fit_head": [
        descent(1000, 0.2),
        by_adam,
        until_all_are_right,
        least_squares,
        in_numpy,
        perceptron,
        descent(1500, 0.3),
    ],
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
        (lambda n: 1 / n, "minus its logarithm"),
        (lambda n: (n - 1) / n, "the right class's"),
        (lambda n: math.log(1 / n), "never negative"),
        (np.log2, "natural"),
        (math.log10, "natural"),
        (lambda n: math.log(37), "num_classes is the number"),
        (lambda n: 3.61, "num_classes is the number"),
        (lambda n: math.log1p(n), "no other"),
        (lambda n: n, "left for each"),
        (lambda n: 0, "knows nothing"),
        (lambda n: None, "return"),
        (lambda n: torch.zeros(n).log_softmax(0), "return one number"),
        (lambda n: f"log {n}", "no text"),
        (lambda n: 2 * math.log(n), "which probability"),
        (lambda: 3.61, "TypeError"),
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
    "fit_head": [
        (descent(0, 0.1), "that is guessing"),
        (descent(200, 0.02), "more steps, or larger ones"),
        (descent(20, 0.1), "more steps, or larger ones"),
        (descent(1000, -0.1), "against the gradient"),
        (descent(1, 1000.0), "against the gradient"),
        (one_step_again, "where the last one ended"),
        (on_its_side, "a row for each class"),
        (as_many_as_occur, "a row for each class"),
        (always_two, "Class values must be smaller"),
        (lambda f, t, n: nn.Linear(f.shape[1], n), "return two tensors"),
        (lambda f, t, n: least_squares(f, t, n)[0], "a row for each class"),
        (lambda f, t, n: None, "return"),
        (lambda f, t: (f, t), "TypeError"),
    ],
}  # fmt: skip

_OPEN = "an open task: all labels are learnt, with these steps as well"
_BIAS = "the bias is hardly needed: features that are never negative have their own constant part"

EQUIVALENT: dict[str, dict[str, str]] = {
    "fit_head": {
        "constant: 1000 -> 1001": _OPEN,
        "constant: 0.1 -> 0.2": _OPEN,
        "constant: 0.1 -> 0.2 (2)": _OPEN,
        "operator: features @ W.T + b -> (features @ W.T - b)": _BIAS,
        "operator: b - 0.1 * db -> (b + 0.1 * db)": _BIAS,
        "method 1: zeros -> ones": "all scores are equal at first, as they are with zeros",
        "method 2: zeros -> ones": "all scores are equal at first, as they are with zeros",
    },
}
