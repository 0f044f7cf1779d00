"""Preflight runs the learner's functions and leaves no trace: weights, schedule, averages, random numbers."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, SequentialLR, StepLR
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

import ftcourse as ft
from tests.conftest import Blobs


def state(*objects):
    return [{k: str(v) for k, v in o.state_dict().items()} for o in objects]


def two(optimizer):
    return SequentialLR(optimizer, [StepLR(optimizer, 2), CosineAnnealingLR(optimizer, 9)], [3])


@pytest.mark.parametrize(
    "make", [lambda o: CosineAnnealingLR(o, 50), lambda o: OneCycleLR(o, 0.1, total_steps=50), two]
)
def test_a_schedule_that_is_stepped_is_put_back_with_the_rates(tiny, make):
    optimizer = torch.optim.SGD(tiny.parameters(), lr=0.01, momentum=0.9)
    scheduler = make(optimizer)
    before, rates = state(scheduler, optimizer), [g["lr"] for g in optimizer.param_groups]

    def train(model):
        model.train()
        for x, y in DataLoader(Blobs(40, 1), 4, shuffle=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            scheduler.step()

    ft.preflight(tiny, optimizer=optimizer, train=train, epochs=5)
    assert state(scheduler, optimizer) == before
    assert [g["lr"] for g in optimizer.param_groups] == rates
    assert "step" not in vars(scheduler)


def test_what_the_function_holds_is_put_back_too(tiny):
    optimizer, average = torch.optim.SGD(tiny.parameters(), lr=0.01), AveragedModel(tiny)
    scaler, own = torch.amp.GradScaler("cpu"), np.random.default_rng(3)
    loader = DataLoader(Blobs(40, 1), 4, shuffle=True, generator=torch.Generator().manual_seed(5))
    others = {"aux": torch.optim.SGD(average.parameters(), lr=0.1, momentum=0.9)}

    def train(model):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            scaler.scale(nn.functional.cross_entropy(model(x + own.normal()), y)).backward()
            scaler.step(optimizer)
            scaler.update()
            average.update_parameters(model)
            others["aux"].step()

    before = state(average, scaler, others["aux"]), own.bit_generator.state
    drawn = loader.generator.get_state()
    ft.preflight(tiny, optimizer=optimizer, train=train)
    assert (state(average, scaler, others["aux"]), own.bit_generator.state) == before
    assert torch.equal(loader.generator.get_state(), drawn)


def test_what_the_function_holds_is_put_back_also_where_it_is_held_in_another_place(tiny):
    optimizer = torch.optim.SGD(tiny.parameters(), lr=0.01)
    log = {"losses": {"train": []}}
    settings = {"for": {"run": log}}  # so deep that nobody looks into it

    def train(model):
        model.train()
        for x, y in DataLoader(Blobs(40, 1), 4, shuffle=True):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            log["losses"]["train"].append(loss.item())
        return settings

    ft.preflight(tiny, optimizer=optimizer, train=train)
    assert log == {"losses": {"train": []}}


def test_random_numbers_of_python_numpy_and_torch_go_on_as_if_none_was_drawn(tiny, blobs):
    class Noisy(Blobs):
        def __getitem__(self, i):
            x, y = super().__getitem__(i)
            return x + 0.01 * (random.random() + np.random.rand() + torch.rand(()).item()), y

    blobs.train = Noisy(40, 1)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    ft.preflight(tiny, blobs, ft.Stage("head"), evaluate=lambda m: random.random())
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert after == before


def test_an_error_in_the_learners_function_is_a_finding_and_everything_is_put_back(tiny):
    optimizer = torch.optim.SGD(tiny.parameters(), lr=0.01)
    before = state(tiny, optimizer)
    passes = DataLoader.__iter__

    def train(model):
        model.train()
        for x, y in DataLoader(Blobs(8, 1), 4):
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            raise KeyError("a name of my own")

    (found,) = ft.preflight(tiny, optimizer=optimizer, train=train)
    assert found.name == "stops with an error" and "a name of my own" in found.evidence
    assert state(tiny, optimizer) == before and DataLoader.__iter__ is passes
