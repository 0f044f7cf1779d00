"""Which columns of a table hold the files, the labels, the splits and the groups, and the photos they name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ftcourse.data.entries import ONE_LABEL, Entry, folder_of, others
from ftcourse.data.folders import Folder, files_below, in_nfc, is_photo_name
from ftcourse.data.split_names import role_of
from ftcourse.data.tables import Table, cell

__all__ = ["Columns", "entries_of", "folder_of_table", "parse_columns"]

Columns = str | Mapping[str, str | None]

ROLES = ("file", "label", "split", "group")
_FILE = """
    file files filename filepath path fname name image images imagefile imagename imagepath imageid imageindex img
    imgfile imgname imgpath imgid photo photoid photoname photopath picture pictureid id idcode
"""
_LABEL = "label labels labelname class classes classname category categories target targets species breed"
_SPLIT = "split splits subset partition phase usage datasplit"
_GROUP = """
    group groupid groups patient patientid subject subjectid lesion lesionid camera cameraid video videoid burst
    burstid
"""
NAMES = {
    role: frozenset(words.split())
    for role, words in zip(ROLES, (_FILE, _LABEL, _SPLIT, _GROUP), strict=True)
}
LOOKED_AT = 30  # cells of a column, to see whether they are files
YES, NO = {"1", "1.0", "true"}, {"0", "0.0", "false"}


def parse_columns(columns: Columns | None) -> dict[str, str | None]:
    """{"file": ..., "label": ..., "split": ..., "group": ...}, or "file=NAME,label=NAME", as a dict.

    A role without a name, None or "", says that no column has it.

    Raises:
        ValueError: another role, or no pair.
    """
    if columns is None:
        return {}
    if isinstance(columns, str):
        pairs = [part.partition("=") for part in columns.split(",")]
        if not all(sign for _, sign, _ in pairs):
            raise ValueError(f"columns={columns!r}: write it as file=NAME,label=NAME")
        columns = {role.strip(): name.strip() for role, _, name in pairs}
    for role in columns:
        if role not in ROLES:
            raise ValueError(f"columns: {role!r} is none of {', '.join(ROLES)}")
    return {role: name or None for role, name in columns.items()}


def folder_of_table(table: Table, columns: Columns | None, source: Any) -> Folder:
    """The photos that a table names, see `entries_of`."""
    entries, faults, notes, group_by = entries_of(table, columns)
    found = folder_of(
        entries, source, table.folder, said_by="the table", group_by=group_by or "the group"
    )
    found.faults[:0] = faults
    found.notes[:0] = notes
    return found


def entries_of(
    table: Table, columns: Columns | None
) -> tuple[list[Entry], list[str], list[str], str]:
    """The photos, what is wrong with rows, what was decided, and how the groups are called.

    A column that `columns` does not name is found by its name, that of the files also by its cells: they are files
    beside the table or below it, with or without their suffix. A photo that is not there keeps its path, and fails
    as a photo that cannot be decoded.

    Raises:
        ValueError: a column is not there, or cannot be told from others; the message lists them.
    """
    said = parse_columns(columns)
    for role, name in said.items():
        if name is not None and name not in table.columns:
            raise ValueError(f"{table.name}: no column {name!r} for {role}; it has {table.shown()}")
    photos = Photos(table.folder, table.search)
    used = _Used(table, said)
    used.file = _file_column(used, photos)
    used.split = used.optional("split")
    used.group = used.optional("group")
    labels, how = _labels(used)
    notes = [used.told(how)]
    paths, faults = _paths(table, used.file, photos)
    splits, more = _splits(table, used.split)
    groups = [cell(v) for v in table.columns[used.group]] if used.group else [""] * len(labels)
    entries = [
        Entry(path, label, split, group, table.where(i))
        for i, (path, label, split, group) in enumerate(
            zip(paths, labels, splits, groups, strict=True)
        )
        if path is not None
    ]
    return entries, faults + more, notes, f"column {used.group!r}" if used.group else ""


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


class _Used:
    """Which column has which role."""

    def __init__(self, table: Table, said: dict[str, str | None]) -> None:
        self.table, self.said = table, said
        self.file = ""
        self.split: str | None = None
        self.group: str | None = None

    def named(self, role: str) -> list[str]:
        """Columns whose name is usual for a role, but for those that were said to have another."""
        taken = {name for other, name in self.said.items() if other != role}
        return [n for n in self.table.columns if _plain(n) in NAMES[role] and n not in taken]

    def optional(self, role: str) -> str | None:
        if role in self.said:
            return self.said[role]
        names = [
            n for n in self.named(role) if n != self.file and any(map(cell, self.table.columns[n]))
        ]
        if len(names) > 1:
            raise self.unclear(role, names)
        return names[0] if names else None

    def unclear(self, role: str, names: Iterable[str] = ()) -> ValueError:
        which = " or ".join(map(repr, names))
        return ValueError(
            f"{self.table.name}: which column is the {role}{f', {which}' if which else ''}? It has "
            f'{self.table.shown()}; pass columns={{"{role}": "NAME"}}'
        )

    def told(self, label: str) -> str:
        parts = [f"files in {self.file!r}", f"labels in {label}"]
        parts += [
            f"{role}s in {name!r}" for role in ("split", "group") if (name := getattr(self, role))
        ]
        return f"The photos are those of {Path(self.table.name).name}: {', '.join(parts)}."


# -- files -------------------------------------------------------------------------------------


class Photos:
    """The photo that a cell names: a path from the table's folder, or what ends so below it, or has no suffix."""

    def __init__(self, folder: Path, search: bool) -> None:
        self.folder, self.search = folder, search
        self._by_tail: dict[str, list[Path]] | None = None
        self._whole: set[str] = set()

    def find(self, value: str) -> Path | None:
        """None if there is none.

        Raises:
            ValueError: there are several.
        """
        value = in_nfc(value.replace("\\", "/").removeprefix("./"))
        if not value:
            return None
        direct = self.folder / value
        if direct.is_file():
            return direct
        if not self.search:
            return None
        parts = PurePosixPath(value).parts
        by_tail = self._tails()
        found = by_tail.get(value, [])
        for k in range(
            1, len(parts)
        ):  # the path may begin further up: /kaggle/input/set/images/1.jpg
            tail = "/".join(parts[k:])
            found = found or (by_tail[tail] if tail in self._whole else [])
        if len(found) > 1:
            shown = " and ".join(str(p) for p in found[:2])
            raise ValueError(f"{value} may be {shown}; give the path below {self.folder}")
        return found[0] if found else None

    def _tails(self) -> dict[str, list[Path]]:
        """The photos below the folder by each end of their paths, with and without the suffix."""
        if self._by_tail is None:
            self._by_tail = {}
            for path, why in files_below(self.folder):
                if why or not is_photo_name(path):
                    continue
                below = PurePosixPath(in_nfc(path.relative_to(self.folder).as_posix()))
                for name in {below, below.with_suffix("")}:
                    self._whole.add(str(name))
                    for k in range(len(name.parts)):
                        self._by_tail.setdefault("/".join(name.parts[k:]), []).append(path)
        return self._by_tail


