"""What is wrong with a folder of photos, before any time is spent on training with it.

    print(audit("photos/").summary())

No file is changed. What the audit calls nearly the same photo is a near copy in the sense of
`near_copies`: also smaller, mirrored, turned by 90 degrees or slightly cropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ftcourse.data.columns import Columns
from ftcourse.data.deep_greys import common_bits
from ftcourse.data.file_names import Labels
from ftcourse.data.folders import EXPECTED, Folder
from ftcourse.data.inspection import Inspection, inspect_photos
from ftcourse.data.natural import natural
from ftcourse.data.near_copies import clusters
from ftcourse.data.photos import MOST_RATIO
from ftcourse.data.sources import find

__all__ = ["Audit", "AuditFinding", "audit"]

SEVERITIES = ("error", "warning", "info")
SMALLEST_CLASS = 3  # one photo for each of train, val, test
SMALL_CLASS = 10
IMBALANCE = 5.0  # largest class / smallest class
TINY_SIDE = 32
FLAT_SPREAD = 20  # of 255; 12 bits taken for 16 would leave 16


@dataclass
class AuditFinding:
    """One thing found: `kind` names it, `severity` is "error", "warning" or "info"."""

    kind: str
    severity: str
    message: str
    files: list[str] = field(default_factory=list)


@dataclass
class Audit:
    """The findings, worst first, and the photos that were counted per split and class."""

    folder: str
    counts: dict[str, dict[str, int]]
    findings: list[AuditFinding]

    @property
    def ok(self) -> bool:
        """No finding is an error."""
        return all(finding.severity != "error" for finding in self.findings)

    def of_kind(self, kind: str) -> list[AuditFinding]:
        """The findings of one kind, such as "leakage"."""
        return [finding for finding in self.findings if finding.kind == kind]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, dicts and strings, ready for JSON."""
        return {**asdict(self), "ok": self.ok}

    def summary(self) -> str:
        """Counts per class and split, then the findings with up to five files each."""
        lines = [f"audit of {self.folder}", *_table(self.counts), ""]
        if not self.findings:
            lines.append("nothing found")
        for finding in self.findings:
            lines.append(f"[{finding.severity}] {finding.kind}: {finding.message}")
            lines += [f"    {name}" for name in finding.files[:5]]
            if len(finding.files) > 5:
                lines.append(f"    ... and {len(finding.files) - 5} more")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()


def _table(counts: dict[str, dict[str, int]]) -> list[str]:
    classes = sorted({label for of_class in counts.values() for label in of_class}, key=natural)
    width = max([len(label) for label in classes] + [5])
    lines = [" ".join([" " * width] + [f"{split:>7}" for split in counts])]
    rows = [(label, [of.get(label, 0) for of in counts.values()]) for label in classes]
    rows.append(("total", [sum(of.values()) for of in counts.values()]))
    return lines + [" ".join([f"{n:<{width}}"] + [f"{k:>7}" for k in row]) for n, row in rows]


def audit(
    folder: Any,
    layout: str | None = None,
    columns: Columns | None = None,
    labels: Labels | None = None,
) -> Audit:
    """Open every photo of a folder once and report what could spoil training or its score.

    `folder` is any source of `load_data` but a built-in set; `layout`, `columns` and `labels` are as there.
    Counted are the photos that decode and do not stand in for a missing one.

    Raises:
        FileNotFoundError, NotADirectoryError: `folder` is no folder.
        ImportError, TypeError, ValueError: its photos and labels cannot be told, as in `load_data`.
    """
    found = find(folder, layout, columns, labels)
    return audit_photos(found, inspect_photos(found.photos))


