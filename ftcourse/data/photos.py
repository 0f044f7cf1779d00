"""Reading a photo: any file that Pillow decodes, as upright RGB, and kept in memory once decoded."""

from __future__ import annotations

import io
import mmap
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor
from torchvision.transforms.v2.functional import InterpolationMode, resize

from ftcourse.data.deep_greys import eight_bits, is_deep
from ftcourse.data.photo_faults import read_file, reason_of
from ftcourse.data.photo_formats import with_plugins

__all__ = [
    "MOST_RATIO",
    "PhotoCache",
    "decoded",
    "has_alpha",
    "open_image",
    "open_photo",
    "orientation_of",
    "own_pages",
    "read_pixels",
    "shrink",
]

CACHE_BYTES = 2**30  # memory for decoded photos
MOST_RATIO = 32  # of the sides; of a longer strip the middle is used
LARGE = 2**25  # pixels; photos that are larger as they are decoded are read one at a time
PAGES_FROM = 2**18  # bytes; smaller photos are left to malloc
MOST_MAPS = 2**14  # the system allows a process 65,530 by default, for everything


def open_photo(path: str | os.PathLike, bits: int = 0) -> Image.Image:
    """A photo in full size as an upright RGB image, whatever its file holds.

    EXIF rotation is applied, 16 bits become 8 (see `ftcourse.data.deep_greys`, also for `bits`), CMYK and palettes
    are converted, transparency is laid on white, of an animation the first frame is taken, of a strip that is over
    32 times as long as wide the middle: its short side could not be enlarged to any usual size.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be decoded; the message names it.
        OSError: the system has no more memory maps or open files to give; no file is to blame.
    """
    with _told(path) as data, open_image(data) as image, decoded(image, None, bits) as rgb:
        return rgb


def read_pixels(path: str | os.PathLike, short_side: int | None, bits: int = 0) -> np.ndarray:
    """A photo as uint8 (H, W, 3), as `open_photo` reads it; shrunk, never grown, to `short_side` pixels.

    Raises:
        FileNotFoundError, ValueError, OSError: as `open_photo`.
    """
    with _told(path) as data, open_image(data) as image, decoded(image, short_side, bits) as rgb:
        return shrink(rgb, short_side)


@contextmanager
def _told(path: str | os.PathLike) -> Iterator[bytes]:
    """The bytes of a file; what goes wrong with them becomes a ValueError that names the file."""
    data = b""
    try:
        data = read_file(path)
        yield data
    except FileNotFoundError:
        raise
    except Exception as err:  # Pillow's decoders raise many kinds on damaged files
        raise ValueError(f"{path}: cannot be decoded ({reason_of(err, data)})") from err


def open_image(data: bytes) -> Image.Image:
    """The image in a file, not yet decoded; metadata that does not change the picture is passed over."""
    with_plugins()
    return Image.open(io.BytesIO(_without_texts(data)))


