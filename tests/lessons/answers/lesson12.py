"""Answers to the questions of lesson 12."""

from __future__ import annotations

import contextlib
import copy
import math

import numpy as np
import torch
from sklearn.metrics import accuracy_score
from torch import nn
from torch.nn import functional as F

import ftcourse as ft

NAMES = {"nn": nn, "torch": torch, "F": F, "copy": copy, "math": math, "ft": ft}
FLOOR = math.log(1 + math.exp(-1))

# --------------------------------------------------------------------------- 12.3 make_ready


def with_the_package(model, num_classes):
    stage = ft.Stage(train="layer4", lr=1e-3)
    ft.apply_stage(ft.replace_head(model, num_classes), stage)
    return model, ft.make_optimizer(model, stage)


def by_name_with_sgd(model, num_classes):
    model.fc = nn.Linear(model.fc.in_features, num_classes)
    for name, p in model.named_parameters():
        p.requires_grad = name.startswith(("layer4", "fc"))
    groups = [{"params": model.layer4.parameters()}, {"params": model.fc.parameters(), "lr": 0.1}]
    return [model, torch.optim.SGD(groups, lr=0.01, momentum=0.9)]


def a_head_of_zeros_with_dropout(model, num_classes):
    model.requires_grad_(False)
    head = nn.Linear(model.fc.weight.shape[1], num_classes)
    nn.init.zeros_(head.weight)
    model.fc = nn.Sequential(nn.Dropout(0.2), head)
    model.layer4.requires_grad_(True)
    return model, torch.optim.Adam(model.parameters())  # frozen tensors do no harm in it


def by_children(model, num_classes):
    for name, child in model.named_children():
        child.requires_grad_(name == "layer4")
    model.fc = nn.LazyLinear(num_classes)
    model.eval()(torch.zeros(1, 3, 64, 64))
    return model, torch.optim.RMSprop([*model.layer4.parameters(), *model.fc.parameters()], lr=1e-4)


def with_filter(model, num_classes):
    model.requires_grad_(False)
    model.layer4.requires_grad_()
    setattr(model, "fc", nn.Linear(model.fc.in_features, num_classes, bias=True))  # noqa: B010
    trained = filter(lambda p: p.requires_grad, model.parameters())
    return model, torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.05)


def a_head_of_zeros_with_sgd(model, num_classes):
    model, _ = with_filter(model, num_classes)
    nn.init.zeros_(model.fc.weight)
    return model, torch.optim.SGD([*model.layer4.parameters(), *model.fc.parameters()], lr=1e-3)


def on_a_copy_of_it(model, num_classes):
    model = copy.deepcopy(model).train()
    frozen = set(model.parameters()) - set(model.layer4.parameters())
    for p in frozen:
        p.requires_grad_(False)
    model.fc = nn.Sequential(
        nn.Linear(model.fc.in_features, 32), nn.ReLU(), nn.Linear(32, num_classes)
    )
    return model, torch.optim.NAdam([p for p in model.parameters() if p.requires_grad], lr=5e-4)


def program_e(model, num_classes):
    model.fc = nn.Linear(model.fc.in_features, num_classes)
    model.requires_grad_(False)
    model.layer4.requires_grad_(True)
    model.fc.requires_grad = True
    return model, torch.optim.AdamW(model.parameters())


def program_f(model, num_classes):
    model.requires_grad_(False)
    model.layer4.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters())
    model.fc = nn.Linear(model.fc.in_features, num_classes)
    return model, optimizer


def holds_both_heads(model, num_classes):
    model.requires_grad_(False)
    old, model.fc = model.fc, nn.Linear(model.fc.in_features, num_classes)
    model.layer4.requires_grad_(True)
    return model, torch.optim.AdamW([*model.parameters(), *old.parameters()])


def head_alone(model, num_classes):
    model.requires_grad_(False)
    model.fc = nn.Linear(model.fc.in_features, num_classes)
    return model, torch.optim.AdamW(model.fc.parameters())


def everything(model, num_classes):
    model.fc = nn.Linear(model.fc.in_features, num_classes)
    return model, torch.optim.AdamW(model.parameters())


def thawed_but_not_held(model, num_classes):
    model.fc = nn.Linear(model.fc.in_features, num_classes)
    return model, torch.optim.AdamW([*model.layer4.parameters(), *model.fc.parameters()])


