"""Cutting a model: the two halves compute what the whole does, and nothing that moves lies before the cut."""

from __future__ import annotations

import builtins
import inspect
import operator
import random
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import models, ops
from torchvision.models import swin_transformer

import ftcourse as ft
from ftcourse.training import frozen_prefix
from ftcourse.training.frozen_prefix import cut_model, disagreement
from ftcourse.training.repeats import changed, random_states
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
    """Looks at its own mode behind the cut: as GoogLeNet does, whose other heads work in training only."""

    def forward(self, x):
        x = self.second(self.first(x))
        return self.last(x * 2 if self.training else x)


class ModeDependentAmongTheFrozen(WithDropout):
    def forward(self, x):
        return self.last(self.second(self.first(x) * (2 if self.training else 3)))


class ModeDependentAtOnce(WithDropout):
    def forward(self, x):
        return self.last(self.first(x * 2 if self.training else x))


@pytest.mark.parametrize(
    ("kind", "at"), [(ModeDependent, "second"), (ModeDependentAmongTheFrozen, "first")]
)
def test_what_differs_by_mode_behind_the_cut_is_computed_by_mode(kind, at):
    model = only_last_trains(kind())
    cut = cut_model(model)
    assert cut.at == at
    rest, features = cut.rest(model), cut.prefix(model)(torch.eye(4))
    for mode in (True, False):
        model.train(mode)
        torch.testing.assert_close(rest(features), model(torch.eye(4)))


def test_what_differs_by_mode_before_any_cut_is_refused():
    with pytest.raises(ValueError, match="otherwise in train mode"):
        cut_model(only_last_trains(ModeDependentAtOnce()))


class OneTensor(WithDropout):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4, bias=False)

    def forward(self, x):
        return self.last(self.first(x))


def test_a_frozen_part_may_have_a_single_tensor():
    model = only_last_trains(OneTensor())
    features = cut_model(model).prefix(model)(torch.eye(4))
    torch.testing.assert_close(features, model.first.weight.T, rtol=1e-5, atol=1e-6)


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


# -- right for each architecture ---------------------------------------------------------------

SMALL = {
    "vit": (
        partial(
            models.VisionTransformer, 32, 8, 2, 2, 16, 32, dropout=0.1, attention_dropout=0.1
        ),
        "getitem",
    ),
    "swin": (
        partial(
            models.SwinTransformer, [4, 4], 8, [2, 1], [2, 2], [4, 4], dropout=0.1,
            attention_dropout=0.1, stochastic_depth_prob=0.5,
        ),
        "flatten",
    ),
    "swin_v2": (
        partial(
            models.SwinTransformer, [4, 4], 8, [2, 1], [2, 2], [4, 4],
            block=models.swin_transformer.SwinTransformerBlockV2,
            downsample_layer=models.swin_transformer.PatchMergingV2,
        ),
        "flatten",
    ),
    "maxvit": (
        partial(models.MaxVit, (32, 32), 8, 2, [8, 16], [1, 1], 4, 0.5),
        "classifier.4",
    ),
    "convnext": (
        partial(
            models.ConvNeXt,
            [models.convnext.CNBlockConfig(8, 16, 1), models.convnext.CNBlockConfig(16, None, 1)],
            stochastic_depth_prob=0.5,
        ),
        "classifier.1",
    ),
}  # fmt: skip


def head_alone_trains(model: nn.Module) -> nn.Module:
    model.requires_grad_(False)
    head = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
    head.requires_grad_(True)
    nn.init.normal_(head.weight)
    return ft.train_mode(model)


@pytest.mark.parametrize("name", SMALL)
def test_with_frozen_chance_at_rest_networks_are_cut_before_the_head(name):
    """Dropout and stochastic depth inside of frozen blocks rest; so nothing before the head draws or moves."""
    torch.manual_seed(0)
    make, at = SMALL[name]
    model = head_alone_trains(with_statistics(make()))
    cut = cut_model(model)
    assert (cut.at, cut.stopped) == (at, "")
    assert disagreement(model, cut, cut.prefix(model), images(5)) is None
    halves = cut.rest(model)(cut.prefix(model)(images(5)))
    torch.testing.assert_close(halves, model.eval()(images(5)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_networks_with_more_heads_in_training_are_cut_and_their_halves_agree(name):
    torch.manual_seed(0)
    model = models.get_model(name, weights=None, init_weights=False, num_classes=3)
    model = head_alone_trains(with_statistics(model))
    cut, photos = cut_model(model), torch.randn(2, 3, 128, 128)
    if name == "inception_v3":
        assert cut.at == "cat"
        return  # it takes photos of 299 pixels: too slow here
    assert cut.judging is not None
    assert disagreement(model, cut, cut.prefix(model), photos) is None


class BatchNormAct2d(nn.BatchNorm2d):
    """As timm's: BatchNorm, then drop, then activate."""

    __module__ = "timm.layers.norm_act"

    def __init__(self, channels: int, act: nn.Module) -> None:
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), act

    def forward(self, x):
        return self.act(self.drop(super().forward(x)))


class Activated(nn.Module):
    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), BatchNormAct2d(4, act)
        self.other = nn.Conv2d(4, 4, 1)
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.other(self.norm(self.conv(x))).mean((2, 3)))


