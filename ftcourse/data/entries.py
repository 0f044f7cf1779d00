"""Photos with their labels, however they were said, as the `Folder` that everything else works with."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftcourse.data.folders import Folder, Photo, compare_splits, in_nfc
from ftcourse.data.items import Item
from ftcourse.data.natural import natural
from ftcourse.data.photo_formats import why_unreadable

__all__ = ["ONE_LABEL", "SPLITS", "Entry", "folder_of", "others"]

SPLITS = ("train", "val", "test")
ONE_LABEL = "ftcourse gives a photo one label"
INTEGER = re.compile(r"[+-]?\d+")
WHOLE = re.compile(r"([+-]?\d+)\.0*")
FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


@dataclass
class Entry:
    """One photo: its file (or an `Item`), its class, and perhaps its split and its group."""

    path: Any
    label: str
    split: str | None = None
    group: str = ""
    where: str = ""  # where it is said, such as "train.csv, line 7"


def folder_of(
    entries: Sequence[Entry],
    source: Any,
    root: Path,
    *,
    said_by: str,
    classes: Sequence[str] | None = None,
    group_by: str = "the group",
) -> Folder:
    """The photos of a table, a list or a data set as `scan` gives those of class folders.

    What is wrong with an entry is in `faults`, one sentence of each kind with the first place.

    Args:
        source: for messages and the report.
        root: names of photos are their paths below it.
        said_by: "the table", for notes.
        classes: by index; by default the labels that occur, whole numbers by their value.
        group_by: how the groups are called in a note.
    """
    found = Folder(source, root, "classes", said_by=said_by, mark="")
    entries = _labelled(found, entries)
    if classes is None:
        entries = _whole_numbers(entries)
        _look_at_labels(found, [one.label for one in entries])
    entries = _once(found, entries)
    if any(one.split for one in entries):
        found.layout = "splits"
    for one in entries:
        name = _name(one.path, root)
        if not isinstance(one.path, Item) and (why := why_unreadable(one.path)):
            found.left_out.append((name, why))
        else:
            photo = Photo(one.path, name, one.label, one.split or "all", one.where)
            found.photos.append(photo)
    found.photos.sort(key=lambda photo: photo.name)
    found.classes = list(classes or _in_order({one.label for one in found.photos}))
    found.group_of = _groups(entries, group_by)
    _find_problems(found)
    return found


def _name(path: Any, root: Path) -> str:
    """The path below the root, or the whole one; the same on each platform."""
    if isinstance(path, Item):
        return path.name
    try:
        below = os.path.relpath(path, root)
    except ValueError:  # on another drive
        below = os.path.abspath(path)
    if below.startswith(".."):
        below = os.path.abspath(path)
    return in_nfc(Path(below).as_posix())


# -- labels ------------------------------------------------------------------------------------


def _labelled(found: Folder, entries: Sequence[Entry]) -> list[Entry]:
    """Those with a label; a test split without any has nothing to be measured by and is left out."""
    without = [one for one in entries if not one.label]
    tests = [one for one in entries if one.split == "test"]
    if tests and without == tests:
        found.notes.append(
            f"The {len(tests)} photos of test have no labels: left out; `predict` says what they show."
        )
    elif without:
        found.faults.append(
            f"{without[0].where}: the label is empty; fill it in or remove it{others(without)}"
        )
    return [one for one in entries if one.label]


def _whole_numbers(entries: list[Entry]) -> list[Entry]:
    """1.0 is 1 where all labels are such: an empty cell elsewhere makes whole numbers floats."""
    if not all(WHOLE.fullmatch(one.label) for one in entries):
        return entries
    for one in entries:
        one.label = WHOLE.sub(r"\1", one.label)
    return entries


def _in_order(labels: Iterable[str]) -> list[str]:
    """Whole numbers by their value; names by their letters, and numbers in them by their value."""
    labels = sorted(labels, key=natural)
    if all(INTEGER.fullmatch(label) for label in labels):  # natural takes -1 for a name
        return sorted(labels, key=int)
    return labels


def _look_at_labels(found: Folder, labels: list[str]) -> None:
    """Numbers to predict, and several labels a photo, are no classes."""
    where = found.source
    if labels and all(FLOAT.fullmatch(label) for label in labels):
        if any(not INTEGER.fullmatch(label) for label in labels):
            shown = next(label for label in labels if not INTEGER.fullmatch(label))
            found.faults.append(
                f"{where}: the labels are numbers to predict, such as {shown}, not classes; "
                f"ftcourse does not support that (regression) yet: give each photo the name of a class"
            )
    elif (several := _several(labels)) is not None:
        separator, example = several
        found.faults.append(
            f"{where}: labels such as {example!r} seem to be several labels of one photo, separated by "
            f"{separator!r}; {ONE_LABEL}: keep the one that matters, or, if each is the name of one class, "
            f"write it with _ instead of {separator!r}"
        )


def _several(labels: list[str]) -> tuple[str, str] | None:
    """The separator, and an example, if labels are lists made of fewer words than there are lists.

    "golden retriever" and "german shepherd" are no lists: names of classes have more words than there are names.
    """
    count = Counter(labels)
    for separator in "|;, ":
        parts = {label: [p.strip() for p in label.split(separator) if p.strip()] for label in count}
        lists = [label for label, words in parts.items() if len(words) > 1]
        words = {word for of_label in parts.values() for word in of_label}
        if not lists or len(words) >= len(count) or len({len(p) for p in parts.values()}) == 1:
            continue
        in_most = sum(count[label] for label in lists) > len(labels) / 2
        of_known = sum(set(parts[label]) <= count.keys() for label in lists) > len(lists) / 2
        if in_most or (separator != " " and of_known):
            return separator, lists[0]
    return None


# -- files -------------------------------------------------------------------------------------


def _once(found: Folder, entries: list[Entry]) -> list[Entry]:
    """Each file once; what is said twice is a fault."""
    first: dict[str, Entry] = {}
    twice: list[tuple[Entry, Entry]] = []
    for one in entries:
        key = os.path.abspath(one.path)
        if (before := first.setdefault(key, one)) is not one:
            twice.append((before, one))
    unlike = [(a, b) for a, b in twice if a.label != b.label]
    if unlike:
        a, b = unlike[0]
        found.faults.append(
            f"{b.where}: {_name(b.path, found.root)} is {b.label!r}, but {a.label!r} in {a.where}; {ONE_LABEL} "
            f"(no boxes, no several labels): keep one{others([b for _, b in unlike])}"
        )
    elif twice:
        a, b = twice[0]
        found.faults.append(
            f"{b.where}: {_name(b.path, found.root)} is there already, in {a.where}; "
            f"remove one{others([b for _, b in twice])}"
        )
    return list(first.values())


def others(faults: Sequence[Any]) -> str:
    """How many there are besides the first, which is told; nothing if it is the only one."""
    more = len(faults) - 1
    return f" (and {more} more like it)" if more else ""


def _groups(entries: Iterable[Entry], group_by: str) -> Callable[[Path], Any] | None:
    group = {str(one.path): one.group for one in entries if one.group}
    if not group:
        return None

    def find(path: Path) -> str | None:
        return group.get(str(path))

    find.__name__ = group_by  # `group_names` calls it so in its note
    return find


def _find_problems(found: Folder) -> None:
    where, splits = found.source, {photo.split for photo in found.photos}
    if not found.photos:
        why = f" ({found.left_out[0][1]})" if found.left_out else ""
        found.problems.append(f"{where}: no photos with a label{why}")
    elif len(found.classes) == 1:
        found.problems.append(
            f"{where}: a single class, {found.classes[0]!r}; a classifier needs at least two"
        )
    elif found.layout == "splits" and "train" not in splits:
        found.problems.append(
            f"{where}: no photo is in train, only in {' and '.join(sorted(splits))}"
        )
    elif found.layout == "splits":
        compare_splits(found)