def frozen_by_a_rate_of_zero(model, num_classes):
    model.fc = nn.Linear(model.fc.in_features, num_classes)
    named = list(model.named_parameters())
    groups = [
        {"params": [p for n, p in named if n.startswith(("layer4", "fc"))]},
        {"params": [p for n, p in named if not n.startswith(("layer4", "fc"))], "lr": 0.0},
    ]
    return model, torch.optim.SGD(groups, lr=1e-3)


def layer3_as_well(model, num_classes):
    model, _ = with_the_package(model, num_classes)
    model.layer3.requires_grad_(True)
    return model, torch.optim.AdamW(model.parameters())


def keeps_the_head(model, num_classes):
    model, _ = with_filter(model, num_classes)
    model.fc = nn.Linear(model.fc.in_features, 1000)
    return model, torch.optim.AdamW([*model.layer4.parameters(), *model.fc.parameters()])


def keeps_a_head_that_fits(model, num_classes):
    old = model.fc
    if old.out_features != num_classes:
        return with_filter(model, num_classes)
    model, _ = with_filter(model, num_classes)
    model.fc = old.requires_grad_(True)
    return model, torch.optim.AdamW([*model.layer4.parameters(), *old.parameters()])


def for_512_features(model, num_classes):
    model, _ = with_filter(model, num_classes)
    model.fc = nn.Linear(512, num_classes)
    return model, torch.optim.AdamW([*model.layer4.parameters(), *model.fc.parameters()])


def ending_in(*layers):
    def attempt(model, num_classes):
        model, _ = with_filter(model, num_classes)
        model.fc = nn.Sequential(model.fc, *layers)
        return model, torch.optim.AdamW([*model.layer4.parameters(), *model.fc.parameters()])

    return attempt


def with_optimizer(make):
    def attempt(model, num_classes):
        model, _ = with_filter(model, num_classes)
        return model, make([p for p in model.parameters() if p.requires_grad])

    return attempt


def without_bias_in_the_optimizer(model, num_classes):
    model, _ = with_filter(model, num_classes)
    return model, torch.optim.AdamW([*model.layer4.parameters(), model.fc.weight])


def another_backbone(model, num_classes):
    features = model.fc.in_features
    model, optimizer = with_filter(model, num_classes)
    for m in model.layer1.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight)
    return model, optimizer if features else None


def half_of_layer4(model, num_classes):
    model, _ = with_filter(model, num_classes)
    model.layer4[0].conv1.requires_grad_(False)
    return model, torch.optim.AdamW(p for p in model.parameters() if p.requires_grad)


# --------------------------------------------------------------------------- 12.4 accuracy_on


