"""What lies in a folder of photos: its layout and its files. Names are read, no file is opened."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ftcourse.data.natural import natural
from ftcourse.data.photo_formats import SUFFIXES, why_unreadable
from ftcourse.data.split_names import is_date, is_inputs, is_targets, role_of, roles_of

__all__ = [
    "EXPECTED", "SUFFIXES", "Folder", "Photo", "compare_splits", "files_below", "in_nfc", "is_photo_name", "scan",
]  # fmt: skip

NOT_A_PHOTO = "not a photo"
OF_THE_SYSTEM = "made by the system"
BESIDE = "lies beside the class folders"
EXPECTED = frozenset({NOT_A_PHOTO, OF_THE_SYSTEM})  # reasons that need no warning
# never told: they are in most folders and hold nothing of the user's
SILENT = frozenset({"thumbs.db", "desktop.ini", "icon\r", "__macosx", ".ipynb_checkpoints"})
# copies and thumbnails of the user's photos: told, so that nobody looks for them
SYSTEM = frozenset(
    {
        "@eadir",
        "#recycle",
        "@recycle",
        "$recycle.bin",
        "recycler",
        "system volume information",
        "lost+found",
    }
    | {"__pycache__", ".thumbnails", ".trash", ".trashes"}
)
UNREAD = frozenset(
    {".json", ".jsonl", ".xlsx", ".xls", ".ods"}
)  # tables that no labels are read from


@dataclass(frozen=True)
class Photo:
    """One file that should be a photo: where it is, its name below the root, its class."""

    path: Path  # or an `Item` of a data set, which is read in its place
    name: str  # posix path below the root, in NFC: the same on each platform
    label: str
    split: str  # "train", "val", "test", or "all" where splits are to be drawn
    where: str = ""  # where the photo is said to be, if not by its folder: "train.csv, line 7"


@dataclass
class Folder:
    """What `scan` found. `problems` are sentences that keep the folder from being used."""

    source: Any  # as the caller gave it: a path, or how a list or a data set is called
    root: Path  # where the class folders or the split folders lie
    layout: str  # "classes" or "splits"
    classes: list[str] = field(default_factory=list)
    photos: list[Photo] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)  # (name, reason)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)  # of single entries: of no use for anything
    said_by: str = "the class folders"  # what says the labels
    mark: str = "/"  # behind the name of a split
    group_of: Callable[[Path], Any] | None = None  # groups that came with the photos

    def splits(self) -> dict[str, list[Photo]]:
        """The photos of each split in the order train, val, test (or all), empty ones left out."""
        found: dict[str, list[Photo]] = {s: [] for s in ("all", "train", "val", "test")}
        for photo in self.photos:
            found[photo.split].append(photo)
        return {s: photos for s, photos in found.items() if photos}


def scan(source: str | os.PathLike, layout: str | None = None) -> Folder:
    """Find the classes and the photos of a folder; names are read, no file is opened.

    Layouts: `CLASS/*.jpg`; or `train/CLASS/*.jpg` with `val/` or `test/` or both beside it, or
    `CLASS/train/*.jpg`. Either may lie one or more single folders deeper, as unpacked archives do. Folders that
    hold the same folders are splits, never classes: under other names (seg_train, dev, fold1, Prueba) where
    these can be understood, and otherwise it is a problem. So are photos with masks or labels beside them.

    Args:
        layout: "classes" if the top folders are the classes although they hold the same folders.

    Raises:
        FileNotFoundError: there is no such folder.
        NotADirectoryError: it is a file.
        ValueError: another layout than "classes" or None.
    """
    if layout not in {None, "classes"}:
        raise ValueError(f'layout={layout!r}: use "classes", or None to have it found')
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
    for split, label, path in _plan(found, layout):
        _read_class(found, split, label, path)
    found.classes = sorted({p.label for p in found.photos}, key=natural)
    found.photos.sort(key=lambda p: in_nfc(p.name))
    if not found.problems:
        _find_problems(found)
    return found


# -- what lies in a folder ----------------------------------------------------------------------


class _Entry(NamedTuple):
    path: Path
    is_folder: bool
    reason: str | None  # why it is left out, whatever it holds


def in_nfc(name: str) -> str:
    """A name as Unicode's NFC, which not each platform writes."""
    return unicodedata.normalize("NFC", name)


def _entries(folder: Path) -> list[_Entry]:
    """What lies in a folder, sorted by name on each platform alike, without what is never told."""
    with os.scandir(folder) as listing:
        entries = [_entry(e) for e in listing if e.name.lower() not in SILENT]
    return sorted((e for e in entries if e is not None), key=lambda e: in_nfc(e.path.name))


