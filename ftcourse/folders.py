"""What lies in a folder of photos: its layout, its files, and one look into each of them.

`scan` reads names only; `inspect_photos` opens every file once and keeps what the audit and the data
set need of it: whether it decodes, its hash, its mode, its pixels at a working size.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import imagehash
import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torchvision.transforms.v2.functional import InterpolationMode, resize
from tqdm.auto import tqdm

__all__ = [
    "Folder",
    "Inspection",
    "Photo",
    "inspect_photos",
    "open_photo",
    "own_pages",
    "read_pixels",
    "scan",
]

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp"}
    | {".ppm", ".pgm", ".jp2", ".avif", ".heic", ".heif"}
)
NEEDS_PLUGIN = frozenset({".heic", ".heif", ".avif"})  # readable only where Pillow has the codec
JUNK = frozenset({"thumbs.db", "desktop.ini", "icon\r", "__macosx"})
SPLIT_NAMES = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
PLACEHOLDER_NAME = re.compile(
    r"(not[ _-]?(found|available)|unavailable|placeholder|image[ _-]?missing"
    r"|\bno[ _-]?(image|photo|picture))",
    re.IGNORECASE,
)
FEW_COLOURS = 48  # a photo has thousands; a drawn "image not found" with smoothed text has dozens
RARE = 0.1  # if more files than this are drawn, the folder is one of drawings


@dataclass(frozen=True)
class Photo:
    """One file that should be a photo: where it is, its name below the root, its class."""

    path: Path
    name: str  # posix path below the root, in NFC: the same on each platform
    label: str
    split: str  # "train", "val", "test", or "all" for class folders


@dataclass
class Folder:
    """What `scan` found. `problems` are sentences that keep the folder from being used."""

    source: Path  # as the caller gave it
    root: Path  # where the class folders or the split folders lie
    layout: str  # "classes" or "splits"
    classes: list[str] = field(default_factory=list)
    photos: list[Photo] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)  # (name, reason)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def splits(self) -> dict[str, list[Photo]]:
        """The photos of each split in the order train, val, test (or all), empty ones left out."""
        found: dict[str, list[Photo]] = {s: [] for s in ("all", "train", "val", "test")}
        for photo in self.photos:
            found[photo.split].append(photo)
        return {s: photos for s, photos in found.items() if photos}


def scan(source: str | os.PathLike) -> Folder:
    """Find the classes and the photos of a folder; names are read, no file is opened.

    Layouts: `CLASS/*.jpg`, or `train/CLASS/*.jpg` with `val/` or `test/` or both beside it; either
    may lie one or more single folders deeper, as unpacked archives do.

    Raises:
        FileNotFoundError: there is no such folder.
        NotADirectoryError: it is a file.
    """
    source = Path(source).expanduser()
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such folder")
    if not source.is_dir():
        hint = "unpack it and give the folder" if source.suffix in {".zip", ".tgz", ".gz"} else (
            "give the folder that holds one folder of photos for each class"
        )  # fmt: skip
        raise NotADirectoryError(f"{source}: is a file, not a folder; {hint}")
    root = _descend(source)
    found = Folder(source, root, "classes")
    if root != source:
        found.notes.append(f"The photos were found in {root.relative_to(source).as_posix()}/.")
    splits = _split_folders(root)
    if splits:
        _scan_splits(found, splits)
    else:
        _scan_classes(found, root, "all")
    found.classes = sorted({p.label for p in found.photos}, key=_key)
    found.photos.sort(key=lambda p: _key(p.name))
    _find_problems(found)
    return found


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _entries(folder: Path) -> list[Path]:
    """The visible entries of a folder, sorted by name on each platform alike."""
    entries = [
        p for p in folder.iterdir() if not p.name.startswith(".") and p.name.lower() not in JUNK
    ]
    return sorted(entries, key=lambda p: _key(p.name))


def _folders(folder: Path) -> list[Path]:
    return [p for p in _entries(folder) if p.is_dir()]


def _is_photo_name(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _holds_photos(folder: Path) -> bool:
    return any(p.is_file() and _is_photo_name(p) for p in _entries(folder))


def _descend(folder: Path) -> Path:
    """Step into a lone top-level folder, as archives have, unless it holds photos itself."""
    for _ in range(4):
        inside = _folders(folder)
        lone = len(inside) == 1 and not _holds_photos(folder)
        if not lone or _holds_photos(inside[0]) or not _folders(inside[0]):
            break
        folder = inside[0]
    return folder


def _split_folders(root: Path) -> dict[str, Path]:
    """train/val/test folders, if that is what they are and not classes of those names."""
    named = {
        SPLIT_NAMES[p.name.lower()]: p for p in _folders(root) if p.name.lower() in SPLIT_NAMES
    }
    if "train" in named and len(named) > 1 and _folders(named["train"]):
        return {s: named[s] for s in ("train", "val", "test") if s in named}
    return {}


def _scan_splits(found: Folder, splits: dict[str, Path]) -> None:
    found.layout = "splits"
    for folder in _folders(found.root):
        if folder not in splits.values():
            found.notes.append(f"{folder.name}/ is none of train/, val/, test/: left out.")
    for split, folder in splits.items():
        if not _folders(folder) and _holds_photos(folder):
            found.notes.append(
                f"{folder.name}/ has no class folders, so its photos have no labels: left out."
            )
            continue
        _scan_classes(found, folder, split)


def _scan_classes(found: Folder, folder: Path, split: str) -> None:
    below = found.root
    for path in _entries(folder):
        if path.is_file():
            why = "lies beside the class folders" if _is_photo_name(path) else "not a photo"
            found.left_out.append((_name(path, below), why))
            continue
        nested, count = 0, 0
        for file in _walk(path):
            reason = _why_left_out(file)
            if reason:
                found.left_out.append((_name(file, below), reason))
                continue
            found.photos.append(Photo(file, _name(file, below), _key(path.name), split))
            nested += file.parent != path
            count += 1
        where = _name(path, below)
        if nested:
            found.notes.append(
                f"{where}/ has folders inside: their {nested} photos are of class {path.name}."
            )
        if not count:
            found.notes.append(f"{where}/ holds no photos: it is no class.")


def _name(path: Path, root: Path) -> str:
    return _key(path.relative_to(root).as_posix())


def _walk(folder: Path, seen: frozenset[str] = frozenset()) -> Iterator[Path]:
    """The visible files below a folder; follows links, but never in a circle."""
    real = os.path.realpath(folder)
    if real in seen:
        return
    for path in _entries(folder):
        if path.is_dir():
            yield from _walk(path, seen | {real})
        else:
            yield path


def _why_left_out(file: Path) -> str | None:
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        return "not a photo"
    if suffix in NEEDS_PLUGIN and suffix not in Image.registered_extensions():
        return f"{suffix[1:].upper()} cannot be read here; convert it to JPEG"
    return None


def _find_problems(found: Folder) -> None:
    by_split = {s: {p.label for p in photos} for s, photos in found.splits().items()}
    where = found.source
    if not found.photos:
        extra = f" ({len(found.left_out)} files left out)" if found.left_out else ""
        found.problems.append(
            f"{where}: no photos in class folders{extra}; "
            f"expected {where}/CLASS/*.jpg with one folder for each class"
        )
    elif len(found.classes) == 1:
        found.problems.append(
            f"{where}: a single class, {found.classes[0]!r}; a classifier needs at least two "
            f"class folders"
        )
    meant = [SPLIT_NAMES.get(label.lower()) for label in found.classes]
    if found.layout == "classes" and "train" in meant and len(meant) > 1 and None not in meant:
        found.problems.append(
            f"{where}: {' and '.join(f'{c}/' for c in found.classes)} hold photos but no class "
            f"folders, so the photos have no labels; expected {where}/train/CLASS/*.jpg"
        )
    if found.layout == "splits" and found.photos:
        train = by_split.get("train", set())
        for split in ("val", "test"):
            for label in sorted(by_split.get(split, set()) - train):
                found.problems.append(
                    f"{where}: class {label!r} is in {split}/ but not in train/, so it can never be "
                    f"predicted; add photos to train/{label}/ or remove {split}/{label}/"
                )
        missing = [s for s in ("val", "test") if s in by_split for c in train - by_split[s]]
        for split in dict.fromkeys(missing):
            labels = ", ".join(sorted(train - by_split[split]))
            found.notes.append(f"{split}/ has no photos of {labels}: nothing is measured for it.")


# --- one look into each file ---------------------------------------------------------------------


@dataclass
class Inspection:
    """What one file is. `error` says why it cannot be decoded; the rest is then empty."""

    photo: Photo
    error: str | None = None
    sha256: str = ""
    format: str = ""
    mode: str = ""
    size: tuple[int, int] = (0, 0)  # width, height in the file, before the EXIF rotation
    frames: int = 1
    rotated: bool = False  # EXIF orientation other than upright
    transparent: bool = False
    drawn: bool = False  # few colours, one of them nearly everywhere
    hash_bits: np.ndarray | None = None  # bool (128,): phash and dhash of ImageHash
    pixels: np.ndarray | None = None  # uint8 (H, W, 3), short side at the working size
    placeholder: str | None = None  # why it is thought to stand in for a missing photo


def open_photo(path: str | os.PathLike) -> Image.Image:
    """A photo in full size as an upright RGB image, whatever its file holds.

    EXIF rotation is applied, 16 bits become 8, CMYK and palettes are converted, transparency is
    laid on white, of an animation the first frame is taken.

    Raises:
        ValueError: the file cannot be decoded; the message names it.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return _upright_rgb(image)
    except Exception as err:  # Pillow's decoders raise many kinds on damaged files
        if not Path(path).exists():
            raise
        raise ValueError(f"{path}: cannot be decoded ({_reason(err)})") from err