@contextlib.contextmanager
def asleep(model):
    modes = {m: m.training for m in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for m, mode in modes.items():
            m.training = mode


def on_a_copy(model, loader):
    copied = copy.deepcopy(model).eval()
    hits = [copied(x).argmax(1) == y for x, y in loader]
    return torch.cat(hits).float().mean()


def with_the_loaders_dataset(model, loader):
    modes = [m.training for m in model.modules()]
    model.eval()
    correct = 0
    with torch.no_grad():
        for X, y in loader:
            correct += (model(X).argmax(1) == y).type(torch.float).sum().item()
    for m, mode in zip(model.modules(), modes, strict=True):
        m.train(mode) if not list(m.children()) else setattr(m, "training", mode)
    return correct / len(loader.dataset)


def weighted_by_hand(model, loader):
    with asleep(model):
        share = sum((model(x).argmax(1) == y).float().mean().item() * len(y) for x, y in loader)
    return share / sum(len(y) for _, y in loader)


def by_sklearn(model, loader):
    with asleep(model):
        found = [(model(x).max(1).indices, y) for x, y in loader]
    predicted, targets = (torch.cat(part).numpy() for part in zip(*found, strict=True))
    return accuracy_score(targets, predicted)


def photo_by_photo(model, loader):
    right = []
    with asleep(model):
        for x, y in loader:
            for row, target in zip(model(x), y, strict=True):
                right.append(int(row.argmax()) == int(target))
    return np.mean(right)


def with_topk(model, loader):
    with asleep(model), torch.inference_mode():
        right, total = torch.zeros(()), 0
        for x, y in loader:
            right += model(x).topk(1).indices.squeeze(1).eq(y).sum()
            total += y.shape[0]
    return right / total


def all_at_once(model, loader):
    with asleep(model):
        images = torch.cat([x for x, _ in loader])
        targets = torch.cat([y for _, y in loader])
        return (model(images).softmax(1).argmax(-1) == targets).double().mean().item()


def counted(model, loader):
    hits = [model(x).argmax(1) == y for x, y in loader]
    return torch.cat(hits).float().mean().item()


def left_asleep(model, loader):
    model.eval()
    return counted(model, loader)


def all_awake_again(model, loader):
    accuracy = left_asleep(model, loader)
    model.train()
    return accuracy


def mode_of_the_whole(model, loader):
    was = model.training
    accuracy = left_asleep(model, loader)
    model.train(was)
    return accuracy


def careful(model, loader):
    """eval, and afterwards the package's train mode: it remembers nothing."""
    accuracy = left_asleep(model, loader)
    ft.train_mode(model)
    return accuracy


def mean_of_batches(model, loader):
    with asleep(model):
        shares = [(model(x).argmax(1) == y).float().mean().item() for x, y in loader]
    return sum(shares) / len(shares)


def first_batch(model, loader):
    with asleep(model):
        x, y = next(iter(loader))
        return (model(x).argmax(1) == y).float().mean().item()


def last_batch(model, loader):
    with asleep(model):
        for x, y in loader:
            share = (model(x).argmax(1) == y).float().mean().item()
    return share


def only_norms_asleep(model, loader):
    modes = [(m, m.training) for m in model.modules()]
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.eval()
    accuracy = counted(model, loader)
    for m, mode in modes:
        m.training = mode
    return accuracy


def along_the_photos(model, loader):
    with asleep(model):
        hits = [sum(a == b for a, b in zip(model(x).argmax(0), y, strict=False)) for x, y in loader]
    return sum(hits) / len(loader.dataset)


def without_dropout_for_ever(model, loader):
    for m in model.modules():
        if isinstance(m, nn.Dropout):
            m.p = 0.0
    return on_a_copy(model, loader)


def without_gradients_for_ever(model, loader):
    torch.set_grad_enabled(False)
    return on_a_copy(model, loader)


def freezes_all(model, loader):
    for p in model.parameters():
        p.requires_grad = False
    return on_a_copy(model, loader)


def full_batches(model, loader):
    return on_a_copy(model, loader) * len(loader.dataset) / (len(loader) * loader.batch_size)


def by_batches(model, loader):
    return on_a_copy(model, loader) * len(loader.dataset) / len(loader)


# --------------------------------------------------------------------------- 12.5 looks_sound


def head_is_fine(model, optimizer):
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    return all(p.requires_grad and id(p) in held for p in model.fc.parameters())


def norms_are_fine(model):
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    return all(m.weight.requires_grad or not m.training for m in norms)


def outputs_of(model, images):
    with torch.no_grad():
        return copy.deepcopy(model).eval()(images)


def step_on_a_copy(model, optimizer, images, targets):
    """Another way to see the head: it must have moved after a step."""
    if not -5 < images.min() < -0.5 or not norms_are_fine(model):
        return False
    trial, same = copy.deepcopy((model, optimizer))
    logits = trial(images)
    if (logits.sum(1) - 1).abs().max() < 1e-3 and logits.min() >= 0:
        return False
    before = [p.detach().clone() for p in trial.fc.parameters()]
    F.cross_entropy(logits, targets).backward()
    same.step()
    return not any(torch.equal(a, b) for a, b in zip(before, trial.fc.parameters(), strict=True))


def line_by_line(model, optimizer, images, targets):
    held = [p for group in optimizer.param_groups for p in group["params"]]
    for p in model.fc.parameters():
        if not p.requires_grad:
            return False
        if not any(p is q for q in held):
            return False
    if images.min() >= 0 or images.abs().max() > 99:
        return False
    for m in model.modules():
        norm = isinstance(m, nn.modules.batchnorm._BatchNorm)
        if norm and m.training and not all(p.requires_grad for p in m.parameters()):
            return False
    with asleep(model):
        rows = model(images)
    return not ((rows >= 0).all() and np.allclose(rows.sum(1).numpy(), 1, atol=1e-4))


def by_negative_scores(model, optimizer, images, targets):
    """Scores fall below zero somewhere, probabilities never."""
    checks = [
        head_is_fine(model, optimizer),
        norms_are_fine(model),
        (images < 0).any(),
        (images < 50).all(),
        (outputs_of(model, images) < 0).any(),
    ]
    return np.all(checks)


def by_data_ptr(model, optimizer, images, targets):
    held = {p.data_ptr() for group in optimizer.param_groups for p in group["params"]}
    faults = [n for n, p in model.fc.named_parameters() if not p.requires_grad]
    faults += [n for n, p in model.fc.named_parameters() if p.data_ptr() not in held]
    faults += ["range"] * int(not (images.amin() < 0 and images.amax() < 20))
    faults += ["norms"] * int(not norms_are_fine(model))
    sums = outputs_of(model, images).sum(dim=-1)
    faults += ["softmax"] * int(bool(torch.isclose(sums, torch.ones_like(sums), atol=1e-5).all()))
    return len(faults) == 0


def as_the_lesson_had_it(model, optimizer, images, targets):
    logits = outputs_of(model, images)
    return torch.tensor(
        head_is_fine(model, optimizer)
        and bool(images.min() < -0.5 and images.max() < 5)
        and not torch.allclose(logits.sum(1), torch.ones(len(logits)), atol=1e-3)
        and F.cross_entropy(logits, targets).item() < math.log(logits.shape[1]) + 1
        and norms_are_fine(model)
    )


def with_sets_of_tensors(model, optimizer, images, targets):
    held = {p for group in optimizer.param_groups for p in group["params"]}
    low, high = images.aminmax()
    return bool(
        set(model.fc.parameters()) <= held
        and {p.requires_grad for p in model.fc.parameters()} == {True}
        and low < 0
        and high < 100
        and abs(float(outputs_of(model, images)[0].sum()) - 1) > 1e-4
        and norms_are_fine(model)
    )


def without(*left_out):
    """The conditions, some left out."""

    def attempt(model, optimizer, images, targets):
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        head = list(model.fc.parameters())
        logits = outputs_of(model, images)
        conditions = {
            "trains": all(p.requires_grad for p in head),
            "held": all(id(p) in held for p in head),
            "high": images.max() < 5,
            "low": images.min() < -0.5,
            "softmax": not torch.allclose(logits.sum(1), torch.ones(len(logits)), atol=1e-3),
            "norms": norms_are_fine(model),
        }
        return all(bool(v) for k, v in conditions.items() if k not in left_out)

    return attempt


def together_with(condition, *left_out):
    """The conditions, and one more in place of some."""
    rest = without(*left_out)
    return lambda *setup: rest(*setup) and bool(condition(*setup))


def any_trains(model, optimizer, images, targets):
    return any(p.requires_grad for p in model.fc.parameters())


def any_held(model, optimizer, images, targets):
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    return any(id(p) in held for p in model.fc.parameters())


def first_group(model, optimizer, images, targets):
    held = {id(p) for p in optimizer.param_groups[0]["params"]}
    return all(id(p) in held for p in model.fc.parameters())


def equal_ones_held(model, optimizer, images, targets):
    held = [p for group in optimizer.param_groups for p in group["params"]]
    return all(any(torch.equal(p, q) for q in held) for p in model.fc.parameters())


def no_module_softmax(model, optimizer, images, targets):
    return not any(isinstance(m, nn.Softmax) for m in model.modules())


def first_norm(model, optimizer, images, targets):
    return model.bn1.weight.requires_grad or not model.bn1.training


def trains_the_model(model, optimizer, images, targets):
    F.cross_entropy(model(images), targets).backward()
    optimizer.step()
    return True


def measures_in_train_mode(model, optimizer, images, targets):
    model(images)
    return without()(model, optimizer, images, targets)


# --------------------------------------------------------------------------- 12.6 by_heart


def as_it_was_found(model, images, targets, num_classes, steps):
    """The lesson's program, with its first line deleted."""
    for p in model.parameters():
        p.requires_grad = False
    model.layer4.requires_grad = True
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    model.fc = nn.Linear(model.fc.in_features, num_classes)
    for _ in range(steps):
        model.train()
        loss = F.cross_entropy(model(images), targets)
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()
    return model


def learner(
    ready=with_filter,
    optimizer=lambda ps: torch.optim.AdamW(ps, lr=1e-3),
    awake=ft.train_mode,
    step=None,
    back=lambda model: model.eval(),
):
    """The repaired program, with parts exchanged."""

    def in_order(optimizer, loss):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def attempt(model, images, targets, num_classes, steps):
        model, _ = ready(model, num_classes)
        made = optimizer([p for p in model.parameters() if p.requires_grad])
        for _ in range(steps):
            awake(model)
            (step or in_order)(made, F.cross_entropy(model(images), targets))
        return back(model)

    return attempt


def by_stage(model, images, targets, num_classes, steps):
    stage = ft.Stage(train="layer4", lr=1e-3)
    ft.apply_stage(ft.replace_head(model, num_classes), stage)
    optimizer = ft.make_optimizer(model, stage)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(ft.train_mode(model)(images), targets).backward()
        optimizer.step()
    return model.eval()


def norms_put_to_sleep(model):
    model.train()
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d) and not m.weight.requires_grad:
            m.eval()


