"""From a photo to what a network takes: the transforms for training and for everything else."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torchvision.transforms import v2
from torchvision.transforms._presets import ImageClassification

__all__ = [
    "DEFAULT_SIZE",
    "MEAN",
    "STD",
    "Transform",
    "eval_transforms",
    "needed_side",
    "train_transforms",
]

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
DEFAULT_SIZE = 128  # side of the square that the network sees, in pixels
UNKNOWN_SIDE = 288  # short side kept for a transform that does not tell its size: enough for 224

Transform = Callable[[Any], Any]


def eval_transforms(
    size: int = DEFAULT_SIZE, mean: Sequence[float] = MEAN, std: Sequence[float] = STD
) -> Transform:
    """Resize the short side to 1.14 x size, crop the centre, normalise.

    Takes a PIL image or a uint8 tensor (3, H, W); gives float32 (3, size, size). It is the preset
    that `weights.transforms()` gives in torchvision.
    """
    return ImageClassification(
        crop_size=size, resize_size=math.ceil(1.14 * size), mean=tuple(mean), std=tuple(std)
    )


def train_transforms(
    size: int = DEFAULT_SIZE, mean: Sequence[float] = MEAN, std: Sequence[float] = STD
) -> Transform:
    """Random crop of half to all of the area, flip, slight changes of colour, normalise.

    Takes a PIL image or a uint8 tensor (3, H, W); gives float32 (3, size, size).
    Source: https://docs.pytorch.org/vision/stable/transforms.html
    """
    return v2.Compose(
        [
            v2.ToImage(),
            v2.RandomResizedCrop(size, scale=(0.5, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(mean), list(std)),
            v2.ToPureTensor(),
        ]
    )


def needed_side(transform: Transform | None) -> int:
    """The short side of photo that a transform makes full use of, 0 if it does not tell."""
    if transform is None:
        return 0
    parts = getattr(transform, "transforms", None)
    if isinstance(parts, Sequence):
        return max((needed_side(part) for part in parts), default=0)
    sides = []
    for name in ("size", "crop_size", "resize_size"):
        value = getattr(transform, name, None)
        value = [value] if isinstance(value, int) else value
        if isinstance(value, Sequence) and all(isinstance(v, int) for v in value) and value:
            sides.append(max(value))
    room = 1.25 if isinstance(transform, v2.RandomResizedCrop) else 1.0
    return math.ceil(room * max(sides, default=0))