def audit_photos(
    folder: Folder, found: Sequence[Inspection], near: Sequence[Sequence[int]] | None = None
) -> Audit:
    """The audit of photos that `inspect_photos` has opened, with their hashes.

    `near`: the `near_copies.clusters` of `found`, if they are known already.
    """
    if near is None:
        near = clusters([one.hashes for one in found])
    good = [one for one in found if not one.error]
    usable = [one for one in good if not one.placeholder]
    splits = [
        s for s in ("all", "train", "val", "test") if any(p.split == s for p in folder.photos)
    ]
    counts = {s: dict.fromkeys(folder.classes, 0) for s in splits}
    for one in usable:
        counts[one.photo.split][one.photo.label] += 1
    findings = [
        *(AuditFinding("labels", "error", fault) for fault in folder.faults),
        *(AuditFinding("layout", "error", problem) for problem in folder.problems),
        *(AuditFinding("layout", "info", note) for note in folder.notes),
        *_unreadable(folder, found),
        *_placeholders(good),
        *_copies(good),
        *_near_copies([[found[i] for i in group] for group in near]),
        *_class_sizes(counts),
        *_odd_files(good),
    ]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Audit(str(folder.source), counts, findings)


def _unreadable(folder: Folder, found: Iterable[Inspection]) -> Iterable[AuditFinding]:
    broken = [f"{one.photo.name} ({one.error})" for one in found if one.error]
    if broken:
        yield AuditFinding(
            "undecodable",
            "error",
            f'{_files(broken)} cannot be decoded; remove them or load with on_error="skip"',
            broken,
        )
    if folder.left_out:
        photos = [why for _, why in folder.left_out if why not in EXPECTED]
        yield AuditFinding(
            "left out",
            "warning" if photos else "info",
            f"{_files(folder.left_out)} left out",
            [f"{name} ({why})" for name, why in folder.left_out],
        )


def _placeholders(good: Iterable[Inspection]) -> Iterable[AuditFinding]:
    names = [f"{one.photo.name} ({one.placeholder})" for one in good if one.placeholder]
    if names:
        yield AuditFinding(
            "placeholder?",
            "warning",
            f"{_files(names)} left out, thought to stand in for a missing photo; look, and remove it "
            f"or load with keep_placeholders=True",
            names,
        )


def _copies(good: Sequence[Inspection]) -> Iterable[AuditFinding]:
    by_hash: dict[str, list[Inspection]] = {}
    for one in good:
        by_hash.setdefault(one.sha256, []).append(one)
    groups = [group for group in by_hash.values() if len(group) > 1]
    yield from _judge(groups, "the same file", "exact duplicates", "error")


def _near_copies(groups: Iterable[list[Inspection]]) -> Iterable[AuditFinding]:
    usable = [[one for one in group if not one.error and not one.placeholder] for group in groups]
    several = [group for group in usable if len({one.sha256 for one in group}) > 1]
    yield from _judge(several, "nearly the same photo", "near duplicates", "warning")


def _judge(
    groups: list[list[Inspection]], what: str, kind: str, severity: str
) -> Iterable[AuditFinding]:
    """Copies by what they spoil: two labels, then leakage across splits, then only weight."""
    sorted_out: dict[str, list[list[Inspection]]] = {"two labels": [], "leakage": [], kind: []}
    for group in groups:
        if len({one.photo.label for one in group}) > 1:
            sorted_out["two labels"].append(group)
        if len({one.photo.split for one in group}) > 1:
            sorted_out["leakage"].append(group)
        elif len({one.photo.label for one in group}) == 1:
            sorted_out[kind].append(group)
    advice = {
        "two labels": f"{what} has two labels; one of them is wrong",
        "leakage": f"{what} is in two splits, so the score is too good; keep one of them",
        kind: f"{what} more than once in a class; it counts more than the others "
        f"(and is kept in one split where splits are drawn)",
    }
    for name, members in sorted_out.items():
        if members:
            many = f"{len(members)} time" + ("s" if len(members) > 1 else "")
            shown = [" = ".join(one.photo.name for one in group) for group in members]
            level = "info" if name == kind else severity
            yield AuditFinding(name, level, f"{many}: {advice[name]}", shown)


