"""Freezing: what it changes, what it leaves, and what the report sees of it."""

from __future__ import annotations

import pickle

import pytest
import torch
import torchvision
from torch import nn

import ftcourse as ft


def load_small() -> nn.Module:
    return ft.load_backbone("resnet18", weights=None, num_classes=2)


def step(model, optimizer):
    images = torch.randn(4, 3, 32, 32)
    loss = nn.functional.cross_entropy(model(images), torch.tensor([0, 1, 0, 1]))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def rows(model, optimizer=None):
    return {r["group"]: r for r in ft.freeze_report(model, optimizer).rows}


def test_freeze_without_names_freezes_all_and_with_names_only_those(tiny):
    ft.freeze(tiny)
    assert not any(p.requires_grad for p in tiny.parameters())
    ft.unfreeze(tiny)
    ft.freeze(tiny, "stem", "layer1")
    assert {n.split(".")[0] for n, p in tiny.named_parameters() if not p.requires_grad} == {
        "conv1", "bn1", "layer1",
    }  # fmt: skip


def test_an_unknown_group_is_refused_with_the_names_there_are(tiny):
    with pytest.raises(ValueError, match="'fc'; this model has: stem, layer1"):
        ft.freeze(tiny, "fc")


def test_frozen_batchnorm_does_not_drift_in_train_mode(tiny):
    ft.freeze(tiny, "stem", "layer1", "layer2")
    ft.train_mode(tiny)
    before = {k: v.clone() for k, v in tiny.state_dict().items() if "running" in k}
    tiny(torch.randn(4, 3, 32, 32) + 5)
    changed = {
        k.split(".")[0]
        for k, v in tiny.state_dict().items()
        if "running" in k and not v.equal(before[k])
    }
    assert changed == {"layer3", "layer4"}


def test_thawing_in_train_mode_lets_batchnorm_follow(tiny):
    ft.train_mode(ft.freeze(tiny))
    assert not tiny.bn1.training
    ft.unfreeze(tiny, "stem")
    assert tiny.bn1.training


def test_the_report_counts_what_trains_and_what_the_optimizer_holds():
    model = ft.unfreeze(ft.freeze(load_small()), "head")
    table = rows(model, torch.optim.SGD([model.fc.weight], lr=0.1))
    assert table["head"]["parameters"] == 512 * 2 + 2
    assert table["head"]["trainable"] == 512 * 2 + 2
    assert table["head"]["in_optimizer"] == 512 * 2
    assert table["layer4"]["trainable"] == 0
    assert table["layer4"]["batchnorm"] == "eval"
    assert sum(r["parameters"] for r in table.values()) == sum(
        p.numel() for p in model.parameters()
    )


def test_the_report_sees_how_far_weights_and_statistics_have_moved():
    model = ft.unfreeze(ft.freeze(load_small(), "stem", "layer1", "layer2"), "layer4", "head")
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    assert rows(model)["layer4"]["moved"] == 0
    assert rows(model)["head"]["moved"] == "new"
    model.train()  # the mistake: frozen BatchNorm layers in train mode
    step(model, optimizer)
    table = rows(model, optimizer)
    assert table["layer4"]["moved"] > 0
    assert table["layer1"]["moved"] == 0
    assert table["layer1"]["stats_moved"] > 0
    assert table["layer1"]["batchnorm"] == "train"


def test_the_report_measures_the_relative_distance():
    model = load_small()
    with torch.no_grad():
        model.conv1.weight.mul_(1.5)
    ones = model.bn1.weight.numel()
    norm = model.conv1.weight.square().sum().item() / 2.25
    expected = (0.25 * norm / (norm + ones)) ** 0.5
    assert rows(model)["stem"]["moved"] == pytest.approx(expected, rel=1e-4)


def test_the_report_reads_as_a_table_with_a_total():
    text = str(ft.freeze_report(load_small()))
    lines = text.splitlines()
    assert lines[0].split()[0] == "group"
    assert lines[-1].split()[:2] == ["all", "11,177,538"]
    assert len({len(line) for line in lines if not line.startswith("-")}) <= 2


def test_what_was_loaded_is_read_from_its_file_and_not_held_in_memory(tmp_path):
    file = tmp_path / "weights.pth"
    torch.save(ft.load_backbone("resnet18").state_dict(), file)
    model = ft.load_backbone("resnet18", weights=file, num_classes=2)
    assert callable(model.ftcourse_origin.state)
    again = pickle.loads(pickle.dumps(model))
    with torch.no_grad():
        model.layer4[0].conv1.weight.mul_(2)
    moved = {group: row["moved"] for group, row in rows(model).items()}
    assert moved["layer4"] > 0.1 and moved["layer3"] == 0 and moved["head"] == "new"
    assert rows(again)["layer4"]["moved"] == 0


@pytest.mark.parametrize("gone", [True, False], ids=["removed", "written anew"])
def test_a_weights_file_that_is_another_one_now_is_not_compared_with(tmp_path, gone):
    file = tmp_path / "weights.pth"
    torch.save(ft.load_backbone("resnet18").state_dict(), file)
    model = ft.load_backbone("resnet18", weights=file)
    if gone:
        file.unlink()
    else:
        torch.save(torchvision.models.resnet18().state_dict(), file)
    with pytest.warns(UserWarning, match=r"weights\.pth: is gone, or another one"):
        report = ft.freeze_report(model)
    assert {row["moved"] for row in report.rows} == {None}
    assert report.trainable > 11_000_000  # the rest of the table is there


def test_random_weights_have_no_file_and_are_held():
    model = ft.load_backbone("resnet18", weights=None)
    assert rows(model)["stem"]["moved"] == 0
    with torch.no_grad():
        model.conv1.weight.add_(1)
    assert rows(model)["stem"]["moved"] > 0
