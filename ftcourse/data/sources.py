"""One road in: class folders, a table, names, pairs or data sets become a `Folder`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftcourse.data.columns import Columns, entries_of, folder_of_table
from ftcourse.data.data_sets import entries_of_data_set, entries_of_pairs, is_data_set
from ftcourse.data.entries import SPLITS, Entry, folder_of
from ftcourse.data.file_names import Labels, folder_of_names
from ftcourse.data.folders import Folder, scan
from ftcourse.data.items import Item
from ftcourse.data.split_names import role_of
from ftcourse.data.tables import is_frame, is_table_name, read_table, table_of

__all__ = ["find", "has_table", "is_path"]


def find(
    source: Any,
    layout: str | None = None,
    columns: Columns | None = None,
    labels: Labels | None = None,
) -> Folder:
    """The photos of a source with their labels, and perhaps their splits and groups; no photo is opened.

    Args:
        source: a folder of class folders (see `scan`), or with a single table in it; a table (.csv, .tsv,
            .parquet); a DataFrame; pairs (file, label); a map-style data set with `classes`; (train, val),
            (train, val, test) or a dict of splits of these.
        layout: "classes" for a folder, see `scan`.
        columns: for a table, see `parse_columns`.
        labels: for a folder, the expression that finds the label in a file's name.

    Raises:
        FileNotFoundError, NotADirectoryError, ImportError, TypeError, ValueError: it is none of these; the message
            says what is wrong where. What is wrong with single photos is in the folder's `faults`.
    """
    if is_path(source):
        return _of_path(Path(source).expanduser(), layout, columns, labels)
    for name, value in (("layout", layout), ("labels", labels)):
        if value is not None:
            raise ValueError(
                f"{name}: is for a folder of photos, not for a {type(source).__name__}"
            )
    if is_frame(source):
        return folder_of_table(table_of(source), columns, "the DataFrame")
    if (splits := _splits(source)) is not None:
        return _of_splits(splits, columns)
    entries, classes, notes = _part(source, None, columns)
    name = f"{len(entries)} pairs" if classes is None else type(source).__name__
    return _joined(entries, name, classes, notes)


def is_path(source: Any) -> bool:
    return isinstance(source, (str, os.PathLike))


# -- files -------------------------------------------------------------------------------------


def _of_path(
    path: Path, layout: str | None, columns: Columns | None, labels: Labels | None
) -> Folder:
    given = {"layout": layout, "columns": columns, "labels": labels}
    several = [name for name, value in given.items() if value is not None]
    if len(several) > 1:
        raise ValueError(
            f"{several[0]} and {several[1]}: each says in its own way where the labels are; give one of them"
        )
    if is_table_name(path) and not path.is_dir():
        if layout or labels:
            raise ValueError(f"{several[0]}: is for a folder of photos, and {path} is a table")
        return folder_of_table(read_table(path), columns, path)
    if labels is not None:
        return folder_of_names(path, labels)
    if columns is not None and path.is_dir():
        return folder_of_table(read_table(_only_table(path)), columns, path)
    if columns is not None:
        raise ValueError(f"columns: is for a table, and {path} is none (.csv, .tsv or .parquet)")
    folder = scan(path, layout)
    tables = [] if layout else _tables(path)
    if len(tables) == 1:
        return _with_table(folder, tables[0])
    if tables and folder.problems:
        shown = ", ".join(str(table) for table in tables[:4])
        folder.problems[0] += f"; of its tables give the one with the labels: {shown}"
    return folder


def has_table(source: Any) -> bool:
    """A table, or a folder with a single one in it."""
    path = Path(source).expanduser()
    return len(_tables(path)) == 1 if path.is_dir() else is_table_name(path)


def _tables(folder: Path) -> list[Path]:
    return sorted(
        p for p in folder.iterdir() if is_table_name(p) and p.is_file() and p.name[0] != "."
    )


def _only_table(folder: Path) -> Path:
    tables = _tables(folder)
    if len(tables) != 1:
        shown = (
            f"{len(tables)} tables ({', '.join(t.name for t in tables[:4])})"
            if tables
            else "no table"
        )
        raise ValueError(
            f"{folder}: columns is for a table, and there is {shown} in it; give the table"
        )
    return tables[0]


def _with_table(folder: Folder, file: Path) -> Folder:
    """A folder with a table in it: the table has the labels if the folders have none; both must not differ."""
    if folder.problems and len(folder.classes) > 1 and folder.layout == "splits":
        return folder  # there are labels; something else is wrong
    if folder.problems:
        try:
            found = folder_of_table(read_table(file), None, folder.source)
        except (ValueError, ImportError) as err:
            folder.problems[0] += f". Its table gives no labels either: {err}"
            return folder
        found.notes.insert(0, f"{folder.source} is read by its table {file.name}.")
        return found
    unread = f"The folders are the classes; {file.name} is not read (to read it, give it in place of the folder)."
    try:
        entries, _, _, _ = entries_of(read_table(file), None)
    except (ValueError, ImportError):  # of something else, or it is not clear of what
        folder.notes.append(unread)
        return folder
    label_of = {os.path.abspath(photo.path): photo.label for photo in folder.photos}
    both = {
        (label_of[key], e.label) for e in entries if (key := os.path.abspath(e.path)) in label_of
    }
    there = sum(os.path.abspath(e.path) in label_of for e in entries)
    one_to_one = len(both) == len({a for a, _ in both}) == len({b for _, b in both})
    if not one_to_one and there > len(label_of) / 2:
        folder.problems.append(
            f"{folder.source}: its folders and its table {file.name} give the photos other classes; "
            f"give {file} to read the table, or take it out of the folder to read the folders"
        )
    else:
        folder.notes.append(unread)
    return folder


# -- what lies in memory -----------------------------------------------------------------------


def _splits(source: Any) -> dict[str, Any] | None:
    """Split by split, if the source is (train, val), (train, val, test) or a dict of splits."""
    if isinstance(source, Mapping):
        roles = {name: role_of(str(name)) for name in source}
        if wrong := [name for name, role in roles.items() if role is None]:
            raise ValueError(f"the split {wrong[0]!r} is none of train, val, test")
        return {str(roles[name]): part for name, part in source.items()}
    if (
        not isinstance(source, (tuple, list))
        or not 2 <= len(source) <= 3
        or any(map(_is_pair, source))
    ):
        return None
    of_photos = (is_data_set(part) or is_frame(part) or isinstance(part, list) for part in source)
    return dict(zip(SPLITS, source, strict=False)) if all(of_photos) else None


def _is_pair(item: Any) -> bool:
    return isinstance(item, (tuple, list)) and len(item) == 2 and is_path(item[0])


def _part(
    source: Any, split: str | None, columns: Columns | None
) -> tuple[list[Entry], list[str] | None, list[str]]:
    """Entries, classes where the source has them, and notes."""
    if is_frame(source) or (split and is_path(source) and is_table_name(Path(source))):
        table = table_of(source) if is_frame(source) else read_table(source)
        entries, faults, notes, _ = entries_of(table, columns)
        if faults:
            raise ValueError(faults[0])
        return entries, None, notes
    if columns is not None:
        raise ValueError(f"columns: is for a table, not for a {type(source).__name__}")
    if isinstance(source, (list, tuple)):
        return entries_of_pairs(source, split or "the list"), None, []
    if is_data_set(source):
        return entries_of_data_set(source, split)
    raise TypeError(
        f"{type(source).__name__}: give a folder, a table (.csv, .tsv, .parquet) or a DataFrame, pairs (file, "
        f"label), a data set with items by number and `classes`, or (train, val) of these"
    )


def _of_splits(splits: dict[str, Any], columns: Columns | None) -> Folder:
    parts = {split: _part(source, split, columns) for split, source in splits.items()}
    known = [classes for _, classes, _ in parts.values()]
    if any(classes != known[0] for classes in known):
        names = list(parts)
        other = next(i for i, classes in enumerate(known) if classes != known[0])
        raise ValueError(
            f"{names[0]} has the classes {_shown(known[0])}, but {names[other]} {_shown(known[other])}; "
            f"they must be the same, in the same order"
        )
    entries = []
    for split, (of_split, _, _) in parts.items():
        for entry in of_split:
            entry.split = split
        entries += of_split
    notes = list(dict.fromkeys(note for _, _, of_split in parts.values() for note in of_split))
    return _joined(entries, " and ".join(parts), known[0], notes)


def _shown(classes: list[str] | None) -> str:
    if classes is None:
        return "none"
    return ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "")


def _joined(entries: list[Entry], name: str, classes: list[str] | None, notes: list[str]) -> Folder:
    folders = {
        os.path.dirname(os.path.abspath(e.path)) for e in entries if not isinstance(e.path, Item)
    }
    try:
        root = Path(os.path.commonpath(folders)) if folders else Path()
    except ValueError:  # on several drives
        root = Path()
    said_by = "the list" if classes is None else "the data set"
    found = folder_of(entries, name, root, said_by=said_by, classes=classes)
    found.notes[:0] = notes
    return found
