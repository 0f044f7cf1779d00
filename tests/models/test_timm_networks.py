"""timm's networks: layer groups, new heads, training, saving; weights of a package or a Hub, without a network."""

from __future__ import annotations

import copy
import json
import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

import ftcourse as ft
from ftcourse.models import timm_networks
from ftcourse.models.groups import group_parameters, head_of, last_block
from ftcourse.models.states import check_input

timm = pytest.importorskip("timm", reason="needs the extra `timm`")

# network -> its groups, the last block, the side of its images in pixels
NETWORKS = {
    "timm/vit_tiny_patch16_224": (["stem", *(f"blocks.{i}" for i in range(12))], "blocks.9", 224),
    "timm/convnext_atto": (["stem", *(f"stages.{i}" for i in range(4))], "stages.3", 64),
    "efficientnet_lite0": (["stem", *(f"blocks.{i}" for i in range(7))], "blocks.6", 64),
    "timm/resnet18": (["stem", *(f"layer{i}" for i in range(1, 5))], "layer4", 64),
}
QUIET = {"progress": False, "batch_size": 4, "preflight": False, "device": "cpu"}
REVISION = "0123456789abcdef0123456789abcdef01234567"


def two_classes(n: int, size: int, seed: int) -> list:
    g = torch.Generator().manual_seed(seed)
    return [(torch.randn(3, size, size, generator=g) + 2 * (i % 2) - 1, i % 2) for i in range(n)]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_timm_is_trained_in_stages_and_saved_as_any_other(name, tmp_path):
    names, last, size = NETWORKS[name]
    torch.manual_seed(0)
    model = ft.load_backbone(name, weights=None)
    groups = group_parameters(model)
    assert list(groups) == [*names, "head"]
    ids = [id(p) for parameters in groups.values() for p in parameters]
    assert len(ids) == len(set(ids)) and set(ids) == {id(p) for p in model.parameters()}
    ft.replace_head(model, 2)
    assert head_of(model)[1].out_features == 2 and last_block(model) == last

    train, val = two_classes(2, size, 0), two_classes(1, size, 1)
    data = SimpleNamespace(train=train, val=val, classes=("dark", "light"))
    for begin in ("head", last):
        before = copy.deepcopy(model)
        ft.finetune(model, data, [ft.Stage(begin, epochs=1, lr=1e-3)], **QUIET)
        pairs = zip(group_parameters(model).items(), group_parameters(before).values(), strict=True)
        moved = [group for (group, now), then in pairs if not all(map(torch.equal, now, then))]
        assert moved == [*names, "head"][[*names, "head"].index(begin) :]

    file = ft.save_model(model, tmp_path / "m.safetensors", architecture=name, classes=["a", "b"])
    again, header = ft.load_model(file)
    x = torch.stack([image for image, _ in data.val])
    assert header["architecture"] == name
    assert torch.equal(again(x), model.eval()(x))


def test_what_stands_between_the_last_block_and_the_head_is_of_the_last_block():
    groups = group_parameters(ft.load_backbone("efficientnet_lite0", weights=None))
    assert sum(p.numel() for p in groups["blocks.6"]) == 605_440 + 409_600 + 2_560
    stem = group_parameters(ft.load_backbone("timm/vit_tiny_patch16_224", weights=None))["stem"]
    assert (
        sum(p.numel() for p in stem) == 147_648 + 192 + 197 * 192
    )  # patches, class token, positions


def test_a_network_without_a_head_gets_one():
    model = ft.load_backbone("timm/vit_small_patch14_dinov2", weights=None, num_classes=3)
    assert head_of(model)[1].out_features == 3
    assert list(ft.layer_groups(model))[-3:] == ["blocks.10", "blocks.11", "head"]


def test_a_size_that_a_vision_transformer_cannot_take_is_told():
    with pytest.raises(
        ValueError, match=r"^timm/vit_tiny_patch16_224 cannot take .* 48x48 .*another size$"
    ):
        check_input("timm/vit_tiny_patch16_224", 48)
    check_input("timm/vit_tiny_patch16_224", 224)


