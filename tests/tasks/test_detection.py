"""Detection: torchvision's detectors in the same loop, scored as COCO does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

import ftcourse as ft
from ftcourse.tasks import detection
from ftcourse.tasks.detection import Detection, detection_transforms, fcos, mean_average_precision
from tests.conftest import tiny_resnet

pytest.importorskip("pycocotools", reason="the extra `detection` is not installed")
QUIET = {"progress": False, "batch_size": 4}


class Squares(Dataset):
    """Noise with one or two squares: bright (label 1) or dark (label 2)."""

    def __init__(self, n: int, seed: int) -> None:
        g = torch.Generator().manual_seed(seed)
        self.items = []
        for i in range(n):
            image = 0.4 + 0.1 * torch.rand(3, 64, 64, generator=g)
            boxes, labels = [], []
            for k in range(1 + i % 2):
                x, y = (torch.randint(0, 12, (2,), generator=g) + 32 * k).tolist()
                label = 1 + int(torch.randint(0, 2, (1,), generator=g))
                image[:, y : y + 20, x : x + 20] = 1.0 if label == 1 else 0.0
                boxes.append([x, y, x + 20, y + 20])
                labels.append(label)
            target = {"boxes": torch.tensor(boxes).float(), "labels": torch.tensor(labels)}
            self.items.append((image, target))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int):
        return self.items[i]


@dataclass
class SquareData:
    train: Any
    val: Any
    classes: tuple[str, ...] = ("bright", "dark")


def test_it_learns_to_find_squares_and_keeps_the_best_map(tmp_path):
    torch.manual_seed(0)
    data, task = SquareData(Squares(24, 1), Squares(8, 2)), Detection()
    model = fcos(tiny_resnet(), 3, size=64, width=32)
    stage = ft.Stage("all", epochs=12, lr=1e-2)
    history = ft.finetune(model, data, stage, task=task, out_dir=tmp_path, **QUIET)
    assert set(history.epochs[0]) >= {"train_loss", "val_map", "val_map_50"}
    assert "val_loss" not in history.epochs[0] and "train_accuracy" not in history.epochs[0]
    assert history.best["val_map"] == max(history.column("val_map"))
    assert history.best["val_map_50"] > 0.5
    kept = ft.evaluate(model, data.val, task=task)
    assert kept["map"] == pytest.approx(history.best["val_map"])


def test_predictions_are_one_dict_a_photo():
    data = Squares(5, 1)
    found, truth = ft.predict(fcos(tiny_resnet(), 3, size=64), data, task=Detection(), batch_size=2)
    assert len(found) == len(truth) == 5
    assert set(found[0]) == {"boxes", "labels", "scores"}
    assert torch.equal(truth[1]["boxes"], data[1][1]["boxes"])


def test_the_groups_are_those_of_the_backbone_and_a_head():
    model = fcos(ft.load_backbone("resnet18"), 3)
    assert list(ft.layer_groups(model)) == ["stem", "layer1", "layer2", "layer3", "layer4", "head"]
    rows = {r["group"]: r for r in ft.freeze_report(model).rows}
    assert rows["layer3"]["moved"] == 0 and rows["head"]["moved"] == "new"
    assert sum(r["parameters"] for r in rows.values()) == sum(p.numel() for p in model.parameters())
    ft.apply_stage(model, ft.Stage("head"))
    trains = {n.split(".")[1] for n, p in model.named_parameters() if p.requires_grad}
    assert trains == {"fpn", "classification_head", "regression_head"}


def test_deeper_backbones_fit_too():
    model = fcos(ft.load_backbone("resnet50", weights=None), 3, size=64)
    assert [m[0].in_channels for m in model.backbone.fpn.inner_blocks] == [512, 1024, 2048]


def test_torchvision_detectors_are_taken_as_they_are():
    torch.manual_seed(0)
    model = fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=3, min_size=64, max_size=64
    )
    task, data = Detection(), Squares(2, 1)
    images, targets = task.collate([data[0], data[1]])
    loss = task.loss(task.forward(model.train(), images, targets), targets)
    assert loss.ndim == 0 and torch.isfinite(loss)


def boxes_of(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def test_the_score_of_right_and_wrong_boxes():
    truth = [{"boxes": boxes_of([0, 0, 20, 20]), "labels": torch.tensor([1])}]
    right = [{**truth[0], "scores": torch.tensor([0.9])}]
    shifted = [{**right[0], "boxes": boxes_of([6, 0, 26, 20])}]  # IoU 14/26 = 0.54
    nothing = [{"boxes": boxes_of(), "labels": torch.tensor([]).long(), "scores": torch.tensor([])}]
    task = Detection()
    assert task.metrics([(right, truth)])["map"] == pytest.approx(1.0)
    half = task.metrics([(shifted, truth)])
    assert half["map_50"] == pytest.approx(1.0) and half["map"] == pytest.approx(0.1)
    assert task.metrics([(nothing, truth)])["map"] == 0


def test_a_class_that_is_not_in_the_truth_has_no_score():
    truth = [{"boxes": boxes_of([0, 0, 20, 20]), "labels": torch.tensor([1])}]
    found = [
        {
            "boxes": boxes_of([0, 0, 20, 20], [30, 30, 40, 40]),
            "labels": torch.tensor([1, 2]),
            "scores": torch.tensor([0.9, 0.8]),
        }
    ]
    result = Detection().metrics([(found, truth)])
    assert "map_2" not in result and result["map_1"] == pytest.approx(1.0)


def test_photo_and_boxes_move_together():
    image = torch.zeros(3, 40, 60, dtype=torch.uint8)
    image[:, 5:15, 10:30] = 255
    target = {
        "boxes": tv_tensors.BoundingBoxes(
            boxes_of([10, 5, 30, 15]), format="XYXY", canvas_size=(40, 60)
        ),
        "labels": torch.tensor([1]),
    }
    torch.manual_seed(0)
    places = set()
    for _ in range(12):
        x, y = detection_transforms(train=True)(tv_tensors.Image(image), target)
        left, top, right, bottom = y["boxes"][0].int().tolist()
        inside = torch.zeros(40, 60, dtype=torch.bool)
        inside[top:bottom, left:right] = True
        assert torch.equal(x.mean(0) > 0.4, inside)
        places.add((left, top))
    assert len(places) == 4  # as it was, mirrored, upside down, and both


def test_a_batch_leaves_out_what_detectors_do_not_take():
    target = {
        "boxes": boxes_of([0, 0, 2, 2]),
        "labels": torch.tensor([1]),
        "masks": torch.ones(1, 4, 4),
    }
    images, targets = Detection.collate([(torch.zeros(3, 4, 4), target)])
    assert isinstance(images, list) and set(targets[0]) == {"boxes", "labels"}


def test_without_pycocotools_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(detection, "RequirementCache", lambda name: False)
    with pytest.raises(ModuleNotFoundError, match=r"ftcourse\[detection\]"):
        mean_average_precision([], [])
