"""Object detection: boxes with classes, by torchvision's detectors, on the same backbone.

    model = fcos(ft.load_backbone("resnet18"), num_classes=3)
    ft.finetune(model, data, stages, task=Detection())

An item of the data is (image float32 (3, H, W) in 0 to 1, target). The target is a dict: `boxes` float32 (n, 4) as
left, top, right, bottom in pixels; `labels` int64 (n,), counted from 1, since torchvision keeps 0 for the
background. The detectors resize and normalise for themselves. In training they return a dict of losses, and
otherwise a list of dicts with `boxes`, `labels` and `scores`. Torchvision's own detectors, such as
`fasterrcnn_resnet50_fpn_v2`, are taken too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics.detection import MeanAveragePrecision
from torchmetrics.utilities.imports import RequirementCache
from torchvision.models import ResNet
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.transforms import v2

from ftcourse.data.transforms import MEAN, STD
from ftcourse.models.backbones import origin_of
from ftcourse.tasks.task import Pairs, Task, joined

__all__ = ["Detection", "detection_transforms", "fcos", "mean_average_precision"]

Boxes = dict[str, Tensor]


class Detection(Task):
    """Boxes with classes: the detector's own losses, summed; mean average precision (mAP) as COCO defines it."""

    name, score, columns = "detection", "map", ("loss", "map", "map_50")

    @staticmethod
    def collate(items: list) -> tuple[list[Tensor], list[Boxes]]:
        """Lists, since photos differ in their number of boxes, and may differ in size.

        Raises:
            ValueError: a target without boxes or labels, of another kind, or of unequal numbers.
        """
        return [image for image, _ in items], [_plain(target) for _, target in items]

    def wrong_targets(
        self, model: nn.Module, inputs: Any, targets: Any
    ) -> Iterator[tuple[str, str, str, str]]:
        """Boxes and labels that a detector takes without a word and cannot learn from."""
        boxes = torch.cat([t["boxes"] for t in targets])
        labels = torch.cat([t["labels"] for t in targets])
        if not len(boxes):
            yield (
                "no boxes", "there is no box in any photo", f"{len(targets)} photos were looked at",
                "look at how boxes are read",
            )  # fmt: skip
            return
        classes = _classes(model)
        if labels.min() < 1 or (classes is not None and labels.max() >= classes):
            yield (
                "label out of range", "labels of boxes are not counted from 1",
                f"they go from {labels.min()} to {labels.max()}"
                + (f", and the detector has {classes} classes with the background" if classes else ""),
                "0 is the background: add 1 to the labels, and 1 to the detector's num_classes",
            )  # fmt: skip
        yield from _wrong_boxes(inputs, targets, boxes)

    def forward(self, model: nn.Module, inputs: list[Tensor], targets: Any = None) -> Any:
        return model(inputs) if targets is None else model(inputs, targets)

    def loss(self, outputs: dict[str, Tensor], targets: Any) -> Tensor:
        return torch.stack(list(outputs.values())).sum()

    def metrics(self, batches: Pairs) -> dict[str, float]:
        """`map` (mean over IoU 0.5 to 0.95), `map_50`, `map_1`, ... by class, and `samples`."""
        found, truth = joined(batches)
        result = mean_average_precision(found, truth)
        classes, values = result["classes"].flatten(), result["map_per_class"].flatten()
        return {
            "map": result["map"].item(),
            "map_50": result["map_50"].item(),
            **{  # -1 stands for a class that is not in the truth
                f"map_{int(k)}": v.item() for k, v in zip(classes, values, strict=True) if v >= 0
            },
            "samples": len(found),
        }


def _plain(target: Boxes) -> Boxes:
    """Boxes float32 (n, 4) and labels int64 (n,); the usual `torch.tensor([])` stands for none."""
    missing = [k for k in ("boxes", "labels") if k not in target]
    if missing:
        raise ValueError(f"Detection: a target has no {missing[0]!r}, only {', '.join(target)}")
    boxes, labels = (torch.as_tensor(target[k]) for k in ("boxes", "labels"))
    if boxes.numel() % 4 or (boxes.numel() and boxes.shape[-1] != 4):
        raise ValueError(f"Detection: boxes are {tuple(boxes.shape)}, expected (n, 4)")
    boxes = boxes.reshape(-1, 4).float()
    if labels.numel() and labels.is_floating_point():
        raise ValueError(f"Detection: labels are {labels.dtype}; give int64, counted from 1")
    labels = labels.reshape(-1).long()
    if len(boxes) != len(labels):
        raise ValueError(f"Detection: a target has {len(boxes)} boxes and {len(labels)} labels")
    return {"boxes": boxes, "labels": labels}


def _classes(model: nn.Module) -> int | None:
    """How many classes a torchvision detector was made for, with the background."""
    for part in (getattr(model, "head", None), getattr(model, "roi_heads", None)):
        for name in ("classification_head", "box_predictor"):
            inner: Any = getattr(part, name, None)
            if isinstance(getattr(inner, "num_classes", None), int):
                return inner.num_classes
            if hasattr(inner, "cls_score"):
                return inner.cls_score.out_features
    return None