@pytest.mark.parametrize(
    ("name", "weights", "said"),
    [
        ("timm/no_such_net", None, "is not a torchvision model"),
        ("timm/convnext_atto", "pocket", "pocket weights for resnet18 only"),
        ("efficientnet_lite0", "pocket", "use weights='imagenet'"),
        ("efficientnet_lite0", "V9", "use None, 'imagenet', or a path"),
        ("resnet18", "imagenet", "for efficientnet_lite0 only"),
        ("timm/vit_base_patch16_18x2_224", "DEFAULT", "timm has no weights"),
        ("hf-hub:owner/net", "DEFAULT", "say which revision"),
        ("hf-hub:owner/net@main", "DEFAULT", "40 hex digits"),
        (f"hf-hub:owner/net@{REVISION}", "pocket", "has its own"),
    ],
)
def test_what_there_is_not_is_told_in_a_sentence(name, weights, said):
    with pytest.raises(ValueError, match=said):
        ft.load_backbone(name, weights)


def test_without_timm_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r"needs the package timm.*ftcourse\[timm\]"):
        timm_networks.build_timm("timm/convnext_atto")


# -- weights -----------------------------------------------------------------------------------


def test_a_hubs_weights_come_with_their_transforms_and_a_name_that_needs_no_network(
    monkeypatch, tmp_path
):
    place = tmp_path / "models--owner--net" / "snapshots" / REVISION
    place.mkdir(parents=True)
    there = timm.create_model("test_vit", num_classes=5)
    config = {
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4] * 3,
        "input_size": [3, 160, 160],
        "crop_pct": 0.8,
    }
    config |= {"num_classes": 5, "classifier": "head", "first_conv": "patch_embed.proj"}
    config |= {"interpolation": "bicubic", "fixed_input_size": True}
    text = {"architecture": "test_vit", "num_classes": 5, "pretrained_cfg": config}
    (place / "config.json").write_text(json.dumps(text))
    save_file(there.state_dict(), place / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model = ft.load_backbone(f"hf-hub:owner/net@{REVISION}", "DEFAULT")
    x = torch.randn(2, 3, 160, 160)
    assert torch.equal(model(x), there.eval()(x))
    preset = ft.weights_of(model).transforms()
    assert (preset.crop_size, preset.resize_size, preset.mean) == ([160], [200], [0.1, 0.2, 0.3])
    assert model.ftcourse_origin.architecture == "timm/test_vit"
    with pytest.raises(ConnectionError, match=r"owner/other.*cannot|cannot.*owner/other"):
        ft.load_backbone(f"hf-hub:owner/other@{REVISION}", "DEFAULT")


def test_a_weights_file_of_another_hash_is_refused(monkeypatch, tmp_path):
    (tmp_path / "other.pth").write_bytes(b"other")
    monkeypatch.setattr(timm_networks, "imagenet_file", lambda: tmp_path / "other.pth")
    with pytest.raises(
        ValueError, match=r"other\.pth: its sha256 starts with d9298a10, not with 57934424"
    ):
        ft.load_backbone("efficientnet_lite0", "imagenet")


def test_without_its_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(timm_networks, "imagenet_file", lambda: None)
    with pytest.raises(ImportError, match=r"ftcourse\[imagenet\]"):
        ft.load_backbone("efficientnet_lite0", "imagenet")


@pytest.mark.skipif(timm_networks.imagenet_file() is None, reason="needs the extra `imagenet`")
def test_the_packages_weights_see_in_plain_patterns_what_looks_like_them():
    model = ft.load_backbone("efficientnet_lite0", "imagenet")
    names = ft.weights_of(model).meta["categories"]
    preset = ft.weights_of(model).transforms()
    assert (preset.crop_size, preset.mean, preset.std) == ([224], [127 / 255] * 3, [128 / 255] * 3)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 224), torch.linspace(-1, 1, 224), indexing="ij")
    patterns = {
        "spotlight": 1 - 1.2 * (x**2 + y**2).sqrt(),  # bright in the middle
        "radiator": (30 * x).sin().sign(),  # stripes
        "window screen": ((20 * x).sin() * (20 * y).sin()).sign(),  # a grid
    }
    images = torch.stack([pattern.expand(3, -1, -1) for pattern in patterns.values()])
    with torch.inference_mode():
        assert [names[i] for i in model(images).argmax(1)] == list(patterns)
    report = ft.freeze_report(ft.replace_head(model, 2))
    assert [row["moved"] for row in report.rows] == [0.0] * 8 + ["new"]