@pytest.mark.parametrize("act", [nn.SiLU(), nn.Identity()], ids=str)
def test_a_norm_with_an_activation_of_its_own_keeps_it_when_fused(act):
    model = only_last_trains(with_statistics(Activated(act)))
    cut = cut_model(model)
    assert cut.at == "mean"
    fast, plain = cut.prefix(model), cut.plain_prefix(model.eval())
    torch.testing.assert_close(fast(images()), plain(images()))


class Upsampling(nn.Module):
    """A transposed convolution before BatchNorm, as in generators and decoders."""

    def __init__(self, a: int, b: int, groups: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, a, 3, bias=False)
        self.up, self.norm = nn.ConvTranspose2d(a, b, 2, stride=2, groups=groups), nn.BatchNorm2d(b)
        self.last = nn.Linear(b, 2)

    def forward(self, x):
        return self.last(self.norm(self.up(self.first(x))).mean((2, 3)))


@pytest.mark.parametrize(("a", "b", "groups"), [(4, 4, 1), (8, 4, 1), (4, 8, 2)])
def test_a_transposed_convolution_before_batchnorm_is_computed_rightly(a, b, groups):
    torch.manual_seed(0)
    model = only_last_trains(with_statistics(Upsampling(a, b, groups)))
    cut = cut_model(model)
    assert cut.at == "mean"
    plain = cut.plain_prefix(model.eval())
    torch.testing.assert_close(cut.prefix(model)(images()), plain(images()))
    assert disagreement(model, cut, cut.prefix(model), images(4)) is None


# -- chance, and what tracing leaves -----------------------------------------------------------

OWN = np.random.default_rng(0)


def coin() -> float:
    return OWN.random()


class Chance(WithDropout):
    """A branch by chance: traced, it would be taken always or never."""

    def __init__(self) -> None:
        super().__init__()
        self.own, self.torch = random.Random(), torch.Generator()

    def forward(self, x):
        x = self.first(x)
        if self.flip() < 0.5:
            x = x + self.second(x)
        return self.last(x)


FLIPS = {
    "Python": lambda self: random.random(),
    "NumPy": lambda self: np.random.rand(),
    "PyTorch": lambda self: float(torch.rand(())),
    "a fresh generator": lambda self: np.random.default_rng().random(),
    "a helper's generator": lambda self: coin(),
}


@pytest.mark.parametrize("flip", FLIPS.values(), ids=FLIPS)
def test_chance_in_forward_is_refused_each_time_and_nothing_is_left_behind(flip):
    kind = type("Chance", (Chance,), {"flip": flip})
    for _ in range(20):
        model = only_last_trains(kind())
        del model.own, model.torch
        names, before = set(vars(model)), random_states()
        with pytest.raises(ValueError, match="random numbers"):
            cut_model(model)
        assert set(vars(model)) == names
        assert random_states() == before


@pytest.mark.parametrize("name", ["own", "torch"])
def test_a_generator_of_the_model_s_own_is_refused(name):
    kind = type("Chance", (Chance,), {"flip": lambda self: self.own.random()})
    model = only_last_trains(kind())
    delattr(model, "torch" if name == "own" else "own")
    with pytest.raises(ValueError, match=f"the model.{name}"):
        cut_model(model)


class MakesTensors(WithDropout):
    def forward(self, x):
        return self.last(self.first(x * torch.tensor(2.0)) + torch.arange(4))


class MakesNoise(WithDropout):
    def forward(self, x):
        return self.last(self.first(x) + torch.rand(4))


def test_tensors_made_in_forward_go_with_the_cut_and_not_on_the_model():
    model = only_last_trains(MakesTensors())
    names = set(vars(model))
    cut = cut_model(model)
    assert set(vars(model)) == names
    assert cut.at == "add"
    assert disagreement(model, cut, cut.prefix(model), torch.eye(4)) is None
    noisy = only_last_trains(MakesNoise())
    with pytest.raises(ValueError, match="random numbers"):
        cut_model(noisy)
    assert set(vars(noisy)) == names


