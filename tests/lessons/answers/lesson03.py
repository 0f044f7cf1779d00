"""Answers to the questions of lesson 03."""

from __future__ import annotations

import builtins
import copy
import math

import numpy as np
import torch
from torch import nn
from torchvision import models

import ftcourse as ft
from ftcourse.exercises import lesson03 as check

# among the built-in names, so that the answer to 3.4 is seen to define it
BUILTINS = {**vars(builtins), "train_mode": check.train_mode.reference}
NAMES = {"torch": torch, "nn": nn, "__builtins__": BUILTINS}

# ------------------------------------------------------------------------------------------ 3.1


def with_the_method(model):
    model.requires_grad_(False)
    model.fc.requires_grad_(True)
    return model


def by_name(model):
    for name, p in model.named_parameters():
        p.requires_grad = name.startswith("fc.")
    return model


def both_by_hand(model):
    model.fc.weight.requires_grad = model.fc.bias.requires_grad = True
    return model


def with_setattr(model):
    for p in (model.fc.weight, model.fc.bias):
        p.requires_grad_()
    return model


def by_identity(model):
    head = {id(p) for p in model.fc.parameters()}
    for p in model.parameters():
        p.requires_grad = id(p) in head
    return model


def the_trap(model):
    model.fc.requires_grad = True
    return model


def the_weight_alone(model):
    model.fc.weight.requires_grad = True
    return model


def the_bias_alone(model):
    model.fc.bias.requires_grad = True
    return model


def layer4_too(model):
    model.layer4.requires_grad_(True)
    model.fc.requires_grad_(True)
    return model


def a_new_head(model):
    model.fc = nn.Linear(model.fc.in_features, model.fc.out_features)
    return model


def another_model(model):
    return models.resnet18(num_classes=2)


def in_train_mode(model):
    model.fc.requires_grad_(True)
    return model.train()


def other_statistics(model):
    model.bn1.running_mean.fill_(1)
    return with_the_method(model)


def tried_out(model):
    model.train()(torch.randn(2, 3, 32, 32))
    return with_the_method(model.eval())


def with_gradients(model):
    with_the_method(model)
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    return model


def one_bias_more(model):
    model.layer4[0].bn2.bias.requires_grad = True
    return both_by_hand(model)


def all_but_the_head(model):
    for name, p in model.named_parameters():
        p.requires_grad = not name.startswith("fc.")
    return model


# ------------------------------------------------------------------------------------------ 3.2


def by_shapes(model):
    return sum(math.prod(p.shape) for p in model.parameters() if p.requires_grad)


def with_a_loop(model):
    count = 0
    for _, p in model.named_parameters():
        if p.requires_grad:
            count += p.nelement()
    return count


def in_one_vector(model):
    trains = [p.detach().flatten() for p in model.parameters() if p.requires_grad]
    return len(torch.cat(trains)) if trains else 0


def all_less_frozen(model):
    numbers = torch.tensor([p.numel() for p in model.parameters()])
    return numbers.sum() - numbers[[not p.requires_grad for p in model.parameters()]].sum()


def in_arrays(model):
    return np.sum([p.detach().numpy().size for p in model.parameters() if p.requires_grad])


def module_by_module(model):
    """Each module's own parameters."""
    return sum(
        p.numel() * p.requires_grad
        for module in model.modules()
        for p in module.parameters(recurse=False)
    )


def whole_modules(model):
    """Only layers of which all tensors train."""
    rows = [list(m.parameters(recurse=False)) for m in model.modules()]
    return sum(p.numel() for row in rows for p in row if all(q.requires_grad for q in row))


def thaws_first(model):
    return by_shapes(model.requires_grad_(True))


# ------------------------------------------------------------------------------------------ 3.4


def eval_then_wake(model):
    model.eval()
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        module.training = not own or any(p.requires_grad for p in own)
    return model


def by_kind(model):
    model.train()
    for m in model.modules():
        if type(m) is nn.BatchNorm2d:
            m.train(m.weight.requires_grad)
    return model


def by_bias(model):
    model.train()
    for name, m in model.named_modules():
        if "BatchNorm" in type(m).__name__ and not m.bias.requires_grad:
            model.get_submodule(name).eval()
    return model


def by_apply(model):
    def sleep(m):
        if hasattr(m, "running_mean") and not any(p.requires_grad for p in m.parameters()):
            m.eval()

    return model.train().apply(sleep)


