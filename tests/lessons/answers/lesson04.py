"""Answers to the questions of lesson 04."""

from __future__ import annotations

import copy
import io
import itertools
from fractions import Fraction

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision.datasets import ImageFolder

import ftcourse as ft
from ftcourse.exercises import lesson04 as check


def begin_stage(model, groups, lr):
    """As the lesson gives it."""
    ft.freeze(model)
    ft.unfreeze(model, *groups)
    trains = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trains, lr=lr, weight_decay=0.0)


def score(row):
    """As the lesson gives it."""
    return row["accuracy"], -row["val_loss"]


# what the lesson goes on with until the reader's are right
train_one_epoch, evaluate = check.train_one_epoch.reference, check.evaluate.reference

NAMES = {
    "torch": torch, "F": F, "ft": ft, "nn": nn, "DataLoader": DataLoader, "ImageFolder": ImageFolder,
    "begin_stage": begin_stage, "score": score, "train_one_epoch": train_one_epoch, "evaluate": evaluate,
}  # fmt: skip

# ------------------------------------------------------------------------------------------ 4.1


def through_data(model, lr):
    for p in model.parameters():
        if p.requires_grad:
            p.data = p.data - lr * p.grad


@torch.no_grad()
def with_add(model, lr):
    for p in [p for p in model.parameters() if p.grad is not None]:
        p.add_(p.grad, alpha=-lr)


def with_the_optimizer(model, lr):
    torch.optim.SGD(model.parameters(), lr=lr).step()


def with_copy(model, lr):
    with torch.no_grad():
        for p in model.parameters():
            if p.grad is not None:
                p.copy_(p - lr * p.grad)
    return model


def by_name(model, lr):
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.grad is None:
                continue
            model.get_parameter(name).sub_(p.grad * lr)


def through_foreach(model, lr):
    held = [p for p in model.parameters() if p.grad is not None]
    with torch.inference_mode(False), torch.no_grad():
        torch._foreach_add_(held, [p.grad for p in held], alpha=-lr)


def update(change):
    """A wrong step: `change(p, lr)` on each parameter with a gradient, without autograd."""

    @torch.no_grad()
    def attempt(model, lr):
        for p in model.parameters():
            if p.grad is not None:
                change(p, lr)

    return attempt


def recorded(model, lr):
    for p in model.parameters():
        if p.grad is not None:
            p -= lr * p.grad


@torch.no_grad()
def frozen_as_well(model, lr):
    for p in model.parameters():
        p -= lr * p.grad


@torch.no_grad()
def frozen_decay(model, lr):
    for p in model.parameters():
        p -= lr * (p if p.grad is None else p.grad)


@torch.no_grad()
def a_new_name(model, lr):
    for p in model.parameters():
        if p.grad is not None:
            p = p - lr * p.grad


@torch.no_grad()
def head_alone(model, lr):
    for p in model[-2].parameters():
        if p.grad is not None:
            p -= lr * p.grad


@torch.no_grad()
def weights_alone(model, lr):
    for name, p in model.named_parameters():
        if p.grad is not None and "weight" in name:
            p -= lr * p.grad


def gradients_switched_off(model, lr):
    torch.set_grad_enabled(False)
    for p in model.parameters():
        if p.grad is not None:
            p -= lr * p.grad


# ------------------------------------------------------------------------------------------ 4.4


def loop(
    mode=ft.train_mode,
    zero=lambda model, optimizer: optimizer.zero_grad(),
    loss_of=F.cross_entropy,
    result=lambda losses, sizes, loader: (
        sum(a * n for a, n in zip(losses, sizes, strict=True)) / sum(sizes)
    ),
    batches=slice(None),
):
    """A loop of which one piece can be replaced by a wrong one."""

    def attempt(model, loader, optimizer):
        mode(model)
        losses, sizes = [], []
        for images, targets in list(loader)[batches]:
            zero(model, optimizer)
            loss = loss_of(model(images), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            sizes.append(len(targets))
        return result(losses, sizes, loader)

    return attempt


def by_the_data_set(losses, sizes, loader):
    """PyTorch's own idiom."""
    return sum(a * n for a, n in zip(losses, sizes, strict=True)) / len(loader.dataset)


def zero_at_the_end(model, loader, optimizer):
    ft.train_mode(model)
    loss_fn = nn.CrossEntropyLoss(reduction="sum")
    total, count = torch.zeros(()), 0
    optimizer.zero_grad()
    for images, targets in loader:
        loss = loss_fn(model(images), targets)
        (loss / len(targets)).backward()
        optimizer.step()
        model.zero_grad()
        total += loss.detach()
        count += len(images)
    return total / count


def with_the_package(model, loader, optimizer):
    return ft.train_one_epoch(model, loader, optimizer, F.cross_entropy)["loss"]


def in_numpy(losses, sizes, loader):
    return np.average(losses, weights=sizes)


def with_enumerate(model, loader, optimizer):
    ft.train_mode(model)
    criterion = nn.CrossEntropyLoss()
    running = 0.0
    for _i, batch in enumerate(loader):
        optimizer.zero_grad(set_to_none=False)
        x, y = batch
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        running += loss.detach() * x.size(0)
    return running / len(loader.dataset)


def by_hand_modes(model):
    model.train()
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d) and not m.weight.requires_grad:
            m.eval()


