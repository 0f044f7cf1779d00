"""Stages: which groups train, how fast each, and the schedule."""

from __future__ import annotations

import pytest

import ftcourse as ft
from ftcourse.training.stages import parameter_groups


def test_a_group_name_means_that_group_and_all_after_it(tiny):
    assert ft.Stage("layer3").groups(tiny) == ["layer3", "layer4", "head"]
    assert ft.Stage("head").groups(tiny) == ["head"]
    assert ft.Stage("all").groups(tiny) == list(ft.layer_groups(tiny))
    assert ft.Stage(("stem", "head")).groups(tiny) == ["stem", "head"]


def test_layer_decay_slows_each_group_towards_the_input(tiny):
    stage = ft.Stage("layer3", lr=1.0, head_lr=3.0, layer_decay=0.5)
    rates = {g["name"]: g["lr"] for g in parameter_groups(ft.apply_stage(tiny, stage), stage)}
    assert rates == {
        "layer3": 0.25, "layer3 (norm, bias)": 0.25,
        "layer4": 0.5, "layer4 (norm, bias)": 0.5,
        "head": 3.0, "head (norm, bias)": 3.0,
    }  # fmt: skip


def test_the_optimizer_holds_only_what_trains_and_decays_no_norm_or_bias(tiny):
    stage = ft.Stage("layer4", weight_decay=0.1)
    optimizer = ft.make_optimizer(ft.apply_stage(tiny, stage), stage)
    held = [p for g in optimizer.param_groups for p in g["params"]]
    assert {id(p) for p in held} == {id(p) for p in tiny.parameters() if p.requires_grad}
    assert all(
        (g["weight_decay"] > 0) == (p.ndim > 1) for g in optimizer.param_groups for p in g["params"]
    )


def test_the_schedule_warms_up_to_the_peak_and_falls_to_zero(tiny):
    stage = ft.Stage("head", epochs=10, lr=1.0, warmup=0.2)
    optimizer = ft.make_optimizer(ft.apply_stage(tiny, stage), stage)
    scheduler = ft.make_scheduler(optimizer, stage, steps_per_epoch=10)
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates[0] == pytest.approx(1 / 21)
    assert max(rates) == rates[20] == 1.0
    assert rates[:20] == sorted(rates[:20]) and rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[-1] < 0.01


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"lr": 0.0}, "lr=0.0"),
        ({"head_lr": -1.0}, "head_lr=-1.0"),
        ({"warmup": 1.0}, "warmup=1.0"),
        ({"layer_decay": 2.0}, "layer_decay=2.0"),
        ({"optimizer": "adam"}, "'adamw' or 'sgd'"),
        ({"schedule": "linear"}, "'cosine' or 'constant'"),
    ],
)
def test_a_stage_that_makes_no_sense_is_refused_with_the_value(wrong, message):
    with pytest.raises(ValueError, match=message):
        ft.Stage(**wrong)


def test_only_trains_what_its_expression_matches_and_the_head(tiny):
    stage = ft.Stage(train="all", only="bias")
    ft.apply_stage(tiny, stage)
    trains = {name for name, p in tiny.named_parameters() if p.requires_grad}
    assert trains == {n for n, _ in tiny.named_parameters() if n.endswith("bias")} | {"fc.weight"}
    held = {id(p) for g in ft.make_optimizer(tiny, stage).param_groups for p in g["params"]}
    assert held == {id(p) for n, p in tiny.named_parameters() if n in trains}


def test_only_that_matches_nothing_is_refused(tiny):
    with pytest.raises(ValueError, match="matches no parameter outside of the head"):
        ft.apply_stage(tiny, ft.Stage(train="all", only="lora_"))