class Counts(WithDropout):
    def __init__(self, steps) -> None:
        super().__init__()
        if steps is not None:
            self.steps = steps

    steps = 0  # of the class, where the instance has none

    def forward(self, x):
        self.steps += 1
        return self.last(self.first(x) if self.steps < 9 else x)


class Remembers(WithDropout):
    def forward(self, x):
        self.first.seen = self.first(x)
        return self.last(self.first.seen)


@pytest.mark.parametrize("make", [lambda: Counts(None), lambda: Counts(3), Remembers])
def test_a_forward_that_notes_something_is_refused_for_it_would_note_no_more(make):
    model = only_last_trains(make())
    before = [dict(vars(m)) for m in model.modules()]
    with pytest.raises(ValueError, match="changes attributes"):
        cut_model(model)
    assert [dict(vars(m)) for m in model.modules()] == before


class WithMask(WithDropout):
    def forward(self, x, mask=None):
        x = self.first(x)
        return self.last(x if mask is None else x * mask)


def attention(x, *more, **chance):
    x = x[:, None, None]
    return F.scaled_dot_product_attention(x, x, x, *more, **chance)[:, 0, 0]


DRAWN = [
    lambda x: F.dropout(x, 0.5, training=True), lambda x: F.dropout(x, 0.5), F.dropout,
    lambda x: F.dropout(x, 0.5, True), lambda x: x + torch.rand_like(x), torch.bernoulli,
    lambda x: attention(x, dropout_p=0.5), lambda x: attention(x, None, 0.5),
]  # fmt: skip
NOT_DRAWN = [
    lambda x: F.dropout(x, 0.5, training=False), lambda x: F.dropout(x, p=0.0, training=True),
    attention, lambda x: attention(x, dropout_p=0.0), torch.relu, lambda x: x.reshape(-1, 4),
]  # fmt: skip


@pytest.mark.parametrize("function", [*DRAWN, *NOT_DRAWN])
def test_the_cut_is_before_a_function_that_draws_and_behind_one_that_does_not(function):
    def forward(self, x):
        return self.last(self.second(function(self.first(x))))

    cut = cut_model(only_last_trains(type("Functional", (WithDropout,), {"forward": forward})()))
    assert (cut.at == "second") == (function in NOT_DRAWN)
    assert ("not known" in cut.stopped) == (function in DRAWN)


def test_what_forward_may_be_given_besides_the_images_keeps_its_default():
    assert cut_model(only_last_trains(WithMask())).at == "first"


def test_dropout_of_chance_zero_is_no_chance():
    model = WithDropout()
    model.drop = nn.Dropout(0)
    cut = cut_model(only_last_trains(model))
    assert (cut.at, cut.stopped) == ("second", "")


def test_why_no_more_is_computed_once_is_told():
    assert "drop (Dropout) draws" in cut_model(only_last_trains(WithDropout())).stopped
    assert "drop (Unknown) is not known" in cut_model(only_last_trains(WithUnknown())).stopped
    model = WithUnknown()
    model.first = Unknown()
    with pytest.raises(ValueError, match=r"first \(Unknown\) is not known"):
        cut_model(only_last_trains(model))


# -- what a frozen part is known by ------------------------------------------------------------


def with_leaky_relu(model):
    model.relu = nn.LeakyReLU()


def with_another_eps(model):
    model.layer2[0].bn1.eps = 1e-3


def with_another_stride(model):
    model.conv1.stride = (1, 1)


def with_another_padding(model):
    model.maxpool.padding = 0


@pytest.mark.parametrize(
    "change", [with_leaky_relu, with_another_eps, with_another_stride, with_another_padding]
)
def test_other_settings_with_the_same_weights_are_another_frozen_part(change):
    model, same = training("head"), training("head")
    first = cut_model(model)
    before, state = first.prefix(model).fingerprint, first.state(model)
    assert cut_model(same).prefix(same).fingerprint == before
    assert changed(state, first.state(model)) is None
    change(model)
    assert cut_model(model).prefix(model).fingerprint != before
    assert changed(state, first.state(model)) is not None


