"""Programs of other styles than ours, as strangers write them: none is blamed for its style, none is changed."""

from __future__ import annotations

import copy
import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import ftcourse as ft
from tests.conftest import BlobData, Blobs, tiny_resnet

CLASSES = ("dark", "bright")


def blobs() -> BlobData:
    return BlobData(Blobs(64, 1), Blobs(40, 2), Blobs(8, 3))


def told(model, optimizer, train, data=None, **more) -> set[str]:
    found = ft.preflight(model, data, optimizer=optimizer, train=train, **more)
    return {f.name for f in found}


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=1e-3)


def step(model, optimizer, x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


# -- sound ---------------------------------------------------------------------------------------


def test_an_iterator_that_ends_early_by_our_doing_is_no_fault_of_the_function(tiny):
    optimizer, loader = sgd(tiny), DataLoader(Blobs(64, 1), 4, shuffle=True)

    def by_next(model):
        model.train()
        batches = iter(loader)
        for _ in range(len(loader)):
            step(model, optimizer, *next(batches))

    def last_batch(model):
        model.train()
        for i, (x, y) in enumerate(loader):
            loss = step(model, optimizer, x, y)
            if i == len(loader) - 1:
                last = loss
        return last

    for train in (by_next, last_batch):
        assert told(tiny, optimizer, train, blobs()) == set()


def test_an_error_before_that_is_still_told(tiny):
    optimizer = sgd(tiny)

    def train(model):
        for x, y in DataLoader(Blobs(64, 1), 4, shuffle=True):
            step(model, optimizer, x, y)
            raise KeyError("mine")

    assert told(tiny, optimizer, train) == {"stops with an error"}


def test_mixup_with_a_loss_of_two_terms(tiny):
    optimizer = sgd(tiny)

    def train(model):
        model.train()
        for x, y in DataLoader(Blobs(64, 1), 16, shuffle=True):
            order, share = torch.randperm(len(x)), 0.4
            out = model(share * x + (1 - share) * x[order])
            loss = share * F.cross_entropy(out, y) + (1 - share) * F.cross_entropy(out, y[order])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    assert told(tiny, optimizer, train, blobs()) == set()


def test_an_optimizer_that_takes_a_closure(tiny):
    optimizer = torch.optim.LBFGS(tiny.parameters(), lr=1e-3, max_iter=2)

    def train(model):
        model.train()
        for x, y in DataLoader(Blobs(64, 1), 16, shuffle=True):

            def closure(x=x, y=y):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                return loss

            optimizer.step(closure)

    for function in (None, train):
        assert told(tiny, optimizer, function, blobs()) == set()


class Twice(torch.optim.Optimizer):
    """In the manner of SAM: it wraps another, and is never asked for a plain step."""

    def __init__(self, params, base):
        super().__init__(params, {"lr": 1e-3})
        self.base = base

    def second(self):
        self.base.step()

    def step(self, closure=None):
        raise NotImplementedError("first, then second")


def test_an_optimizer_that_wraps_another(tiny):
    optimizer = Twice(tiny.parameters(), sgd(tiny))

    def train(model):
        model.train()
        for x, y in DataLoader(Blobs(64, 1), 16, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.second()

    assert told(tiny, optimizer, train, blobs()) == set()


@pytest.mark.parametrize("classes", [("thing",), CLASSES])
def test_one_output_with_a_binary_cross_entropy(classes):
    model, data = tiny_resnet(1), blobs()
    data.classes = classes
    if len(classes) == 1:
        for split in (data.train, data.val, data.test):
            split.targets = [0] * len(split)
    optimizer = sgd(model)

    def train(model):
        model.train()
        for x, y in DataLoader(data.train, 16, shuffle=True):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(model(x).squeeze(1), y.float()).backward()
            optimizer.step()

    assert told(model, optimizer, train, data) == set()


def test_two_optimizers(tiny):
    head = torch.optim.SGD(tiny.fc.parameters(), lr=1e-3)
    body = torch.optim.SGD([p for n, p in tiny.named_parameters() if "fc" not in n], lr=1e-4)

    def train(model):
        model.train()
        for x, y in DataLoader(Blobs(64, 1), 16, shuffle=True):
            body.zero_grad()
            step(model, head, x, y)
            body.step()

    def half(model):
        model.train()
        for x, y in DataLoader(Blobs(64, 1), 16, shuffle=True):
            step(model, head, x, y)

    assert told(tiny, head, train, blobs()) == set()
    assert told(tiny, head, half, blobs()) == {"parameters missing from the optimizer"}


class Stream(IterableDataset):
    def __iter__(self):
        yield from Blobs(64, 1)


class Dicts(Blobs):
    def __getitem__(self, i):
        x, y = super().__getitem__(i)
        return {"pixel_values": x, "labels": y}


@pytest.mark.parametrize("split", [Stream(), Dicts(64, 1)], ids=["a stream", "dicts"])
def test_data_that_cannot_be_looked_into_is_left_out(tiny, split):
    data = SimpleNamespace(train=split, val=split, classes=CLASSES)
    assert ft.preflight(tiny, data, optimizer=sgd(tiny)) == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (SimpleNamespace(train=[], val=[]), "a SimpleNamespace has no classes;"),
        (Blobs(4, 1), "a Blobs has no train and no val"),
        ({"train": 1}, "a dict has no train and no val and no classes"),
    ],
)
def test_data_of_another_form_is_refused_in_one_sentence(tiny, data, said):
    with pytest.raises(ValueError, match=f"preflight: {said}.* or leave it out"):
        ft.preflight(tiny, data)


