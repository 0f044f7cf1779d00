"""From a folder of photos, or the name of a built-in set, to train, val and test splits.

    data = load_data("photos/")
    image, label = data.train[0]     # float32 (3, size, size), int
    photo = data.train.load(0)       # the PIL image, untransformed

Splits depend on file names and the seed alone, so they are the same on each platform.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2
from torchvision.transforms._presets import ImageClassification

from ftcourse.audit import Audit, audit_photos, near_duplicates
from ftcourse.folders import (
    Folder,
    Inspection,
    inspect_photos,
    open_photo,
    own_pages,
    read_pixels,
    scan,
)

__all__ = [
    "DEFAULT_SIZE",
    "MEAN",
    "STD",
    "Data",
    "Split",
    "eval_transforms",
    "load_data",
    "train_transforms",
]

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
DEFAULT_SIZE = 128  # side of the square that the network sees, in pixels
UNKNOWN_SIDE = 288  # short side kept for a transform that does not tell its size: enough for 224
CACHE_BYTES = 2**30
BUILT_IN = ("pocket-insects", "hymenoptera", "flowers", "pets")

Transform = Callable[[Any], Any]
S = TypeVar("S", bound="Split")


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


def _needed_side(transform: Transform | None) -> int:
    """The short side of photo that a transform makes full use of, 0 if it does not tell."""
    if transform is None:
        return 0
    parts = getattr(transform, "transforms", None)
    if isinstance(parts, Sequence):
        return max((_needed_side(part) for part in parts), default=0)
    sides = []
    for name in ("size", "crop_size", "resize_size"):
        value = getattr(transform, name, None)
        value = [value] if isinstance(value, int) else value
        if isinstance(value, Sequence) and all(isinstance(v, int) for v in value) and value:
            sides.append(max(value))
    room = 1.25 if isinstance(transform, v2.RandomResizedCrop) else 1.0
    return math.ceil(room * max(sides, default=0))


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
            images = images.with_side(_needed_side(transform))
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


def load_data(
    source: str | os.PathLike,
    *,
    seed: int = 0,
    val: float = 0.15,
    test: float = 0.15,
    transform: Transform | None = None,
    train_transform: Transform | None = None,
    on_error: str = "raise",
    audit: bool = True,
    size: int | None = None,
    **kwargs: Any,
) -> Data:
    """Labelled photos in three splits, from a folder or a built-in set.

    A folder holds one folder of photos for each class, or `train/ val/ test/` with such folders
    in each. With `train/` and `val/` only, `val/` is kept as the test split and validation is
    drawn from `train/`. No file is changed.

    Args:
        source: a folder, or "pocket-insects", "hymenoptera", "flowers", "pets".
        seed: which photos go to which split, where splits are drawn.
        val, test: the share of each class that is drawn for validation and for the test.
        transform: for val and test, and for train unless `train_transform` is given: takes a
            uint8 tensor (3, H, W). Default: `eval_transforms(size)`.
        train_transform: for train. Default: `train_transforms(size)`.
        on_error: "raise", or "skip" to leave out files that cannot be decoded, with a note.
        audit: keep the audit of the folder in `data.audit`.
        size: side of the crop in pixels, 128 by default.
        kwargs: for a folder `keep_placeholders=False` (files that stand in for a missing photo are
            left out) and `cache_bytes=2**30` (memory for decoded photos); for a downloaded set also
            `cache` and `sources`, see `datasets.fetch`; for "pocket-insects" those of its `load`.

    Raises:
        FileNotFoundError, NotADirectoryError: `source` is no folder.
        ConnectionError: a set is neither in the cache folder nor can it be downloaded.
        ValueError: a file cannot be decoded, a class is too small to split, there are no classes.
    """
    if on_error not in {"raise", "skip"}:
        raise ValueError(f'on_error={on_error!r}: use "raise" or "skip"')
    shares = {"val": val, "test": test}
    for name, share in shares.items():
        if not 0 < share < 1 or val + test >= 1:
            raise ValueError(
                f"{name}={share}: val and test are shares above 0 that leave some for train"
            )
    transforms = _transforms(transform, train_transform, size)
    if source == "pocket-insects":
        insects = import_module("ftcourse.pocket.insects")  # drawn only when asked for
        return insects.load(seed=seed, **kwargs).with_transforms(*transforms)
    options: dict[str, Any] = {"seed": seed, "shares": shares, "transforms": transforms}
    options |= {"on_error": on_error, "audit": audit, **kwargs}
    if source in BUILT_IN:
        return _load_named(str(source), options)
    if isinstance(source, str) and not Path(source).exists() and not {"/", "\\", "."} & set(source):
        names = ", ".join(repr(name) for name in BUILT_IN)
        raise FileNotFoundError(f"{source}: no such folder; give a folder of photos, or {names}")
    return load_folder(source, **options)


def _load_named(name: str, options: dict[str, Any]) -> Data:
    from ftcourse import datasets

    where = {key: options.pop(key) for key in ("cache", "sources") if key in options}
    data = load_folder(datasets.fetch(name, **where), name=name, **options)
    data.notes.append(datasets.DATASETS[name].note)
    if Path(name).is_dir():
        data.notes.append(f"{name!r} is the built-in set; write './{name}' for the folder here.")
    return data


def _transforms(
    transform: Transform | None, train_transform: Transform | None, size: int | None
) -> tuple[Transform, Transform]:
    """The transforms for train and for eval."""
    side = DEFAULT_SIZE if size is None else size
    train = train_transform or transform or train_transforms(side)
    return train, transform or eval_transforms(side)


def load_folder(
    source: str | os.PathLike,
    *,
    seed: int,
    shares: dict[str, float],
    transforms: tuple[Transform, Transform],
    on_error: str = "raise",
    audit: bool = True,
    keep_placeholders: bool = False,
    cache_bytes: int = CACHE_BYTES,
    name: str | None = None,
) -> Data:
    """What `load_data` does with a folder, its arguments checked and its transforms made."""
    folder = scan(source)
    if folder.problems:
        raise ValueError(folder.problems[0])
    side = max(_needed_side(t) or UNKNOWN_SIDE for t in transforms)
    found = inspect_photos(folder.photos, short_side=side, keep_bytes=cache_bytes, hashes=audit)
    notes = list(folder.notes)
    report = audit_photos(folder, found) if audit else None
    usable = _usable(folder, found, on_error, keep_placeholders, notes)
    parts = _parts(folder, usable, seed, shares, notes)
    if audit:
        _note_separated(folder, parts, notes)
    cache = PhotoCache(
        [one.photo.path for one in usable], side, [one.pixels for one in usable], cache_bytes
    )
    position = {one.photo.name: i for i, one in enumerate(usable)}
    splits = {}
    for split, members in parts.items():
        splits[split] = Split(
            cache,
            [folder.classes.index(one.photo.label) for one in members],
            folder.classes,
            transform=transforms[0] if split == "train" else transforms[1],
            paths=[one.photo.path for one in members],
            index=[position[one.photo.name] for one in members],
        )
    title = name or f"{folder.source.name or folder.source.resolve().name}/"
    return Data(folder.classes, **splits, name=title, notes=notes, audit=report)


def _usable(
    folder: Folder,
    found: list[Inspection],
    on_error: str,
    keep_placeholders: bool,
    notes: list[str],
) -> list[Inspection]:
    """The photos to use; broken files raise or are left out, placeholders are left out."""
    broken = [one for one in found if one.error]
    if broken and on_error == "raise":
        first, more = broken[0], len(broken) - 1
        others = f" (so are {more} other files: see the audit)" if more else ""
        raise ValueError(
            f"{first.photo.path}: cannot be decoded ({first.error}); "
            f'remove it or pass on_error="skip"{others}'
        )
    _note_files(notes, [f"{one.photo.name} ({one.error})" for one in broken], "cannot be decoded")
    standins = [one for one in found if one.placeholder and not one.error]
    if not keep_placeholders:
        shown = [f"{one.photo.name} ({one.placeholder})" for one in standins]
        _note_files(notes, shown, "seem to stand in for a missing photo (keep_placeholders=True)")
    _note_files(notes, [f"{n} ({why})" for n, why in folder.left_out], "are not photos of a class")
    out = {id(one) for one in (broken if keep_placeholders else broken + standins)}
    return [one for one in found if id(one) not in out]


def _note_files(notes: list[str], names: list[str], why: str) -> None:
    if names:
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        notes.append(f"Left out, because they {why}: {shown}.")


Parts = dict[str, list[Inspection]]


def _parts(
    folder: Folder,
    usable: list[Inspection],
    seed: int,
    shares: dict[str, float],
    notes: list[str],
) -> Parts:
    """Which photos go to train, val and test; each list in the order of the file names."""
    given: Parts = {}
    for one in usable:
        given.setdefault(one.photo.split, []).append(one)
    _check_classes(folder, given)
    if folder.layout == "classes":
        notes.append(f"The splits were drawn from the class folders with seed {seed}.")
        return draw(given["all"], shares, seed, folder.source)
    if "val" in given and "test" in given:
        return given
    held_out = "test" if "test" in given else "val"
    drawn = draw(given["train"], {"val": shares["val"]}, seed, folder.source)
    if held_out == "val":
        notes.append(
            "val/ is kept as the test split; validation is drawn from train/ with seed "
            f"{seed}, so that no choice is made on the photos that are tested."
        )
    else:
        notes.append(f"There is no val/: validation is drawn from train/ with seed {seed}.")
    return {**drawn, "test": given[held_out]}


def _check_classes(folder: Folder, given: Parts) -> None:
    base = given.get("all", given.get("train", []))
    have = {one.photo.label for one in base}
    for label in folder.classes:
        if label not in have:
            raise ValueError(
                f"{folder.source}: class {label!r} has no usable photo to train on; "
                f"add photos or remove its folder"
            )
    for split in ("val", "test"):
        if split in {p.split for p in folder.photos} and not given.get(split):
            raise ValueError(
                f"{folder.source}: {split}/ has no usable photo; add some or remove it"
            )


def draw(members: Sequence[Inspection], shares: dict[str, float], seed: int, source: Path) -> Parts:
    """Draw stratified splits: of each class the share of photos, at least one, the rest to train.

    The order of drawing is that of a hash of seed and file name: the same everywhere, and little
    changed when photos are added. Byte-identical files stay together, in train where possible.

    Raises:
        ValueError: a class has too few different photos to give each split one; it is named.
    """
    times = Counter(one.sha256 for one in members)
    labels_of: dict[str, set[str]] = {}
    for one in members:
        labels_of.setdefault(one.sha256, set()).add(one.photo.label)
    parts: Parts = {split: [] for split in ("train", *shares)}
    for label in sorted({one.photo.label for one in members}):
        mine = [one for one in members if one.photo.label == label]
        groups: dict[str, list[Inspection]] = {}
        for one in mine:
            groups.setdefault(one.sha256, []).append(one)
        free = [g for h, g in groups.items() if len(labels_of[h]) == 1]
        free.sort(key=lambda g: (times[g[0].sha256], min(_rank(one, seed) for one in g)))
        if len(groups) < len(shares) + 1 or len(free) < len(shares):
            raise ValueError(_too_few(source, label, mine, len(groups), len(shares) + 1))
        rest = {id(one) for one in mine}
        wanted = {s: max(1, math.floor(share * len(mine) + 0.5)) for s, share in shares.items()}
        spare = len(groups) - 1  # train keeps one group at least
        for k, split in enumerate(reversed(list(shares))):
            later = len(shares) - 1 - k  # each split still to be filled needs a group
            taken: list[Inspection] = []
            while free and len(taken) < wanted[split] and spare > later:
                taken += free.pop(0)
                spare -= 1
            parts[split] += taken
            rest -= {id(one) for one in taken}
        parts["train"] += [one for one in mine if id(one) in rest]
    for split in parts:
        parts[split].sort(key=lambda one: one.photo.name)
    return parts


def _rank(one: Inspection, seed: int) -> str:
    return hashlib.sha256(f"{seed}/{one.photo.name}".encode()).hexdigest()


def _too_few(source: Path, label: str, mine: list[Inspection], different: int, need: int) -> str:
    copies = "" if different == len(mine) else f", {different} of them different"
    plural = "" if len(mine) == 1 else "s"
    return (
        f"{source}: class {label!r} has {len(mine)} photo{plural}{copies}; the splits need at least "
        f"{need} different ones a class: add photos or remove the class"
    )


def _note_separated(folder: Folder, parts: Parts, notes: list[str]) -> None:
    """Say when drawing put nearly identical photos into different splits."""
    everyone = [(one, split) for split, members in parts.items() for one in members]
    pairs = [
        (a.photo.name, b.photo.name)
        for i, j in near_duplicates([one for one, _ in everyone])
        for (a, s), (b, t) in [(everyone[i], everyone[j])]
        if s != t
    ]
    if pairs:
        shown = "; ".join(f"{a} and {b}" for a, b in pairs[:3])
        more = f" and {len(pairs) - 3} more pairs" if len(pairs) > 3 else ""
        notes.append(f"Nearly identical photos lie in different splits: {shown}{more}.")
