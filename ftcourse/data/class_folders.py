"""The photos of a data set as files: one folder a split, in it one folder a class."""

from __future__ import annotations

import os
from pathlib import Path

from ftcourse.data.splits import Data

__all__ = ["write_class_folders"]


def write_class_folders(data: Data, folder: str | os.PathLike) -> Path:
    """Write all photos as `folder/train/ants/0000.png`, ...: the layout that `ImageFolder` reads.

    Returns `folder`. PNG keeps each pixel as it is. Photos of a class are numbered in the order of their split.

    Args:
        data: its splits `train`, `val` and `test` are written, without their transforms.
        folder: made if it is not there.

    Raises:
        FileExistsError: there is something in the folder already.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder}: there are files in it; name a folder that is empty")
    for name in ("train", "val", "test"):
        split, written = getattr(data, name), dict.fromkeys(data.classes, 0)
        for label in data.classes:
            (folder / name / label).mkdir(parents=True)
        for i, target in enumerate(split.targets):
            label = data.classes[target]
            split.load(i).save(folder / name / label / f"{written[label]:04d}.png")
            written[label] += 1
    return folder
