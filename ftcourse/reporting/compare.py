"""`ftcourse compare`: two finished runs on the test photos that both have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ftcourse.evaluation.measures import wilson_interval
from ftcourse.evaluation.paired import mcnemar_exact, paired_difference
from ftcourse.reporting.tables import PREDICTIONS, read_answers
from ftcourse.training.records import read_record

__all__ = ["compare", "summary"]


def compare(first: str | os.PathLike, second: str | os.PathLike) -> dict[str, Any]:
    """Compare two runs, paired on the photos that are in the test split of both, by file and label.

    Returns:
        `runs`; `photos` (in both), `alone` (test photos of one only, for each run), `other_label` (photos that the
        runs know under different classes, left out); `accuracies` with `intervals` (Wilson); `both`, `only_first`,
        `only_second`, `neither` (photos that are right for these); `difference` of the accuracies, first minus
        second, with its `difference_interval` (Newcombe); `p` of McNemar's exact test; `notes`.

    Raises:
        FileNotFoundError: a run has no `predictions.csv`.
        ValueError: that file is damaged, or no photo was tested in both.
    """
    folders = [Path(first), Path(second)]
    a, b = (read_answers(folder) for folder in folders)
    common = [name for name in a if name in b]
    same = [name for name in common if a[name].true == b[name].true]
    if not same:
        raise ValueError(
            f"{folders[0]} and {folders[1]}: no photo was tested in both ({len(a)} and {len(b)} in their "
            f"{PREDICTIONS}), so they cannot be compared; train both on the same photos with the same --seed"
        )
    right = [
        (a[name].predicted == a[name].true, b[name].predicted == b[name].true) for name in same
    ]
    cells = {
        "both": right.count((True, True)),
        "only_first": right.count((True, False)),
        "only_second": right.count((False, True)),
        "neither": right.count((False, False)),
    }
    hits = [sum(one for one, _ in right), sum(two for _, two in right)]
    difference, interval = paired_difference(**cells)
    found = {
        "runs": [str(folder) for folder in folders],
        "photos": len(same),
        "alone": [len(a) - len(common), len(b) - len(common)],
        "other_label": len(common) - len(same),
        "accuracies": [h / len(same) for h in hits],
        "intervals": [wilson_interval(h, len(same)) for h in hits],
        **cells,
        "difference": difference,
        "difference_interval": interval,
        "p": mcnemar_exact(cells["only_first"], cells["only_second"]),
    }
    return found | {"notes": _notes(found, folders)}


def _notes(found: dict[str, Any], folders: list[Path]) -> list[str]:
    notes = []
    if any(found["alone"]):
        notes.append(
            f"The test photos differ: {found['alone'][0]} are only in the first run's test split and "
            f"{found['alone'][1]} only in the second's; they are left out."
        )
    if found["other_label"]:
        notes.append(
            f"Under different classes in the two runs, and left out: {found['other_label']}."
        )
    sources = [_source(folder) for folder in folders]
    if None not in sources and sources[0] != sources[1]:
        notes.append(
            f"The runs read {sources[0]} and {sources[1]}: photos are paired by their names below these."
        )
    return notes


def _source(folder: Path) -> str | None:
    file = folder / "report.json"
    return read_record(file, {"source": str})["source"] if file.exists() else None


def summary(found: dict[str, Any]) -> str:
    """What `ftcourse compare` prints."""
    lines = [
        f"{run}: {accuracy:.1%} of {found['photos']} photos are right (95 % interval {low:.1%} to {high:.1%})"
        for run, accuracy, (low, high) in zip(
            found["runs"], found["accuracies"], found["intervals"], strict=True
        )
    ]
    low, high = (100 * end for end in found["difference_interval"])
    lines += [
        f"Difference: {100 * found['difference']:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}, Newcombe)",
        f"Right in the first alone: {found['only_first']}, in the second alone: {found['only_second']}, in both: "
        f"{found['both']}, in neither: {found['neither']}. McNemar's exact test: p = {found['p']:.3g}",
        _verdict(found),
    ]
    return "\n".join([*lines, *(f"note: {note}" for note in found["notes"])])


def _verdict(found: dict[str, Any]) -> str:
    if found["p"] >= 0.05:
        return "That may be chance: these photos do not tell the two apart."
    better = found["runs"][0 if found["difference"] > 0 else 1]
    return f"{better} is better by more than chance explains."