def read_pixels(path: str | os.PathLike, short_side: int | None) -> np.ndarray:
    """A photo as uint8 (H, W, 3); shrunk, never grown, to `short_side` pixels.

    Raises:
        ValueError: the file cannot be decoded; the message names it.
    """
    try:
        with Image.open(path) as image:
            return _shrink(_decode(image, short_side), short_side)
    except Exception as err:
        if not Path(path).exists():
            raise
        raise ValueError(f"{path}: cannot be decoded ({_reason(err)})") from err


def inspect_photos(
    photos: Sequence[Photo],
    *,
    short_side: int = 160,
    keep_bytes: int = 0,
    hashes: bool = True,
    workers: int | None = None,
) -> list[Inspection]:
    """Open and fully decode each file once, in a thread pool; the order is kept.

    Pixels are kept until they fill `keep_bytes`; later files are inspected, then dropped.
    """
    workers = workers or min(8, os.cpu_count() or 1)
    found = []
    used = 0
    with ThreadPoolExecutor(workers) as pool:
        results: Iterable[Inspection] = pool.map(
            lambda photo: _inspect(photo, short_side, hashes, keep_bytes > 0), photos
        )
        for one in tqdm(
            results, total=len(photos), desc="photos", leave=False, disable=len(photos) < 500
        ):
            if one.pixels is not None:
                used += one.pixels.nbytes
                one.pixels = one.pixels if used <= keep_bytes else None
            found.append(one)
    _mark_placeholders(found)
    return found


