"""From a folder of photos, or the name of a built-in set, to train, val and test splits.

    data = load_data("photos/")
    image, label = data.train[0]     # float32 (3, size, size), int
    photo = data.train.load(0)       # the PIL image, untransformed

Splits depend on file names, the seed and what belongs together, so they are the same on each
platform: copies and near copies of a photo, and photos of one group, stay in one split.
"""

from __future__ import annotations

from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from ftcourse.data import downloads
from ftcourse.data.audit import audit_photos
from ftcourse.data.columns import Columns
from ftcourse.data.deep_greys import common_bits
from ftcourse.data.drawing import Parts, draw
from ftcourse.data.file_names import Labels
from ftcourse.data.folders import Folder
from ftcourse.data.groups import ALONE, Groups, group_names
from ftcourse.data.inspection import Inspection, inspect_photos
from ftcourse.data.items import Item
from ftcourse.data.near_copies import clusters, joined
from ftcourse.data.photos import CACHE_BYTES, PhotoCache
from ftcourse.data.sources import find, is_path
from ftcourse.data.splits import Data, Split
from ftcourse.data.transforms import (
    DEFAULT_SIZE,
    UNKNOWN_SIDE,
    Transform,
    eval_transforms,
    needed_side,
    train_transforms,
)

__all__ = ["BUILT_IN", "load_data", "load_folder"]

BUILT_IN = ("pocket-insects", *downloads.DATASETS)


def load_data(
    source: Any,
    *,
    seed: int = 0,
    val: float = 0.15,
    test: float = 0.15,
    groups: Groups | None = None,
    columns: Columns | None = None,
    labels: Labels | None = None,
    transform: Transform | None = None,
    train_transform: Transform | None = None,
    on_error: str = "raise",
    audit: bool = True,
    size: int | None = None,
    **kwargs: Any,
) -> Data:
    """Labelled photos in three splits, from a folder, a table, a list, a data set or a built-in set.

    A folder holds one folder of photos for each class, or `train/ val/ test/` with such folders
    in each. With `train/` and `val/` only, `val/` is kept as the test split and validation is
    drawn from `train/`. No file is changed.

    A table has a row for each photo, a column with its file and one with its label, and perhaps one with its
    split and one with its group. Files are named from the table's folder, or as they end below it, also without
    a suffix. A folder with a single table in it, and no class folders, is read by that table. A photo has one
    label.

    Args:
        source: a folder; a table (.csv, .tsv or .parquet, which needs pyarrow) or a DataFrame; a list of pairs
            (file, label); a torchvision `ImageFolder`, or any map-style data set of (PIL image or path, int)
            with `classes`, whose own transform is not used; (train, val), (train, val, test) or {"train": ...}
            of lists, DataFrames or data sets; or "pocket-insects", "hymenoptera", "flowers", "pets".
        seed: which photos go to which split, where splits are drawn.
        val, test: the share of each class that is drawn for validation and for the test.
        groups: what else stays in one split beside near copies, such as photos of one patient, camera
            or burst. "parent": the folders between class folder and file (`cats/tom/1.jpg`: tom), of
            all classes together. A regular expression with one group in parentheses, searched in
            the file's name (`r"^(p\\d+)_"`), or in its path below the folder if it contains "/".
            "table.csv:column", the files in the column `file` or the first one, by path, name or
            name without suffix; or a mapping of that kind. A function that takes a Path. Photos for
            which there is no group stand for themselves; a note counts them. "file": each photo for
            itself, even if it looks like another.
        columns: the columns of a table, `{"file": ..., "label": ..., "split": ..., "group": ...}`, where their
            names and cells do not tell; None for one that is not to be used. Also as "file=NAME,label=NAME".
        labels: where labels are in the names of the files of a folder, a regular expression with one group in
            parentheses (`r"(\\w+)_\\d+\\.jpg"`), searched as that of `groups`.
        transform: for val and test, and for train unless `train_transform` is given: takes a
            uint8 tensor (3, H, W). Default: `eval_transforms(size)`.
        train_transform: for train. Default: `train_transforms(size)`.
        on_error: "raise", or "skip" to leave out files that cannot be decoded, with a note.
        audit: keep the audit of the folder in `data.audit`.
        size: side of the crop in pixels, 128 by default.
        kwargs: for files `keep_placeholders=False` (files that stand in for a missing photo are
            left out), `cache_bytes=2**30` (memory for decoded photos), `layout="classes"` (see
            `ftcourse.data.folders.scan`) and `grey_bits=12` (the least depth that greys of more than 8
            bits are taken to have; by default what most of them have); for a downloaded set also
            `cache` and `sources`, see `datasets.fetch`; for "pocket-insects" those of its `load`.

    Raises:
        FileNotFoundError, NotADirectoryError: `source` is no folder.
        TypeError: `source` is of another kind, or there is no such argument.
        ImportError: Parquet, and pyarrow is not installed.
        ConnectionError: a set is neither in the cache folder nor can it be downloaded.
        ValueError: a file cannot be decoded, a class is too small to split or has too few groups, there
            are no classes; `groups` fits no photo; a table, a list or a data set is not as said above.
    """
    if on_error not in {"raise", "skip"}:
        raise ValueError(f'on_error={on_error!r}: use "raise" or "skip"')
    shares = {"val": val, "test": test}
    for name, share in shares.items():
        if not 0 < share < 1 or val + test >= 1:
            raise ValueError(
                f"{name}={share}: val and test are shares above 0 that leave some for train"
            )
    transforms = _transforms(transform, train_transform, size)
    named = str(source) if is_path(source) and str(source) in BUILT_IN else None
    if named and (columns is not None or labels is not None):
        raise ValueError(f"columns and labels: are for photos of your own; {named} has its labels")
    if named == "pocket-insects":
        if groups is not None:
            raise ValueError(
                "groups: is for photos in files; no two pocket insects belong together"
            )
        if kwargs.pop("layout", None) is not None:
            raise ValueError("layout: is for photos in folders; pocket insects are drawn")
        insects = import_module("ftcourse.data.insects")  # drawn only when asked for
        _check_names(kwargs, set(signature(insects.load).parameters) - {"seed"})
        return insects.load(seed=seed, **kwargs).with_transforms(*transforms)
    options: dict[str, Any] = {
        "seed": seed,
        "shares": shares,
        "groups": groups,
        "transforms": transforms,
    }
    options |= {"on_error": on_error, "audit": audit, **kwargs}
    _check_names(kwargs, FOR_FILES | ({"cache", "sources"} if named else set()))
    if named:
        return _load_named(named, options)
    if isinstance(source, str) and not Path(source).exists() and not {"/", "\\", "."} & set(source):
        names = ", ".join(repr(name) for name in BUILT_IN)
        raise FileNotFoundError(f"{source}: no such folder; give a folder of photos, or {names}")
    return load_folder(source, columns=columns, labels=labels, **options)