def test_what_trains_may_move_and_what_is_frozen_may_not():
    model = training("head")
    cut = cut_model(model)
    state = cut.state(model)
    with torch.no_grad():
        model.fc.weight.add_(1)
    assert changed(state, cut.state(model)) is None
    model.layer3[0].bn1.weight.data.mul_(1.01)  # which raises no version
    assert changed(state, cut.state(model)) == "layer3.0.bn1.weight"
    model.layer3[0].bn1.weight.data.div_(1.01)
    state = cut.state(model)
    model.layer1[0].conv1.weight.requires_grad = True
    assert changed(state, cut.state(model)) == "layer1.0.conv1.weight"


def test_pieces_meet_where_the_earlier_one_ended():
    """At a step that would show it if it were done twice."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    model.requires_grad_(False)
    model[3].requires_grad_(True)
    last = cut_model(model)
    model[2].requires_grad_(True)
    earlier = cut_model(model)
    model[2].requires_grad_(False)
    pieces, x = last.prefix(model, earlier=[earlier]), torch.eye(4)
    assert pieces.after is not None
    assert torch.equal(pieces(x), last.prefix(model)(x))
    assert not last.begins(earlier)
    other = cut_model(training("head"))
    assert not earlier.begins(other)


class RowsLost(WithDropout):
    def forward(self, x):
        return self.last(self.first(x).transpose(0, 1))


def test_what_has_no_row_for_each_image_cannot_be_kept():
    model = only_last_trains(RowsLost())
    with pytest.raises(ValueError, match="a row for each image"):
        cut_model(model).prefix(model)(torch.rand(3, 4))


def test_the_fast_part_works_in_channels_last():
    model = training("layer4", "head")
    features = cut_model(model).prefix(model)(images().contiguous())
    assert features.is_contiguous(memory_format=torch.channels_last)


# -- compared with the model itself ------------------------------------------------------------


def test_a_wrong_fusion_is_seen(monkeypatch):
    model = training("head")
    cut = cut_model(model)
    assert disagreement(model, cut, cut.prefix(model), images(3)) is None

    def careless(conv, norm, layout):  # forgets the shift
        fused = right(conv, norm, layout)
        fused.bias = nn.Parameter(torch.zeros_like(fused.bias))
        return fused

    right = frozen_prefix._fused
    monkeypatch.setattr(frozen_prefix, "_fused", careless)
    assert "features differ" in disagreement(model, cut, cut.prefix(model), images(3))


class MixesRows(WithDropout):
    def forward(self, x):
        x = self.first(x)
        return self.last(x - x.mean(0))


def test_features_that_depend_on_the_other_images_of_a_batch_are_seen():
    model = only_last_trains(MixesRows())
    cut = cut_model(model)
    assert "features differ" in disagreement(model, cut, cut.prefix(model), torch.eye(4))


def test_kept_features_of_other_images_are_seen():
    model = training("head")
    cut = cut_model(model)
    prefix = cut.prefix(model)
    kept = prefix(images(3))
    assert disagreement(model, cut, prefix, images(3), kept) is None
    assert "kept features differ" in disagreement(model, cut, prefix, images(3), kept.flip(0))
    assert "kept features differ" in disagreement(model, cut, prefix, images(3), 1.001 * kept)


def test_rounding_of_bfloat16_is_no_disagreement():
    model = training("head")
    cut = cut_model(model)
    assert disagreement(model, cut, cut.prefix(model, bf16=True), images(4)) is None


# -- the tables ------------------------------------------------------------------------------------

NAMESPACES = (operator, builtins, torch, F, torch.Tensor, ops, swin_transformer)


@pytest.mark.parametrize("name", sorted(frozen_prefix._PURE_FUNCTIONS | set(frozen_prefix._CHANCE)))
def test_each_function_that_may_lie_before_a_cut_is_there_by_this_name(name):
    assert any(callable(getattr(place, name, None)) for place in NAMESPACES)


@pytest.mark.parametrize("name", sorted(frozen_prefix._CHANCE))
def test_the_chances_of_a_function_that_draws_are_among_its_arguments(name):
    found = next(getattr(p, name) for p in (F, ops, swin_transformer) if hasattr(p, name))
    assert set(frozen_prefix._CHANCE[name]) <= set(inspect.signature(found).parameters)


def test_a_step_that_gives_several_tensors_is_told_from_one_that_is_indexed_by_a_slice():
    class Halves(nn.Module):
        def forward(self, x):
            one, two = x.chunk(2, 1)
            return (one * 2)[:, 0] + two[:, 0]

    several = {
        str(node.target): frozen_prefix._several(node)
        for node in torch.fx.symbolic_trace(Halves()).graph.nodes
    }
    assert several["chunk"] and not several["x"]
    assert not several[str(operator.mul)]
