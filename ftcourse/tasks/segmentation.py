"""Semantic segmentation: a class for each pixel, on the same backbone.

    model = unet(ft.load_backbone("resnet18"), num_classes=3)
    ft.finetune(model, data, stages, task=Segmentation(num_classes=3))

An item of the data is (image float32 (3, H, W), mask int64 (H, W)). torchvision's own models, such as
`deeplabv3_resnet50`, which return a dict with "out", are taken as well as those that return logits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.classification import MulticlassJaccardIndex
from torchvision import tv_tensors
from torchvision.models import ResNet
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.segmentation.fcn import FCN, FCNHead
from torchvision.transforms import v2

from ftcourse.data.transforms import MEAN, STD
from ftcourse.models.backbones import origin_of
from ftcourse.tasks.task import Pairs, Task

__all__ = ["IGNORE", "Segmentation", "UNet", "fcn", "segmentation_transforms", "unet"]

IGNORE = 255  # pixels of this value count neither in the loss nor in the score


class Segmentation(Task):
    """A class for each pixel: cross-entropy in nats; mean intersection over union.

    Args:
        num_classes: with the background.
        ignore_index: pixels of the masks that have no truth.
        class_weights: float (num_classes,), the weight of each class in the training loss.
    """

    name, score, columns = "segmentation", "miou", ("loss", "accuracy", "miou")

    def __init__(
        self, num_classes: int, ignore_index: int = IGNORE, class_weights: Tensor | None = None
    ) -> None:
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.criterion = nn.CrossEntropyLoss(class_weights, ignore_index=ignore_index)

    def forward(self, model: nn.Module, inputs: Tensor, targets: Any = None) -> Tensor:
        """Logits float32 (N, classes, H, W)."""
        outputs = model(inputs)
        return (outputs["out"] if isinstance(outputs, dict) else outputs).float()

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over the pixels that have a truth; 0, with a gradient of 0, where a batch has none.

        Raises:
            ValueError: masks that are no class numbers, or not of the logits' size.
        """
        if targets.is_floating_point() or targets.ndim != 3:
            raise ValueError(
                f"Segmentation: masks are {targets.dtype} {tuple(targets.shape)}; give class numbers "
                f"int64 (N, H, W)"
            )
        loss = self.criterion.to(outputs.device)(outputs, targets.long())
        known = (targets != self.ignore_index).any()  # of nothing, the mean is 0/0
        return torch.where(known, loss, torch.zeros_like(loss))

    def wrong_targets(
        self, model: nn.Module, inputs: Any, targets: Any
    ) -> Iterator[tuple[str, str, str, str]]:
        """Masks that the loss refuses, or from which nothing can be learnt."""
        shape = f"{str(targets.dtype).removeprefix('torch.')} {tuple(targets.shape)}"
        if targets.is_floating_point() or targets.ndim != 3:
            yield (
                "labels of the wrong kind", "masks are not one class number a pixel",
                f"a batch of masks is {shape}", "give int64 (H, W): mask.squeeze(0).long()",
            )  # fmt: skip
            return
        if isinstance(inputs, Tensor) and inputs.shape[-2:] != targets.shape[-2:]:
            yield (
                "masks of another size", "masks are not of the size of their images",
                f"images {tuple(inputs.shape[-2:])}, masks {tuple(targets.shape[-2:])}",
                "move both by one transform: see segmentation_transforms",
            )  # fmt: skip
        values = targets.unique().tolist()
        known = [v for v in values if v != self.ignore_index]
        outside = [v for v in known if not 0 <= v < self.num_classes]
        if outside:
            yield (
                "label out of range", "mask values lie outside of 0 to the number of classes - 1",
                f"values {outside[:5]}, with {self.num_classes} classes; {self.ignore_index} is left out",
                "number the classes from 0, and give pixels without truth the value of ignore_index",
            )  # fmt: skip
        elif not known:
            yield (
                "masks of nothing", "masks are void throughout",
                f"all pixels of {len(targets)} masks are {self.ignore_index}, which counts neither in the loss "
                f"nor in the score", "look at how masks are read and resized",
            )  # fmt: skip
        elif len(known) == 1 and len(targets) > 3:
            told = (
                f"; the rest is {self.ignore_index}, which is left out" if len(values) > 1 else ""
            )
            yield (
                "masks of one class", "masks have one class only",
                f"{len(targets)} masks have no other value than {known[0]}{told}",
                "masks saved as 0 and 255 need 255 made 1; or give another ignore_index",
            )  # fmt: skip

    def hits(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The share of right pixels of each image, summed over the batch."""
        known = targets != self.ignore_index
        right = (outputs.argmax(1) == targets) & known
        return (right.sum((1, 2)) / known.sum((1, 2)).clamp(min=1)).sum()

    def predictions(self, outputs: Tensor) -> Tensor:
        """Class maps int64 (N, H, W)."""
        return outputs.argmax(1)

    def metrics(self, batches: Pairs) -> dict[str, float]:
        """`loss`, `accuracy` (share of right pixels), `miou`, `iou_0`, ... and `samples`.

        IoU is that of a whole split: intersections and unions are summed over all of its images. `miou` is the
        mean over the classes that are in the masks or in the predictions.
        """
        jaccard = MulticlassJaccardIndex(
            self.num_classes, average="none", ignore_index=self.ignore_index
        )
        losses, pixels, samples = 0.0, 0, 0
        for logits, masks in batches:
            known = int((masks != self.ignore_index).sum())
            losses += F.cross_entropy(
                logits, masks, ignore_index=self.ignore_index, reduction="sum"
            ).item()
            jaccard.update(logits.argmax(1), masks)
            pixels, samples = pixels + known, samples + len(masks)
        if not samples:
            raise ValueError("evaluate: this split has no samples")
        iou, confusion = jaccard.compute(), jaccard.confmat
        seen = (confusion.sum(0) + confusion.sum(1)) > 0
        return {
            "loss": losses / max(1, pixels),
            "accuracy": (confusion.diagonal().sum() / max(1, pixels)).item(),
            "miou": iou[seen].mean().item(),
            **{f"iou_{i}": value.item() for i, value in enumerate(iou) if seen[i]},
            "samples": samples,
        }


def fcn(backbone: ResNet, num_classes: int) -> FCN:
    """torchvision's fully convolutional network on a ResNet: predicts at 1/32 of the size, then enlarges.

    Source: https://arxiv.org/abs/1411.4038, https://docs.pytorch.org/vision/stable/models/fcn.html
    """
    features = IntermediateLayerGetter(backbone, {"layer4": "out"})
    model = FCN(features, FCNHead(backbone.fc.in_features, num_classes))
    return _remember(model, backbone)


class UNet(nn.Module):
    """A ResNet, and a decoder that joins each of its maps with the next finer one, as a U-Net does.

    A U-Net concatenates the two maps; here they are added, after a 1 x 1 convolution, as in a feature pyramid.

    Takes images (N, 3, H, W), H and W multiples of 32; gives logits (N, classes, H, W). `maps` names the maps that
    the decoder uses, from the finest: "relu" is that of the stem, at 1/2 of the size.
    Source: https://arxiv.org/abs/1505.04597 (U-Net), https://arxiv.org/abs/1612.03144 (feature pyramid)
    """

    maps = ("relu", "layer1", "layer2", "layer3", "layer4")

    def __init__(self, backbone: ResNet, num_classes: int, width: int = 32) -> None:
        super().__init__()
        self.backbone = IntermediateLayerGetter(backbone, {name: name for name in self.maps})
        with torch.no_grad():
            depths = [x.shape[1] for x in self.backbone.eval()(torch.zeros(1, 3, 32, 32)).values()]
        self.lateral = nn.ModuleList(nn.Conv2d(depth, width, 1) for depth in depths)
        self.merge = nn.ModuleList(_convolution(width) for _ in depths[1:])
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = [
            lateral(x)
            for lateral, x in zip(self.lateral, self.backbone(images).values(), strict=True)
        ]
        x = maps[-1]
        for finer, merge in zip(reversed(maps[:-1]), self.merge, strict=True):
            x = merge(finer + F.interpolate(x, finer.shape[-2:], mode="bilinear"))
        return F.interpolate(self.classifier(x), images.shape[-2:], mode="bilinear")


def _convolution(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
    )


def unet(backbone: ResNet, num_classes: int, width: int = 32) -> UNet:
    """A `UNet` on a backbone of `load_backbone`; its layer groups are stem, layer1 to layer4, head."""
    return _remember(UNet(backbone, num_classes, width), backbone)


def _remember(model: Any, backbone: nn.Module) -> Any:
    """`freeze_report` and `weights_of` know the backbone in its new place as well."""
    origin = origin_of(backbone)
    if origin is not None:
        model.ftcourse_origin = origin.inside("backbone.")
    return model.eval()


def segmentation_transforms(
    size: int | Sequence[int] = 128,
    train: bool = False,
    degrees: float = 15,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
) -> v2.Compose:
    """Image and mask moved together: resized to (height, width), and in training cropped, turned and flipped.

    Takes a tv_tensors.Image uint8 (3, H, W) and a tv_tensors.Mask int64 (H, W); gives plain tensors, float32 and
    int64. Where turning by up to `degrees` leaves a corner without a picture, the mask is `IGNORE`.
    """
    size = [size, size] if isinstance(size, int) else list(size)
    move: list[nn.Module] = [v2.Resize(size, antialias=True)]
    if train:
        empty: Any = {tv_tensors.Image: [round(255 * m) for m in mean], tv_tensors.Mask: IGNORE}
        move = [
            v2.RandomResizedCrop(size, scale=(0.5, 1.0), ratio=(0.9, 1.1), antialias=True),
            v2.RandomRotation(degrees, fill=empty),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
        ]
    finish = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(mean), list(std))]
    return v2.Compose([*move, *finish, v2.ToPureTensor()])
