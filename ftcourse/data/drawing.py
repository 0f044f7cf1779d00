"""Drawing splits: which photos go to train, val and test, by file names, a seed and what belongs together."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftcourse.data.groups import ALONE
from ftcourse.data.inspection import Inspection

__all__ = ["Parts", "draw"]

Parts = dict[str, list[Inspection]]


@dataclass
class _Unit:
    """Photos that stay in one split: one photo, copies and near copies of it, a group."""

    photos: list[Inspection]
    copies: int  # how often the most frequent of its files is there
    rank: str
    counts: Counter[str] = field(default_factory=Counter)  # photos of each class


def draw(
    members: Sequence[Inspection],
    shares: dict[str, float],
    seed: int,
    source: Path,
    unit_of: Mapping[str, Any] | None = None,
) -> Parts:
    """Draw stratified splits: of each class the share of photos, at least one, the rest to train.

    The order of drawing is that of a hash of seed and file name: the same everywhere, and little
    changed when photos are added. Photos of one unit stay together, and a unit is drawn where it
    brings a split nearer to its share of each class. Byte-identical files go to train where
    possible.

    Args:
        members: the photos, in the order of their names.
        unit_of: the unit of each photo, by its name; by default byte-identical files are a unit.

    Raises:
        ValueError: a class has too few units to give each split one; it is named.
    """
    units = _units(members, seed, unit_of or {one.photo.name: one.sha256 for one in members})
    of_class: dict[str, list[_Unit]] = {}
    for unit in units:
        for label in unit.counts:
            of_class.setdefault(label, []).append(unit)
    drawing = _Drawing(of_class, shares)
    for label in sorted(of_class, key=lambda c: (len(of_class[c]), c)):  # the scarcest first
        if len(of_class[label]) < len(shares) + 1:
            raise ValueError(_too_few(source, label, of_class[label], len(shares) + 1))
        for split in reversed(list(shares)):
            drawing.fill(split, label)
            if not drawing.counts[split][label]:
                raise ValueError(_too_few(source, label, of_class[label], len(shares) + 1))
    parts: Parts = {split: [] for split in ("train", *shares)}
    for unit in units:
        parts[drawing.split_of.get(id(unit), "train")] += unit.photos
    for split in parts:
        parts[split].sort(key=lambda one: one.photo.name)
    return parts


class _Drawing:
    """Which unit has been drawn for which split, and what that makes of each class."""

    def __init__(self, of_class: dict[str, list[_Unit]], shares: dict[str, float]) -> None:
        self.of_class = of_class
        self.split_of: dict[int, str] = {}
        self.counts: dict[str, Counter[str]] = {split: Counter() for split in shares}
        self.left = {label: len(units) for label, units in of_class.items()}
        sizes = {label: sum(u.counts[label] for u in units) for label, units in of_class.items()}
        self.wanted = {
            split: {label: max(1, math.floor(share * n + 0.5)) for label, n in sizes.items()}
            for split, share in shares.items()
        }

    def fill(self, split: str, label: str) -> None:
        """Draw units of a class for a split until it has its share, one at least if there is one."""
        for unit in self.of_class[label]:
            if self.counts[split][label] >= self.wanted[split][label]:
                return
            if self._free(unit, split) and self._gain(unit, split) >= 0:
                self._take(unit, split)
        if not self.counts[split][label]:  # each unit is larger than the share
            free = [unit for unit in self.of_class[label] if self._free(unit, split)]
            if free:
                self._take(max(free, key=lambda unit: self._gain(unit, split)), split)

    def _free(self, unit: _Unit, split: str) -> bool:
        """Not drawn yet, and of each of its classes enough is left for train and the other splits."""
        if id(unit) in self.split_of:
            return False
        lacking = (
            1 + sum(not n[label] for other, n in self.counts.items() if other != split)
            for label in unit.counts
        )
        return all(
            self.left[label] - 1 >= need for label, need in zip(unit.counts, lacking, strict=True)
        )

    def _gain(self, unit: _Unit, split: str) -> float:
        """How much nearer to its shares the unit brings a split, in shares."""
        have, wanted = self.counts[split], self.wanted[split]
        return sum(
            (abs(have[c] - wanted[c]) - abs(have[c] + n - wanted[c])) / wanted[c]
            for c, n in unit.counts.items()
        )

    def _take(self, unit: _Unit, split: str) -> None:
        self.split_of[id(unit)] = split
        self.counts[split] += unit.counts
        for label in unit.counts:
            self.left[label] -= 1


def _units(members: Sequence[Inspection], seed: int, unit_of: Mapping[str, Any]) -> list[_Unit]:
    """The units in the order of drawing; a unit's rank is that of its first file."""
    times = Counter(one.sha256 for one in members)
    together: dict[Any, list[Inspection]] = {}
    for one in members:
        together.setdefault(unit_of[one.photo.name], []).append(one)
    units = [
        _Unit(
            photos,
            max(times[one.sha256] for one in photos),
            _rank(photos[0], seed),
            Counter(one.photo.label for one in photos),
        )
        for photos in together.values()
    ]
    return sorted(units, key=lambda unit: (unit.copies, unit.rank))


def _rank(one: Inspection, seed: int) -> str:
    return hashlib.sha256(f"{seed}/{one.photo.name}".encode(errors="surrogateescape")).hexdigest()


def _too_few(source: Path, label: str, units: list[_Unit], need: int) -> str:
    mine = [one for unit in units for one in unit.photos if one.photo.label == label]
    different = len({one.sha256 for one in mine})
    copies = "" if different == len(mine) else f", {different} of them different"
    plural = "" if len(mine) == 1 else "s"
    if different < need:
        return (
            f"{source}: class {label!r} has {len(mine)} photo{plural}{copies}; the splits need at least "
            f"{need} different ones a class: add photos or remove the class"
        )
    groups = f"{len(units)} group" + ("" if len(units) == 1 else "s")
    return (
        f"{source}: class {label!r} has {len(mine)} photos, but only {groups} that may lie in different splits "
        f"(near copies and photos of one group stay together); the splits need {need} a class: add photos of "
        f'others or remove the class. If they only look alike, pass groups="{ALONE}" to draw photo by photo'
    )
