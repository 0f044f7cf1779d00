"""Which files are photos by their name, and what is missing where such a file cannot be read."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

__all__ = ["HEIC", "SUFFIXES", "kind_of_file", "why_unreadable", "with_plugins"]

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp"}
    | {".ppm", ".pgm", ".jp2", ".avif", ".heic", ".heif"}
)
HEIC = "HEIC needs the package pillow-heif: pip install pillow-heif, or convert it to JPEG"
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


_STARTS = [  # how files begin that are often found under a photo's name
    (rb"(?i)\s*(<!doctype html|<html|<head)", "a web page, as of a download that failed"),
    (rb"(?is)\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!doctype svg[^>]*>\s*)?<svg", "an SVG drawing"),
    (
        rb"version https://git-lfs",
        "a pointer of Git LFS (git lfs pull brings the photo)",
    ),
    (rb"%PDF", "a PDF"),
    (rb"PK\x03\x04", "a ZIP archive"),
    (rb"\x1f\x8b", "a gzip archive"),
    (rb"....ftyp(heic|heix|hevc|heim|heis|mif1|msf1)", "HEIC"),
    (rb"....ftyp(isom|mp4|qt|M4V|avc1|iso[2-6]|3gp)", "a video"),
    (rb"....ftypcrx|FUJIFILMCCD-RAW|IIRO|IIU\x00", "a camera's raw file"),
    (rb"\x00{64}", "nothing but zeros, as of a copy that broke off"),
]


def kind_of_file(data: bytes) -> str | None:
    """What a file is that is no photo to Pillow, by how it begins; None if that does not tell."""
    return next((kind for start, kind in _STARTS if re.match(start, data[:1024], re.DOTALL)), None)
