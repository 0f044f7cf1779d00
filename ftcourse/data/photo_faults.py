"""Why a file is no photo, in plain words; and which errors are the system's and not the file's."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from ftcourse.data.items import Item
from ftcourse.data.photo_formats import HEIC, kind_of_file

__all__ = ["MOST_BYTES", "read_file", "reason_of"]

MOST_BYTES = 2**30  # of one file: larger ones are no photos
# what the system says when it has no more to give: no file is at fault
LIMITS = {
    errno.ENOMEM: "no more memory or memory maps are to be had from the system; close other programs, or lower "
    "cache_bytes",
    errno.EMFILE: "this process may open no more files; close some, or raise the limit (ulimit -n)",
    errno.ENFILE: "the system can open no more files; close other programs",
}


def read_file(path: str | os.PathLike) -> bytes:
    """The bytes of a photo's file, or of an `Item`.

    What is no regular file is never opened, since reading it may never end.

    Raises:
        ValueError: it is no regular file, is empty, or too large.
        OSError: it is not there or may not be read.
    """
    if isinstance(path, Item):
        return path.read_bytes()
    path = Path(path)
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "a named pipe, a socket or a device"
        raise ValueError(f"{what}, not a file")
    if found.st_size > MOST_BYTES:
        size = f"{found.st_size / 2**30:.1f} GiB"
        raise ValueError(f"a file of {size}, more than the {MOST_BYTES >> 30} GiB that are read")
    data = path.read_bytes()
    if not data:
        raise ValueError("empty file")
    return data


def reason_of(err: Exception, data: bytes = b"", size: tuple[int, int] | None = None) -> str:
    """Why a photo could not be read, in a few words.

    Args:
        data: the bytes of its file, as far as they are known.
        size: width and height in pixels, if they are known.

    Raises:
        OSError: `err` is a limit of the system, which no file is to blame for; it is raised again, in plain words.
    """
    text = str(err)
    if isinstance(err, OSError) and err.errno in LIMITS:
        raise OSError(err.errno, LIMITS[err.errno]) from err
    if isinstance(err, MemoryError) or "can't allocate memory" in text:
        pixels = f" for its {size[0]} x {size[1]} pixels" if size else ""
        return f"not enough memory{pixels}"
    if isinstance(err, Image.DecompressionBombError):
        return _too_large(text)
    if isinstance(err, UnidentifiedImageError):
        kind = kind_of_file(data)
        return (
            HEIC
            if kind == "HEIC"
            else f"not a photo but {kind}"
            if kind
            else "not an image, or a damaged one"
        )
    if isinstance(err, OSError) and err.errno is not None:
        return _of_the_file(err)
    if "truncated" in text.lower() and "cannot be decoded" not in text:
        return "truncated file"
    return text.splitlines()[0][:120] if text else type(err).__name__


def _too_large(text: str) -> str:
    """Pillow's words: "Image size (200000000 pixels) exceeds limit of 178956970 pixels, could be ..."."""
    numbers = [f"{int(n) / 1e6:.0f}" for n in re.findall(r"\d+", text)[:2]]
    if len(numbers) < 2:
        return "too many pixels; make it smaller"
    return f"{numbers[0]} million pixels, more than the {numbers[1]} million that are read; make it smaller"


def _of_the_file(err: OSError) -> str:
    if isinstance(err, FileNotFoundError):
        return "no such file, or a link to one that is not there"
    if isinstance(err, PermissionError):
        return "may not be read (permission denied)"
    return (err.strerror or str(err)).lower()