def _entry(found: os.DirEntry[str]) -> _Entry | None:
    path = Path(found.path)
    try:
        is_folder, is_file = found.is_dir(), found.is_file()
    except OSError as err:  # links in a circle, drives that went away
        return _Entry(path, False, (err.strerror or "cannot be looked at").lower())
    if found.name.lower() in SYSTEM:
        return _Entry(path, False, OF_THE_SYSTEM)
    if found.name.startswith("."):
        hides = is_folder and any(is_photo_name(p) for p, why in files_below(path) if not why)
        return _Entry(path, False, "a hidden folder") if hides else None
    if (
        is_folder or is_file or not path.exists()
    ):  # a link to nothing is a missing photo: its own error
        return _Entry(path, is_folder, None)
    return _Entry(path, False, _kind_of(path))


def _kind_of(path: Path) -> str:
    """What an entry is that is neither a file nor a folder; reading it might never end."""
    mode = path.stat().st_mode
    kinds = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    return f"{kinds.get(stat.S_IFMT(mode), 'a device')}, not a file"


def is_photo_name(path: Path) -> bool:
    """Whether a file's suffix is that of a photo."""
    return path.suffix.lower() in SUFFIXES


def files_below(folder: Path, above: Iterable[Path] = ()) -> Iterator[tuple[Path, str | None]]:
    """Each file below a folder, with None, or with the reason why it (or a whole folder) is left out.

    Links are followed, but never to a folder that the link lies in (or that is in `above` or holds it), and no
    folder is read twice.
    """
    holding = {_identity(q) for p in (folder, *above) for q in (p.resolve(), *p.resolve().parents)}
    yield from _walk(folder, holding, set())


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _walk(
    folder: Path, holding: set[tuple[int, int]], seen: set[tuple[int, int]]
) -> Iterator[tuple[Path, str | None]]:
    try:
        entries = _entries(folder)
    except PermissionError:
        yield folder, "may not be opened (permission denied)"
        return
    for path, is_folder, reason in entries:
        if reason or not is_folder:
            yield path, reason
            continue
        this = _identity(path)
        if this in holding or this in seen:
            around = "that it lies in" if this in holding else "that is read anyway"
            yield path, f"a link to a folder {around}"
            continue
        seen.add(this)
        yield from _walk(path, holding | {this}, seen)


def _holds_photos(folder: Path, above: Iterable[Path]) -> bool:
    """At any depth."""
    if _holds_loose(folder):
        return True
    return any(why is None and is_photo_name(path) for path, why in files_below(folder, above))


def _holds_loose(folder: Path) -> bool:
    """Photos directly in a folder; most class folders tell by their first files."""
    try:
        with os.scandir(folder) as listing:
            return any(
                is_photo_name(Path(e.name)) and not e.name.startswith(".") and e.is_file()
                for e in listing
            )
    except PermissionError:
        return False


# -- layouts ------------------------------------------------------------------------------------

Plan = list[tuple[str, str, Path]]  # split, label, folder of the photos


@dataclass
class _Inside:
    """A folder that may hold class folders."""

    path: Path
    loose: list[Path]  # files directly in it that are photos by their name
    others: list[tuple[Path, str]]  # files that are none, and what is left out, with the reason
    folders: list[Path]  # that hold photos, at any depth
    bare: list[Path]  # that hold none

    def names(self) -> list[str]:
        return [p.name for p in self.folders]


def _inside(folder: Path, root: Path) -> _Inside:
    found = _Inside(folder, [], [], [], [])
    holding = {_identity(p) for p in (root.resolve(), *root.resolve().parents)}
    for path, is_folder, reason in _entries(folder):
        if reason:
            found.others.append((path, reason))
        elif not is_folder:
            photo = is_photo_name(path)
            found.loose.append(path) if photo else found.others.append((path, NOT_A_PHOTO))
        elif _identity(path) in holding:
            found.others.append((path, "a link to a folder that it lies in"))
        else:
            (found.folders if _holds_photos(path, [root]) else found.bare).append(path)
    return found


def _descend(folder: Path) -> Path:
    """Step into a lone folder with photos, as archives have, unless it holds photos itself."""
    for _ in range(4):
        here = _inside(folder, folder)
        if here.loose or len(here.folders) != 1 or _pair(here):
            break
        inside = _inside(here.folders[0], folder)
        if inside.loose or not inside.folders:
            break
        folder = here.folders[0]
    return folder