FOR_FILES = {"keep_placeholders", "cache_bytes", "layout", "grey_bits"}


def _check_names(given: dict[str, Any], known: set[str]) -> None:
    """Of further arguments; those that `load_data` itself has are known to Python."""
    if wrong := [name for name in given if name not in known]:
        own = [n for n, p in signature(load_data).parameters.items() if p.kind is p.KEYWORD_ONLY]
        raise TypeError(
            f"load_data: no argument {wrong[0]!r}; there are {', '.join([*own, *sorted(known)])}"
        )


def _load_named(name: str, options: dict[str, Any]) -> Data:

    where = {key: options.pop(key) for key in ("cache", "sources") if key in options}
    data = load_folder(downloads.fetch(name, **where), name=name, **options)
    data.notes.append(downloads.DATASETS[name].note)
    if Path(name).is_dir():
        data.notes.append(f"{name!r} is the built-in set; write './{name}' for the folder here.")
    return data


def _transforms(
    transform: Transform | None, train_transform: Transform | None, size: int | None
) -> tuple[Transform, Transform]:
    """The transforms for train and for eval."""
    side = DEFAULT_SIZE if size is None else size
    train = train_transform or transform or train_transforms(side)
    return train, transform or eval_transforms(side)


def load_folder(
    source: Any,
    *,
    seed: int,
    shares: dict[str, float],
    transforms: tuple[Transform, Transform],
    groups: Groups | None = None,
    on_error: str = "raise",
    audit: bool = True,
    keep_placeholders: bool = False,
    cache_bytes: int = CACHE_BYTES,
    name: str | None = None,
    layout: str | None = None,
    grey_bits: int | None = None,
    columns: Columns | None = None,
    labels: Labels | None = None,
) -> Data:
    """What `load_data` does with photos, its arguments checked and its transforms made."""
    folder = find(source, layout, columns, labels)
    if wrong := folder.faults + folder.problems:
        raise ValueError(wrong[0])
    groups = folder.group_of if groups is None else groups
    side = max(needed_side(t) or UNKNOWN_SIDE for t in transforms)
    found = inspect_photos(
        folder.photos, short_side=side, keep_bytes=cache_bytes, grey_bits=grey_bits
    )
    notes = list(folder.notes)
    near = clusters([one.hashes for one in found])
    report = audit_photos(folder, found, near) if audit else None
    usable = _usable(folder, found, on_error, keep_placeholders, notes)
    names = group_names([one.photo for one in usable], groups, notes)
    alike = _alike(usable, [[found[i] for i in group] for group in near])
    unit_of = _units(usable, [] if groups == ALONE else alike, names)
    parts = _parts(folder, usable, seed, shares, unit_of, notes)
    _note_separated(parts, usable, alike, names, notes)
    cache = PhotoCache(
        [one.photo.path for one in usable],
        side,
        [one.pixels for one in usable],
        cache_bytes,
        bits=common_bits(one.bits for one in found) if grey_bits is None else grey_bits,
    )
    position = {one.photo.name: i for i, one in enumerate(usable)}
    splits = {}
    for split, members in parts.items():
        splits[split] = Split(
            cache,
            [folder.classes.index(one.photo.label) for one in members],
            folder.classes,
            transform=transforms[0] if split == "train" else transforms[1],
            paths=_files(members),
            index=[position[one.photo.name] for one in members],
        )
    title = name or _title(folder.source)
    return Data(
        folder.classes, **splits, name=title, notes=notes, audit=report,
        near_train=_near_train(parts, usable, alike),
        units={name: [unit_of[one.photo.name] for one in some] for name, some in parts.items()},
    )  # fmt: skip


