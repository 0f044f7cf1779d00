"""Which files are photos by their name, and what is missing where such a file cannot be read."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

__all__ = ["SUFFIXES", "why_unreadable", "with_plugins"]

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp"}
    | {".ppm", ".pgm", ".jp2", ".avif", ".heic", ".heif"}
)
HEIC = "HEIC needs the package pillow-heif here (pip install pillow-heif), or convert it to JPEG"
_MISSING = {
    ".heic": HEIC,
    ".heif": HEIC,
    ".avif": "AVIF needs a newer Pillow, or convert it to JPEG",
}


@cache
def with_plugins() -> None:
    """Have Pillow read HEIC, the iPhone's format, where pillow-heif is installed."""
    if find_spec("pillow_heif"):
        import_module("pillow_heif").register_heif_opener()


def why_unreadable(file: Path) -> str | None:
    """What is missing to read a file of this name, or None."""
    suffix = file.suffix.lower()
    if suffix not in _MISSING:
        return None
    with_plugins()
    return None if suffix in Image.registered_extensions() else _MISSING[suffix]