def never_steps(model, loader, optimizer):
    ft.train_mode(model)
    for images, targets in loader:
        F.cross_entropy(model(images), targets).backward()
        optimizer.zero_grad()
        optimizer.step()
    return 1.0


def returns_early(model, loader, optimizer):
    ft.train_mode(model)
    for images, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), targets)
        loss.backward()
        optimizer.step()
        return loss.item()


def keeps_graphs(model, loader, optimizer):
    ft.train_mode(model)
    total, count = 0, 0
    for images, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), targets)
        loss.backward()
        optimizer.step()
        total, count = total + loss * len(targets), count + len(targets)
    return total / count


def one_step_at_the_end(model, loader, optimizer):
    ft.train_mode(model)
    optimizer.zero_grad()
    total = count = 0
    for images, targets in loader:
        loss = F.cross_entropy(model(images), targets)
        loss.backward()
        total, count = total + loss.item() * len(targets), count + len(targets)
    optimizer.step()
    return total / count


def softmax_first(logits, targets):
    return F.cross_entropy(logits.softmax(1), targets)


# ------------------------------------------------------------------------------------------ 4.6


@torch.inference_mode()
def decorated(model, loader):
    model.eval()
    total = count = right = 0
    for x, y in loader:
        out = model(x)
        total += F.cross_entropy(out, y, reduction="sum")
        right += (out.argmax(dim=1) == y).sum()
        count += len(y)
    return total / count, right / count


@torch.no_grad()
def all_at_once(model, loader):
    was = model.training
    logits, targets = zip(*[(model.eval()(x), y) for x, y in loader], strict=True)
    logits, targets = torch.cat(logits), torch.cat(targets)
    model.train(was)
    return [F.cross_entropy(logits, targets), (logits.argmax(1) == targets).float().mean()]


def by_set_grad(model, loader):
    model.train(False)
    losses, hits = [], []
    with torch.set_grad_enabled(False):
        for x, y in loader:
            out = model(x)
            losses += F.cross_entropy(out, y, reduction="none").tolist()
            hits += out.max(1).indices.eq(y).tolist()
    return np.mean(losses), np.mean(hits)


def by_the_package(model, loader):
    found = ft.evaluate(model, loader.dataset, batch_size=loader.batch_size)
    return found["loss"], found["accuracy"]


def by_topk(model, loader):
    for m in model.modules():
        m.training = False
    loss_fn, total, hits = nn.CrossEntropyLoss(), 0.0, 0
    with torch.inference_mode():
        for batch in loader:
            logits = model(batch[0])
            total += loss_fn(logits, batch[1]).item() * batch[0].shape[0]
            hits += int((logits.topk(1).indices[:, 0] == batch[1]).sum())
    return total / len(loader.dataset), hits / len(loader.dataset)


def measure(mode=nn.Module.eval, graph=False, result=None, step=None):
    """A measurement of which one piece can be replaced by a wrong one."""

    def attempt(model, loader):
        mode(model)
        rows = []
        with torch.set_grad_enabled(graph):
            for x, y in loader:
                out = model(x)
                rows.append(
                    (F.cross_entropy(out, y).item(), (out.argmax(1) == y).sum().item(), len(y))
                )
        if step is not None:
            step(model)
        losses, hits, sizes = zip(*rows, strict=True)
        n = sum(sizes)
        loss = sum(a * b for a, b in zip(losses, sizes, strict=True)) / n
        if result is None:
            return loss, sum(hits) / n
        return result(loss, sum(hits) / n, losses, hits, sizes)

    return attempt


