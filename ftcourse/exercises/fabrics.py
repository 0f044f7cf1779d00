"""A folder of small photos for a check that trains on it: fabrics, made in a moment, in three classes.

folder = write(Path("fabrics"))      # folder/train/checks/0.png, ..., and val
photos, targets = held_out(8)        # 24 other photos, and their classes
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["CLASSES", "held_out", "write"]

CLASSES = ("checks", "dots", "stripes")
SIDE = 72
COUNTS = {"train": 14, "val": 6}  # of each class
TEST = 9_000  # the first number of the photos that are in no folder


def photo(label: str, number: int) -> Image.Image:
    """One fabric: two colours, an angle, a scale, some noise; the same for the same number."""
    rng = np.random.default_rng([CLASSES.index(label), number])
    angle, period = rng.uniform(0, np.pi), rng.uniform(9, 15)
    y, x = np.mgrid[:SIDE, :SIDE] * (2 * np.pi / period)
    along, across = (
        x * np.cos(angle) + y * np.sin(angle) + rng.uniform(0, 6),
        y * np.cos(angle) - x * np.sin(angle) + rng.uniform(0, 6),
    )
    if label == "stripes":
        mark = np.sin(along) > 0
    elif label == "checks":
        mark = (np.sin(along) > 0) ^ (np.sin(across) > 0)
    else:
        mark = np.sin(along) + np.sin(across) > 0.9
    ground, ink = rng.uniform(0, 100, 3), rng.uniform(140, 255, 3)
    if rng.random() < 0.5:
        ground, ink = ink, ground
    pixels = np.where(mark[..., None], ink, ground) + rng.normal(0, 14, (SIDE, SIDE, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def write(folder: Path) -> Path:
    """Write train and val, in class folders; returns the folder."""
    first = 0
    for split, count in COUNTS.items():
        for label in CLASSES:
            place = folder / split / label
            place.mkdir(parents=True)
            for i in range(count):
                photo(label, first + i).save(place / f"{i}.png")
        first += count
    return folder


def held_out(count: int) -> tuple[list[Image.Image], list[int]]:
    """So many new photos of each class, and their classes as `ImageFolder` numbers them."""
    photos = [photo(label, TEST + i) for label in CLASSES for i in range(count)]
    return photos, [target for target in range(len(CLASSES)) for _ in range(count)]
