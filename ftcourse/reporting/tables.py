"""Tables of a run for other programs: which photo was in which split, and what the network says of it.

`splits.csv`: file, split, label. `predictions.csv`: file, split (val, test), true, predicted, and a column
`probability of CLASS` for each class, in the order of the run's classes. UTF-8, a header, one row a photo.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ftcourse.training.checkpoints import write_atomic

__all__ = ["PREDICTIONS", "SPLITS", "Answer", "read_answers", "write_predictions", "write_splits"]

SPLITS, PREDICTIONS = "splits.csv", "predictions.csv"
COLUMNS = ("file", "split", "true", "predicted")


class Answer(NamedTuple):
    true: str
    predicted: str


def write_splits(
    run: Path, classes: Sequence[str], splits: Mapping[str, tuple[Sequence[str], Sequence[int]]]
) -> Path:
    """Write `splits.csv` from the files' names and the class indices of each split."""
    rows = (
        (file, split, classes[target])
        for split, (files, targets) in splits.items()
        for file, target in zip(files, targets, strict=True)
    )
    return _write(run / SPLITS, ("file", "split", "label"), rows)


def write_predictions(
    run: Path,
    classes: Sequence[str],
    splits: Mapping[str, tuple[Sequence[str], Sequence[int], np.ndarray]],
) -> Path:
    """Write `predictions.csv` from the files' names, targets and probabilities (N, classes) of each split."""
    rows = (
        (file, split, classes[target], classes[int(row.argmax())], *(f"{p:.6f}" for p in row))
        for split, (files, targets, probabilities) in splits.items()
        for file, target, row in zip(files, targets, probabilities, strict=True)
    )
    return _write(
        run / PREDICTIONS, (*COLUMNS, *(f"probability of {name}" for name in classes)), rows
    )


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows(rows)
    return write_atomic(path, text.getvalue().encode(errors="backslashreplace"))


def read_answers(run: Path, split: str = "test") -> dict[str, Answer]:
    """What `predictions.csv` of a run says of the photos of a split, by file.

    Raises:
        FileNotFoundError: the run has none.
        ValueError: the file is damaged, or another table.
    """
    path = run / PREDICTIONS
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: not there; it is written at the end of a training (runs of earlier versions have none)"
        )
    try:
        with open(path, newline="", encoding="utf-8") as file:
            table = csv.DictReader(file, strict=True)
            if tuple(table.fieldnames or ())[: len(COLUMNS)] != COLUMNS:
                raise ValueError(f"its columns do not begin with {', '.join(COLUMNS)}")
            rows = list(table)
    except (ValueError, csv.Error) as err:  # also UnicodeDecodeError
        raise ValueError(f"{path}: damaged, or not of this package ({err})") from err
    if any(row["true"] is None or row["predicted"] is None for row in rows):
        raise ValueError(f"{path}: damaged, or not of this package (a row is too short)")
    return {r["file"]: Answer(r["true"], r["predicted"]) for r in rows if r["split"] == split}