@torch.no_grad()
def shrinks(model):
    for p in model.parameters():
        p *= 0.9


# ------------------------------------------------------------------------------------------ 4.7


def with_best_so_far(model, train_loader, val_loader, stages):
    rows, best, best_score = [], None, (-1.0, 0.0)
    for groups, epochs, lr in stages:
        optimizer = begin_stage(model, groups, lr)
        for _ in range(epochs):
            train_loader.generator.manual_seed(len(rows))
            row = {"train_loss": train_one_epoch(model, train_loader, optimizer)}
            row["val_loss"], row["accuracy"] = evaluate(model, val_loader)
            rows.append(row)
            if score(row) > best_score:
                best_score, best = score(row), copy.deepcopy(model.state_dict())
    model.load_state_dict(best)
    return rows


def with_all_states(model, train_loader, val_loader, stages):
    """Costs memory, and is right."""
    rows, states = [], []
    number = itertools.count()
    for groups, epochs, lr in stages:
        optimizer = begin_stage(model, groups, lr)
        for epoch in itertools.islice(number, epochs):
            train_loader.generator.manual_seed(epoch)
            loss = train_one_epoch(model, train_loader, optimizer)
            val_loss, accuracy = evaluate(model, val_loader)
            rows.append(dict(train_loss=loss, val_loss=val_loss, accuracy=accuracy, epoch=epoch))
            states.append({k: v.detach().clone() for k, v in model.state_dict().items()})
    _, i = max((score(row), -i) for i, row in enumerate(rows))
    model.load_state_dict(states[-i])
    return tuple(rows)


def as_a_generator(model, train_loader, val_loader, stages):
    best = {}

    def epochs():
        done = 0
        for groups, count, lr in stages:
            optimizer = begin_stage(model, groups, lr)
            for _ in range(count):
                train_loader.generator.manual_seed(done)
                done += 1
                loss = train_one_epoch(model, train_loader, optimizer)
                yield dict(
                    zip(("val_loss", "accuracy"), evaluate(model, val_loader), strict=True),
                    train_loss=loss,
                )

    rows = []
    for row in epochs():
        rows.append(row)
        if not best or score(row) > score(best["row"]):
            best = {"row": row, "weights": copy.deepcopy(model).state_dict()}
    model.load_state_dict(best["weights"])
    return rows


def without_begin_stage(model, train_loader, val_loader, stages):
    rows = []
    for groups, epochs, lr in stages:
        model.requires_grad_(False)
        ft.unfreeze(model, *groups)
        optimizer = torch.optim.AdamW(
            filter(lambda p: p.requires_grad, model.parameters()), lr=lr, weight_decay=0
        )
        for _ in range(epochs):
            train_loader.generator.manual_seed(len(rows))
            train_loss = train_one_epoch(model, train_loader, optimizer)
            val_loss, accuracy = evaluate(model, val_loader)
            rows += [{"train_loss": train_loss, "val_loss": val_loss, "accuracy": accuracy}]
            if all(score(rows[-1]) > score(row) for row in rows[:-1]):
                best = [value.clone() for value in model.state_dict().values()]
    with torch.no_grad():
        for value, old in zip(model.state_dict().values(), best, strict=True):
            value.copy_(old)
    return rows


def through_a_buffer(model, train_loader, val_loader, stages):
    rows, file = [], io.BytesIO()
    for groups, epochs, lr in stages:
        optimizer = begin_stage(model, groups, lr)
        for _ in range(epochs):
            train_loader.generator.manual_seed(len(rows))
            train_loss = train_one_epoch(model, train_loader, optimizer)
            val_loss, accuracy = evaluate(model, val_loader)
            rows.append({"train_loss": train_loss, "val_loss": val_loss, "accuracy": accuracy})
            if score(rows[-1]) == max(map(score, rows)):
                file.seek(0)
                torch.save(model.state_dict(), file)
    file.seek(0)
    model.load_state_dict(torch.load(file, weights_only=True))
    return rows


