"""The augmentation viewer: one photo, and what a training transform makes of it."""

from __future__ import annotations

import io
from typing import Any

import ipywidgets as w
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from ftcourse.data.transforms import MEAN, STD
from ftcourse.widgets.base import Explorer, Picture, escape, page, png

__all__ = [
    "AugmentationViewer",
    "augmentation",
    "augmentation_code",
    "augmentation_viewer",
    "augmented",
]

COLUMNS, ROWS, GAP = 6, 2, 6


def augmentation(
    size: int = 128,
    *,
    crop: float = 0.5,
    flip: bool = True,
    colour: float = 0.2,
    rotation: float = 0.0,
    normalise: bool = True,
) -> Any:
    """A training transform from a few numbers; with the defaults that of `train_transforms(size)`.

    Args:
        crop: the smallest share of the area that a crop keeps; 1 keeps the whole photo, squeezed to a square.
        flip: left and right change places in half of the cases.
        colour: brightness, contrast and saturation change by up to this share.
        rotation: degrees, to either side.
        normalise: False leaves values in 0 to 1, to be looked at.

    Returns:
        A transform that takes a PIL image or uint8 (3, H, W) and gives float32 (3, size, size).
    """
    steps: list[Any] = [v2.ToImage()]
    if rotation:
        steps.append(v2.RandomRotation(rotation, interpolation=v2.InterpolationMode.BILINEAR))
    steps.append(v2.RandomResizedCrop(size, scale=(crop, 1.0), antialias=True))
    if flip:
        steps.append(v2.RandomHorizontalFlip())
    if colour:
        steps.append(v2.ColorJitter(brightness=colour, contrast=colour, saturation=colour))
    steps.append(v2.ToDtype(torch.float32, scale=True))
    if normalise:
        steps.append(v2.Normalize(list(MEAN), list(STD)))
    return v2.Compose([*steps, v2.ToPureTensor()])


def augmentation_code(size: int, crop: float, flip: bool, colour: float, rotation: float) -> str:
    """The call that makes this transform."""
    return f"widgets.augmentation({size}, crop={crop:g}, flip={flip}, colour={colour:g}, rotation={rotation:g})"


def augmented(photo: Any, transform: Any, count: int, seed: int) -> list[Tensor]:
    """`count` draws of the transform, float32 (3, size, size); the notebook's random numbers are left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return [transform(photo).clamp(0, 1) for _ in range(count)]


def mosaic(tiles: list[Any], columns: int = COLUMNS, gap: int = GAP) -> bytes:
    """Float (3, S, S) images in 0 to 1, side by side on transparent ground, as a PNG."""
    side = tiles[0].shape[-1]
    rows = -(-len(tiles) // columns)
    sheet = Image.new(
        "RGBA", (columns * side + (columns - 1) * gap, rows * side + (rows - 1) * gap), (0, 0, 0, 0)
    )
    for k, tile in enumerate(tiles):
        array = (255 * np.asarray(tile).transpose(1, 2, 0)).round().astype(np.uint8)
        row, column = divmod(k, columns)
        sheet.paste(Image.fromarray(array), (column * (side + gap), row * (side + gap)))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()


class AugmentationViewer(Explorer):
    """See `augmentation_viewer`."""

    alt = "The photo as it is, first, and eleven random variants of it."

    def __init__(self, split: Any, size: int) -> None:
        self.split, self.size, self.seed = split, size, 0
        wide = w.Layout(width="340px")
        style = {"description_width": "130px"}
        self.photo = w.IntSlider(
            value=0, min=0, max=len(split) - 1, description="photo", layout=wide, style=style
        )
        self.crop = w.FloatSlider(
            value=0.5,
            min=0.05,
            max=1.0,
            step=0.05,
            description="smallest crop",
            layout=wide,
            style=style,
        )
        self.colour = w.FloatSlider(
            value=0.2, min=0.0, max=0.8, step=0.1, description="colour", layout=wide, style=style
        )
        self.rotation = w.IntSlider(
            value=0,
            min=0,
            max=45,
            step=5,
            description="rotation, degrees",
            layout=wide,
            style=style,
        )
        self.flip = w.Checkbox(
            value=True, description="flip", indent=False, layout=w.Layout(width="80px")
        )
        self.again = w.Button(
            description="Draw again", icon="refresh", layout=w.Layout(width="130px")
        )
        self.image = Picture("820px")
        self.code = w.HTML()
        for control in (self.photo, self.crop, self.colour, self.rotation, self.flip):
            control.observe(lambda change: self.refresh(), "value")
        self.again.on_click(lambda _: self._again())
        left = w.VBox([self.photo, self.crop])
        right = w.VBox([self.colour, self.rotation])
        buttons = w.VBox([self.flip, self.again])
        self.view = w.VBox(
            [
                w.HBox([left, right, buttons], layout=w.Layout(flex_flow="row wrap")),
                self.image,
                self.code,
            ],
            layout=w.Layout(width="100%"),
        )
        self.refresh()

    @property
    def settings(self) -> dict[str, Any]:
        """What the controls say, as `augmentation` takes it."""
        return {
            "crop": round(self.crop.value, 2), "flip": self.flip.value,
            "colour": round(self.colour.value, 2), "rotation": self.rotation.value,
        }  # fmt: skip

    @property
    def transform(self) -> Any:
        """The transform as set, to train with `data.with_transforms(viewer.transform, data.val.transform)`."""
        return augmentation(self.size, **self.settings)

    def _again(self) -> None:
        self.seed += 1
        self.refresh()

    def refresh(self) -> None:
        photo = self.split.image(self.photo.value)
        plain = v2.Compose(
            [
                v2.Resize(self.size, antialias=True),
                v2.CenterCrop(self.size),
                v2.ToDtype(torch.float32, scale=True),
            ]
        )
        look = augmentation(self.size, normalise=False, **self.settings)
        drawn = augmented(photo, look, COLUMNS * ROWS - 1, self.seed)
        self.image.show(mosaic([plain(photo), *drawn]), self.alt)
        call = augmentation_code(self.size, **self.settings)
        self.code.value = page(
            f'<div style="margin-top:6px"><span class="soft">First the photo as it is. The same as</span> '
            f"<code>{escape(call)}</code></div>"
        )

    def still(self) -> dict[str, str]:
        call = augmentation_code(self.size, **self.settings)
        return {
            "image/png": png(self.image.content),
            "text/plain": f"the photo, then 11 draws of {call}",
        }


def augmentation_viewer(data: Any, *, size: int = 128) -> AugmentationViewer:
    """Move sliders and see what a training transform does to a photo; `.transform` is what you have set.

    Args:
        data: a `Data` (its training photos are shown) or a `Split`.
        size: side of what the network gets, in pixels.
    """
    return AugmentationViewer(getattr(data, "train", data), size)
