"""What looks at a model, or tries something on it, leaves it as it was."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from ftcourse.models.modes import eval_mode, modes_kept, unchanged
from tests.conftest import tiny_resnet


@pytest.fixture
def model() -> nn.Module:
    """Half frozen, in mixed modes, with a gradient here and there."""
    model = tiny_resnet().train()
    model.layer1.eval()
    model.conv1.requires_grad_(False)
    model(torch.randn(4, 3, 32, 32)).sum().backward()
    model.bn1.weight.grad = None
    return model


def photographed(model: nn.Module) -> dict:
    return {
        "state": {k: v.clone() for k, v in model.state_dict().items()},
        "modes": [m.training for m in model.modules()],
        "switches": [p.requires_grad for p in model.parameters()],
        "grads": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "which": [id(p) for p in model.parameters()],
    }


def same(a: dict, b: dict) -> bool:
    def equal(x, y):
        return (x is None) == (y is None) and (x is None or torch.equal(x, y))

    return (
        all(a[k] == b[k] for k in ("modes", "switches", "which"))
        and all(map(equal, a["grads"], b["grads"]))
        and all(torch.equal(v, b["state"][k]) for k, v in a["state"].items())
    )


def train_a_step(model: nn.Module) -> None:
    model.requires_grad_(True).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.zero_grad()
    model(torch.randn(4, 3, 32, 32)).sum().backward()
    optimizer.step()


def test_a_step_in_between_leaves_no_trace(model):
    before = photographed(model)
    with unchanged(model):
        train_a_step(model)
        assert not same(before, photographed(model))
    assert same(before, photographed(model))


def test_an_error_in_between_leaves_no_trace_either(model):
    before = photographed(model)
    with pytest.raises(ZeroDivisionError), unchanged(model):
        train_a_step(model)
        raise ZeroDivisionError
    assert same(before, photographed(model))


def test_without_a_step_only_statistics_modes_and_gradients_are_put_back(model):
    before = photographed(model)
    with unchanged(model, parameters=False):
        model.train()(torch.randn(4, 3, 32, 32)).sum().backward()
    after = photographed(model)
    assert after["modes"] == before["modes"]
    assert all(torch.equal(v, after["state"][k]) for k, v in before["state"].items())


@pytest.mark.parametrize("context", [eval_mode, modes_kept, unchanged])
def test_every_module_is_back_in_its_own_mode(model, context):
    modes = [m.training for m in model.modules()]
    with context(model) as inside:
        assert inside is model
        model.train()
        copy.deepcopy(model)
    assert [m.training for m in model.modules()] == modes


def test_eval_mode_is_eval_mode(model):
    with eval_mode(model):
        assert not any(m.training for m in model.modules())
