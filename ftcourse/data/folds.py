"""Photos in K folds, each of them the test once; what belongs together stays in one fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from ftcourse.data.splits import Data, Split

__all__ = ["folds_of"]

VAL = 6  # of what is not the test, one part in six is for validation


def folds_of(data: Data, folds: int, seed: int = 0) -> list[Data]:
    """The photos of all three splits drawn anew, `folds` times: each photo is in the test of exactly one.

    Near copies and photos of one group (`data.units`) lie on one side each time; classes keep their shares as far
    as that allows.

    Raises:
        ValueError: the photos lie in no files; a class has too few photos that may be parted.
    """
    splits = (data.train, data.val, data.test)
    if not data.units or any(split.images is not data.train.images for split in splits):
        raise ValueError(f"folds={folds}: is for photos in files; those of {data.name} are drawn")
    targets = np.concatenate([split.targets for split in splits])
    units = np.concatenate([data.units[name] for name in data.counts])
    for label, name in enumerate(data.classes):
        apart = len(set(units[targets == label].tolist()))
        if apart < max(folds, 3):
            raise ValueError(
                f"folds={folds}: class {name!r} has {apart} photos or groups that may be parted (near copies stay "
                f"together), and {max(folds, 3)} are needed; add photos, or take fewer folds"
            )
    made = []
    for rest, test in _parted(targets, units, folds, seed):
        least = min(
            len(set(units[rest][targets[rest] == label])) for label in set(targets.tolist())
        )
        kept, held = next(iter(_parted(targets[rest], units[rest], min(VAL, least), seed)))
        parts = (rest[kept], rest[held], test)
        train, val, tested = (
            _at(splits, part, like) for part, like in zip(parts, splits, strict=True)
        )
        made.append(replace(data, train=train, val=val, test=tested, units={}, near_train={}))
    return made


def _parted(
    targets: np.ndarray, units: np.ndarray, parts: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    drawn = StratifiedGroupKFold(parts, shuffle=True, random_state=seed % 2**32)
    return list(drawn.split(np.zeros(len(targets)), targets, units))


def _at(splits: Sequence[Split], positions: np.ndarray, like: Split) -> Split:
    """Photos at positions in the splits put one behind the other, with the transform of `like`."""
    index = [i for split in splits for i in split.index]
    targets = [t for split in splits for t in split.targets]
    paths = [p for split in splits for p in split.paths or []]
    return Split(
        like.images,
        [targets[i] for i in positions],
        like.classes,
        transform=like.transform,
        paths=[paths[i] for i in positions] if paths else None,
        index=[index[i] for i in positions],
    )
