"""A split of labelled photos, and the three of a data set.

Item i of a split is (transformed image, int label), as of a torchvision data set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ftcourse.data.audit import Audit
from ftcourse.data.photos import PhotoCache
from ftcourse.data.transforms import Transform, needed_side

__all__ = ["Data", "Split"]

S = TypeVar("S", bound="Split")


@cache
def _second_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


class Split(Dataset):
    """One split of labelled photos: item i is (transformed image, int label).

    It behaves like a torchvision dataset: `classes`, `class_to_idx`, `targets`, `transform`.

    Args:
        images: a uint8 tensor (N, 3, H, W), or a sequence of uint8 tensors (3, H, W).
        targets: N class indices.
        classes: the names of the classes, by index.
        transform: takes a uint8 tensor (3, H, W); None gives that tensor as it is.
        paths: the N files, if the images come from files.
    """

    def __init__(
        self,
        images: Sequence[Tensor] | Tensor,
        targets: Sequence[int],
        classes: Sequence[str],
        *,
        transform: Transform | None = None,
        paths: Sequence[Path] | None = None,
        index: Sequence[int] | None = None,
    ) -> None:
        self.any_thread = True  # items can be read in another thread than this one
        self.images = images
        self.index = list(range(len(images))) if index is None else [int(i) for i in index]
        self.targets = [int(t) for t in targets]
        self.classes = list(classes)
        self.class_to_idx = {c: i for i, c in enumerate(self.classes)}
        self.transform = transform
        self.device: torch.device | None = None  # where photos are carried before the transform
        self.paths = None if paths is None else list(paths)
        if len(self.targets) != len(self.index):
            raise ValueError(f"{len(self.index)} images but {len(self.targets)} targets")

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, i: int) -> tuple[Any, int]:
        if self.device is None or self.device.type != "cuda":
            return self._transformed(self.image(i)), self.targets[i]
        # in a queue of its own, so that what waits for a photo does not wait for the training step
        beside, now = _second_stream(self.device), torch.cuda.current_stream(self.device)
        with torch.cuda.stream(beside):
            image = self._transformed(self.image(i).to(self.device))
        now.wait_stream(beside)
        if isinstance(image, Tensor):
            image.record_stream(now)
        return image, self.targets[i]

    def _transformed(self, image: Tensor) -> Any:
        return image if self.transform is None else self.transform(image)

    def image(self, i: int) -> Tensor:
        """The untransformed photo as uint8 (3, H, W), at the working size kept in memory."""
        return self.images[self.index[i]]

    def load(self, i: int) -> Image.Image:
        """The untransformed photo as an upright RGB image, in the full size of its file.

        Raises:
            ValueError: the file cannot be decoded; the message names it.
        """
        if isinstance(self.images, PhotoCache):
            return self.images.load(self.index[i])
        return Image.fromarray(self.image(i).permute(1, 2, 0).contiguous().numpy())

    def let_go(self, i: int) -> None:
        """Free the memory of a photo that comes from a file; it is read again when it is needed."""
        if isinstance(self.images, PhotoCache):
            self.images.let_go(self.index[i])

    def with_transform(self: S, transform: Transform | None) -> S:
        """The same photos with another transform; decoded photos are shared, not copied."""
        images = self.images
        if isinstance(images, PhotoCache):
            images = images.with_side(needed_side(transform))
        return self._copy(images, transform, range(len(self)))

    def on(self: S, device: torch.device) -> S:
        """The same photos, transformed by that device: for a GPU, several times as fast as by a CPU."""
        there = self._copy(self.images, self.transform, range(len(self)))
        there.device = device
        return there

    def subset(self: S, indices: Iterable[int]) -> S:
        """The photos at these positions, in this order; decoded photos are shared."""
        return self._copy(self.images, self.transform, [int(i) for i in indices])

    def _copy(self: S, images: Any, transform: Transform | None, keep: Iterable[int]) -> S:
        keep = list(keep)
        made = copy(self)  # a device, or what a subclass adds, goes along
        made.images, made.transform = images, transform
        made.targets = [self.targets[i] for i in keep]
        made.paths = None if self.paths is None else [self.paths[i] for i in keep]
        made.index = [self.index[i] for i in keep]
        return made

    def counts(self) -> dict[str, int]:
        """How many photos of each class."""
        n = Counter(self.targets)
        return {c: n[i] for i, c in enumerate(self.classes)}

    def __repr__(self) -> str:
        per_class = ", ".join(f"{c} {n}" for c, n in list(self.counts().items())[:6])
        more = ", ..." if len(self.classes) > 6 else ""
        return f"Split({len(self)} photos: {per_class}{more})"


@dataclass(repr=False)
class Data:
    """Train, val and test splits of one data set; `notes` say in sentences what was decided."""

    classes: list[str]
    train: Split
    val: Split
    test: Split
    name: str = "data"
    notes: list[str] = field(default_factory=list)
    audit: Audit | None = None
    # of val and test: positions of photos that have a near copy in train, where splits were given
    near_train: dict[str, list[int]] = field(default_factory=dict)
    # of each split: for each photo, the number of what stays in one split together
    units: dict[str, list[int]] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Photos in each split."""
        return {"train": len(self.train), "val": len(self.val), "test": len(self.test)}

    def with_transforms(self, train: Transform | None, eval: Transform | None) -> Data:
        """The same data with other transforms; decoded photos are shared."""
        val, test = self.val.with_transform(eval), self.test.with_transform(eval)
        return replace(self, train=self.train.with_transform(train), val=val, test=test)

    def __repr__(self) -> str:
        shown = ", ".join(self.classes[:8]) + (", ..." if len(self.classes) > 8 else "")
        counts = ", ".join(f"{split} {n}" for split, n in self.counts.items())
        lines = [f"{self.name}: {len(self.classes)} classes ({shown})", f"photos: {counts}"]
        return "\n".join(lines + [f"note: {note}" for note in self.notes])
