"""Features, nearest photos, Grad-CAM, the loss between networks, the learning-rate finder."""

from __future__ import annotations

import copy
import sys

import numpy as np
import pytest
import torch
from torch import nn

import ftcourse as ft
from ftcourse.models.features import activations, heat_on_photo
from tests.conftest import tiny_resnet


def state_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items()}


def everything(model: nn.Module) -> tuple:
    """Weights, modes and switches, to compare before with after."""
    state = [(k, v.tolist()) for k, v in model.state_dict().items()]
    return (
        state,
        [m.training for m in model.modules()],
        [p.requires_grad for p in model.parameters()],
    )


def test_features_are_what_the_head_gets(tiny, blobs):
    tiny.train()
    before = everything(tiny)
    features = ft.embed(tiny, blobs.val, batch_size=7)
    assert everything(tiny) == before
    assert features.shape == (20, 64) and features.dtype == torch.float32
    logits, _ = ft.predict(tiny, blobs.val)
    assert torch.allclose(features @ tiny.fc.weight.T + tiny.fc.bias, logits, atol=1e-5)
    images = torch.stack([blobs.val[i][0] for i in range(3)])
    assert torch.allclose(ft.embed(tiny, images), features[:3], atol=1e-5)


def test_the_nearest_photo_to_one_of_them_is_itself():
    features = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    places, cosines = ft.nearest(3 * features[4], features, 3)
    assert places[0] == 4 and cosines[0] == pytest.approx(1) and len(places) == 3
    assert cosines.tolist() == sorted(cosines.tolist(), reverse=True)


def test_activations_are_of_the_named_modules(tiny):
    found = activations(tiny, torch.rand(2, 3, 32, 32), ["layer1", "fc"])
    assert found["layer1"].shape == (2, 8, 8, 8) and found["fc"].shape == (2, 2)
    with pytest.raises(ValueError, match="no module 'layer9'"):
        activations(tiny, torch.rand(2, 3, 32, 32), ["layer9"])


def test_grad_cam_finds_the_patch_and_leaves_a_frozen_network_alone(blobs):
    pytest.importorskip("pytorch_grad_cam")
    model = tiny_resnet()
    ft.finetune(
        model, blobs, ft.Stage(train="all", epochs=6, lr=3e-3), progress=False, device="cpu"
    )
    ft.freeze(model)
    model.zero_grad()
    before = everything(model)
    images = torch.stack([blobs.test[i][0] for i in range(8)])
    heat = ft.grad_cam(model, images, layer=model.layer2)
    assert everything(model) == before
    assert all(p.grad is None for p in model.parameters())
    assert heat.shape == (8, 32, 32) and heat.min() >= 0 and heat.max() <= 1
    other = ft.grad_cam(model, images, [1] * 8, layer=model.layer2)
    assert not torch.allclose(heat, other)


