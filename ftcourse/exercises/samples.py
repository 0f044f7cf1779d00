"""Real photos that are on every learner's disk: they come with scikit-learn and matplotlib.

Photos: Grace Hopper, US Navy, public domain; temple, Daniel Büchele; dahlia, vultilion on Flickr
(both CC BY 2.0, https://scikit-learn.org/stable/api/sklearn.datasets.html).
"""

from __future__ import annotations

import numpy as np
import torch
from matplotlib import cbook
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor

__all__ = ["pieces", "sample_photos"]


def sample_photos() -> dict[str, Image.Image]:
    """Three RGB photos by name: "Grace Hopper", "temple", "dahlia"."""
    hopper = Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    return {
        "Grace Hopper": hopper.convert("RGB"),
        "temple": Image.fromarray(load_sample_image("china.jpg")),
        "dahlia": Image.fromarray(load_sample_image("flower.jpg")),
    }


def pieces(
    photos: dict[str, Image.Image], count: int, *, half: str | None = None, seed: int = 0
) -> tuple[list[Image.Image], Tensor]:
    """`count` random square pieces of each photo, and labels int64 (N,): the number of its photo.

    `half` "left" or "right" takes them from that half of each photo only, so that pieces to train on
    and pieces to test on share no pixel.
    """
    rng, found, labels = np.random.default_rng(seed), [], []
    for label, photo in enumerate(photos.values()):
        middle = photo.width // 2
        start, stop = {"left": (0, middle), "right": (middle, photo.width)}.get(
            half or "", (0, photo.width)
        )
        for _ in range(count):
            side = int(rng.integers(90, 220))
            left = int(rng.integers(start, stop - side))
            top = int(rng.integers(0, photo.height - side))
            found.append(photo.crop((left, top, left + side, top + side)))
            labels.append(label)
    return found, torch.tensor(labels)