def _plan(found: Folder, layout: str | None) -> Plan:
    """Which folder holds the photos of which class and split; told from what lies where, then from names."""
    top = _inside(found.root, found.root)
    if layout is None:
        if problem := _pair(top):
            found.problems.append(f"{found.source}: {problem}")
            return []
        names = top.names()
        roles = roles_of(names, alone=True)
        subs = {
            p.name: _inside(p, found.root)
            for p in top.folders
            if p.name in roles or not _holds_loose(p)
        }
        nested = {name: sub for name, sub in subs.items() if sub.folders and not sub.loose}
        if any(role == "train" and subs[name].folders for name, role in roles.items()):
            return _plan_splits(found, top, subs, roles)
        if (below := _union(nested)) and len(nested) == len(names) and roles_of(below):
            return _plan_turned(found, top, nested, roles_of(below))
        if len(nested) > 1 and _all_alike(nested):
            if roles := roles_of(list(nested)):
                return _plan_splits(found, top, subs, roles)
            found.problems.append(_unclear(found.source, list(nested), _union(nested)))
            return []
        if len(nested) == 1 and len(names) > 1 and role_of(only := next(iter(nested))) == "train":
            found.problems.append(
                f"{found.source}: {only}/ holds folders, the others hold photos; if {only}/ is the training "
                f"split, name the others val/ or test/ or take them away; if it is a class, put its photos "
                f"directly into it"
            )
            return []
    _leave_out(found, top)
    return [("all", in_nfc(p.name), p) for p in (*top.folders, *top.bare)]


def _pair(here: _Inside) -> str | None:
    """What is wrong where photos lie beside masks, boxes or labels: such data has no classes of whole photos."""
    names = [p.name for p in (*here.folders, *here.bare)]
    photos, told = [n for n in names if is_inputs(n)], [n for n in names if is_targets(n)]
    if not photos or not told or not all(is_inputs(n) or is_targets(n) for n in here.names()):
        return None
    return (
        f"{photos[0]}/ and {told[0]}/ are photos and what is said about them (masks, boxes or labels), "
        f"not classes; a classifier needs CLASS/*.jpg, one folder of photos for each class"
    )


def _union(tops: dict[str, _Inside]) -> list[str]:
    return sorted({in_nfc(name) for sub in tops.values() for name in sub.names()})


def _all_alike(tops: dict[str, _Inside]) -> bool:
    """Each holds two or more folders, and none that the fullest does not hold; years do not count."""
    inside = [{in_nfc(name) for name in sub.names()} for sub in tops.values()]
    fullest = max(inside, key=len)
    dated = all(is_date(name) for name in fullest)
    return not dated and all(len(names) > 1 and names <= fullest for names in inside)


def _unclear(source: Path, tops: Sequence[str], below: Sequence[str]) -> str:
    more = " (and others)" if len(tops) > 2 else ""
    shown = ", ".join(f"{name}/" for name in below[:3]) + (", ..." if len(below) > 3 else "")
    return (
        f"{source}: {' and '.join(f'{name}/' for name in tops[:2])}{more} hold the same folders ({shown}), as "
        f"splits do, but their names do not say which splits; name them train/, val/, test/. If they are the "
        f'classes, pass layout="classes"'
    )


def _plan_splits(
    found: Folder, top: _Inside, tops: dict[str, _Inside], roles: dict[str, str]
) -> Plan:
    """Split folders with class folders in each."""
    found.layout = "splits"
    _tell_roles(found, roles)
    _leave_out(found, top)
    found.notes += [f"{p.name}/ holds no photos: left out." for p in top.bare]
    for name in top.names():
        if name not in roles:
            found.notes.append(f"{name}/ is none of train/, val/, test/: left out.")
    trained = {
        in_nfc(n) for name, role in roles.items() if role == "train" for n in tops[name].names()
    }
    plan: Plan = []
    for role in ("train", "val", "test"):
        for name in (n for n in tops if roles.get(n) == role):
            here = tops[name]
            if problem := _pair(here):
                found.problems.append(f"{found.source}: in {name}/, {problem}")
                return []
            if _unlabelled(here, role, trained):
                found.notes.append(
                    f"{name}/ has no class folders, so its photos have no labels: left out; "
                    f"`predict` says what they show."
                )
                continue
            _leave_out(found, here)
            plan += [(role, in_nfc(p.name), p) for p in (*here.folders, *here.bare)]
    return plan


def _unlabelled(here: _Inside, role: str, trained: set[str]) -> bool:
    """Photos without class folders; or all in one folder that is no class: test/images/, test/unknown/."""
    if not here.folders:
        return bool(here.loose)
    if role == "train" or len(here.folders) > 1 or in_nfc(here.folders[0].name) in trained:
        return False
    return role == "test" or is_inputs(here.folders[0].name)


def _plan_turned(
    found: Folder, top: _Inside, tops: dict[str, _Inside], roles: dict[str, str]
) -> Plan:
    """Class folders with split folders in each: CLASS/train/, CLASS/test/."""
    found.layout = "splits"
    _tell_roles(found, roles, inside=True)
    for here in (top, *tops.values()):
        _leave_out(found, here)
    return [
        (roles[in_nfc(p.name)], in_nfc(name), p) for name, sub in tops.items() for p in sub.folders
    ]


