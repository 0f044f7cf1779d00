"""What the optimizer is given, and how fast it learns at each step, for any stage."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import ftcourse as ft
from ftcourse.training.stages import parameter_groups
from tests.conftest import tiny_resnet

GROUPS = ["stem", "layer1", "layer2", "layer3", "layer4", "head"]
quick = settings(max_examples=40, deadline=None)
rates = st.floats(1e-5, 1.0)


def modules_of(model: nn.Module, group: str) -> list[nn.Module]:
    own = {"stem": [model.conv1, model.bn1], "head": [model.fc]}
    return own.get(group) or [getattr(model, group)]


def expected_groups(train) -> list[str]:
    if train == "all":
        return GROUPS
    if isinstance(train, str):
        return GROUPS[GROUPS.index(train) :]
    return [g for g in GROUPS if g in train]


choices = st.one_of(
    st.sampled_from([*GROUPS, "all"]),
    st.lists(st.sampled_from(GROUPS), min_size=1, max_size=4, unique=True).map(tuple),
)


@quick
@given(choices, rates, st.none() | rates, st.floats(0.1, 1.0), st.floats(0, 0.5))
def test_each_group_learns_at_its_own_rate_and_only_matrices_decay(
    train, lr, head_lr, layer_decay, weight_decay
):
    model = tiny_resnet()
    stage = ft.Stage(
        train, lr=lr, head_lr=head_lr, layer_decay=layer_decay, weight_decay=weight_decay
    )
    ft.apply_stage(model, stage)
    groups = expected_groups(train)
    expected = []
    for i, group in enumerate(groups):
        rate = lr * layer_decay ** (len(groups) - 1 - i)
        if group == "head":
            rate = lr if head_lr is None else head_lr
        own = [p for m in modules_of(model, group) for p in m.parameters()]
        norms = (f"{group} (norm, bias)", [p for p in own if p.ndim <= 1], 0.0)
        matrices = (group, [p for p in own if p.ndim > 1], weight_decay)
        expected += [(name, params, rate, decay) for name, params, decay in (matrices, norms)]
    found = parameter_groups(model, stage)
    # from the input to the head; of each group the two kinds stand side by side
    assert [e["name"].split()[0] for e in found] == [n.split()[0] for n, *_ in expected]
    by_name = {e["name"]: e for e in found}
    assert len(by_name) == len(found) == len(expected)
    for name, params, rate, decay in expected:
        entry = by_name[name]
        assert {id(p) for p in entry["params"]} == {id(p) for p in params}
        assert entry["lr"] == pytest.approx(rate) and entry["weight_decay"] == decay
    trained = {id(p) for _, params, *_ in expected for p in params}
    assert trained == {id(p) for p in model.parameters() if p.requires_grad}


@quick
@given(
    st.integers(1, 6),
    st.integers(1, 9),
    st.floats(0, 0.99),
    st.sampled_from(["cosine", "constant"]),
    rates,
)
def test_the_rate_rises_in_a_line_and_falls_as_half_a_cosine(epochs, steps, warmup, schedule, lr):
    stage = ft.Stage("head", epochs=epochs, lr=lr, warmup=warmup, schedule=schedule)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = ft.make_scheduler(optimizer, stage, steps)
    total = epochs * steps
    warm = round(warmup * total)
    for step in range(total + 3):  # a step too many stays at the end
        if step < warm:
            factor = (step + 1) / (warm + 1)
        elif schedule == "constant":
            factor = 1.0
        else:
            done = min(1.0, (step - warm) / max(1, total - warm))
            factor = math.cos(math.pi * done / 2) ** 2  # = (1 + cos(pi done)) / 2
        assert optimizer.param_groups[0]["lr"] == pytest.approx(lr * factor, abs=1e-12)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_the_optimizers_are_those_of_pytorch_with_the_settings_of_the_docstring(kind):
    """The same steps as PyTorch's own, written out, on the same gradients."""
    ours, theirs = tiny_resnet(), tiny_resnet()
    stage = ft.Stage("head", lr=0.05, weight_decay=0.2, optimizer=kind)
    optimizer = ft.make_optimizer(ft.apply_stage(ours, stage), stage)
    weight = {"params": [theirs.fc.weight], "weight_decay": 0.2}
    bias = {"params": [theirs.fc.bias], "weight_decay": 0.0}
    plain = (
        torch.optim.SGD([weight, bias], lr=0.05, momentum=0.9, nesterov=True)
        if kind == "sgd"
        else torch.optim.AdamW([weight, bias], lr=0.05, betas=(0.9, 0.999), eps=1e-8)
    )
    assert type(optimizer) is type(plain)
    assert all(group["fused"] for group in optimizer.param_groups)  # one pass over the weights
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        for a, b in zip(ours.fc.parameters(), theirs.fc.parameters(), strict=True):
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        optimizer.step(), plain.step()
    for a, b in zip(ours.fc.parameters(), theirs.fc.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_a_stage_without_settings_is_that_of_its_docstring():
    assert ft.Stage().to_dict() == {
        "train": "head", "epochs": 5, "lr": 1e-3, "head_lr": None, "layer_decay": 1.0,
        "weight_decay": 1e-2, "optimizer": "adamw", "schedule": "cosine", "warmup": 0.1,
        "augment": True, "only": None,
    }  # fmt: skip


@pytest.mark.parametrize("train", ["neck", ("layer1", "neck"), ("neck", "head")])
def test_a_group_that_the_model_does_not_have_is_refused_with_those_it_has(train):
    with pytest.raises(ValueError, match=r"no layer group 'neck'; .* stem, layer1, .*, and 'all'"):
        ft.Stage(train).groups(tiny_resnet())


def test_several_groups_may_come_as_a_list_and_are_told_together():
    stage = ft.Stage(["layer1", "head"])
    assert stage == ft.Stage(("layer1", "head")) and stage.label == "layer1+head"
    assert ft.Stage("layer4").label == "layer4"


@pytest.mark.parametrize("value", [0.0, 0.99])
def test_the_ends_of_what_is_allowed_are_allowed(value):
    assert ft.Stage(warmup=value, weight_decay=0, layer_decay=1).warmup == value
    assert ft.Stage(layer_decay=1e-9, lr=1e-9, epochs=1).epochs == 1


def test_in_train_mode_what_only_leaves_out_keeps_its_statistics():
    model = tiny_resnet().train()
    assert ft.apply_stage(model, ft.Stage("all", only=r"layer4.*conv")) is model
    assert model.training and not any(
        m.training for m in model.modules() if isinstance(m, nn.BatchNorm2d)
    )
    ft.apply_stage(model.eval(), ft.Stage("all", only="layer4"))
    assert not any(m.training for m in model.modules())


def test_only_is_looked_for_anywhere_in_a_name_and_the_head_trains_whole():
    model = ft.apply_stage(tiny_resnet(), ft.Stage("layer3", only="bn1"))
    trains = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trains == {f"layer{i}.0.bn1.{kind}" for i in (3, 4) for kind in ("weight", "bias")} | {
        "fc.weight",
        "fc.bias",
    }
