"""Evidence of copies: photos that are in two splits. Also how a split's photos are had before any transform."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Subset, TensorDataset

from ftcourse.training.preflight.check import Evidence, Finding, spread

__all__ = ["base_of", "named", "overlap", "paths_of", "raw_reader"]

FILES = 2000  # photos of a split that are looked for in another one; drawn from all of its classes


def overlap(e: Evidence) -> Iterator[Finding]:
    splits = dict(e.splits)
    pairs = (("train", "val", "train and validation overlap"),)
    pairs += (
        ("train", "test", "train and test overlap"),
        ("val", "test", "validation and test overlap"),
    )  # type: ignore[assignment]
    words = {"train": "training", "val": "validation", "test": "test"}
    for one, other, kind in pairs:
        if one not in splits or other not in splits:
            continue
        shared, looked = _shared(splits[one], splits[other])
        if shared:
            yield Finding(
                kind,
                f"photos of the {words[other]} split are in the {words[one]} split as well",
                f"{len(shared)} of {looked} {words[other]} photos, {shared[0]} for one",
                "split again, with copies kept together: ft.load_data does, `ftcourse audit` lists them",
            )


def _shared(one: Any, other: Any) -> tuple[list[str], int]:
    """Which photos of `other` are in `one` as well, by name, and how many were looked for."""
    rows = spread(other, FILES)
    if one is other:
        return [named(other, i) for i in rows], len(rows)
    base, index = base_of(one)
    base2, index2 = base_of(other)
    if base is base2 and (isinstance(one, Subset) or isinstance(other, Subset)):
        mine = set(index)
        same = [i for i in rows if index2[i] in mine]
        if same:
            return [named(other, i) for i in same], len(rows)
    there, here = paths_of(one), paths_of(other)
    if there is not None and here is not None:
        return _shared_files(there, [here[i] for i in rows]), len(rows)
    known = _fingerprints(one, range(len(one)))
    found = _fingerprints(other, rows) if known else {}
    return [f"number {found[k]}" for k in found if k in known], len(rows)


def base_of(split: Any) -> tuple[Any, list[int]]:
    """The data set below a Subset of a Subset, and the rows of it."""
    index = list(range(len(split)))
    while isinstance(split, Subset):
        index = [int(split.indices[i]) for i in index]
        split = split.dataset
    return split, index


def _shared_files(there: list[Any], here: list[Any]) -> list[str]:
    """Files that are the same, or have the same bytes. Only those of one size are read."""
    by_size = defaultdict(list)
    for path in dict.fromkeys(map(Path, there)):
        by_size[path.stat().st_size].append(path)
    digests: dict[Path, bytes] = {}

    def digest(path: Path) -> bytes:
        if path not in digests:
            digests[path] = hashlib.sha256(path.read_bytes()).digest()
        return digests[path]

    shared = []
    for path in map(Path, here):
        same_size = by_size.get(path.stat().st_size, [])
        if path in same_size or any(digest(path) == digest(other) for other in same_size):
            shared.append(str(path))
    return shared


def _fingerprints(split: Any, rows: Any) -> dict[bytes, int]:
    """A few numbers of each photo, as bytes -> its row; {} where photos cannot be had untransformed."""
    read = raw_reader(split)
    if read is None:
        return {}
    found = {}
    for i in rows:
        x = np.ascontiguousarray(read(i)).reshape(-1)
        some = x[:: max(1, x.size // 4096)]
        if some.size and some.min() != some.max():  # blank ones are all alike
            found[hashlib.sha256(some.tobytes()).digest()] = i
    return found


def raw_reader(split: Any) -> Any:
    """A function that gives a photo's pixels before any transform, as an array; or None."""
    if isinstance(split, Subset):
        inner = raw_reader(split.dataset)
        return None if inner is None else lambda i: inner(split.indices[i])
    if hasattr(split, "image"):
        return lambda i: np.asarray(split.image(i))
    if isinstance(split, TensorDataset):
        return lambda i: split.tensors[0][i].detach().cpu().numpy()
    for name in ("data", "images", "imgs"):
        held = getattr(split, name, None)
        if isinstance(held, (np.ndarray, Tensor)) and len(held) == len(split):
            return lambda i: np.asarray(held[i])
    return None


def paths_of(split: Any) -> list[Any] | None:
    """The files of a split of ours, of torchvision's ImageFolder, or of a Subset of either."""
    if isinstance(split, Subset):
        inner = paths_of(split.dataset)
        return None if inner is None else [inner[i] for i in split.indices]
    paths, samples = getattr(split, "paths", None), getattr(split, "samples", None)
    if paths is None and isinstance(samples, list):
        paths = [s[0] for s in samples if isinstance(s, tuple)]
    return list(paths) if paths is not None and len(paths) == len(split) else None


def named(split: Any, i: int) -> str:
    paths = paths_of(split)
    return str(paths[i]) if paths is not None else f"item {i}"
