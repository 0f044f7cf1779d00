"""Reading a photo: any file that Pillow decodes, as upright RGB, and kept in memory once decoded."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms.v2.functional import InterpolationMode, resize

__all__ = [
    "PhotoCache",
    "decode",
    "has_alpha",
    "open_photo",
    "own_pages",
    "read_pixels",
    "reason_of",
    "shrink",
]

CACHE_BYTES = 2**30  # memory for decoded photos


def open_photo(path: str | os.PathLike) -> Image.Image:
    """A photo in full size as an upright RGB image, whatever its file holds.

    EXIF rotation is applied, 16 bits become 8, CMYK and palettes are converted, transparency is
    laid on white, of an animation the first frame is taken.

    Raises:
        ValueError: the file cannot be decoded; the message names it.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return _upright_rgb(image)
    except Exception as err:  # Pillow's decoders raise many kinds on damaged files
        if not Path(path).exists():
            raise
        raise ValueError(f"{path}: cannot be decoded ({reason_of(err)})") from err


def read_pixels(path: str | os.PathLike, short_side: int | None) -> np.ndarray:
    """A photo as uint8 (H, W, 3); shrunk, never grown, to `short_side` pixels.

    Raises:
        ValueError: the file cannot be decoded; the message names it.
    """
    try:
        with Image.open(path) as image:
            return shrink(decode(image, short_side), short_side)
    except Exception as err:
        if not Path(path).exists():
            raise
        raise ValueError(f"{path}: cannot be decoded ({reason_of(err)})") from err


def decode(image: Image.Image, short_side: int | None) -> Image.Image:
    """The whole file decoded, upright, RGB; for a JPEG perhaps at a half, a quarter, an eighth."""
    if short_side is not None and image.format == "JPEG":
        # the JPEG decoder itself can halve the size; twice the target keeps the resize smooth
        scale = 2 * short_side / min(image.size)
        image.draft(image.mode, (round(image.width * scale), round(image.height * scale)))
    image.load()
    return _upright_rgb(image)


def shrink(rgb: Image.Image, short_side: int | None) -> np.ndarray:
    if short_side is not None and min(rgb.size) > short_side:
        scale = short_side / min(rgb.size)
        size = (max(1, round(rgb.width * scale)), max(1, round(rgb.height * scale)))
        rgb = rgb.reduce(max(1, min(rgb.size) // (3 * short_side)))  # a coarse step, if it is far
        pixels = torch.from_numpy(np.array(rgb)).permute(2, 0, 1)
        shrunk = resize(pixels, list(size[::-1]), InterpolationMode.BICUBIC, antialias=True)
        return shrunk.permute(1, 2, 0).contiguous().numpy()
    return np.array(rgb)  # a copy that owns its memory, writable as torch wants it


def own_pages(pixels: np.ndarray) -> np.ndarray:
    """The same in pages of its own, which the system has back once it is let go; malloc would keep them."""
    own = np.frombuffer(mmap.mmap(-1, pixels.nbytes), np.uint8).reshape(pixels.shape)
    own[:] = pixels
    return own


def _upright_rgb(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(image).convert("RGB")
    if has_alpha(image):
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def has_alpha(image: Image.Image) -> bool:
    return image.mode in {"LA", "La", "PA", "RGBA", "RGBa"} or "transparency" in image.info


def _eight_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.float64)
    top = float(values.max(initial=0))
    if image.mode == "F" and top <= 1:
        values = values * 255
    elif top > 255:
        values = values / 257  # 65535 -> 255
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def reason_of(err: Exception) -> str:
    text = str(err)
    if "truncated" in text.lower():
        return "truncated file"
    if isinstance(err, UnidentifiedImageError):
        return "not an image, or a damaged one"
    return text.splitlines()[0][:120] if text else type(err).__name__


class PhotoCache(Sequence[Tensor]):
    """Photos as uint8 tensors (3, H, W), decoded once and kept while they fit into the budget.

    `side` is the length in pixels that the short side of a larger photo is shrunk to.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        side: int,
        pixels: Sequence[np.ndarray | None] | None = None,
        budget: int = CACHE_BYTES,
    ) -> None:
        self.paths = list(paths)
        self.side = side
        self.budget = budget
        self._pixels = list(pixels) if pixels is not None else [None] * len(self.paths)
        self._used = sum(p.nbytes for p in self._pixels if p is not None)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: Any) -> Any:
        pixels = self._pixels[i]
        if pixels is None:
            pixels = read_pixels(self.paths[i], self.side)
            if self._used + pixels.nbytes <= self.budget:
                self._pixels[i] = pixels = own_pages(pixels)
                self._used += pixels.nbytes
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def let_go(self, i: int) -> None:
        """Free the memory of a photo; it is read from its file when it is needed again."""
        pixels, self._pixels[i] = self._pixels[i], None
        self._used -= 0 if pixels is None else pixels.nbytes

    def load(self, i: int) -> Image.Image:
        return open_photo(self.paths[i])

    def with_side(self, side: int) -> PhotoCache:
        """A cache of the same photos for larger crops; itself if it is large enough."""
        return self if side <= self.side else PhotoCache(self.paths, side, budget=self.budget)
