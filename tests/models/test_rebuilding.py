"""A saved network comes back as it was, whichever of torchvision's; what would come back otherwise is refused."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torchvision import models

import ftcourse as ft
from ftcourse.models.rebuilding import told_apart
from ftcourse.models.states import build

LARGEST = 7e6  # parameters; the larger ones are the same classes with more layers, but for these:
ALSO = ("convnext_tiny", "swin_t", "swin_v2_t", "maxvit_t", "inception_v3", "resnet18")
CLASSES = list("abcde")


def saved(model, folder, architecture, **meta):
    return ft.save_model(
        model,
        folder / "m.safetensors",
        architecture=architecture,
        classes=CLASSES[: meta.pop("n", 5)],
        **meta,
    )


@pytest.mark.parametrize("name", models.list_models(module=models))
def test_every_classifier_of_torchvision_is_saved_and_comes_back(name, tmp_path):
    sketch = build(name, sketch=True)
    if name not in ALSO and sum(p.numel() for p in sketch.parameters()) > LARGEST:
        ft.replace_head(sketch, 5)  # of a large one what `save_model` asks, without its memory
        assert told_apart(sketch, name, 5) == "" != told_apart(sketch, name, 6)
        return
    model = build(name, 5).eval()
    file = saved(model, tmp_path, name)
    again, _ = ft.load_model(file)
    as_weights = ft.load_backbone(name, file)
    for other in (again, as_weights):
        found = other.state_dict()
        assert all(torch.equal(found[k], v) for k, v in model.state_dict().items())


# -- options of the builder --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
@pytest.mark.parametrize("again", [True, False])
def test_a_network_that_normalises_its_input_once_more_still_does_when_it_is_loaded(
    name, again, tmp_path, recwarn
):
    model = ft.load_backbone(name, weights=None, num_classes=5)
    model.transform_input = again
    file = saved(model, tmp_path, name)
    assert ft.load_model(file)[0].transform_input is again
    assert ft.load_backbone(name, file).transform_input is again
    assert ft.load_model(file)[1]["transform_input"] is again and not recwarn.list


def test_of_weights_that_do_not_say_it_one_is_told(tmp_path):
    torch.save(build("googlenet", 5).state_dict(), tmp_path / "w.pth")
    with pytest.warns(UserWarning, match=r"w\.pth: does not say .* set model\.transform_input"):
        assert ft.load_backbone("googlenet", tmp_path / "w.pth").transform_input is False


def test_a_transformer_for_larger_images_is_loaded_as_one(tmp_path):
    model = models.vit_b_32(image_size=384, num_classes=5).eval()
    file = saved(model, tmp_path, "vit_b_32", crop_size=384)
    assert ft.load_model(file)[0].image_size == 384
    state = model.state_dict()
    torch.save(state, tmp_path / "w.pth")
    again = ft.load_backbone("vit_b_32", tmp_path / "w.pth")
    x = torch.randn(1, 3, 384, 384)
    with torch.inference_mode():
        assert torch.equal(again(x), model(x))


# -- names of earlier versions -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "renamed"),
    [
        ("vit_b_32", {".mlp.0.": ".mlp.linear_1.", ".mlp.3.": ".mlp.linear_2."}),
        ("densenet121", {f".{kind}{i}.": f".{kind}.{i}." for kind in ("norm", "conv") for i in (1, 2)}),
    ],
)  # fmt: skip
def test_weights_with_the_names_that_torchvisions_files_have_load(name, renamed, tmp_path):
    model = build(name, 5)
    old = {}
    for key, value in model.state_dict().items():
        for new, before in renamed.items():
            inside = "layer" in key and (name != "densenet121" or "denselayer" in key)
            key = key.replace(new, before) if inside else key
        old[key] = value
    assert old.keys() != model.state_dict().keys()
    torch.save(old, tmp_path / "w.pth")
    again = ft.load_backbone(name, tmp_path / "w.pth").state_dict()
    assert all(torch.equal(again[k], v) for k, v in model.state_dict().items())


# -- what would come back otherwise ------------------------------------------------------------


def other_eps(model):
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3


def attribute(where, name, value, model):
    setattr(model.get_submodule(where), name, value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_eps, r"bn1 has eps=0\.001, and in a resnet18 1e-05"),
        (partial(attribute, "conv1", "stride", (1, 1)), r"conv1 has stride=\(1, 1\)"),
        (partial(attribute, "layer1.0.conv1", "dilation", (2, 2)), r"layer1\.0\.conv1 has dilation"),
        (partial(attribute, "layer1.0", "relu", nn.GELU()), r"relu is a GELU, and in a resnet18 a ReLU"),
        (partial(attribute, "", "avgpool", nn.AdaptiveMaxPool2d(1)), "avgpool is a AdaptiveMaxPool2d"),
        (partial(attribute, "", "maxpool", nn.Identity()), "maxpool is a Identity"),
        (lambda model: model.layer4.append(nn.Tanh()), r"it has layer4\.2 \(Tanh\)"),
        (lambda model: model.layer4.append(models.resnet.BasicBlock(512, 512)), r"layer4\.2"),
        (partial(attribute, "fc", "forward", lambda x: x), "fc has a forward of its own"),
    ],
)  # fmt: skip
def test_a_network_that_would_come_back_otherwise_is_not_written(change, said, tmp_path):
    model = ft.load_backbone("resnet18", weights=None, num_classes=5)
    change(model)
    with pytest.raises(ValueError, match=f"not written, load_model would give back .*{said}"):
        saved(model, tmp_path, "resnet18")
    with pytest.raises(ValueError, match=said):
        saved(nn.DataParallel(model), tmp_path, "resnet18")
    assert list(tmp_path.iterdir()) == []


def test_a_head_of_another_number_of_classes_is_not_written(tmp_path):
    model = ft.load_backbone("resnet18", weights=None, num_classes=5)
    with pytest.raises(ValueError, match=r"not written.*fc\.weight is 5x512, not 3x512"):
        saved(model, tmp_path, "resnet18", n=3)


class OwnForward(models.ResNet):
    def forward(self, x):
        return super().forward(x / 255)


def test_a_class_of_the_users_own_is_not_taken_for_torchvisions(tmp_path):
    model = OwnForward(models.resnet.BasicBlock, [2, 2, 2, 2], num_classes=5)
    with pytest.raises(ValueError, match="ResNet is a OwnForward"):
        saved(model, tmp_path, "resnet18")


def without_dropout(model):
    model.dropout = nn.Identity()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("googlenet", without_dropout),
        ("googlenet", lambda model: setattr(model.dropout, "p", 0.7)),
        ("resnet18", nn.SyncBatchNorm.convert_sync_batchnorm),
        ("resnet18", nn.Module.train),
        ("resnet18", lambda model: setattr(model.bn1, "momentum", 0.01)),
        ("resnet18", lambda model: setattr(model.relu, "inplace", False)),
    ],
)
def test_what_changes_no_answer_is_no_hindrance(name, change, tmp_path):
    model = ft.load_backbone(name, weights=None, num_classes=5)
    model = change(model) or model
    again, _ = ft.load_model(saved(model, tmp_path, name))
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        # SyncBatchNorm computes on a GPU only in training; in eval mode it is BatchNorm
        assert torch.allclose(again(x), model.eval()(x), atol=1e-5)
