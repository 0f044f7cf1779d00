"""A picture in 256 colours: a third of the bytes, and hardly to be seen."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.spatial.distance import cdist

__all__ = ["few_colours"]


def few_colours(picture: Image.Image) -> Image.Image:
    """The picture with a palette of 256 colours: the 64 commonest as they are, and the rare ones spread out."""
    image = picture.convert("RGB")
    pixels = np.asarray(image).astype(np.int32) @ (65536, 256, 1)
    colours, place, count = np.unique(pixels, return_inverse=True, return_counts=True)
    common = colours[count.argsort()[::-1][:64]]  # paper and ink, as they are
    rare = image.quantize(192, Image.Quantize.MAXCOVERAGE).getpalette() or []
    palette = np.concatenate([_rgb(common), np.reshape(rare[: 3 * 192], (-1, 3))])
    nearest = cdist(_rgb(colours), palette).argmin(1).astype(np.uint8)
    mapped = Image.fromarray(nearest[place].reshape(pixels.shape), mode="P")
    mapped.putpalette(palette.astype(np.uint8).tobytes())
    return mapped


def _rgb(packed: np.ndarray) -> np.ndarray:
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], 1)
