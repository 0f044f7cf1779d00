"""Photos that belong together: of one patient, one camera, one burst; as the user names them."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Union

from ftcourse.data.folders import Photo

__all__ = ["ALONE", "Groups", "group_names", "pattern_of"]

ALONE = "file"  # each file for itself: near copies are not kept together either

Groups = Union[str, "re.Pattern[str]", Mapping[str, Any], Callable[[Path], Any]]
_TABLE = re.compile(r"(?P<file>.+\.(?:csv|tsv)):(?P<column>.+)", re.IGNORECASE)


def group_names(photos: Sequence[Photo], groups: Groups | None, notes: list[str]) -> list[Any]:
    """The group of each photo, None where it has none; `load_data` says what `groups` may be.

    How many have none is told in `notes`.

    Raises:
        FileNotFoundError: the table is not there.
        TypeError: `groups` is of another kind.
        ValueError: no photo has a group; no expression, or not one group in it; no such column; a
            table gives one file two groups.
    """
    if groups is None or groups == ALONE:
        return [None] * len(photos)
    find, what = _finder(groups)
    names = [find(photo) for photo in photos]
    without = [p.name for p, name in zip(photos, names, strict=True) if name is None]
    if photos and len(without) == len(photos):
        raise ValueError(f"groups={what}: fits none of {len(photos)} photos, such as {without[0]}")
    many = len(set(names) - {None})
    note = f"Photos of one group stay in one split: {many} groups by {what}."
    if without:
        shown = ", ".join(without[:3]) + (
            f" and {len(without) - 3} more" if len(without) > 3 else ""
        )
        note += (
            f" In no group, so each for itself: {len(without)} of {len(photos)} photos ({shown})."
        )
    notes.append(note)
    return names


def _finder(groups: Groups) -> tuple[Callable[[Photo], Any], str]:
    """What gives a photo its group, and how it is called in a sentence."""
    if groups == "parent":
        return _parent, "parent"
    if isinstance(groups, str) and (table := _TABLE.fullmatch(groups)):
        return _lookup(_read(Path(table["file"]).expanduser(), table["column"]), groups), groups
    if isinstance(groups, (str, re.Pattern)):
        return _search(groups)
    if isinstance(groups, Mapping):
        return _lookup({str(k): v for k, v in groups.items()}, "the mapping"), "the mapping"
    if callable(groups):
        return (lambda photo: groups(photo.path)), getattr(groups, "__name__", "the function")
    raise TypeError(
        f'groups={groups!r}: give "parent", "file", a regular expression with one group in parentheses, '
        f'"table.csv:column", a mapping from files to groups, or a function of the path'
    )


def _parent(photo: Photo) -> str | None:
    """The folders between the class folder and the file; None where there are none."""
    parts = photo.name.split("/")
    folders = 1 if photo.split == "all" else 2  # of class and split
    below = parts[folders if photo.label in parts[:folders] else 0 : -1]
    return "/".join(below) or None


def _search(expression: str | re.Pattern[str]) -> tuple[Callable[[Photo], Any], str]:
    what = "the part of the file name that photos of one group share"
    find = pattern_of(expression, "groups", what)
    return (lambda photo: find(photo.name)), repr(re.compile(expression).pattern)


def pattern_of(
    expression: str | re.Pattern[str], option: str, what: str
) -> Callable[[str], str | None]:
    """What a regular expression with one group finds in a name, or in a path if it contains "/"; None if nothing.

    Raises:
        ValueError: it is no expression, or has not one group; `option` and `what` are for the message.
    """
    try:
        pattern = re.compile(expression)
    except re.error as err:
        raise ValueError(f"{option}={expression!r}: not a regular expression ({err})") from None
    if pattern.groups != 1:
        raise ValueError(
            f"{option}={pattern.pattern!r}: needs one group in parentheses, {what}, but has {pattern.groups}; "
            f"others can be written (?:...)"
        )

    def find(name: str) -> str | None:
        match = pattern.search(name if "/" in pattern.pattern else PurePosixPath(name).name)
        return match[1] if match else None

    return find


def _lookup(table: Mapping[str, Any], what: str) -> Callable[[Photo], Any]:
    """By the path below the folder, by the file's name, or by that without its suffix."""

    def find(photo: Photo) -> Any:
        path = PurePosixPath(photo.name)
        keys = [photo.name, path.name, path.stem]
        return next((table[key] for key in keys if key in table), None)

    return find


def _read(file: Path, column: str) -> dict[str, str]:
    """The groups in a column of a table; files are in the column `file`, or else in the first."""
    if not file.is_file():
        raise FileNotFoundError(f"{os.fspath(file)}: no such file, so there are no groups")
    table: dict[str, str] = {}
    with file.open(encoding="utf-8-sig", newline="") as text:
        rows = csv.DictReader(text, delimiter="\t" if file.suffix.lower() == ".tsv" else ",")
        columns = list(rows.fieldnames or [])
        if column not in columns:
            raise ValueError(f"{file}: no column {column!r}; it has {', '.join(columns)}")
        key = "file" if "file" in columns else columns[0]
        for number, row in enumerate(rows, start=2):
            name, group = (row[key] or "").strip(), (row[column] or "").strip()
            if not name or not group:
                continue
            if table.setdefault(name, group) != group:
                raise ValueError(
                    f"{file}, line {number}: {name} is in two groups, {group} and {table[name]}"
                )
    return table