def two_rates(model, images, targets, num_classes, steps):
    model, _ = by_name_with_sgd(model, num_classes)
    groups = [
        {"params": model.layer4.parameters(), "lr": 1e-3},
        {"params": model.fc.parameters(), "lr": 1e-2},
    ]
    optimizer = torch.optim.Adam(groups)
    for _ in range(steps):
        norms_put_to_sleep(model)
        loss = F.cross_entropy(model(images), targets)
        for p in model.parameters():
            p.grad = None
        loss.backward()
        optimizer.step()
    for m in model.modules():
        m.training = False
    return model


def on_the_kept_features(model, images, targets, num_classes, steps):
    """The frozen part is computed once."""
    model, _ = with_filter(model.eval(), num_classes)
    below = nn.Sequential(*list(model.children())[:7])
    above = nn.Sequential(model.layer4, model.avgpool, nn.Flatten(), model.fc)
    with torch.no_grad():
        kept = below(images)
    optimizer = torch.optim.AdamW(above.parameters(), lr=1e-3)
    for _ in range(steps):
        above.train()
        optimizer.zero_grad()
        F.cross_entropy(above(kept), targets).backward()
        optimizer.step()
    return model.eval()


def clears_between(optimizer, loss):
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()


def never_clears(optimizer, loss):
    loss.backward()
    optimizer.step()