def _title(source: Any) -> str:
    if not isinstance(source, Path):
        return str(source)
    return source.name if source.is_file() else f"{source.name or source.resolve().name}/"


def _files(members: list[Inspection]) -> list[Path] | None:
    """None where photos come from no files."""
    return (
        None
        if any(isinstance(m.photo.path, Item) for m in members)
        else [m.photo.path for m in members]
    )


def _usable(
    folder: Folder,
    found: list[Inspection],
    on_error: str,
    keep_placeholders: bool,
    notes: list[str],
) -> list[Inspection]:
    """The photos to use; broken files raise or are left out, placeholders are left out."""
    broken = [one for one in found if one.error]
    if broken and on_error == "raise":
        first, more = broken[0], len(broken) - 1
        others = f" (so are {more} other files: see the audit)" if more else ""
        where = f"{first.photo.where}: " if first.photo.where else ""
        raise ValueError(
            f"{where}{first.photo.path}: cannot be decoded ({first.error}); "
            f'remove it or pass on_error="skip"{others}'
        )
    _note_files(notes, [f"{one.photo.name} ({one.error})" for one in broken], "cannot be decoded")
    standins = [one for one in found if one.placeholder and not one.error]
    if not keep_placeholders:
        shown = [f"{one.photo.name} ({one.placeholder})" for one in standins]
        _note_files(notes, shown, "seem to stand in for a missing photo (keep_placeholders=True)")
    _note_files(notes, [f"{n} ({why})" for n, why in folder.left_out], "are not photos of a class")
    out = {id(one) for one in (broken if keep_placeholders else broken + standins)}
    return [one for one in found if id(one) not in out]


def _note_files(notes: list[str], names: list[str], why: str) -> None:
    if names:
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        notes.append(f"Left out, because they {why}: {shown}.")


