"""What lies in a folder of photos: its layout and its files. Names are read, no file is opened."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

__all__ = ["SUFFIXES", "Folder", "Photo", "scan"]

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