def _inspect(photo: Photo, short_side: int, hashes: bool, keep: bool) -> Inspection:
    one = Inspection(photo)
    try:
        data = photo.path.read_bytes()
        one.sha256 = hashlib.sha256(data).hexdigest()
        if not data:
            one.error = "empty file"
            return one
        with Image.open(io.BytesIO(data)) as image:
            one.format, one.mode, one.size = image.format or "", image.mode, image.size
            one.frames = getattr(image, "n_frames", 1)
            one.rotated = image.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1)
            one.transparent = _has_alpha(image)
            rgb = _decode(image, short_side)
        one.drawn = _is_drawn(rgb)
        pixels = _shrink(rgb, short_side)
        if hashes:
            one.hash_bits = _hash_bits(Image.fromarray(pixels))
        one.pixels = own_pages(pixels) if keep else None
    except Exception as err:  # Pillow's decoders raise many kinds on damaged files
        one.error = _reason(err)
    return one


def _decode(image: Image.Image, short_side: int | None) -> Image.Image:
    """The whole file decoded, upright, RGB; for a JPEG perhaps at a half, a quarter, an eighth."""
    if short_side is not None and image.format == "JPEG":
        # the JPEG decoder itself can halve the size; twice the target keeps the resize smooth
        scale = 2 * short_side / min(image.size)
        image.draft(image.mode, (round(image.width * scale), round(image.height * scale)))
    image.load()
    return _upright_rgb(image)


