"""Greys of more than 8 bits, and floats: scaled to 8 bits by what they hold.

A file of 16 bits often holds 10, 12 or 14: of microscopes, thermal, X-ray and machine-vision cameras. Divided as
16 bits they would be black.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from PIL import Image

__all__ = ["bits_of", "common_bits", "eight_bits", "is_deep"]

BITS = (8, 10, 12, 14, 16, 20, 24, 32)  # of usual cameras and files


def is_deep(image: Image.Image) -> bool:
    """Whether its greys are integers of more than 8 bits, or floats."""
    return image.mode.startswith("I") or image.mode == "F"


def bits_of(image: Image.Image) -> int:
    """The fewest usual bits that hold the brightest value of deep integers; 0 for any other image."""
    if not image.mode.startswith("I"):
        return 0
    top = int(np.asarray(image).max(initial=0))
    return next(bits for bits in BITS if top < 2**bits)


def common_bits(all_bits: Iterable[int]) -> int:
    """The most frequent depth of a folder's deep photos, the deeper one of two; 0 if there are none.

    Dim photos are scaled like the others of their folder, while one hot pixel in one file changes no other file.
    """
    times = Counter(bits for bits in all_bits if bits)
    return max(times, key=lambda bits: (times[bits], bits), default=0)


def eight_bits(image: Image.Image, bits: int = 0) -> Image.Image:
    """Deep greys as 8 bits (mode L).

    Args:
        bits: the depth that they are taken to have at least: that of the other photos of their folder.
    """
    values = np.nan_to_num(np.asarray(image).astype(np.float32), posinf=0, neginf=0)
    low, top = float(values.min(initial=0)), float(values.max(initial=0))
    if low < 0:  # no convention tells what is black: their own range
        values, white = values - low, top - low
    elif image.mode == "F":
        white = _white_of_floats(top)
    else:
        white = 2.0 ** max(bits, bits_of(image)) - 1
    scaled = np.rint(values * (255 / max(white, 1e-30)))
    return Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8))


def _white_of_floats(top: float) -> float:
    """1 or a usual depth where the brightest value is within a quarter of it; otherwise that value itself."""
    if top <= 1:
        return 1.0
    whites = (2.0**bits - 1 for bits in BITS)
    return next((white for white in whites if white / 4 <= top <= white), top)