def _file_column(used: _Used, photos: Photos) -> str:
    """The column whose cells are photos; of several, the one that is called so."""
    table = used.table
    if said := used.said.get("file"):
        return said
    if any(is_photo_name(Path(n)) and _is_photo(n, photos) for n in table.columns):
        raise ValueError(
            f"{table.name}: its first line names a photo, so it is no header; put one above it, such as file,label"
        )
    taken = {n for role in ("label", "split", "group") for n in used.named(role)}
    taken |= {n for n in used.said.values() if n}
    free = [name for name in table.columns if name not in taken]
    by_cells = [name for name in free if _are_photos(table.columns[name], photos)]
    by_name = [name for name in free if name in used.named("file")]
    for names in ([n for n in by_cells if n in by_name], by_cells, by_name):
        if len(names) == 1:
            return names[0]
        if names:
            raise used.unclear("file", names)
    raise ValueError(
        f"{table.name}: no column names photos that lie in {photos.folder}{' or below it' * photos.search}; it "
        f'has {table.shown()}; pass columns={{"file": "NAME"}} if one is meant to'
    )


def _are_photos(cells: Sequence[Any], photos: Photos) -> bool:
    """Most of a sample of the cells, spread over the column, are."""
    some = [cell(v) for v in cells[:: max(1, len(cells) // LOOKED_AT)]]
    return sum(_is_photo(value, photos) for value in some) > len(some) / 2


def _is_photo(value: str, photos: Photos) -> bool:
    try:
        return photos.find(value) is not None
    except ValueError:  # one of several
        return True


def _paths(table: Table, column: str, photos: Photos) -> tuple[list[Path | None], list[str]]:
    paths: list[Path | None] = []
    faults: dict[str, list[str]] = {}
    there = 0
    for i, value in enumerate(table.columns[column]):
        if isinstance(value, (Mapping, bytes)):
            raise ValueError(
                f"{table.where(i)}: {column!r} holds the photo itself; write the photos to files, and their "
                f"names into the table"
            )
        name, found = cell(value), None
        if not name:
            faults.setdefault("empty", []).append(f"{table.where(i)}: {column!r} names no file")
        else:
            try:
                found = photos.find(name)
            except ValueError as err:
                faults.setdefault("several", []).append(f"{table.where(i)}: {err}")
            else:
                there += found is not None
                found = found or photos.folder / name
        paths.append(found)
    if not there and not faults:
        where = f"in {photos.folder} or below it" if photos.search else "from the current folder"
        faults["none"] = [
            f"{table.where(0)}: no photo {cell(table.columns[column][0])!r} {where}, nor one of the other rows "
            f"of the column {column!r}"
        ]
    return paths, [_with_count(of_kind) for of_kind in faults.values()]


def _with_count(faults: Sequence[str]) -> str:
    return faults[0] + others(faults)


# -- labels and splits -------------------------------------------------------------------------


def _labels(used: _Used) -> tuple[list[str], str]:
    """The label of each row, and how their column is called."""
    table = used.table
    name = used.said.get("label")
    if name is None:
        names = [n for n in used.named("label") if n not in (used.file, used.split, used.group)]
        if len(names) > 1:
            raise used.unclear("label", names)
        rest = [n for n in table.columns if n not in (used.file, used.split, used.group)]
        yes_or_no = [n for n in rest if _is_yes_or_no(table.columns[n])]
        if not names and len(yes_or_no) > 1:
            return _one_of(used, yes_or_no), f"the columns {', '.join(map(repr, yes_or_no))}"
        names = names or rest
        if len(names) != 1:
            raise used.unclear("label")
        name = names[0]
    for i, value in enumerate(table.columns[name]):
        if isinstance(value, (list, tuple, set, dict)) or hasattr(value, "ndim"):
            raise ValueError(
                f"{table.where(i)}: the label is {value!r:.60}; {ONE_LABEL}, a text or a number"
            )
    return [cell(value) for value in table.columns[name]], repr(name)


def _is_yes_or_no(cells: Iterable[Any]) -> bool:
    return {cell(v).lower() for v in cells} <= YES | NO


def _one_of(used: _Used, names: list[str]) -> list[str]:
    """The class of each row from a column of 0 and 1 for each class, if each row has a single 1."""
    table = used.table
    rows = zip(*(table.columns[name] for name in names), strict=True)
    labels = []
    for i, row in enumerate(rows):
        on = [n for n, value in zip(names, row, strict=True) if cell(value).lower() in YES]
        if len(on) != 1:
            shown = f"{len(on)} of them ({', '.join(on[:3])})" if on else "none of them"
            raise ValueError(
                f"{table.where(i)}: the columns {', '.join(names[:4])}{', ...' * (len(names) > 4)} are 0 or 1, "
                f"as for several labels of one photo, and {shown} is 1; {ONE_LABEL}: one 1 in each row, or one "
                f"column with the name of the class"
            )
        labels.append(on[0])
    return labels


def _splits(table: Table, column: str | None) -> tuple[list[str | None], list[str]]:
    if column is None:
        return [None] * len(table.rows), []
    splits, faults = [], []
    for i, value in enumerate(table.columns[column]):
        splits.append(split := role_of(cell(value)))
        if split is None:
            faults.append(
                f"{table.where(i)}: the split {cell(value)!r} is none of train, val, test"
            )
    if len(faults) == len(splits):
        faults = [faults[0] + '; if that column is no split, pass columns={"split": None}']
        return splits, faults
    return splits, [_with_count(faults)] if faults else []