def test_grad_cam_says_what_to_install(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    with pytest.raises(ImportError, match=r"pip install \"ftcourse\[cam\]\""):
        ft.grad_cam(tiny, torch.rand(1, 3, 32, 32))


# -- the loss between networks -----------------------------------------------------------------


@pytest.fixture
def two_states(blobs):
    model = tiny_resnet()
    states = {"start": state_of(model)}
    ft.finetune(
        model, blobs, ft.Stage(train="all", epochs=2, lr=3e-3), progress=False, device="cpu"
    )
    states["end"] = state_of(model)
    return model, states


def test_the_ends_of_the_line_have_the_loss_of_the_two_networks(two_states, blobs):
    model, states = two_states
    before = everything(model)
    found = ft.loss_landscape(model, blobs.val, states, steps=5)
    assert everything(model) == before
    assert {0.0, 1.0} <= set(found.x.tolist()) and found.loss.shape == found.x.shape
    for at, name in ((0.0, "start"), (1.0, "end")):
        other = copy.deepcopy(model)
        other.load_state_dict(states[name])
        direct = ft.evaluate(other, blobs.val)
        i = found.x.tolist().index(at)
        assert found.loss[i] == pytest.approx(direct["loss"], abs=1e-5)
        assert found.accuracy[i] == pytest.approx(direct["accuracy"])


def test_three_networks_span_a_plane_in_which_they_lie_where_they_should(two_states, blobs):
    model, states = two_states
    third = {k: v + 0.05 * torch.ones_like(v) if v.is_floating_point() else v
             for k, v in states["start"].items()}  # fmt: skip
    found = ft.loss_landscape(model, blobs.val, [*states.values(), third], steps=3)
    assert found.names == ["θ₀", "θ₁", "θ₂"] and found.loss.shape == (3, 3)
    flat = [torch.cat([v.flatten() for v in s.values() if v.is_floating_point()]).double()
            for s in (*states.values(), third)]  # fmt: skip
    for i in range(3):
        for j in range(3):
            apart = np.hypot(*np.subtract(found.places[i], found.places[j]))
            assert apart == pytest.approx((flat[i] - flat[j]).norm().item(), rel=1e-6, abs=1e-9)


def test_a_landscape_restores_the_model_also_after_an_error(two_states, blobs, monkeypatch):
    model, states = two_states
    before = everything(model)
    monkeypatch.setattr("ftcourse.evaluation.landscape.evaluate", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ft.loss_landscape(model, blobs.val, states)
    assert everything(model) == before


def test_a_landscape_says_which_state_does_not_fit(two_states, blobs):
    model, states = two_states
    states["end"]["fc.weight"] = torch.zeros(5, 64)
    with pytest.raises(ValueError, match=r"state 'end': fc.weight is \(5, 64\), the model has"):
        ft.loss_landscape(model, blobs.val, states)
    with pytest.raises(ValueError, match="1 states; give two"):
        ft.loss_landscape(model, blobs.val, [states["start"]])
    with pytest.raises(ValueError, match="one line"):
        ft.loss_landscape(model, blobs.val, [states["start"]] * 3)


# -- the learning-rate finder ------------------------------------------------------------------


def test_the_finder_undoes_all_it_did(tiny, blobs):
    tiny.fc.bias.requires_grad = False
    tiny.layer1.train()
    before, random = everything(tiny), torch.get_rng_state()
    found = ft.lr_finder(tiny, blobs, ft.Stage(train="all"), steps=20, batch_size=8)
    assert everything(tiny) == before
    assert torch.equal(torch.get_rng_state(), random)
    assert all(p.grad is None for p in tiny.parameters())
    assert len(found.rates) == len(found.losses) == len(found.smoothed) <= 20
    assert found.rates == sorted(found.rates) and found.rates[0] == pytest.approx(1e-5)
    assert found.rates[0] <= found.suggestion <= found.rates[-1]


def test_the_finder_repeats_and_its_suggestion_trains(tiny, blobs):
    stage = ft.Stage(train="all", optimizer="sgd")
    first, second = (ft.lr_finder(tiny, blobs, stage, steps=40, batch_size=8) for _ in range(2))
    assert first.losses == second.losses
    run = ft.Stage(train="all", optimizer="sgd", epochs=5, lr=first.suggestion)
    history = ft.finetune(tiny, blobs, run, batch_size=8, progress=False, device="cpu")
    losses = history.column("train_loss")
    assert losses[-1] < losses[0] / 2  # at most a fifth, over five seeds and both optimizers


def test_the_finder_stops_early_where_the_loss_runs_away(tiny, blobs):
    stage = ft.Stage(train="all", optimizer="sgd")
    found = ft.lr_finder(tiny, blobs, stage, start=1e-4, stop=1e4, steps=60, batch_size=8)
    assert len(found.rates) < 60 and found.suggestion < 10


def test_the_finder_refuses_what_makes_no_curve(tiny, blobs):
    with pytest.raises(ValueError, match="must grow"):
        ft.lr_finder(tiny, blobs, start=1.0, stop=0.1)
    with pytest.raises(ValueError, match="at least 10"):
        ft.lr_finder(tiny, blobs, steps=5)


def test_heat_lies_on_the_photo_where_the_network_looked_and_nowhere_else():
    seen = (50.0, 20.0, 250.0, 180.0)
    heat = torch.zeros(8, 8)
    heat[1, 6] = 1.0  # its middle: 6.5 / 8 across and 1.5 / 8 down of what was seen
    spread = heat_on_photo(heat, (300, 200), seen)
    assert spread.shape == (200, 300)
    row, column = divmod(int(spread.argmax()), 300)
    assert (column, row) == pytest.approx((50 + 200 * 6.5 / 8, 20 + 160 * 1.5 / 8), abs=1.5)
    outside = torch.ones(200, 300)
    outside[20:180, 50:250] = 0
    assert (spread * outside).abs().max() == 0
    assert heat_on_photo(torch.ones(4, 4), (300, 200)).min() == pytest.approx(1)
    assert heat_on_photo(torch.ones(4, 4), (300, 200), seen).sum() == pytest.approx(200 * 160)
