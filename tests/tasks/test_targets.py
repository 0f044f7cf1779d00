"""Masks and boxes that are not as they should be: told, or made good where there is one right way."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import Dataset
from torchvision.transforms.functional import normalize

import ftcourse as ft
from ftcourse.data.transforms import MEAN, STD
from ftcourse.tasks.detection import Detection, fcos
from ftcourse.tasks.segmentation import IGNORE, Segmentation, fcn
from tests.conftest import tiny_resnet

STAGE = ft.Stage("head", epochs=1)


class Scenes(Dataset):
    def __init__(self, target, n=4, side=64, raw=False):
        self.target, self.n, self.side, self.raw = target, n, side, raw

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        pixels = torch.rand(3, self.side, self.side, generator=torch.Generator().manual_seed(i))
        return pixels if self.raw else normalize(pixels, list(MEAN), list(STD)), self.target(i)


def data(target, **settings):
    return SimpleNamespace(
        train=Scenes(target, **settings), val=Scenes(target, **settings), classes=["a", "b"]
    )


def square(i=0, void=False, inside=1):
    mask = torch.full((64, 64), IGNORE) if void else torch.zeros(64, 64, dtype=torch.int64)
    if not void:
        mask[8:40, 8:40] = inside
    return mask


# -- masks ---------------------------------------------------------------------------------------


def test_a_batch_without_any_truth_has_a_loss_of_zero_and_moves_nothing():
    logits = torch.randn(2, 2, 8, 8, requires_grad=True)
    loss = Segmentation(2).loss(logits, torch.full((2, 8, 8), IGNORE))
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


def test_a_void_frame_among_others_does_not_end_the_training():
    photos = data(lambda i: square(void=i == 0))
    model = fcn(tiny_resnet(), 2)
    history = ft.finetune(
        model, photos, STAGE, task=Segmentation(2), batch_size=1, progress=False, preflight=False
    )
    assert torch.isfinite(torch.tensor(history.epochs[0]["train_loss"]))
    assert all(p.isfinite().all() for p in model.parameters())


def test_the_loss_of_batches_with_truth_is_cross_entropy_to_the_bit():
    logits, masks = torch.randn(3, 4, 8, 8), torch.randint(0, 4, (3, 8, 8))
    masks[0, :2] = IGNORE
    expected = torch.nn.functional.cross_entropy(logits, masks, ignore_index=IGNORE)
    assert torch.equal(Segmentation(4).loss(logits, masks), expected)
    assert torch.equal(Segmentation(4).loss(logits, masks.to(torch.uint8)), expected)


@pytest.mark.parametrize("mask", [torch.zeros(2, 8, 8), torch.zeros(2, 1, 8, 8, dtype=torch.int64)])
def test_masks_of_another_kind_are_refused_in_plain_words(mask):
    with pytest.raises(ValueError, match=r"class numbers int64 \(N, H, W\)"):
        Segmentation(2).loss(torch.randn(2, 2, 8, 8), mask)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (lambda i: square(void=True), "masks of nothing"),
        (lambda i: square(inside=IGNORE), "masks of one class"),
        (lambda i: square(inside=7), "label out of range"),
        (lambda i: square().float(), "labels of the wrong kind"),
        (lambda i: square()[None], "labels of the wrong kind"),
        (lambda i: square()[:32, :32], "masks of another size"),
    ],
)
def test_wrong_masks_are_told_before_the_training(target, name):
    model, task = fcn(tiny_resnet(), 2), Segmentation(2)
    assert name in {f.name for f in ft.preflight(model, data(target), STAGE, task=task)}


def test_right_masks_draw_no_finding():
    model, task = fcn(tiny_resnet(), 2), Segmentation(2)
    assert ft.preflight(model, data(lambda i: square(void=i == 0)), STAGE, task=task) == []


# -- boxes ---------------------------------------------------------------------------------------


def target(boxes, labels):
    return lambda i: {"boxes": torch.tensor(boxes), "labels": torch.tensor(labels)}


RIGHT = target([[10.0, 10, 40, 40], [20.0, 5, 64, 64]], [1, 2])


def told(some):
    model = fcos(tiny_resnet(), 3, size=64)
    return {f.name for f in ft.preflight(model, data(some, raw=True), STAGE, task=Detection())}


@pytest.mark.parametrize(
    ("some", "name"),
    [
        (target([[0.1, 0.1, 0.6, 0.6]], [1]), "boxes not in pixels"),
        (target([[100.0, 100, 160, 160]], [1]), "boxes outside of the photo"),
        (target([[40.0, 40, 20, 20]], [1]), "boxes without an area"),
        (target([[10.0, 10, 40, 40]], [0]), "label out of range"),
        (target([[10.0, 10, 40, 40]], [3]), "label out of range"),
        (target([], []), "no boxes"),
        (target([[10.0, 10, 40, 40]], [1.0]), "no batch"),
        (target([[10.0, 10, 40, 40]], [1, 2]), "no batch"),
        (lambda i: {"boxes": torch.zeros(1, 4)}, "no batch"),
    ],
)
def test_wrong_boxes_are_told_before_the_training(some, name):
    assert name in told(some)


def test_right_boxes_draw_no_finding_nor_do_photos_without_any():
    assert told(RIGHT) == set()
    assert told(lambda i: RIGHT(i) if i else target([], [])(i)) == set()


def test_no_boxes_in_the_usual_form_become_none_of_the_right_shape_and_kind():
    _, (found,) = Detection.collate([(torch.rand(3, 8, 8), target([], [])(0))])
    assert found["boxes"].shape == (0, 4) and found["boxes"].dtype == torch.float32
    assert found["labels"].shape == (0,) and found["labels"].dtype == torch.int64


@pytest.mark.parametrize(
    ("some", "words"),
    [
        (target([[1.0, 2, 3]], [1]), r"boxes are \(1, 3\)"),
        (target([[1.0, 2, 3, 4]], [1.5]), "counted from 1"),
        (lambda i: {"labels": torch.ones(1)}, "no 'boxes'"),
    ],
)
def test_targets_of_another_kind_are_refused_in_plain_words(some, words):
    with pytest.raises(ValueError, match=words):
        Detection.collate([(torch.rand(3, 8, 8), some(0))])
