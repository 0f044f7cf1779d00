"""From a photo to what a network takes: the transforms for training and for everything else."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torchvision import transforms
from torchvision.transforms import v2
from torchvision.transforms._presets import ImageClassification

__all__ = [
    "AUGMENTATIONS",
    "DEFAULT_SIZE",
    "MEAN",
    "STD",
    "Transform",
    "eval_transforms",
    "needed_side",
    "seen_region",
    "train_transforms",
]

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
DEFAULT_SIZE = 128  # side of the square that the network sees, in pixels
AUGMENTATIONS = ("none", "light", "standard", "strong")
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
    size: int = DEFAULT_SIZE,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
    augment: str = "standard",
) -> Transform:
    """Random crop, flip and changes of colour, then normalise: each photo another one in each epoch.

    | augment  | area of the crop | mirrored | and                                                         |
    | -------- | ---------------- | -------- | ----------------------------------------------------------- |
    | none     | the centre       | never    | nothing: `eval_transforms`, the same photo in each epoch    |
    | light    | 0.8 to 1         | never    | brightness, contrast by 0.1: for text, maps, left and right |
    | standard | 0.5 to 1         | half     | brightness, contrast, saturation by 0.2                     |
    | strong   | 0.25 to 1        | half     | one operation of TrivialAugment, a rectangle erased         |

    Takes a PIL image or a uint8 tensor (3, H, W); gives float32 (3, size, size).
    Sources: https://docs.pytorch.org/vision/stable/transforms.html; TrivialAugment, https://arxiv.org/abs/2103.10158

    Raises:
        ValueError: no such augmentation.
    """
    if augment not in AUGMENTATIONS:
        raise ValueError(f"augment={augment!r}: use one of {', '.join(AUGMENTATIONS)}")
    if augment == "none":
        return eval_transforms(size, mean, std)
    area, change, after = _AUGMENTATIONS[augment]
    return v2.Compose(
        [
            v2.ToImage(),
            v2.RandomResizedCrop(size, scale=(area, 1.0), antialias=True),
            *change,
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(mean), list(std)),
            *after,
            v2.ToPureTensor(),
        ]
    )


# the smallest crop, what is done to the photo, what is done to the normalised one
_AUGMENTATIONS: dict[str, tuple[float, list[nn.Module], list[nn.Module]]] = {
    "light": (0.8, [v2.ColorJitter(brightness=0.1, contrast=0.1)], []),
    "standard": (
        0.5,
        [
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
        ],
        [],
    ),
    "strong": (
        0.25,
        [v2.RandomHorizontalFlip(), v2.TrivialAugmentWide()],
        [v2.RandomErasing(p=0.25)],
    ),
}


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


def seen_region(transform: Transform, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The part of a photo that is left of it for the network: left, top, right, bottom in the photo's pixels.

    Args:
        transform: torchvision's preset (`eval_transforms`, `weights.transforms()`), or a Compose (Sequential) of
            Resize, CenterCrop and steps that move nothing.
        size: width and height of the photo, as PIL's `photo.size`.

    A crop that is larger than the resized photo is padded; the region then reaches beyond the photo.

    Raises:
        ValueError: a step moves pixels in another way, or at random; the message names it.
    """
    width, height = size
    left, top, right, bottom = 0.0, 0.0, float(width), float(height)
    now = (width, height)  # of the image at this step
    for step in _steps(transform):
        x, y = (right - left) / now[0], (bottom - top) / now[1]  # photo's pixels in one of these
        if isinstance(step, v2.Resize | transforms.Resize):
            now = _resized(step, now)
        elif isinstance(step, v2.CenterCrop | transforms.CenterCrop):
            tall, wide = (step.size, step.size) if isinstance(step.size, int) else step.size
            left += x * _begin(now[0], wide)
            top += y * _begin(now[1], tall)
            right, bottom, now = left + x * wide, top + y * tall, (wide, tall)
        elif not isinstance(step, _STILL):
            raise ValueError(
                f"{type(step).__name__}: which part of a photo it keeps is not known; "
                f"Resize and CenterCrop, or weights.transforms(), tell"
            )
    return left, top, right, bottom


# steps that leave each pixel where it is
_STILL = (
    v2.ToImage, v2.ToDtype, v2.ToPureTensor, v2.ToTensor, v2.PILToTensor, v2.Normalize, v2.Identity, v2.RGB,
    v2.ColorJitter, v2.Grayscale, v2.ConvertImageDtype, nn.Identity, transforms.ToTensor,
    transforms.PILToTensor, transforms.Normalize, transforms.ConvertImageDtype,
)  # fmt: skip


def _steps(transform: Any) -> list[Any]:
    """The single steps, in order; a preset is a Resize and a CenterCrop."""
    if isinstance(transform, ImageClassification):
        return [v2.Resize(transform.resize_size), v2.CenterCrop(transform.crop_size)]
    parts = getattr(transform, "transforms", None)
    if parts is None and isinstance(transform, nn.Sequential):
        parts = list(transform)
    if parts is None:
        return [transform]
    return [step for part in parts for step in _steps(part)]


def _begin(length: int, crop: int) -> int:
    """Where a centre crop begins, as torchvision rounds it; below 0 where the image is padded for it."""
    return round((length - crop) / 2) if crop <= length else -((crop - length) // 2)


def _resized(step: Any, now: tuple[int, int]) -> tuple[int, int]:
    """Width and height after a Resize, as torchvision computes them."""
    width, height = now
    size = [step.size] if isinstance(step.size, int) else list(step.size)
    if len(size) == 2:
        return size[1], size[0]
    short, long = min(width, height), max(width, height)
    longer = int(size[0] * long / short)
    return (size[0], longer) if width <= height else (longer, size[0])
