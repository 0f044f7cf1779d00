"""Photos of others' data sets: torchvision's ImageFolder, any map-style one with `classes`; and pairs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import Subset

from ftcourse.data.entries import ONE_LABEL, Entry
from ftcourse.data.items import Item

__all__ = ["entries_of_data_set", "entries_of_pairs", "is_data_set"]


def is_data_set(source: Any) -> bool:
    """Map-style: it has a length and items by number."""
    plain = (str, bytes, list, tuple, dict)
    return (
        hasattr(source, "__getitem__")
        and hasattr(source, "__len__")
        and not isinstance(source, plain)
    )


def entries_of_pairs(pairs: Sequence[Any], name: str = "the list") -> list[Entry]:
    """Photos from pairs (path, label); paths are relative to the current folder, labels texts or whole numbers.

    Raises:
        ValueError: an item is no such pair; it is named, counted from 0.
    """
    entries = []
    for i, pair in enumerate(pairs):
        where = f"{name}, item {i}"
        if isinstance(pair, (str, bytes)) or not isinstance(pair, Sequence) or len(pair) != 2:
            raise ValueError(f"{where}: {pair!r:.80} is no pair (file, label)")
        path, label = pair
        if not isinstance(path, (str, os.PathLike)):
            raise ValueError(f"{where}: {path!r:.80} is no path of a photo")
        if isinstance(label, (list, tuple, set, dict)):
            raise ValueError(
                f"{where}: the label is {label!r:.60}; {ONE_LABEL}, a text or a number"
            )
        said = "" if label is None else str(label).strip()
        entries.append(Entry(Path(path).expanduser(), said, where=where))
    return entries


def entries_of_data_set(
    data: Any, name: str | None = None
) -> tuple[list[Entry], list[str], list[str]]:
    """The photos of a map-style data set of (PIL image or path, int), its classes, and notes.

    Of torchvision's ImageFolder, and of others of files, the files are taken; other items are `Item`s. A `Subset`
    has those of its positions. A transform of torchvision's kind is not applied.

    Args:
        name: of the part of a pair of data sets, such as "train".

    Raises:
        ValueError: it has no `classes`, its items are no such pairs, or a label is none of its classes.
    """
    whole, positions = data, list(range(len(data)))
    while isinstance(whole, Subset):
        positions = [int(whole.indices[i]) for i in positions]
        whole = whole.dataset
    kind = type(whole).__name__
    title = f"{name} ({kind})" if name else kind
    classes = getattr(whole, "classes", None)
    if not isinstance(classes, (list, tuple)) or not classes:
        raise ValueError(
            f"{title}: has no `classes`; give it the names of the classes in the order of its labels, "
            f'such as dataset.classes = ["cat", "dog"]'
        )
    bare, notes = _untransformed(whole, title)
    entries = []
    for i in positions:
        path, label = _file_of(bare, i) or _item(bare, i, title, f"{name or kind}/{i:06d}")
        if not 0 <= label < len(classes):
            raise ValueError(
                f"{title}, item {i}: label {label}, but there are {len(classes)} classes"
            )
        entries.append(Entry(path, str(classes[label]), where=f"{title}, item {i}"))
    return entries, [str(c) for c in classes], notes


def _untransformed(data: Any, title: str) -> tuple[Any, list[str]]:
    """The data set without its transform, as torchvision's keep it; the caller's own is left as it is."""
    if getattr(data, "transform", None) is None and getattr(data, "transforms", None) is None:
        return data, []
    bare = copy(data)
    bare.transform = None
    if hasattr(bare, "transforms"):  # of torchvision: both transforms together
        target = getattr(bare, "target_transform", None)
        bare.transforms = (lambda image, label: (image, target(label))) if target else None
    return bare, [
        f"The transform of {title} is not used: load_data(transform=, train_transform=) says how photos are made "
        f"into inputs."
    ]


def _file_of(data: Any, i: int) -> tuple[Path, int] | None:
    """File and label, where the data set is torchvision's folder of files, read in the usual way."""
    samples = getattr(data, "samples", None)
    loader = getattr(data, "loader", None)
    if samples is None or getattr(loader, "__module__", "") != "torchvision.datasets.folder":
        return None
    path, label = samples[i]
    target = getattr(data, "target_transform", None)
    return Path(path), int(target(label) if target else label)


def _item(data: Any, i: int, title: str, name: str) -> tuple[Any, int]:
    pair = data[i]
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise ValueError(
            f"{title}, item {i}: {type(pair).__name__}, not a pair (PIL image or path, label)"
        )
    photo, label = pair
    if not isinstance(photo, (str, os.PathLike, Image.Image)):
        raise ValueError(
            f"{title}, item {i}: the photo is a {type(photo).__name__}, not a PIL image or a path; make the data "
            f"set without its transform, load_data has its own"
        )
    try:
        number = int(label)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"{title}, item {i}: the label is {label!r:.60}; {ONE_LABEL}, the number of its class"
        ) from None
    return (Item(data, i, name) if isinstance(photo, Image.Image) else Path(photo)), number