def _wrong_boxes(
    images: Sequence[Tensor], targets: Sequence[Boxes], boxes: Tensor
) -> Iterator[tuple[str, str, str, str]]:
    if boxes.max() <= 1.0:
        yield (
            "boxes not in pixels", "boxes are not in pixels",
            f"no side of {len(boxes)} boxes lies beyond {boxes.max():.2f}",
            "multiply left and right by the photo's width, top and bottom by its height",
        )  # fmt: skip
        return
    turned = (boxes[:, 2:] <= boxes[:, :2]).any(1)
    if turned.any():
        yield (
            "boxes without an area", "boxes are not left, top, right, bottom",
            f"{int(turned.sum())} of {len(boxes)} have their right or bottom before their left or top, "
            f"{[round(v, 1) for v in boxes[turned][0].tolist()]} for one",
            "boxes as left, top, width, height: torchvision.ops.box_convert(boxes, 'xywh', 'xyxy')",
        )  # fmt: skip
        return
    away = []
    for image, target in zip(images, targets, strict=True):
        size = torch.tensor([image.shape[-1], image.shape[-2]] * 2, device=target["boxes"].device)
        beyond = target["boxes"] - size
        away += [
            (b[:2] >= -1e-3).any() | (b[2:] > 0.1 * size[2:]).any() | (box[2:] <= 0).any()
            for b, box in zip(beyond, target["boxes"], strict=True)
        ]
    outside = int(torch.stack(away).sum())
    if outside:
        yield (
            "boxes outside of the photo", "boxes lie outside of their photos",
            f"{outside} of {len(boxes)} boxes, wholly or by more than a tenth",
            "resize boxes with their photos (tv_tensors.BoundingBoxes); is it x before y?",
        )  # fmt: skip


def mean_average_precision(
    found: Sequence[Boxes], truth: Sequence[Boxes], **options: Any
) -> dict[str, Any]:
    """torchmetrics' MeanAveragePrecision of predictions (with `scores`) against targets, one dict a photo each.

    Raises:
        ModuleNotFoundError: pycocotools, which does the counting, is not installed.
    """
    if not RequirementCache("pycocotools"):
        raise ModuleNotFoundError(
            "mean average precision needs pycocotools: pip install 'ftcourse[detection]'",
            name="pycocotools",
        )
    metric = MeanAveragePrecision(class_metrics=True, **options)
    metric.warn_on_many_detections = False
    metric.update(list(found), list(truth))
    return metric.compute()


def fcos(backbone: ResNet, num_classes: int, size: int = 96, width: int = 64) -> FCOS:
    """torchvision's FCOS on a pyramid of layer2 to layer4 of a ResNet.

    Args:
        backbone: of `load_backbone`; its layer groups keep their names, and the head is all the rest.
        num_classes: with the background.
        size: photos are resized so that their shorter side has so many pixels, the longer at most twice as many.
        width: channels of the pyramid and of the heads; torchvision's own detectors have 256.

    Source: https://arxiv.org/abs/1904.01355, https://docs.pytorch.org/vision/stable/models/fcos.html
    """
    depths = [_depth(backbone.get_submodule(f"layer{i}")) for i in (2, 3, 4)]
    pyramid = BackboneWithFPN(
        backbone, {"layer2": "0", "layer3": "1", "layer4": "2"}, depths, width
    )
    strides = (
        (8,),
        (16,),
        (32,),
        (64,),
    )  # of layer2, layer3, layer4, and one that the pyramid adds
    model = FCOS(
        pyramid, num_classes, min_size=size, max_size=2 * size,
        image_mean=list(MEAN), image_std=list(STD),
        anchor_generator=AnchorGenerator(strides, ((1.0,),) * len(strides)),
        score_thresh=0.05, nms_thresh=0.5,
    )  # fmt: skip
    origin = origin_of(backbone)
    if origin is not None:
        model.ftcourse_origin = origin.inside("backbone.body.")  # type: ignore[assignment]
    return model.eval()


def _depth(stage: nn.Module) -> int:
    """Channels of what a stage of a ResNet gives."""
    return [m for m in stage.modules() if isinstance(m, nn.Conv2d)][-1].out_channels


def detection_transforms(train: bool = False) -> v2.Compose:
    """Photo and boxes moved together: in training flipped both ways and changed in colour.

    Takes a tv_tensors.Image uint8 (3, H, W) and a target with tv_tensors.BoundingBoxes; gives plain tensors, the
    image float32 in 0 to 1. A photo from the side should not be flipped upside down: then choose your own.
    """
    move: list[nn.Module] = []
    if train:
        move = [
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
        ]
    return v2.Compose([*move, v2.ToDtype(torch.float32, scale=True), v2.ToPureTensor()])