def flat(model, train_loader, val_loader, stages):
    plan = [(groups, lr, i == 0) for groups, epochs, lr in stages for i in range(epochs)]
    rows, best = [], None
    for epoch, (groups, lr, first) in enumerate(plan):
        if first:
            optimizer = begin_stage(model, groups, lr)
        train_loader.generator = train_loader.generator.manual_seed(epoch)
        train_loss = train_one_epoch(model, train_loader, optimizer)
        val_loss, accuracy = evaluate(model, val_loader)
        rows.append({"train_loss": train_loss, "val_loss": val_loss, "accuracy": accuracy})
        if best is None or score(rows[-1]) > score(rows[best[0]]):
            best = epoch, {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(best[1])
    return rows


def fitting(
    seed=lambda done, inside: done,
    clone=lambda model: copy.deepcopy(model.state_dict()),
    by=score,
    load=True,
    begin=begin_stage,
    each_stage=False,
    forget=False,
    rows_of=lambda rows: rows,
    early=False,
    again=False,
):
    """A loop of which one piece can be replaced by a wrong one."""

    def attempt(model, train_loader, val_loader, stages):
        rows, best, top = [], None, None
        for groups, epochs, lr in stages:
            optimizer = begin(model, groups, lr)
            if forget:
                top = None
            for inside in range(epochs):
                if again:
                    optimizer = begin(model, groups, lr)
                number = seed(len(rows), inside)
                if number is not None:
                    train_loader.generator.manual_seed(number)
                measured = evaluate(model, val_loader)
                loss = train_one_epoch(model, train_loader, optimizer)
                if not early:
                    measured = evaluate(model, val_loader)
                rows.append({"train_loss": loss, "val_loss": measured[0], "accuracy": measured[1]})
                if top is None or by(rows[-1]) > top:
                    top, best = by(rows[-1]), clone(model)
            if each_stage:
                model.load_state_dict(best)
        if load:
            model.load_state_dict(best)
        return rows_of(rows)

    return attempt


def all_layers(model, groups, lr):
    return torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)


# ------------------------------------------------------------------------------------------ 4.8