PNG = b"\x89PNG\r\n\x1a\n"
KEPT_CHUNKS = frozenset(
    {b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT"}
)  # of those that a reader may pass over


def _without_texts(data: bytes) -> bytes:
    """A PNG without texts, colour profiles and such: damaged or large ones make Pillow refuse a sound photo."""
    if not data.startswith(PNG):
        return data
    kept, at = [PNG], len(PNG)
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        chunk, at = data[at : at + 12 + length], at + 12 + length
        may_be_left_out = name[:1].islower()
        sound = len(chunk) == 12 + length and zlib.crc32(chunk[4:-4]) == int.from_bytes(
            chunk[-4:], "big"
        )
        if not may_be_left_out or (sound and (name in KEPT_CHUNKS or _is_xmp(chunk))):
            kept.append(chunk)
    return b"".join([*kept, data[at:]])


def _is_xmp(chunk: bytes) -> bool:
    """A short uncompressed XMP text: it may hold the orientation."""
    return (
        chunk[4:8] == b"iTXt"
        and chunk[8:].startswith(b"XML:com.adobe.xmp\0\0")
        and len(chunk) < 2**20
    )


_large = Lock()


@contextmanager
def decoded(image: Image.Image, short_side: int | None, bits: int = 0) -> Iterator[Image.Image]:
    """The whole file decoded, upright, RGB; for a JPEG perhaps at a half, a quarter, an eighth.

    Large photos are held by one thread at a time: several would need the memory together.
    """
    if short_side is not None and image.format in {"JPEG", "MPO"}:
        # the JPEG decoder itself can halve the size; twice the target keeps the resize smooth
        scale = 2 * short_side / min(image.size)
        image.draft(image.mode, (round(image.width * scale), round(image.height * scale)))
    with _large if image.width * image.height > LARGE else nullcontext():
        image.load()
        yield _upright_rgb(image, bits)


def shrink(rgb: Image.Image, short_side: int | None) -> np.ndarray:
    if short_side is not None and min(rgb.size) > short_side:
        scale = short_side / min(rgb.size)
        size = (max(1, round(rgb.width * scale)), max(1, round(rgb.height * scale)))
        rgb = rgb.reduce(max(1, min(rgb.size) // (3 * short_side)))  # a coarse step, if it is far
        pixels = torch.from_numpy(np.array(rgb)).permute(2, 0, 1)
        shrunk = resize(pixels, list(size[::-1]), InterpolationMode.BICUBIC, antialias=True)
        return shrunk.permute(1, 2, 0).contiguous().numpy()
    return np.array(rgb)  # a copy that owns its memory, writable as torch wants it


_maps: WeakSet[mmap.mmap] = WeakSet()


def own_pages(pixels: np.ndarray) -> np.ndarray:
    """The same in pages of its own, which the system has back once it is let go; malloc would keep them.

    The system allows a process some ten thousand such maps: small photos, and those beyond, are left as they are.
    """
    if pixels.nbytes < PAGES_FROM or len(_maps) >= MOST_MAPS:
        return pixels
    try:
        pages = mmap.mmap(-1, pixels.nbytes)
    except OSError:  # no more maps: the pixels are here already
        return pixels
    _maps.add(pages)
    own = np.frombuffer(pages, np.uint8).reshape(pixels.shape)
    own[:] = pixels
    return own


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 2 to 8 for a turned or mirrored photo; 1 also where the EXIF data cannot be read."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged metadata is no reason to refuse the photo
        return 1
    return found if found in _TURNS else 1


def _upright_rgb(image: Image.Image, bits: int) -> Image.Image:
    turn = _TURNS.get(orientation_of(image))
    image = _middle(image if turn is None else image.transpose(turn))
    if is_deep(image):
        return eight_bits(image, bits).convert("RGB")
    if has_alpha(image):
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _middle(image: Image.Image) -> Image.Image:
    """Of a strip the middle. A transform that enlarges its short side would enlarge the long one as many times."""
    width, height = image.size
    most = MOST_RATIO * min(width, height)
    if max(width, height) <= most:
        return image
    left, top = max(0, (width - most) // 2), max(0, (height - most) // 2)
    return image.crop((left, top, left + min(width, most), top + min(height, most)))


def has_alpha(image: Image.Image) -> bool:
    return image.mode in {"LA", "La", "PA", "RGBA", "RGBa"} or "transparency" in image.info


class PhotoCache(Sequence[Tensor]):
    """Photos as uint8 tensors (3, H, W), decoded once and kept while they fit into the budget.

    `side` is the length in pixels that the short side of a larger photo is shrunk to, `bits` the depth that deep
    greys are taken to have at least, so that all photos of a folder are scaled alike.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        side: int,
        pixels: Sequence[np.ndarray | None] | None = None,
        budget: int = CACHE_BYTES,
        bits: int = 0,
    ) -> None:
        self.paths = list(paths)
        self.side = side
        self.budget = budget
        self.bits = bits
        self._pixels = list(pixels) if pixels is not None else [None] * len(self.paths)
        self._used = sum(p.nbytes for p in self._pixels if p is not None)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: Any) -> Any:
        pixels = self._pixels[i]
        if pixels is None:
            pixels = read_pixels(self.paths[i], self.side, self.bits)
            if self._used + pixels.nbytes <= self.budget:
                self._pixels[i] = pixels = own_pages(pixels)
                self._used += pixels.nbytes
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def let_go(self, i: int) -> None:
        """Free the memory of a photo; it is read from its file when it is needed again."""
        pixels, self._pixels[i] = self._pixels[i], None
        self._used -= 0 if pixels is None else pixels.nbytes

    def load(self, i: int) -> Image.Image:
        return open_photo(self.paths[i], self.bits)

    def with_side(self, side: int) -> PhotoCache:
        """A cache of the same photos for larger crops; itself if it is large enough."""
        if side <= self.side:
            return self
        return PhotoCache(self.paths, side, budget=self.budget, bits=self.bits)
