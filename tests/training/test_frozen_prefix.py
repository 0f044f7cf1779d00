"""Cutting a model: the two halves compute what the whole does, and nothing that moves lies before the cut."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision import models

import ftcourse as ft
from ftcourse.training.frozen_prefix import cut_model
from tests.conftest import tiny_resnet


def images(n: int = 11) -> torch.Tensor:
    return torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(5))


def with_statistics(model: nn.Module) -> nn.Module:
    """Running statistics as after training, so that a wrong BatchNorm is seen."""
    with torch.no_grad():
        for m in model.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.running_mean.normal_(0, 0.3)
                m.running_var.uniform_(0.5, 2)
    return model


def training(*groups: str) -> nn.Module:
    return ft.unfreeze(ft.freeze(with_statistics(tiny_resnet())), *groups)


@pytest.mark.parametrize(
    ("groups", "at"),
    [
        (("head",), "flatten"),
        (("layer4", "head"), "layer3.0.relu"),
        (("layer3", "head"), "layer2.0.relu"),
        (("layer1",), "maxpool"),
    ],
)
def test_the_halves_compute_what_the_whole_does(groups, at):
    model = training(*groups)
    cut = cut_model(model)
    assert cut.at == at
    features = cut.prefix(model)(images())
    whole = model.eval()(images())
    torch.testing.assert_close(cut.rest(model)(features), whole, rtol=1e-5, atol=1e-5)
    assert torch.equal(cut.rest(model)(cut.plain_prefix(model)(images())), whole)


def test_features_have_no_graph_and_can_be_trained_on():
    model = training("layer4", "head")
    cut = cut_model(model)
    features = cut.prefix(model)(images())
    assert not features.requires_grad
    assert not features.is_inference()
    cut.rest(model)(features).sum().backward()
    assert model.fc.weight.grad is not None
    assert model.layer3[0].conv1.weight.grad is None


def test_the_rest_shares_its_modules_with_the_model():
    model = training("head")
    rest = cut_model(model).rest(model)
    with torch.no_grad():
        model.fc.bias.fill_(7)
    assert rest.fc is model.fc


def test_making_the_frozen_part_fast_changes_nothing_in_the_model():
    model = training("head").train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    modes = [m.training for m in model.modules()]
    cut_model(model).prefix(model)(images())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert [m.training for m in model.modules()] == modes
    assert isinstance(model.bn1, nn.BatchNorm2d)


def test_nothing_is_before_the_cut_when_all_trains():
    assert cut_model(training("stem")) is None
    assert cut_model(training()) is None  # no names: all groups


def test_the_fingerprint_tells_other_weights_and_another_cut():
    model = training("head")
    first = cut_model(model).prefix(model).fingerprint
    assert cut_model(model).prefix(model).fingerprint == first
    with torch.no_grad():
        model.fc.weight.add_(1)  # behind the cut
    assert cut_model(model).prefix(model).fingerprint == first
    with torch.no_grad():
        model.layer2[0].bn1.running_mean.add_(1e-3)
    assert cut_model(model).prefix(model).fingerprint != first
    other = cut_model(ft.unfreeze(model, "layer4"))
    assert other.prefix(model).fingerprint != first


class WithDropout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.drop = nn.Linear(4, 4), nn.Dropout(0.5)
        self.second, self.last = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.second(self.drop(self.first(x))))


def only_last_trains(model: nn.Module) -> nn.Module:
    for name, p in model.named_parameters():
        p.requires_grad = name.startswith("last")
    return model


def test_the_cut_is_before_dropout_for_it_draws_anew_in_each_step():
    assert cut_model(only_last_trains(WithDropout())).at == "first"


class Normed(WithDropout):
    """BatchNorm without weights of its own: nothing freezes it, so its statistics move in training."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.BatchNorm1d(4, affine=False)


def test_the_cut_is_before_a_batchnorm_that_moves():
    assert cut_model(only_last_trains(Normed())).at == "first"


class Unknown(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)


class WithUnknown(WithDropout):
    def __init__(self) -> None:
        super().__init__()
        self.drop = Unknown()


def test_the_cut_is_before_a_module_that_is_not_known_to_be_free_of_chance():
    assert cut_model(only_last_trains(WithUnknown())).at == "first"


class Branching(WithDropout):
    def forward(self, x):
        return self.last(self.first(x)) if x.sum() > 0 else self.last(x)


class ModeDependent(WithDropout):
    def forward(self, x):
        x = self.first(x)
        return self.last(x * 2 if self.training else x)


class SkipAcross(WithDropout):
    def forward(self, x):
        return self.last(self.first(x)) + x.sum()


def test_what_cannot_be_cut_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="cannot be traced"):
        cut_model(only_last_trains(Branching()))
    model = training("head")
    model.layer2.register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match=r"layer2 has hooks"):
        cut_model(model)


def test_there_is_no_cut_where_two_tensors_cross_it():
    with pytest.raises(ValueError, match="more than one tensor crosses"):
        cut_model(only_last_trains(SkipAcross()))


@pytest.mark.parametrize(
    "name", ["mobilenet_v3_small", "densenet121", "efficientnet_b0", "convnext_tiny", "vgg11_bn"]
)
def test_other_architectures_are_cut_rightly(name):
    torch.manual_seed(0)
    model = with_statistics(models.get_model(name, weights=None).eval())
    ft.unfreeze(ft.freeze(model), "head")
    cut = cut_model(model)
    with torch.no_grad():
        whole = model(images(2))
        halves = cut.rest(model)(cut.prefix(model)(images(2)))
    torch.testing.assert_close(halves, whole, rtol=1e-3, atol=1e-4 * whole.abs().max().item())


@pytest.mark.parametrize("bf16", [False, True])
def test_a_prefix_in_pieces_gives_the_bits_of_the_whole_and_those_of_the_earlier_cut(bf16):
    model = training("head")
    last = cut_model(model)
    middle = cut_model(ft.unfreeze(model, "layer4"))
    first = cut_model(ft.unfreeze(model, "layer2"))
    ft.unfreeze(ft.freeze(model), "head")
    whole = last.prefix(model, bf16=bf16)
    pieces = last.prefix(model, bf16=bf16, earlier=[middle, first])
    assert pieces.fingerprint == whole.fingerprint
    assert torch.equal(pieces(images()), whole(images()))
    halfway = middle.prefix(model, bf16=bf16)
    assert pieces.after.fingerprint == halfway.fingerprint
    assert torch.equal(pieces.go_on(halfway(images())), whole(images()))
    assert torch.equal(pieces.after(images()), halfway(images()))
    assert last.prefix(model, earlier=[last]).after is None


def test_bf16_features_are_near_and_told_apart():
    model = training("head")
    cut = cut_model(model)
    exact, rough = cut.prefix(model), cut.prefix(model, bf16=True)
    assert rough(images()).dtype == torch.bfloat16
    difference = (rough(images()).float() - exact(images())).norm() / exact(images()).norm()
    assert difference < 0.05
    assert rough.fingerprint != exact.fingerprint
