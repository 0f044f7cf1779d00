"""Labels that stand in the names of files: cat_001.jpg, found by a regular expression."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Union

from ftcourse.data.entries import Entry, folder_of
from ftcourse.data.folders import Folder, files_below, in_nfc, is_photo_name
from ftcourse.data.groups import pattern_of
from ftcourse.data.split_names import roles_of

__all__ = ["Labels", "folder_of_names"]

Labels = Union[str, "re.Pattern[str]"]


def folder_of_names(source: str | os.PathLike, labels: Labels) -> Folder:
    """The photos of a folder and all below it, each with the label that its name has.

    `labels` has one group in parentheses; it is searched in the file's name, or in its path below the folder if it
    contains "/". Top folders called train, val or test are splits. Names that it does not fit are a fault.

    Raises:
        FileNotFoundError, NotADirectoryError: `source` is no folder.
        ValueError: `labels` is no such expression.
    """
    source = Path(source).expanduser()
    if not source.is_dir():
        kind = NotADirectoryError if source.exists() else FileNotFoundError
        raise kind(
            f"{source}: is no folder; labels is for a folder of photos with labels in their names"
        )
    find = pattern_of(labels, "labels", "the part of the file name that is the label")
    files = list(files_below(source))
    names = [in_nfc(path.relative_to(source).as_posix()) for path, _ in files]
    photos = [
        (p, n) for (p, why), n in zip(files, names, strict=True) if not why and is_photo_name(p)
    ]
    tops = sorted({PurePosixPath(name).parts[0] for _, name in photos})
    roles = roles_of(tops, alone=True)
    roles = roles if len(roles) == len(tops) else {}
    entries, unfit = [], []
    for path, name in photos:
        label = find(name)
        if not label:
            unfit.append(name)
            continue
        split = roles.get(PurePosixPath(name).parts[0])
        entries.append(Entry(path, label, split, where=str(path)))
    found = folder_of(entries, source, source, said_by="the file names")
    shown = labels if isinstance(labels, str) else labels.pattern
    if unfit:
        found.faults.append(
            f"{source}: the expression '{shown}' does not fit {len(unfit)} of {len(photos)} photos, such as "
            f"{unfit[0]}; mend the expression or take them away"
        )
    found.left_out += [
        (name, why or "not a photo")
        for (path, why), name in zip(files, names, strict=True)
        if why or not is_photo_name(path)
    ]
    found.notes.insert(0, f"The labels are in the names of the files, found by '{shown}'.")
    if roles:
        found.notes.append(
            f"Folders are read as splits: {', '.join(f'{n}/ as {r}' for n, r in roles.items())}."
        )
    return found