def _parts(
    folder: Folder,
    usable: list[Inspection],
    seed: int,
    shares: dict[str, float],
    unit_of: dict[str, int],
    notes: list[str],
) -> Parts:
    """Which photos go to train, val and test; each list in the order of the file names."""
    given: Parts = {}
    for one in usable:
        given.setdefault(one.photo.split, []).append(one)
    _check_classes(folder, given)
    train, val = f"train{folder.mark}", f"val{folder.mark}"
    if folder.layout == "classes":
        notes.append(f"The splits were drawn from {folder.said_by} with seed {seed}.")
        return draw(given["all"], shares, seed, folder.source, unit_of)
    if set(given) == {"train"}:
        notes.append(
            f"{train} alone has labels: validation and test are drawn from it with seed {seed}."
        )
        return draw(given["train"], shares, seed, folder.source, unit_of)
    if "val" in given and "test" in given:
        return given
    held_out = "test" if "test" in given else "val"
    drawn = draw(given["train"], {"val": shares["val"]}, seed, folder.source, unit_of)
    if held_out == "val":
        notes.append(
            f"{val} is kept as the test split; validation is drawn from {train} with seed "
            f"{seed}, so that no choice is made on the photos that are tested."
        )
    else:
        notes.append(f"There is no {val}: validation is drawn from {train} with seed {seed}.")
    return {**drawn, "test": given[held_out]}


def _check_classes(folder: Folder, given: Parts) -> None:
    base = given.get("all", given.get("train", []))
    have = {one.photo.label for one in base}
    for label in folder.classes:
        if label not in have:
            raise ValueError(
                f"{folder.source}: class {label!r} has no usable photo to train on; "
                f"add photos or remove {'its folder' if folder.mark else 'the class'}"
            )
    for split in ("val", "test"):
        if split in {p.split for p in folder.photos} and not given.get(split):
            raise ValueError(
                f"{folder.source}: {split}{folder.mark} has no usable photo; add some or remove it"
            )


# -- what belongs together -----------------------------------------------------------------------


def _alike(usable: list[Inspection], near: list[list[Inspection]]) -> list[list[int]]:
    """Positions in `usable` of copies and near copies of each other."""
    position = {id(one): i for i, one in enumerate(usable)}
    groups: dict[Any, list[int]] = {}
    for i, one in enumerate(usable):
        groups.setdefault(one.sha256, []).append(i)
    copies = [group for group in groups.values() if len(group) > 1]
    looks = [[position[id(one)] for one in group if id(one) in position] for group in near]
    number_of = joined(len(usable), copies + looks)
    sets: dict[int, list[int]] = {}
    for i, number in enumerate(number_of.tolist()):
        sets.setdefault(number, []).append(i)
    return [group for group in sets.values() if len(group) > 1]


def _units(usable: list[Inspection], alike: list[list[int]], names: list[Any]) -> dict[str, int]:
    """Of each photo, by its name, the number of the unit that stays in one split."""
    groups: dict[Any, list[int]] = {}
    for i, (one, name) in enumerate(zip(usable, names, strict=True)):
        groups.setdefault(("copies", one.sha256), []).append(i)
        if name is not None:
            groups.setdefault(("group", name), []).append(i)
    numbers = joined(len(usable), [*groups.values(), *alike]).tolist()
    return {one.photo.name: number for one, number in zip(usable, numbers, strict=True)}


def _split_of(parts: Parts) -> dict[int, str]:
    return {id(one): split for split, members in parts.items() for one in members}


def _near_train(
    parts: Parts, usable: list[Inspection], alike: list[list[int]]
) -> dict[str, list[int]]:
    """Positions in val and in test of the photos that have a copy or a near copy in train."""
    split_of = _split_of(parts)
    seen = {
        id(usable[i])
        for group in alike
        if any(split_of[id(usable[i])] == "train" for i in group)
        for i in group
    }
    return {
        split: where
        for split in ("val", "test")
        if (where := [i for i, one in enumerate(parts[split]) if id(one) in seen])
    }


def _note_separated(
    parts: Parts,
    usable: list[Inspection],
    alike: list[list[int]],
    names: list[Any],
    notes: list[str],
) -> None:
    """Say what belongs together but lies in different splits, because they were given so."""
    split_of = _split_of(parts)
    groups: dict[Any, list[int]] = {}
    for i, name in enumerate(names):
        if name is not None:
            groups.setdefault(name, []).append(i)
    for what, together in (
        ("Nearly identical photos lie", alike),
        ("Photos of one group lie", groups.values()),
    ):
        pairs = []
        for group in together:
            first = {split_of[id(usable[i])]: usable[i].photo.name for i in reversed(group)}
            if len(first) > 1:
                pairs.append(" and ".join(sorted(first.values())))
        if pairs:
            shown = "; ".join(pairs[:3])
            more = f"; {len(pairs) - 3} more times" if len(pairs) > 3 else ""
            notes.append(f"{what} in different splits: {shown}{more}.")