def with_a_list(model):
    model.train(True)
    frozen = [
        m
        for m in model.modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and not m.weight.requires_grad
    ]
    for m in frozen:
        m.training = False
    return model


def frozen_modules_asleep(model):
    model.train()
    for module in model.modules():
        own = list(module.parameters())
        if own and not any(p.requires_grad for p in own):
            module.eval()
    return model


def flag_by_flag(model):
    for m in model.modules():
        m.training = not (isinstance(m, nn.BatchNorm2d) and not m.weight.requires_grad)
    return model


def norms(model):
    return [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]


def all_norms_asleep(model):
    model.train()
    for module in norms(model):
        module.eval()
    return model


def no_momentum(model):
    model.train()
    for module in norms(model):
        if not module.weight.requires_grad:
            module.momentum = 0.0
    return model


def only_frozen_awake(model):
    for module in norms(model):
        module.train(module.weight.requires_grad)
    return model


def stem_to_layer3(model):
    model.train()
    for name in ("bn1", "layer1", "layer2", "layer3"):
        if hasattr(model, name):
            getattr(model, name).eval()
    return model


def awake_frozen(model):
    model.train()
    for module in norms(model):
        if module.weight.requires_grad:
            module.eval()
    return model


def first_only(model):
    model.train()
    norms(model)[0].eval()
    return model


def by_the_convolution(model):
    """BatchNorm sleeps where the convolution before it is frozen."""
    model.train()
    for m in model.modules():
        if isinstance(m, nn.Conv2d):
            frozen = not m.weight.requires_grad
        elif isinstance(m, nn.BatchNorm2d) and frozen:
            m.eval()
    return model


def by_the_part(model):
    """Only parts of the model that are frozen as a whole."""
    model.train()
    for part in model.children():
        own = list(part.parameters())
        if own and not any(p.requires_grad for p in own):
            part.eval()
    return model


def up_to_the_first_awake(model):
    model.train()
    for module in norms(model):
        if module.weight.requires_grad:
            break
        module.eval()
    return model


def by_name_bn(model):
    model.train()
    for name, module in model.named_modules():
        if "bn" in name and not module.weight.requires_grad:
            module.eval()
    return model


def fresh_statistics(model):
    for module in norms(by_kind(model)):
        module.reset_running_stats()
        module.running_mean.add_(1)
    return model


def faster_statistics(model):
    for module in norms(by_kind(model)):
        module.momentum = 0.5
    return model


def nothing_back(model):
    eval_then_wake(model)


def no_statistics(model):
    model.train()
    for module in norms(model):
        if not module.weight.requires_grad:
            module.track_running_stats = False
    return model


# ------------------------------------------------------------------------------------------ 3.6


def prepared(model, n, optimizer=torch.optim.SGD, **settings):
    for name, p in model.named_parameters():
        p.requires_grad = name.startswith("layer4.")
    model.fc = nn.Linear(model.fc.in_features, n)
    check.train_mode.reference(model)
    trains = [p for p in model.parameters() if p.requires_grad]
    return model, optimizer(trains, **({"lr": 0.01} | settings))


def with_a_stage(model, n):
    ft.replace_head(model, n)
    stage = ft.Stage(train="layer4", lr=1e-3, head_lr=1e-2)
    ft.apply_stage(model, stage)
    return ft.train_mode(model), ft.make_optimizer(model, stage)


def head_first(model, n):
    model.fc = nn.Linear(model.fc.weight.shape[1], n)
    for name, p in model.named_parameters():
        p.requires_grad = name.startswith(("layer4.", "fc."))
    model.eval()
    model.layer4.train()
    rates = [
        {"params": model.layer4.parameters(), "lr": 1e-3},
        {"params": model.fc.parameters(), "lr": 1e-2},
    ]
    return model, torch.optim.AdamW(rates, weight_decay=0.1)


def on_a_copy(model, n):
    return prepared(copy.deepcopy(model), n)


def as_a_list(model, n):
    return list(prepared(model, n, torch.optim.RMSprop, lr=1e-3))