def _tell_roles(found: Folder, roles: dict[str, str], inside: bool = False) -> None:
    """Say how folders are read that are called otherwise."""
    told = [f"{name}/ as {role}" for name, role in roles.items()]
    if inside:
        found.notes.append(f"Splits lie in each class folder; they are read: {', '.join(told)}.")
    elif any(name.lower() != role for name, role in roles.items()):
        found.notes.append(f"Folders are read as splits: {', '.join(told)}.")


def _leave_out(found: Folder, here: _Inside) -> None:
    """Files beside class folders."""
    for path in here.loose:
        found.left_out.append((_name(path, found.root), BESIDE))
    found.left_out += [(_name(path, found.root), reason) for path, reason in here.others]


def _read_class(found: Folder, split: str, label: str, folder: Path) -> None:
    nested, count = 0, 0
    where = _name(folder, found.root)
    for file, reason in files_below(folder, [found.root]):
        why = reason or _why_left_out(file)
        if why:
            found.left_out.append((_name(file, found.root), why))
            continue
        found.photos.append(Photo(file, _name(file, found.root), label, split))
        nested += file.parent != folder
        count += 1
    if nested:
        found.notes.append(
            f"{where}/ has folders inside: their {nested} photos are of class {label}."
        )
    if not count:
        found.notes.append(f"{where}/ holds no photos: it is no class.")


def _name(path: Path, root: Path) -> str:
    return in_nfc(path.relative_to(root).as_posix())


def _why_left_out(file: Path) -> str | None:
    return why_unreadable(file) if is_photo_name(file) else NOT_A_PHOTO


# -- what keeps a folder from being used ----------------------------------------------------------


def _find_problems(found: Folder) -> None:
    where = found.source
    if not found.photos:
        found.problems.append(
            f"{where}: no photos in class folders{_left_out_in_short(found)}; "
            f"expected {where}/CLASS/*.jpg with one folder for each class{_other_ways(found)}"
        )
    elif len(found.classes) == 1:
        tables = [name for name, _ in found.left_out if Path(name).suffix.lower() in UNREAD]
        found.problems.append(
            f"{where}: a single class, {found.classes[0]!r}; a classifier needs at least two class folders"
            + (f" (a table such as {tables[0]} is not read: save it as CSV)" if tables else "")
            + _other_ways(found)
        )
    roles = roles_of(found.classes, alone=True)
    if found.layout == "classes" and len(roles) == len(found.classes) > 1:
        found.problems.append(
            f"{where}: {' and '.join(f'{c}/' for c in found.classes)} hold photos but no class "
            f"folders, so the photos have no labels; expected {where}/train/CLASS/*.jpg"
        )
    _note_capitals(found)
    if found.layout == "splits" and found.photos:
        compare_splits(found)


def _other_ways(found: Folder) -> str:
    """How labels can be said without class folders, where there are photos."""
    loose = any(why == BESIDE for _, why in found.left_out)
    if not loose and not found.photos:
        return ""
    return (
        '; if the labels are in the names of the files, pass labels="REGEX", with one group in parentheses; if '
        "they are in a table, give that (.csv, .tsv, .parquet)"
    )


def _left_out_in_short(found: Folder) -> str:
    """How many files were left out, and the commonest reason that is not simply another kind of file."""
    if not found.left_out:
        return ""
    reasons = [why for _, why in found.left_out if why not in EXPECTED]
    why = f": {max(reasons, key=reasons.count)}" if reasons else ""
    files = f"{len(found.left_out)} file" + ("s" if len(found.left_out) > 1 else "")
    return f" ({files} left out{why})"


def _note_capitals(found: Folder) -> None:
    alike: dict[str, list[str]] = {}
    for label in found.classes:
        alike.setdefault(label.casefold(), []).append(label)
    for labels in alike.values():
        if len(labels) > 1:
            shown = " and ".join(f"{label}/" for label in labels)
            found.notes.append(f"{shown} differ in capitals alone, and are different classes.")


def compare_splits(found: Folder) -> None:
    """Tell classes that are in one split and not in another: of folders, of tables and lists."""
    mark = found.mark  # "/" where splits are folders
    by_split = {s: {p.label for p in photos} for s, photos in found.splits().items()}
    train = by_split.get("train", set())
    for split in ("val", "test"):
        for label in sorted(by_split.get(split, set()) - train):
            cure = f"add photos of it to train or remove those of {split}"
            if mark:
                cure = f"add photos to train/{label}/ or remove {split}/{label}/"
            found.problems.append(
                f"{found.source}: class {label!r} is in {split}{mark} but not in train{mark}, so it can never be "
                f"predicted; {cure}"
            )
        missing = ", ".join(sorted(train - by_split.get(split, train)))
        if missing:
            found.notes.append(
                f"{split}{mark} has no photos of {missing}: nothing is measured for it."
            )
