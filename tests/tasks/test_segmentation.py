"""Segmentation: masks and photos move together, void pixels count nowhere, and the score is torchmetrics'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset
from torchmetrics.functional.classification import multiclass_jaccard_index
from torchvision import tv_tensors
from torchvision.models.segmentation import deeplabv3_resnet50
from torchvision.transforms.functional import normalize

import ftcourse as ft
from ftcourse.data.transforms import MEAN, STD
from ftcourse.tasks.segmentation import IGNORE, Segmentation, fcn, segmentation_transforms, unet
from tests.conftest import tiny_resnet

QUIET = {"progress": False, "batch_size": 8, "device": "cpu"}


class Patches(Dataset):
    """Normalised noise with a bright square (class 1) or a dark one (class 2); a void column at the left."""

    def __init__(self, n: int, seed: int) -> None:
        g = torch.Generator().manual_seed(seed)
        pixels = 0.5 + 0.1 * torch.randn(n, 3, 32, 32, generator=g)
        self.masks = torch.zeros(n, 32, 32, dtype=torch.int64)
        for i in range(n):
            x, y = torch.randint(0, 16, (2,), generator=g).tolist()
            pixels[i, :, y : y + 16, x : x + 16] += 0.4 if i % 2 else -0.4
            self.masks[i, y : y + 16, x : x + 16] = 2 - i % 2
        self.masks[:, :, 0] = IGNORE
        self.images = normalize(pixels.clamp(0, 1), list(MEAN), list(STD))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int):
        return self.images[i], self.masks[i]


@dataclass
class PatchData:
    train: Any
    val: Any
    classes: tuple[str, ...] = ("nothing", "bright", "dark")


def patches() -> PatchData:
    return PatchData(Patches(32, 1), Patches(16, 2))


@pytest.mark.parametrize("make", [unet, fcn])
def test_it_learns_to_find_squares_and_keeps_the_best_mean_iou(make):
    torch.manual_seed(0)
    data, task = patches(), Segmentation(3)
    model = make(tiny_resnet(), 3)
    history = ft.finetune(model, data, ft.Stage("all", epochs=8, lr=1e-2), task=task, **QUIET)
    assert history.findings == []
    assert history.best["val_miou"] == max(history.column("val_miou"))
    kept = ft.evaluate(model, data.val, task=task)
    assert kept["miou"] == pytest.approx(history.best["val_miou"])
    if make is unet:  # the other has one place for each of these small photos
        assert kept["miou"] > 0.8


def test_a_frozen_backbone_stays_as_it_was():
    model = unet(tiny_resnet(), 3)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    ft.finetune(model, patches(), ft.Stage("head", epochs=1), task=Segmentation(3), **QUIET)
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert moved and not any(name.startswith("backbone") for name in moved)


def test_layer_groups_and_the_report_know_the_backbone_in_its_new_place():
    model = unet(ft.load_backbone("resnet18"), 3)
    assert list(ft.layer_groups(model)) == ["stem", "layer1", "layer2", "layer3", "layer4", "head"]
    rows = {r["group"]: r for r in ft.freeze_report(model).rows}
    assert rows["layer4"]["moved"] == 0 and rows["stem"]["stats_moved"] == 0
    assert rows["head"]["moved"] == "new"
    assert sum(r["parameters"] for r in rows.values()) == sum(p.numel() for p in model.parameters())
    assert ft.weights_of(model) is not None


@pytest.mark.parametrize("size", [(32, 32), (64, 96)])
def test_logits_have_the_size_of_the_photo(size):
    for model in (unet(tiny_resnet(), 4), fcn(tiny_resnet(), 4)):
        logits = Segmentation(4).forward(model, torch.zeros(2, 3, *size))
        assert logits.shape == (2, 4, *size)


def test_torchvision_models_are_taken_as_they_are():
    model = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=3).eval()
    images, masks = patches().val.images[:2], patches().val.masks[:2]
    task = Segmentation(3)
    with torch.no_grad():
        logits = task.forward(model, images)
    assert logits.shape == (2, 3, 32, 32)
    assert task.loss(logits, masks).ndim == 0


def a_batch():
    g = torch.Generator().manual_seed(3)
    logits = torch.randn(6, 3, 8, 8, generator=g)
    masks = torch.randint(0, 3, (6, 8, 8), generator=g)
    masks[:, 0], masks[5] = IGNORE, IGNORE  # a void row, and a photo that is void altogether
    return logits, masks


def test_the_score_is_that_of_torchmetrics_over_the_whole_split():
    logits, masks = a_batch()
    by_batch = Segmentation(3).metrics([(logits[:2], masks[:2]), (logits[2:], masks[2:])])
    iou = multiclass_jaccard_index(logits.argmax(1), masks, 3, average="none", ignore_index=IGNORE)
    assert [by_batch[f"iou_{k}"] for k in range(3)] == pytest.approx(iou.tolist())
    assert by_batch["miou"] == pytest.approx(iou.mean().item())
    known = masks != IGNORE
    right = (logits.argmax(1) == masks)[known].float().mean()
    assert by_batch["accuracy"] == pytest.approx(right.item())
    assert by_batch["loss"] == pytest.approx(Segmentation(3).loss(logits, masks).item(), rel=1e-5)
    assert by_batch["samples"] == 6


def test_a_class_that_is_nowhere_does_not_count_in_the_mean():
    logits = torch.zeros(1, 4, 4, 4)
    logits[:, 0] = 1
    result = Segmentation(4).metrics([(logits, torch.zeros(1, 4, 4, dtype=torch.int64))])
    assert result["miou"] == 1.0 and "iou_3" not in result


def test_void_pixels_give_no_gradient_and_no_hit():
    logits, masks = a_batch()
    task = Segmentation(3)
    logits.requires_grad_(True)
    task.loss(logits, masks).backward()
    void = (masks == IGNORE)[:, None].expand_as(logits)
    assert (logits.grad[void] == 0).all() and (logits.grad[~void] != 0).any()
    perfect = torch.nn.functional.one_hot(masks.clamp(max=2), 3).permute(0, 3, 1, 2).float()
    assert task.hits(perfect, masks) == 5  # the photo without any truth cannot be right


def test_class_weights_make_a_rare_class_dearer():
    logits, masks = a_batch()
    even = Segmentation(3).loss(logits, masks)
    uneven = Segmentation(3, class_weights=torch.tensor([0.0, 0.0, 1.0])).loss(logits, masks)
    third = torch.nn.functional.cross_entropy(
        logits, torch.where(masks == 2, masks, IGNORE), ignore_index=IGNORE
    )
    assert uneven == pytest.approx(third.item()) and uneven != pytest.approx(even.item())


def test_photo_and_mask_move_together():
    mask = torch.zeros(40, 40, dtype=torch.int64)
    mask[10:30, 5:20] = 2
    image = (mask == 2).to(torch.uint8).mul(255).expand(3, -1, -1)
    torch.manual_seed(1)
    for _ in range(5):
        x, y = segmentation_transforms(64, train=True, mean=(0, 0, 0), std=(1, 1, 1))(
            tv_tensors.Image(image), tv_tensors.Mask(mask)
        )
        assert x.shape == (3, 64, 64) and x.dtype == torch.float32
        assert y.shape == (64, 64) and y.dtype == torch.int64
        assert set(y.unique().tolist()) <= {0, 2, IGNORE}
        seen, known = x.mean(0) > 0.4, y != IGNORE
        assert ((seen & known) == (y == 2)).float().mean() > 0.93


def test_insects_come_with_masks_that_the_transforms_take(tmp_path):
    data = ft.load_data(
        "pocket-insects", classes=("ants",), per_class=4, val_per_class=2, test_per_class=2,
        target="semantic", transform=segmentation_transforms(64), cache=tmp_path, progress=False,
    )  # fmt: skip
    image, mask = data.train[0]
    assert image.shape == (3, 64, 64) and mask.shape == (64, 64)
    assert set(mask.unique().tolist()) == {0, 1}


def test_an_empty_split_is_told():
    with pytest.raises(ValueError, match="no samples"):
        Segmentation(3).metrics([])