def the_colleague(model, n):
    """The one in the lesson."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, weight_decay=0.01)
    model.fc = nn.Linear(model.fc.in_features, n)
    model.requires_grad = False
    model.layer4.requires_grad = True
    return model.train(), optimizer


def old_optimizer(model, n):
    """Made before the new head."""
    model.requires_grad_(False)
    model.layer4.requires_grad_(True)
    model.fc.requires_grad_(True)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    model.fc = nn.Linear(model.fc.in_features, n)
    return check.train_mode.reference(model), optimizer


def replaced_too_early(model, n):
    model.fc = nn.Linear(model.fc.in_features, n)
    model.requires_grad_(False)
    model.layer4.requires_grad_(True)
    check.train_mode.reference(model)
    return model, torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)


def all_awake(model, n):
    model, optimizer = prepared(model, n)
    return model.train(), optimizer


def all_asleep(model, n):
    model, optimizer = prepared(model, n)
    return model.eval(), optimizer


def full_list(model, n):
    model, _ = prepared(model, n)
    return model, torch.optim.SGD(model.parameters(), lr=0.01)


def decays_all(model, n):
    """Gradients of zero, so that weight decay pulls at what is frozen."""
    model, _ = prepared(model, n)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, weight_decay=0.1)
    optimizer.zero_grad = lambda: None
    return model, optimizer


def the_list_alone(model, n):
    """Nothing is frozen; the optimizer holds the right tensors."""
    model, _ = prepared(model, n)
    trains = [p for p in model.parameters() if p.requires_grad]
    model.requires_grad_(True)
    return model, torch.optim.SGD(trains, lr=0.01)


def convolutions_alone(model, n):
    model, _ = prepared(model, n)
    for name, p in model.layer4.named_parameters():
        p.requires_grad = "bn" not in name
    return model, torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)


def from_layer3(model, n):
    model, _ = prepared(model, n)
    model.layer3.requires_grad_(True)
    return model, torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)


def module_switches(model, n):
    model.requires_grad_(False)
    model.fc = nn.Linear(model.fc.in_features, n).requires_grad_(False)
    model.layer4.requires_grad = model.fc.requires_grad = True
    return model, torch.optim.SGD(model.parameters(), lr=0.01)


def old_head(model, n):
    head = model.fc
    model, _ = prepared(model, n)
    model.fc = head.requires_grad_(True)
    return model, torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)


def tried_before(model, n):
    model, optimizer = prepared(model, n)
    model.train()(torch.randn(4, 3, 32, 32))
    return check.train_mode.reference(model), optimizer


RIGHT = {
    "thaw_head": [
        with_the_method,
        by_name,
        both_by_hand,
        with_setattr,
        by_identity,
        lambda model: ft.unfreeze(model, "head"),
    ],
    "count_trained": [
        by_shapes,
        with_a_loop,
        in_one_vector,
        all_less_frozen,
        in_arrays,
        module_by_module,
    ],
    "which_train": ["a, c, d", "DCA", ["a", "c", "d"], {"a", "d", "c"}, "a, c and d", "a c d"],
    "train_mode": [
        ft.train_mode,
        eval_then_wake,
        by_kind,
        by_bias,
        by_apply,
        with_a_list,
        frozen_modules_asleep,
        flag_by_flag,
    ],
    "frozen_too_late": ["b", "B", "b)", ["b"], {"b"}, " b "],
    "prepare": [
        prepared,
        with_a_stage,
        head_first,
        on_a_copy,
        as_a_list,
        lambda model, n: prepared(model, n, torch.optim.Adam, lr=1e-4, weight_decay=0.1),
    ],
}

WRONG = {
    "thaw_head": [
        (the_trap, "loop over model.fc.parameters()"),
        (lambda model: model, "loop over model.fc.parameters()"),
        (the_weight_alone, "a bias, too"),
        (the_bias_alone, "a weight, too"),
        (layer4_too, "model.fc alone"),
        (lambda model: model.requires_grad_(True), "model.fc alone"),
        (all_but_the_head, "model.fc alone"),
        (lambda model: None, "return model"),
        (lambda model: model.fc.parameters(), "return model"),
        (lambda model: model.fc.requires_grad_(True), "with other weights"),
        (lambda model: model.head, "which objects carry"),
        (a_new_head, "with other weights"),
        (another_model, "with other weights"),
        (in_train_mode, "train mode"),
        (other_statistics, "statistics have changed"),
        (tried_out, "send nothing through"),
        (with_gradients, "no backward()"),
        (one_bias_more, "model.fc alone"),
        (lambda model: True, "return model"),
    ],
    "count_trained": [
        (lambda m: sum(p.requires_grad for p in m.parameters()), "each tensor holds many"),
        (lambda m: len([p for p in m.parameters() if p.requires_grad]), "each tensor holds many"),
        (
            lambda m: sum(p.numel() for p in m.parameters() if not p.requires_grad),
            "count the others",
        ),
        (lambda m: sum(p.numel() for p in m.parameters()), "leave out what is frozen"),
        (lambda m: sum(v.numel() for v in m.state_dict().values()), "BatchNorm's statistics"),
        (
            lambda m: sum(p.numel() for p in m.parameters() if p.requires_grad and p.ndim > 1),
            "biases and",
        ),
        (lambda m: sum(len(p) for p in m.parameters() if p.requires_grad), "rows of each tensor"),
        (lambda m: 8_393_728, "for a network of which layer4 and fc"),
        (lambda m: sum(p.numel() for p in m.parameters() if p.requires_grad) + 1, "for a network"),
        (whole_modules, "for a network of which fc"),
        (lambda m: [p.numel() for p in m.parameters() if p.requires_grad], "return one number"),
        (lambda m: None, "return"),
        (lambda m: sum(p.size() for p in m.parameters()), "TypeError"),
        (lambda m: "8,394,754", "no text, no list"),
        (thaws_first, "put model back as it was"),
    ],
    "which_train": [
        ("b", "when B freezes"),
        ("a, b, c, d", "when B freezes"),
        ("b and c", "when B freezes"),
        ("a, c", "1 more is true"),
        ("a", "2 more are true"),
        ("d", "2 more are true"),
        (["a", "d"], "1 more is true"),
        ("e", "a letter in quotes"),
        ("all", "a letter in quotes"),
        (3, "a letter in quotes"),
        ([1, 3, 4], "a letter in quotes"),
    ],
    "train_mode": [
        (lambda model: model.train(), "put those of frozen layers back"),
        (lambda model: model.eval(), "start with model.train()"),
        (all_norms_asleep, "put back only the frozen ones"),
        (awake_frozen, "put those of frozen layers back"),
        (no_momentum, "use the stored ones"),
        (only_frozen_awake, "for the whole model"),
        (lambda model: model.train().requires_grad_(False), "leave requires_grad alone"),
        (lambda model: 3, "return the model"),
        (nothing_back, "return"),
        (lambda model: model.train(mode=None), "two steps"),
        (stem_to_layer3, "where the head may train"),
        (first_only, "put those of frozen layers back"),
        (no_statistics, "use the stored ones"),
        (by_the_convolution, "where all but the second BatchNorm may train"),
        (by_the_part, "where all but the first two layers may train"),
        (up_to_the_first_awake, "where all but the second BatchNorm may train"),
        (by_name_bn, "put those of frozen layers back"),
        (fresh_statistics, "it changes statistics"),
        (faster_statistics, "momentum"),
        (lambda model: ft.train_mode(copy.deepcopy(model)), "another model"),
    ],
    "frozen_too_late": [
        ("a", "which state"),
        ("c", "looks at p.grad"),
        ("d", "a gradient of zeros"),
        ("a, b", "which state"),
        ("b and d", "a gradient of zeros"),
        ("abcd", "which state"),
        ("e", "not among"),
        ("yes", "not among"),
        (2, "a letter in quotes"),
        ([], "a letter in quotes"),
    ],
    "prepare": [
        (the_colleague, "outside of layer4 and the head have moved"),
        (old_optimizer, "did the optimizer see the new one"),
        (replaced_too_early, "the head has not moved"),
        (all_awake, "statistics outside of layer4"),
        (all_asleep, "do not follow the data"),
        (full_list, "hand it only what trains"),
        (decays_all, "outside of layer4 and the head have moved"),
        (the_list_alone, "computed for nothing"),
        (convolutions_alone, "of layer4 have not moved"),
        (from_layer3, "outside of layer4 and the head have moved"),
        (module_switches, "switches nothing"),
        (old_head, "not a new head"),
        (tried_before, "nothing is sent through it"),
        (lambda model, n: prepared(model, n)[0], "return model, optimizer"),
        (lambda model, n: prepared(model, n)[::-1], "no model"),
        (lambda model, n: (prepared(model, n)[0], 0.01), "no optimizer"),
        (lambda model, n: None, "return"),
        (lambda model: prepared(model, 2), "TypeError"),
    ],
}

EQUIVALENT: dict[str, dict[str, str]] = {
    "prepare": {
        "constant: 0.01 -> 0.02": "an open task: any rate that moves what trains is right",
        "keyword forgotten: torch.optim.SGD(..., lr=0.01) -> ": "its default is 0.001, which moves as well",
    },
}
