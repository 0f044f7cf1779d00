"""Which photos a run was trained on: `train_photos.safetensors` beside its model.

A score on photos of the training says nothing of new ones, and a folder does not tell which they are: files get
other names, folders are merged, splits drawn anew.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ftcourse.data.near_copies import VIEWS
from ftcourse.data.photos import PhotoCache
from ftcourse.data.prints import Prints, prints_of, seen_among
from ftcourse.data.splits import Split
from ftcourse.models.states import regular_file
from ftcourse.training.checkpoints import write_atomic

__all__ = ["FILE", "read_train_photos", "trained_on", "write_train_photos"]

FILE = "train_photos.safetensors"
FORMAT = "ftcourse-photos-1"


def _prints(split: Split) -> Prints | None:
    if split.paths is None or not isinstance(split.images, PhotoCache):
        return None
    return prints_of(split.paths, split.images.side, split.images.bits)


def write_train_photos(run: Path, train: Split) -> Path | None:
    """Write the hashes of the training photos into a run's folder; None, and no file, if they have no files."""
    prints = _prints(train)
    if prints is None:
        return None
    meta = json.dumps({"format": FORMAT, "photos": len(prints)})
    # safetensors has int64 on all platforms; the bits are the same
    tensors = {"files": prints.files, "looks": prints.looks.view(np.int64)}
    return write_atomic(run / FILE, save(tensors, metadata={"ftcourse": meta}))


def read_train_photos(run: Path) -> Prints | None:
    """What `write_train_photos` wrote beside a model; None if there is no such file.

    Raises:
        ValueError: the file is damaged, or is another one; the message names it.
    """
    file = run / FILE
    if not file.exists():
        return None
    regular_file(file, "file of hashes")
    try:
        tensors = load(file.read_bytes())
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise ValueError(
            f"{file}: damaged ({' '.join(str(err).split())[:100]}); remove it to evaluate without"
        ) from err
    files, looks = tensors.get("files"), tensors.get("looks")
    if (
        files is None or files.dtype != np.uint8 or files.shape[1:] != (32,) or looks is None
        or looks.dtype != np.int64 or looks.shape != (len(files), VIEWS, 2)
    ):  # fmt: skip
        raise ValueError(
            f"{file}: is no list of photos of this version; remove it to evaluate without"
        )
    return Prints(files, looks.view(np.uint64))


def trained_on(run: Path, photos: Split) -> tuple[list[int], list[int]] | None:
    """Positions of the photos that the run was trained on: as the same file, as a near copy; None if not known.

    Args:
        run: the folder that the model lies in.
    """
    known = read_train_photos(run)
    prints = None if known is None else _prints(photos)
    return None if known is None or prints is None else seen_among(prints, known)