def _shrink(rgb: Image.Image, short_side: int | None) -> np.ndarray:
    if short_side is not None and min(rgb.size) > short_side:
        scale = short_side / min(rgb.size)
        size = (max(1, round(rgb.width * scale)), max(1, round(rgb.height * scale)))
        rgb = rgb.reduce(max(1, min(rgb.size) // (3 * short_side)))  # a coarse step, if it is far
        pixels = torch.from_numpy(np.array(rgb)).permute(2, 0, 1)
        shrunk = resize(pixels, list(size[::-1]), InterpolationMode.BICUBIC, antialias=True)
        return shrunk.permute(1, 2, 0).contiguous().numpy()
    return np.array(rgb)  # a copy that owns its memory, writable as torch wants it


def own_pages(pixels: np.ndarray) -> np.ndarray:
    """The same in pages of its own, which the system has back once it is let go; malloc would keep them."""
    own = np.frombuffer(mmap.mmap(-1, pixels.nbytes), np.uint8).reshape(pixels.shape)
    own[:] = pixels
    return own


def _upright_rgb(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(image).convert("RGB")
    if _has_alpha(image):
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in {"LA", "La", "PA", "RGBA", "RGBa"} or "transparency" in image.info


def _eight_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.float64)
    top = float(values.max(initial=0))
    if image.mode == "F" and top <= 1:
        values = values * 255
    elif top > 255:
        values = values / 257  # 65535 -> 255
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def _hash_bits(image: Image.Image) -> np.ndarray:
    grey = image.convert("L")
    bits = [imagehash.phash(grey).hash, imagehash.dhash(grey).hash]
    return np.concatenate([b.ravel() for b in bits]).astype(bool)


def _is_drawn(image: Image.Image) -> bool:
    colours = image.getcolors(FEW_COLOURS)  # None as soon as there are more
    total = image.width * image.height
    return colours is not None and max(count for count, _ in colours) >= total / 2


def _mark_placeholders(found: list[Inspection]) -> None:
    """A file that stands in for a missing photo: its name says so, or it alone is drawn."""
    drawn = sum(one.drawn for one in found)
    rare = drawn <= RARE * len(found)
    for one in found:
        if PLACEHOLDER_NAME.search(one.photo.path.stem):
            one.placeholder = "its name says so"
        elif one.drawn and rare:
            one.placeholder = f"drawn with at most {FEW_COLOURS} colours, unlike the others"


def _reason(err: Exception) -> str:
    text = str(err)
    if "truncated" in text.lower():
        return "truncated file"
    if isinstance(err, UnidentifiedImageError):
        return "not an image, or a damaged one"
    return text.splitlines()[0][:120] if text else type(err).__name__