# -- mistakes ------------------------------------------------------------------------------------


def test_labels_from_one_with_an_output_too_many():
    x, y = torch.rand(60, 3, 32, 32), torch.arange(60) % 3 + 1
    data = SimpleNamespace(train=TensorDataset(x, y), val=TensorDataset(x + 1, y), classes="abc")
    model = tiny_resnet(4)
    names = {f.name for f in ft.preflight(model, data, optimizer=sgd(model))}
    assert {"label out of range", "wrong number of classes"} <= names


def test_gradients_that_are_cleared_in_each_batch_of_an_accumulated_step(tiny):
    optimizer = sgd(tiny)

    def train(model):
        model.train()
        for i, (x, y) in enumerate(DataLoader(Blobs(64, 1), 4, shuffle=True)):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            if i % 4 == 3:
                optimizer.step()

    (found,) = ft.preflight(tiny, optimizer=optimizer, train=train)
    assert (
        found.name == "gradients cleared before the step" and "only the last counts" in found.what
    )


def test_batches_that_are_dicts_in_the_order_of_the_classes(tiny):
    split, optimizer = Dicts(64, 1), sgd(tiny)
    split.targets = sorted(split.targets)

    def train(model):
        model.train()
        for batch in DataLoader(split, 16):
            step(model, optimizer, batch["pixel_values"], batch["labels"])

    assert told(tiny, optimizer, train) == {"batches sorted by class"}


# -- what the function keeps ---------------------------------------------------------------------

steps_made = 0


def test_counters_logs_averages_and_the_best_so_far_are_put_back(tiny):
    optimizer, data, number = sgd(tiny), blobs(), 0
    log: list[float] = []
    rebound = {n: p.detach().clone() for n, p in tiny.named_parameters()}
    best = {"accuracy": 0.0, "weights": None}

    class Kept:
        def __init__(self):
            self.steps = 0
            self.average = {n: p.detach().clone() for n, p in tiny.named_parameters()}
            self.queue = torch.zeros(8, 3)

    own = Kept()

    def train(model):
        global steps_made
        nonlocal number
        model.train()
        for x, y in DataLoader(data.train, 4, shuffle=True):
            log.append(step(model, optimizer, x, y))
            number, steps_made, own.steps = number + 1, steps_made + 1, own.steps + 1
            own.queue[number % 8] = float(number)
            for n, p in model.named_parameters():
                rebound[n] = 0.9 * rebound[n] + 0.1 * p.detach()
                own.average[n].lerp_(p.detach(), 0.1)

    def evaluate(model):
        model.eval()
        with torch.no_grad():
            hits = [(model(x).argmax(1) == y).float().sum() for x, y in DataLoader(data.val, 20)]
        accuracy = sum(hits).item() / len(data.val)
        if accuracy >= best["accuracy"]:
            best.update(accuracy=accuracy, weights=copy.deepcopy(model.state_dict()))
        return accuracy

    before = {n: p.detach().clone() for n, p in tiny.named_parameters()}
    ft.preflight(tiny, data, optimizer=optimizer, train=train, evaluate=evaluate)
    assert (number, steps_made, own.steps, log) == (0, 0, 0, [])
    assert best == {"accuracy": 0.0, "weights": None} and not own.queue.any()
    for average in (rebound, own.average):
        assert all(torch.equal(average[n], before[n]) for n in before)


def test_what_a_library_keeps_in_its_modules_is_left_alone(tiny):
    """A function of a library that is called by name is not looked through for names to put back."""
    optimizer = sgd(tiny)
    known = dict(vars(math))

    def train(model):
        model.train()
        for x, y in DataLoader(Blobs(64, 1), 4, shuffle=True):
            step(model, optimizer, x, y)
            math.noted = len(x)

    ft.preflight(tiny, optimizer=optimizer, train=train)
    assert vars(math).pop("noted") == 4 and dict(vars(math)) == known
