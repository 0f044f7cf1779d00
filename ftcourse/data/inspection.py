"""One look into each file of a folder: whether it decodes, its hash, its mode, its pixels at a working size."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import PurePosixPath

import numpy as np
import PIL
from PIL import Image
from tqdm.auto import tqdm

from ftcourse.data.deep_greys import bits_of, common_bits
from ftcourse.data.folders import Photo
from ftcourse.data.index import Index
from ftcourse.data.near_copies import VIEWS, view_hashes
from ftcourse.data.photo_faults import read_file, reason_of
from ftcourse.data.photos import (
    decoded,
    has_alpha,
    open_image,
    orientation_of,
    own_pages,
    read_pixels,
    shrink,
)

__all__ = ["Inspection", "inspect_photos"]

PLACEHOLDER_NAME = re.compile(
    r"(not[ _-]?(found|available)|unavailable|placeholder|image[ _-]?missing"
    r"|\bno[ _-]?(image|photo|picture))",
    re.IGNORECASE,
)
FEW_COLOURS = 48  # a photo has thousands; a drawn "image not found" with smoothed text has dozens
RARE = 0.1  # if more files than this are drawn, the folder is one of drawings


@dataclass
class Inspection:
    """What one file is. `error` says why it cannot be decoded; the rest is then empty."""

    photo: Photo
    error: str | None = None
    sha256: str = ""
    format: str = ""
    mode: str = ""
    size: tuple[int, int] = (0, 0)  # width, height in the file, before the EXIF rotation
    frames: int = 1  # of an animation, or pages; not what a phone stores beside its photo
    bits: int = 0  # of integer greys in more than 8 bits: how many they make use of
    spread: int = 255  # from the darkest to the brightest hundredth of its pixels, of 255
    rotated: bool = False  # EXIF orientation other than upright
    transparent: bool = False
    drawn: bool = False  # few colours, one of them nearly everywhere
    hashes: np.ndarray | None = None  # uint64 (VIEWS, 2), of `near_copies.view_hashes`
    pixels: np.ndarray | None = None  # uint8 (H, W, 3), short side at the working size
    placeholder: str | None = None  # why it is thought to stand in for a missing photo


def inspect_photos(
    photos: Sequence[Photo],
    *,
    short_side: int = 160,
    keep_bytes: int = 0,
    hashes: bool = True,
    grey_bits: int | None = None,
    workers: int | None = None,
) -> list[Inspection]:
    """Open and fully decode each file once, in a thread pool; the order is kept.

    Pixels are kept until they fill `keep_bytes`; later files are inspected, then dropped. A file that
    the index knows is only decoded where its pixels are kept. Deep greys are scaled alike in all the photos: as
    of `grey_bits` at least, by default those that most of them have, see `common_bits`.

    Raises:
        OSError: the system has no more memory maps or open files to give; no file is to blame.
    """
    workers = workers or min(8, os.cpu_count() or 1)
    found = []
    used = 0
    index = Index([photo.path for photo in photos], short_side, VERSION)

    def look(photo: Photo) -> Inspection:
        return _known(photo, index, short_side, hashes, used < keep_bytes) or _inspected(
            photo, index, short_side, hashes, keep_bytes > 0
        )

    with ThreadPoolExecutor(workers) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # it is read one at a time
        results: Iterable[Inspection] = pool.map(look, photos)
        for one in tqdm(
            results, total=len(photos), desc="photos", leave=False, disable=len(photos) < 500
        ):
            if one.pixels is not None:
                used += one.pixels.nbytes
                one.pixels = one.pixels if used <= keep_bytes else None
            found.append(one)
        bits = common_bits(one.bits for one in found) if grey_bits is None else grey_bits
        _scale_alike(found, pool, short_side, hashes, bits)
    index.save()
    _mark_placeholders(found)
    return found


# What depends on more than one file, or is large, or may go away, is not for the index.
_FACTS = sorted(
    {f.name for f in fields(Inspection)} - {"photo", "error", "pixels", "placeholder", "hashes"}
)
VERSION = f"3 {VIEWS} {PIL.__version__} {' '.join(_FACTS)}"  # raise the number when a fact changes


def _known(
    photo: Photo, index: Index, short_side: int, hashes: bool, pixels: bool
) -> Inspection | None:
    """What the index knows of a file, if that is enough, with its pixels if they are wanted."""
    facts = index.get(photo.path)
    if facts is None or (hashes and facts["hashes"] is None):
        return None
    one = Inspection(photo, **facts)
    if pixels:
        try:
            one.pixels = own_pages(read_pixels(photo.path, short_side))
        except Exception:  # to be looked into, and to be told as any other
            return None
    return one


def _inspected(photo: Photo, index: Index, short_side: int, hashes: bool, keep: bool) -> Inspection:
    one = _inspect(photo, short_side, hashes, keep)
    if not one.error:
        index.put(photo.path, {name: getattr(one, name) for name in (*_FACTS, "hashes")})
    return one


def _scale_alike(
    found: list[Inspection], pool: ThreadPoolExecutor, short_side: int, hashes: bool, bits: int
) -> None:
    """Inspect dim photos of a folder of deep greys again, with the depth of the others."""
    dim = [i for i, one in enumerate(found) if 0 < one.bits < bits]
    again = pool.map(
        lambda i: _inspect(found[i].photo, short_side, hashes, found[i].pixels is not None, bits),
        dim,
    )
    for i, one in zip(dim, again, strict=True):
        found[i] = one


def _inspect(photo: Photo, short_side: int, hashes: bool, keep: bool, bits: int = 0) -> Inspection:
    one = Inspection(photo)
    data = b""
    try:
        data = read_file(photo.path)
        one.sha256 = hashlib.sha256(data).hexdigest()
        with open_image(data) as image:
            one.format, one.mode, one.size = image.format or "", image.mode, image.size
            one.frames = _frames(image)
            one.rotated = orientation_of(image) != 1
            one.transparent = has_alpha(image)
            with decoded(image, short_side, bits) as rgb:
                one.bits = bits_of(image)
                one.drawn = _is_drawn(rgb)
                pixels = shrink(rgb, short_side)
        one.spread = _spread(pixels)
        if hashes:
            one.hashes = view_hashes(Image.fromarray(pixels))
        one.pixels = own_pages(pixels) if keep else None
    except Exception as err:  # Pillow's decoders raise many kinds on damaged files
        one.error = reason_of(err, data, one.size if any(one.size) else None)
    return one


def _frames(image: Image.Image) -> int:
    """Frames or pages; 1 for phones' photos, which carry a depth map or a second exposure (MPO, HEIF)."""
    if image.format in {"MPO", "HEIF", "JPEG"}:
        return 1
    return int(getattr(image, "n_frames", 1))


def _spread(pixels: np.ndarray) -> int:
    """How far apart dark and bright are in the channel where they are farthest; a sample of the pixels tells."""
    step = max(1, min(pixels.shape[:2]) // 32)
    low, high = np.percentile(pixels[::step, ::step].reshape(-1, 3), (1, 99), axis=0)
    return int((high - low).max())


def _is_drawn(image: Image.Image) -> bool:
    colours = image.getcolors(FEW_COLOURS)  # None as soon as there are more
    total = image.width * image.height
    return colours is not None and max(count for count, _ in colours) >= total / 2


def _mark_placeholders(found: list[Inspection]) -> None:
    """A file that stands in for a missing photo: its name says so, or it alone is drawn."""
    drawn = sum(one.drawn for one in found)
    rare = drawn <= RARE * len(found)
    for one in found:
        if PLACEHOLDER_NAME.search(PurePosixPath(one.photo.name).stem):
            one.placeholder = "its name says so"
        elif one.drawn and rare:
            one.placeholder = f"drawn with at most {FEW_COLOURS} colours, unlike the others"
