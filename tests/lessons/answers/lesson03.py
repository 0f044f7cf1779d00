"""Answers to the questions of lesson 03."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn
from torchvision import models

import ftcourse as ft

NAMES = {"torch": torch, "nn": nn}

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
        8_394_754,
        "8,394,754",
        (8, 394, 754),
        8394754.0,
        torch.tensor(8_394_754),
        np.int64(8_394_754),
        "8394754",
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
        (8_393_728, "head trains as well"),
        ("8,393,728", "head trains as well"),
        (1_026, "layer4 trains as well"),
        (8_394_752, "two biases"),
        (8_496_328, "two classes"),
        (11_177_538, "stem to layer3"),
        ((11, 177, 538), "stem to layer3"),
        (2_782_784, "count the others"),
        (64, "two rows"),
        (8_394_755, "two rows"),
        ("75 %", "two rows"),
        ("all", "write one number"),
        ((8_393_728, 1_026), "write one number"),
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
}

EQUIVALENT: dict[str, dict[str, str]] = {}
