"""What photos are known by when their files are elsewhere: a hash of the file, and hashes of what it shows.

A run keeps those of the photos that it was trained on, 544 bytes a photo, so that a later evaluation can tell
which of its photos are among them, under whatever names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ftcourse.data.folders import Photo
from ftcourse.data.inspection import inspect_photos
from ftcourse.data.near_copies import VIEWS, clusters

__all__ = ["Prints", "prints_of", "seen_among"]


@dataclass
class Prints:
    """`files` uint8 (N, 32), the sha256 of each file; `looks` uint64 (N, VIEWS, 2), of `view_hashes`."""

    files: np.ndarray
    looks: np.ndarray

    def __len__(self) -> int:
        return len(self.files)


def prints_of(paths: Sequence[Path], short_side: int, grey_bits: int = 0) -> Prints:
    """Of photos that were loaded before: the index on disk knows them, otherwise each is decoded once more.

    Raises:
        ValueError: a file can no longer be read.
    """
    photos = [Photo(path, path.as_posix(), "", "all") for path in paths]
    found = inspect_photos(photos, short_side=short_side, grey_bits=grey_bits)
    for one in found:
        if one.error:
            raise ValueError(f"{one.photo.path}: cannot be decoded ({one.error})")
    files = b"".join(bytes.fromhex(one.sha256) for one in found)
    looks = [one.hashes for one in found]
    return Prints(
        np.frombuffer(files, np.uint8).reshape(-1, 32),
        np.array(looks, dtype=np.uint64).reshape(-1, VIEWS, 2),
    )


def seen_among(photos: Prints, known: Prints) -> tuple[list[int], list[int]]:
    """Positions of the photos that are among the known ones: as the same file, or as a near copy alone."""
    files = {file.tobytes() for file in known.files}
    same = [i for i, file in enumerate(photos.files) if file.tobytes() in files]
    alike: set[int] = set()
    for group in clusters([*known.looks, *photos.looks]):
        if group[0] < len(known):
            alike |= {i - len(known) for i in group if i >= len(known)}
    return same, sorted(alike - set(same))
