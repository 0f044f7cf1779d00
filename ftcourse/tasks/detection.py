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

from collections.abc import Sequence
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
        """Lists, since photos differ in their number of boxes, and may differ in size."""
        images = [image for image, _ in items]
        return images, [{k: target[k] for k in ("boxes", "labels")} for _, target in items]

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