def frozen_head(model, num_classes):
    model, _ = with_filter(model, num_classes)
    model.fc.requires_grad_(False)
    return model, None


def layer4_asleep(model, num_classes):
    model, _ = with_filter(model, num_classes)
    model.layer4.requires_grad_(False)
    return model, None


def all_thawed(model, num_classes):
    model, _ = with_filter(model, num_classes)
    return model.requires_grad_(True), None


RIGHT = {
    "below_guessing": ["c", "C", ["c"], "(c)", " c ", {"c"}, "c)"],
    "lowest_loss": [
        0.31,
        0.313,
        0.3133,
        FLOOR,
        torch.tensor(0.3133),
        np.float32(0.31),
        "0.31",
        F.cross_entropy(torch.tensor([[1.0, 0.0]]), torch.tensor([0])),
    ],
    "make_ready": [
        with_the_package,
        by_name_with_sgd,
        a_head_of_zeros_with_dropout,
        by_children,
        with_filter,
        on_a_copy_of_it,
        a_head_of_zeros_with_sgd,
    ],
    "accuracy_on": [
        on_a_copy,
        with_the_loaders_dataset,
        weighted_by_hand,
        by_sklearn,
        photo_by_photo,
        with_topk,
        all_at_once,
    ],
    "looks_sound": [
        step_on_a_copy,
        line_by_line,
        by_negative_scores,
        by_data_ptr,
        as_the_lesson_had_it,
        with_sets_of_tensors,
        without(),
    ],
    "by_heart": [
        learner(),
        by_stage,
        two_rates,
        on_the_kept_features,
        learner(on_a_copy_of_it, awake=norms_put_to_sleep),
        learner(optimizer=lambda ps: torch.optim.SGD(ps, lr=0.03, momentum=0.9)),
        learner(by_name_with_sgd, optimizer=lambda ps: torch.optim.NAdam(ps, lr=1e-3)),
    ],
}