def _class_sizes(counts: dict[str, dict[str, int]]) -> Iterable[AuditFinding]:
    name = "all" if "all" in counts else "train"
    sizes = counts.get(name, {})
    if not sizes:
        return
    need = SMALLEST_CLASS if name == "all" or len(counts) == 1 else SMALLEST_CLASS - 1
    tiny = {label: n for label, n in sizes.items() if n < need}
    small = {label: n for label, n in sizes.items() if need <= n < SMALL_CLASS}
    if tiny:
        yield AuditFinding(
            "class too small",
            "error",
            f"{_shown(tiny)}: too few to split; at least {need} photos a class are needed",
        )
    if small:
        yield AuditFinding(
            "small class",
            "warning",
            f"{_shown(small)}: under {SMALL_CLASS} photos, so its score will be mostly luck",
        )
    top = max(sizes, key=lambda label: sizes[label])
    low = min(sizes, key=lambda label: sizes[label])
    if sizes[low] and sizes[top] / sizes[low] >= IMBALANCE:
        yield AuditFinding(
            "class imbalance",
            "warning",
            f"{top} has {sizes[top]} photos, {low} has {sizes[low]} "
            f"({sizes[top] / sizes[low]:.1f} times fewer); look at macro F1, not at accuracy "
            f'alone, and consider class_weights="balanced"',
        )


def _odd_files(good: Sequence[Inspection]) -> Iterable[AuditFinding]:
    """Files that are read, but not as they are; what is done with them."""
    usual = Counter(one.mode for one in good).most_common(1)
    tests = [
        ("CMYK", "made for print; converted to RGB", lambda o: o.mode == "CMYK"),
        ("float", "greys as floats; scaled to 8 bits by their values", lambda o: o.mode == "F"),
        ("palette", "at most 256 colours; converted to RGB", lambda o: o.mode in {"P", "PA"}),
        ("animated", "the first frame is used", lambda o: o.frames > 1 and o.format != "TIFF"),
        ("pages", "the first page is used", lambda o: o.frames > 1 and o.format == "TIFF"),
        ("transparent", "laid on white", lambda o: o.transparent),
        ("EXIF rotation", "the camera was turned; the rotation is applied", lambda o: o.rotated),
        ("tiny", f"a side under {TINY_SIDE} pixels", lambda o: min(o.size) < TINY_SIDE),
        (
            "strip",
            f"over {MOST_RATIO} times as long as wide; only the middle is used",
            lambda o: max(o.size) > MOST_RATIO * min(o.size),
        ),
        (
            "grey",
            "grey photos among colour ones; all become RGB",
            lambda o: o.mode in {"1", "L", "LA"} and usual[0][0] not in {"1", "L", "LA"},
        ),
    ]
    for kind, message, test in tests:
        names = [one.photo.name for one in good if test(one)]
        if names:
            yield AuditFinding(kind, "info", f"{_files(names)}: {message}", names)
    yield from _deep_files(good)
    flat = [one.photo.name for one in good if one.spread < FLAT_SPREAD and not one.placeholder]
    if flat:
        yield AuditFinding(
            "nearly one brightness",
            "warning",
            f"{_files(flat)}: under {FLAT_SPREAD} of 255 lie between dark and bright, so there is hardly "
            f"anything to see in them; look whether they were exposed or converted wrongly",
            flat,
        )


def _deep_files(good: Sequence[Inspection]) -> Iterable[AuditFinding]:
    """Greys of more than 8 bits, by the depth that they were scaled by."""
    common = common_bits(one.bits for one in good)
    by_depth: dict[int, list[str]] = {}
    for one in good:
        if one.bits:
            by_depth.setdefault(max(one.bits, common), []).append(one.photo.name)
    unlike = "; other files are scaled by another depth" if len(by_depth) > 1 else ""
    for bits, names in sorted(by_depth.items()):
        how = (
            "reduced to 8 bits"
            if bits == 16
            else f"hold {bits} bits: {2**bits - 1} becomes white, 255"
        )
        level = "warning" if unlike else "info"
        yield AuditFinding("16 bit", level, f"{_files(names)}: {how}{unlike}", names)


def _shown(sizes: dict[str, int]) -> str:
    return ", ".join(f"{label} ({n})" for label, n in list(sizes.items())[:10])


def _files(names: Sequence[Any]) -> str:
    return f"{len(names)} file" + ("" if len(names) == 1 else "s")