def best_on_validation(folder, model, transform, file):
    """Two groups, the best on validation."""
    train, val = (ImageFolder(folder / split, transform) for split in ("train", "val"))
    model.fc = nn.Linear(model.fc.in_features, len(train.classes))
    optimizer = torch.optim.AdamW([*model.layer4.parameters(), *model.fc.parameters()], lr=1e-3)
    top = -1.0
    for _ in range(4):
        model.requires_grad_(False).eval()
        for part in (model.layer4, model.fc):
            part.requires_grad_(True).train()
        for images, targets in DataLoader(train, batch_size=14, shuffle=True):
            loss = F.cross_entropy(model(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        _, accuracy = evaluate(model, DataLoader(val, batch_size=18))
        if accuracy > top:
            top = accuracy
            torch.save(model.state_dict(), file)
    model.load_state_dict(torch.load(file, weights_only=True))
    return model.eval()


def features_once(folder, model, transform, file):
    data = ImageFolder(folder / "train", transform)
    head, model.fc = nn.Linear(512, len(data.classes)), nn.Identity()
    model.eval()
    with torch.no_grad():
        features = torch.cat([model(x) for x, _ in DataLoader(data, batch_size=21)])
    targets = torch.tensor(data.targets)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9)
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(head(features), targets).backward()
        optimizer.step()
    model.fc = head
    torch.save({"model": model.state_dict(), "classes": data.classes}, str(file))
    return model


def with_the_loop(folder, model, transform, file):
    """What the lesson's own functions make of it."""
    train, val = (ImageFolder(folder / split, transform) for split in ("train", "val"))
    model.fc = nn.Linear(model.fc.in_features, len(train.classes))
    loader = DataLoader(train, batch_size=16, shuffle=True, generator=torch.Generator())
    check.fit.reference(model, loader, DataLoader(val, batch_size=18), [(["head"], 5, 1e-2)])
    model.eval()
    torch.save(model.state_dict(), file)
    return model


def with_a_larger_head(folder, model, transform, file):
    train = datasets.ImageFolder(str(folder / "train"), transform=transform)
    for p in model.parameters():
        p.requires_grad = False
    model.fc = nn.Sequential(nn.Dropout(0.2), nn.Linear(512, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(model.fc.parameters(), lr=0.01)
    for _ in range(8):
        model.eval()
        model.fc.train()
        for x, y in DataLoader(train, batch_size=14, shuffle=True):
            loss = nn.CrossEntropyLoss()(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    torch.save(model.state_dict(), file)
    return model


def last_block(folder, model, transform, file):
    train = ImageFolder(folder / "train", transform)
    ft.replace_head(model, len(train.classes))
    ft.freeze(model)
    ft.unfreeze(model, "layer4", "head")
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    loader = DataLoader(train, batch_size=16, shuffle=True)
    for _ in range(4):
        train_one_epoch(model, loader, optimizer)
    torch.save({"epoch": 4, "state_dict": model.eval().state_dict()}, file)
    return model


def tuned(
    outputs=lambda train, model: len(train.classes),
    targets_of=lambda y: y,
    step=True,
    mode=True,
    save=lambda model, file: torch.save(model.state_dict(), file),
    after=None,
    result=lambda model: model,
):
    """A program of which one piece can be replaced by a wrong one; the features are computed once."""

    def attempt(folder, model, transform, file):
        train = ImageFolder(folder / "train", transform)
        body = nn.Sequential(*list(model.children())[:-1], nn.Flatten()).eval()
        with torch.no_grad():
            features = torch.cat([body(x) for x, _ in DataLoader(train, batch_size=21)])
        targets = targets_of(torch.tensor(train.targets))
        model.fc = nn.Linear(512, outputs(train, model))
        optimizer = torch.optim.AdamW(model.fc.parameters(), lr=0.01)
        for _ in range(60 if step else 0):
            optimizer.zero_grad()
            F.cross_entropy(model.fc(features), targets).backward()
            optimizer.step()
        model.train(not mode)
        save(model, file)
        if after is not None:
            after(model)
        return result(model)

    return attempt


def forgets_the_head(folder, model, transform, file):
    train = ImageFolder(folder / "train", transform)
    optimizer = torch.optim.AdamW(model.fc.parameters(), lr=0.01)
    model.eval()
    for x, y in DataLoader(train, batch_size=21, shuffle=True):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    torch.save(model.state_dict(), file)
    return model


def biased(model):
    with torch.no_grad():
        model.fc.bias[1] += 1000


RIGHT = {
    "sgd_step": [
        through_data,
        with_add,
        with_the_optimizer,
        with_copy,
        by_name,
        through_foreach,
    ],
    "order": ["a, b, d", "ABD", ["d", "b", "a"], {"a", "b", "d"}, "a, b and d", "a b d"],
    "true_accuracy": [
        34 / 40,
        0.85,
        torch.tensor(0.85),
        30 / 40 + 4 / 40,
        "34/40",
        "85 %",
        Fraction(17, 20),
        np.float32(0.85),
    ],
    "train_one_epoch": [
        loop(),
        zero_at_the_end,
        with_the_package,
        loop(result=by_the_data_set),
        loop(result=in_numpy),
        with_enumerate,
        loop(mode=by_hand_modes, zero=lambda model, optimizer: model.zero_grad()),
    ],
    "honest_number": ["c", "C", "c)", ["c"], {"c"}, " c "],
    "evaluate": [decorated, all_at_once, by_set_grad, by_the_package, by_topk, measure()],
    "fit": [
        with_best_so_far,
        with_all_states,
        as_a_generator,
        without_begin_stage,
        through_a_buffer,
        flat,
        fitting(),
    ],
    "fine_tune_folder": [
        best_on_validation,
        features_once,
        with_the_loop,
        with_a_larger_head,
        last_block,
        tuned(),
    ],
}

WRONG = {
    "sgd_step": [
        (recorded, "with torch.no_grad()"),
        (frozen_as_well, "skip the parameters"),
        (frozen_decay, "no gradient, no step"),
        (a_new_name, "change the tensor itself"),
        (update(lambda p, lr: p.add_(lr * p.grad)), "minus"),
        (update(lambda p, lr: p.sub_(p.grad)), "lr times the gradient"),
        (update(lambda p, lr: p.sub_(lr * p.grad.sign())), "one line a parameter"),
        (update(lambda p, lr: p.sub_(lr * p.grad.abs())), "one line a parameter"),
        (update(lambda p, lr: p.sub_(0.1 * p.grad)), "one line a parameter"),
        (update(lambda p, lr: p.sub_(lr * p.grad).sub_(lr * p.grad)), "one line a parameter"),
        (update(lambda p, lr: p.sub_(p.grad.mul_(lr))), "leave p.grad"),
        (update(lambda p, lr: p.sub_(lr * p.grad) and None), "Boolean"),
        (head_alone, "loop over all"),
        (weights_alone, "loop over all"),
        (gradients_switched_off, "put back what you switch"),
        (lambda model, lr: model.step(lr), "one line a parameter"),
        (lambda model: None, "TypeError"),
    ],
    "order": [
        ("c", "when step() is called"),
        ("a, b, d, e", "Who takes away"),
        ("e", "Who takes away"),
        ("a, b, c, d, e", "when step() is called"),
        ("a, b", "1 more is true"),
        ("a", "2 more are true"),
        ("d", "2 more are true"),
        ("f", "a letter in quotes"),
        ("all", "a letter in quotes"),
        (3, "a letter in quotes"),
        ([], "a letter in quotes"),
    ],
    "true_accuracy": [
        ((30 / 32 + 4 / 8) / 2, "count photos"),
        (0.72, "count photos"),
        (34, "divide by all"),
        (85, "a fraction"),
        (30 / 32, "last 8 photos"),
        (0.5, "first 32 photos"),
        (6 / 40, "right ones"),
        (0.8, "forget the batches"),
        (0.86, "forget the batches"),
        (-0.85, "forget the batches"),
        ("most", "write one number"),
        ((0.94, 0.5), "write one number"),
    ],
    "train_one_epoch": [
        (loop(mode=lambda model: model.train()), "ft.train_mode(model)"),
        (loop(mode=lambda model: None), "come in eval mode"),
        (loop(mode=lambda model: model.eval()), "come in eval mode"),
        (loop(zero=lambda model, optimizer: None), "optimizer.zero_grad()"),
        (loop(batches=slice(1)), "inside the loop"),
        (loop(batches=slice(2)), "nothing else changes weights"),
        (
            loop(loss_of=lambda a, b: F.cross_entropy(a, b) * len(b)),
            "nothing else changes weights",
        ),
        (loop(loss_of=softmax_first), "takes the logits"),
        (loop(result=lambda losses, sizes, _: sum(losses) / len(losses)), "loss.item() * len(t"),
        (loop(result=lambda losses, sizes, _: sum(losses)), "divide by the number of photos"),
        (loop(result=lambda losses, sizes, _: sum(losses) / sum(sizes)), "times len(targets)"),
        (loop(result=lambda losses, sizes, _: losses[-1]), "add up over the epoch"),
        (loop(result=lambda losses, sizes, _: None), "return the mean loss"),
        (loop(result=lambda losses, sizes, _: losses), "return one number"),
        (loop(result=lambda losses, sizes, _: 3.0), "divided by the sum"),
        (loop(result=lambda losses, sizes, _: losses[0]), "divided by the sum"),
        (never_steps, "in this order"),
        (returns_early, "inside the loop"),
        (keeps_graphs, "a plain number"),
        (one_step_at_the_end, "one step of the optimizer for each batch"),
        (lambda model, loader, optimizer: 0.5, "in this order"),
        (lambda model, loader: 0.5, "before the loop the mode"),
    ],
    "honest_number": [
        ("a", "no say"),
        ("b", "without looking"),
        ("d", "the one network"),
        ("e", "a letter"),
        ("a, c", "no say"),
        ("b and c", "without looking"),
        ("abcd", "no say"),
        (0.84, "a letter"),
        ("0.84", "a letter"),
        (2, "a letter"),
    ],
    "evaluate": [
        (measure(mode=lambda model: None), "switch that first"),
        (measure(mode=lambda model: model.train()), "switch that first"),
        (measure(graph=True), "torch.no_grad"),
        (measure(step=shrinks), "measuring is no training"),
        (measure(result=lambda loss, share, *_: (share, loss)), "first the loss"),
        (
            measure(result=lambda loss, share, a, h, n: (np.mean(a), share)),
            "weight each batch's mean",
        ),
        (measure(result=lambda loss, share, a, h, n: (sum(a), share)), "weight each with its size"),
        (measure(result=lambda loss, share, a, h, n: (sum(a) / sum(n), share)), "is a sum"),
        (measure(result=lambda loss, share, a, h, n: (loss * sum(n), share)), "divide by how many"),
        (measure(result=lambda loss, share, a, h, n: (a[-1], share)), "add up over all batches"),
        (
            measure(result=lambda loss, share, a, h, n: (loss, np.mean(np.divide(h, n)))),
            "count photos",
        ),
        (measure(result=lambda loss, share, a, h, n: (loss, sum(h))), "divide by the number"),
        (measure(result=lambda loss, share, *_: (loss, 100 * share)), "a fraction"),
        (measure(result=lambda loss, share, *_: (loss, 1 - share)), "argmax and target agree"),
        (measure(result=lambda loss, share, a, h, n: (loss, h[-1] / n[-1])), "add up over all"),
        (measure(result=lambda loss, share, *_: (loss, 0.5)), "two lines before the loop"),
        (measure(result=lambda loss, share, *_: (0.5, share)), "two lines before the loop"),
        (measure(result=lambda loss, share, *_: loss), "return loss, accuracy"),
        (measure(result=lambda *_: None), "end it with `return ...`"),
        (measure(result=lambda loss, share, *_: {"loss": loss}), "return loss, accuracy"),
        (lambda model: (0.5, 0.5), "two lines before the loop"),
    ],
    "fit": [
        (fitting(load=False), "after all stages load_state_dict"),
        (fitting(clone=lambda model: model.state_dict()), "after all stages load_state_dict"),
        (fitting(by=lambda row: -row["val_loss"]), "by `score`"),
        (fitting(by=lambda row: row["accuracy"]), "by `score`"),
        (fitting(by=lambda row: -row["train_loss"]), "was better on validation"),
        (fitting(by=lambda row: [-v for v in score(row)]), "by `score`"),
        (fitting(forget=True), "by `score`"),
        (fitting(seed=lambda *_: None), "with the epochs so far"),
        (fitting(seed=lambda done, inside: inside), "count the epochs of all stages"),
        (fitting(seed=lambda *_: 0), "An epoch: the seed"),
        (fitting(begin=all_layers), "An epoch: the seed"),
        (fitting(again=True), "An epoch: the seed"),
        (fitting(early=True), "An epoch: the seed"),
        (fitting(each_stage=True), "load the best once"),
        (fitting(rows_of=lambda rows: rows[-3:]), "a row after each epoch"),
        (fitting(rows_of=lambda rows: [list(r.values()) for r in rows]), "a row is a dict"),
        (
            fitting(rows_of=lambda rows: [{"val_loss": r["val_loss"]} for r in rows]),
            "train_loss, val_loss, accuracy",
        ),
        (fitting(rows_of=lambda rows: None), "end it with `return ...`"),
        (fitting(rows_of=lambda rows: rows[-1]), "return the list of rows"),
        (fitting(clone=lambda model: {}), "two loops"),
        (lambda model, train_loader, val_loader, stages: [], "a row after each epoch"),
        (lambda model: [], "two loops"),
    ],
    "fine_tune_folder": [
        (
            tuned(outputs=lambda *_: 2, targets_of=lambda y: y.clamp(max=1)),
            "one output for each class",
        ),
        (tuned(outputs=lambda *_: 1000), "one output for each class"),
        (forgets_the_head, "one output for each class"),
        (tuned(step=False), "does the loss fall"),
        (tuned(targets_of=lambda y: (y + 1) % 3), "does the loss fall"),
        (tuned(after=lambda model: nn.init.normal_(model.conv1.weight)), "does the loss fall"),
        (tuned(after=biased), "it gives one class to all"),
        (tuned(mode=False), "eval mode, before you return it"),
        (tuned(after=lambda model: model.layer4.train()), "eval mode, before you return it"),
        (tuned(save=lambda model, file: None), "torch.save(what, where)"),
        (tuned(save=torch.save), "no model object"),
        (tuned(save=lambda model, file: torch.save(list(model.parameters()), file)), "as a whole"),
        (tuned(save=lambda m, f: torch.save(dict(m.named_parameters()), f)), "as a whole"),
        (
            tuned(save=lambda m, f: torch.save(ft.load_backbone("resnet18").state_dict(), f)),
            "save what you return",
        ),
        (tuned(after=lambda m: m.fc.weight.data.mul_(1.1)), "the very weights that you return"),
        (tuned(save=lambda model, file: file.write_bytes(b"weights")), "no model object"),
        (tuned(result=lambda model: None), "return model"),
        (tuned(result=lambda model: model.state_dict()), "return the model"),
        (lambda folder, model, transform, file: model, "one output for each class"),
        (lambda folder, model: model, "in this order"),
    ],
}

EQUIVALENT: dict[str, dict[str, str]] = {}

# judged by the model it leaves: whatever still trains one is right, so that a small change is no mistake
BY_OUTCOME = ("fine_tune_folder",)