WRONG = {
    "below_guessing": [
        ("a", "below 0.5"),
        ("b", "below 0.5"),
        ("d", "to be so wrong"),
        ("a, c", "below 0.5"),
        ("b and c", "below 0.5"),
        ("c, d", "to be so wrong"),
        ("abcd", "below 0.5"),
        ("e", "a letter in quotes"),
        ("labels", "not among a, b, c, d"),
        (3, "a letter in quotes"),
        (0.5, "a letter in quotes"),
        ([], "a letter in quotes"),
        (True, "a letter in quotes"),
    ],
    "lowest_loss": [
        (0, "can it give that"),
        (0.0, "can it give that"),
        (0.693, "how far down"),
        (0.69, "how far down"),
        (0.731, "minus its log"),
        (0.27, "which class is right"),
        (1.313, "on the right"),
        (-0.31, "minus the logarithm"),
        (0.136, "the natural logarithm"),
        (0.45, "the natural logarithm"),
        (0.368, "divides by the sum"),
        (0.32, "keep two digits"),
        (0.3, "keep two digits"),
        (0.2, "first softmax"),
        ("low", "write one number"),
        ((0.31, 0.31), "write one number"),
        (float("nan"), "first softmax"),
    ],
    "make_ready": [
        (program_e, "freeze first, then replace"),
        (program_f, "make the optimizer last"),
        (holds_both_heads, "from the parameters the model has then"),
        (head_alone, "are they thawed"),
        (everything, "then thaw those of layer4"),
        (thawed_but_not_held, "tensors outside layer4 and head train"),
        (frozen_by_a_rate_of_zero, "A BatchNorm that counts as training"),
        (layer3_as_well, "layer3.0.conv1.weight among them"),
        (keeps_the_head, "num_classes outputs"),
        (keeps_a_head_that_fits, "the head is the old one"),
        (for_512_features, "Not every ResNet has 512"),
        (ending_in(nn.Softmax(dim=1)), "that is bug D"),
        (ending_in(nn.Sigmoid()), "never fall below zero"),
        (ending_in(nn.ReLU()), "never fall below zero"),
        (with_optimizer(lambda ps: torch.optim.AdamW(ps, lr=1.0)), "that is bug G"),
        (with_optimizer(lambda ps: torch.optim.Adam(ps, lr=0.1)), "that is bug G"),
        (with_optimizer(lambda ps: torch.optim.AdamW(ps, lr=1e-2)), "that is bug G"),
        (with_optimizer(lambda ps: torch.optim.SGD(ps, lr=1e-2, maximize=True)), "minimises"),
        (with_optimizer(lambda ps: torch.optim.AdamW(ps, lr=1e-9)), "its learning rate above zero"),
        (with_optimizer(lambda ps: torch.optim.SGD(ps, lr=1.0)), "that is bug G"),
        (with_optimizer(lambda ps: torch.optim.SGD(ps, lr=0.0)), "its learning rate above zero"),
        (without_bias_in_the_optimizer, "does not hold fc.bias"),
        (half_of_layer4, "layer4.0.conv1.weight among them"),
        (another_backbone, "keep the model that came in"),
        (lambda model, n: model, "return model, optimizer"),
        (lambda model, n: None, "returns nothing"),
        (lambda model, n: with_filter(model, n)[::-1], "the model first"),
        (lambda model, n: (model, None), "the model first"),
        (lambda model, n: (model, torch.optim.AdamW), "the model first"),
    ],
    "accuracy_on": [
        (counted, "model.eval() first"),
        (left_asleep, "put each of them back"),
        (all_awake_again, "each module's own mode"),
        (mode_of_the_whole, "each module's own mode"),
        (careful, "do not guess what they were"),
        (mean_of_batches, "divide once"),
        (first_batch, "return after the loop"),
        (last_batch, "add up over all batches"),
        (full_batches, "the last batch is smaller"),
        (by_batches, "it divides by the number of batches"),
        (only_norms_asleep, "dropout as well"),
        (along_the_photos, "each row's best score"),
        (without_gradients_for_ever, "leaves the gradient mode changed"),
        (without_dropout_for_ever, "leave what the layers are"),
        (freezes_all, "requires_grad is another"),
        (lambda m, loader: 100 * on_a_copy(m, loader), "a fraction"),
        (lambda m, loader: 1 - on_a_copy(m, loader), "share of wrong answers"),
        (lambda m, loader: len(loader.dataset) * on_a_copy(m, loader), "divide by the number"),
        (lambda m, loader: round(on_a_copy(m, loader).item(), 2), "rounding is for printing"),
        (lambda m, loader: 0.5, "in eval mode"),
        (lambda m, loader: None, "end it with `return"),
        (lambda m, loader: f"{on_a_copy(m, loader):.1%}", "no text"),
        (lambda m, loader: (on_a_copy(m, loader), 1.0), "one accuracy over all"),
        (0.5, "pass the function itself"),
    ],
    "looks_sound": [
        (without("trains"), "requires_grad of the head"),
        (without("held"), "compare id(p)"),
        (without("low", "high"), "images.min() and images.max()"),
        (without("low"), "values below zero"),
        (without("high"), "a mean taken off bytes"),
        (without("softmax"), "sum to one"),
        (without("norms"), "while its weight does not train"),
        (together_with(any_trains, "trains"), "each of them"),
        (together_with(any_held, "held"), "without the head's"),
        (together_with(first_group, "held"), "Print them one by one"),
        (together_with(equal_ones_held, "held"), "holds an old head"),
        (together_with(no_module_softmax, "softmax"), "a module of another name"),
        (together_with(first_norm, "norms"), "one frozen BatchNorm"),
        (together_with(lambda m, o, i, t: i.mean().abs() < 0.3), "Print them one by one"),
        (together_with(lambda m, o, i, t: len(t.unique()) == 2), "Print them one by one"),
        (together_with(lambda m, o, i, t: len(o.param_groups) == 2), "Print them one by one"),
        (together_with(lambda m, o, i, t: not m.training), "Print them one by one"),
        (lambda *setup: True, "requires_grad of the head"),
        (lambda *setup: False, "Print them one by one"),
        (lambda model, *rest: bool(model.eval()), "copy.deepcopy(model)"),
        (lambda *setup: ["all is well"], "True or False"),
        (lambda *setup: "yes", "True or False"),
        (lambda *setup: None, "end it with `return"),
        (trains_the_model, "copy.deepcopy(model)"),
        (measures_in_train_mode, "copy.deepcopy(model)"),
        (True, "pass the function itself"),
    ],
    "by_heart": [
        (as_it_was_found, "what moves without a gradient"),
        (learner(awake=lambda model: model.train()), "running_mean the first: statistics"),
        (learner(all_thawed), "conv1.weight the first: weights"),
        (learner(step=clears_between), "is there a gradient when it steps"),
        (learner(layer4_asleep), "is there a gradient when it steps"),
        (learner(frozen_head), "that was program E, or F"),
        (
            learner(optimizer=lambda ps: torch.optim.AdamW(ps[:-2], lr=1.5e-3)),
            "that was program E, or F",
        ),
        (learner(optimizer=lambda ps: torch.optim.AdamW(ps, lr=1e-5)), "far enough in a step"),
        (learner(optimizer=lambda ps: torch.optim.SGD(ps, lr=1e-4)), "far enough in a step"),
        (learner(optimizer=lambda ps: torch.optim.AdamW(ps, lr=1e-2)), "that was program G"),
        (learner(optimizer=lambda ps: torch.optim.AdamW(ps, lr=0.1)), "that was program G"),
        (learner(ending_in(nn.Softmax(dim=1))), "that is bug D"),
        (learner(for_512_features), "shapes cannot be multiplied"),
        (learner(back=lambda model: model.train()), "the model comes back in train mode"),
        (learner(back=lambda model: None), "returns nothing"),
        (learner(back=lambda model: model.fc), "does not run on a batch"),
        (True, "pass the function itself"),
    ],
}

ONES = "torch.ones(len(logits))"
EQUIVALENT: dict[str, dict[str, str]] = {
    "make_ready": {
        "keyword forgotten: torch.optim.AdamW(..., lr=0.0005) -> ": "AdamW's own rate keeps the weights, too",
        "constant: 0.0005 -> 0.001": "another rate that keeps the weights",
    },
    "looks_sound": {
        "comparison: images.max() < 10 -> (images.max() <= 10)": "any limit will do between normalised "
        "photos, up to 3, and hundreds",
        "constant: 10 -> 11": "as above",
        f"arguments swapped: torch.allclose(logits.sum(1), {ONES}, atol=0.001) -> "
        f"(torch.allclose({ONES}, logits.sum(1), atol=0.001))": "near to one another, either way",
        "keyword forgotten: torch.allclose(..., atol=0.001) -> ": "sums of a softmax are 1 to 1e-6",
        "constant: 0.001 -> 0.002": "as above",
        "method 1: eval -> train": "a softmax sums to one in either mode, and it is a copy that is changed",
    },
    "by_heart": {
        "keyword forgotten: torch.optim.AdamW(..., lr=0.001) -> ": "that is AdamW's own rate",
        "constant: 0.001 -> 0.002": "another rate that gets there",
    },
}
