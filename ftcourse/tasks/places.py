"""How FCOS is trained: which place of its maps answers for which box, by torchvision's own rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection import FCOS

from ftcourse.models.modes import eval_mode

__all__ = ["Places", "answering_places"]


@dataclass
class Places:
    """All places of all maps, finest map first.

    `points` float (n, 2): where each place lies on the photo, x and y in its pixels. `maps` int64 (n,): the map
    that it belongs to; `sizes`, rows and columns of each map. `box` int64 (n,): the box it answers for, -1 for
    "nothing here". `distances` float (n, 4): to the left, top, right and bottom edge of that box, in pixels of the
    photo, and `centreness` float (n,), from 0 at an edge to 1 in the middle; nan where there is no box.
    """

    points: Tensor
    maps: Tensor
    sizes: list[tuple[int, int]]
    box: Tensor
    distances: Tensor
    centreness: Tensor


@torch.no_grad()
def answering_places(model: FCOS, image: Tensor, target: dict[str, Tensor]) -> Places:
    """What the training of this detector asks of each place for this photo. The model is not changed.

    Args:
        model: of `fcos`, or torchvision's own.
        image: float (3, H, W) in 0 to 1.
        target: `boxes` float (n, 4) as left, top, right, bottom in pixels, and `labels` int64 (n,).

    Source: https://arxiv.org/abs/1904.01355; the rule is that of torchvision's `FCOS.compute_loss`.
    """
    given = {"boxes": torch.as_tensor(target["boxes"]).float(), "labels": target["labels"]}
    with eval_mode(model):
        images, resized = model.transform([image], [given])
        maps = list(model.backbone(images.tensors).values())
    anchors = model.anchor_generator(images, maps)
    counts = [x.shape[2] * x.shape[3] for x in maps]
    matched = _matched(model, resized, anchors, counts)
    height, width = images.image_sizes[0]
    back = torch.tensor([image.shape[-1] / width, image.shape[-2] / height])
    points = (anchors[0][:, :2] + anchors[0][:, 2:]) / 2 * back
    found = (
        given["boxes"][matched.clamp(min=0)] if len(given["boxes"]) else torch.zeros(len(points), 4)
    )
    distances = torch.cat([points - found[:, :2], found[:, 2:] - points], 1)
    distances[matched < 0] = torch.nan
    across, down = distances[:, [0, 2]], distances[:, [1, 3]]
    shares = (across.amin(1) / across.amax(1)) * (down.amin(1) / down.amax(1))
    which = torch.repeat_interleave(torch.arange(len(maps)), torch.tensor(counts))
    sizes = [(x.shape[2], x.shape[3]) for x in maps]
    return Places(points, which, sizes, matched, distances, shares.sqrt())


def _matched(model: FCOS, targets: Any, anchors: Any, counts: list[int]) -> Tensor:
    """Torchvision's own choice, asked for where it hands it on to the head."""

    class Head:
        @staticmethod
        def compute_loss(targets: Any, outputs: Any, anchors: Any, matched: list[Tensor]) -> Any:
            return matched

    class Asked:
        head, center_sampling_radius = Head, model.center_sampling_radius

    found: Any = FCOS.compute_loss(Asked, targets, {}, anchors, counts)  # type: ignore[arg-type]
    return found[0]
