"""Drawing splits: which photos go to train, val and test, by file names and a seed alone."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ftcourse.data.inspection import Inspection

__all__ = ["Parts", "draw"]

Parts = dict[str, list[Inspection]]


def draw(members: Sequence[Inspection], shares: dict[str, float], seed: int, source: Path) -> Parts:
    """Draw stratified splits: of each class the share of photos, at least one, the rest to train.

    The order of drawing is that of a hash of seed and file name: the same everywhere, and little
    changed when photos are added. Byte-identical files stay together, in train where possible.

    Raises:
        ValueError: a class has too few different photos to give each split one; it is named.
    """
    times = Counter(one.sha256 for one in members)
    labels_of: dict[str, set[str]] = {}
    for one in members:
        labels_of.setdefault(one.sha256, set()).add(one.photo.label)
    parts: Parts = {split: [] for split in ("train", *shares)}
    for label in sorted({one.photo.label for one in members}):
        mine = [one for one in members if one.photo.label == label]
        groups: dict[str, list[Inspection]] = {}
        for one in mine:
            groups.setdefault(one.sha256, []).append(one)
        free = [g for h, g in groups.items() if len(labels_of[h]) == 1]
        free.sort(key=lambda g: (times[g[0].sha256], min(_rank(one, seed) for one in g)))
        if len(groups) < len(shares) + 1 or len(free) < len(shares):
            raise ValueError(_too_few(source, label, mine, len(groups), len(shares) + 1))
        rest = {id(one) for one in mine}
        wanted = {s: max(1, math.floor(share * len(mine) + 0.5)) for s, share in shares.items()}
        spare = len(groups) - 1  # train keeps one group at least
        for k, split in enumerate(reversed(list(shares))):
            later = len(shares) - 1 - k  # each split still to be filled needs a group
            taken: list[Inspection] = []
            while free and len(taken) < wanted[split] and spare > later:
                taken += free.pop(0)
                spare -= 1
            parts[split] += taken
            rest -= {id(one) for one in taken}
        parts["train"] += [one for one in mine if id(one) in rest]
    for split in parts:
        parts[split].sort(key=lambda one: one.photo.name)
    return parts


def _rank(one: Inspection, seed: int) -> str:
    return hashlib.sha256(f"{seed}/{one.photo.name}".encode()).hexdigest()


def _too_few(source: Path, label: str, mine: list[Inspection], different: int, need: int) -> str:
    copies = "" if different == len(mine) else f", {different} of them different"
    plural = "" if len(mine) == 1 else "s"
    return (
        f"{source}: class {label!r} has {len(mine)} photo{plural}{copies}; the splits need at least "
        f"{need} different ones a class: add photos or remove the class"
    )
