"""K-fold cross-validation: how good a recipe is on photos that it has not seen, each photo being tested once.

For few photos: a test split of 45 says little, and K tests of 45 say more. No network is kept.
"""

from __future__ import annotations

import json
import os
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ftcourse.data.folds import folds_of
from ftcourse.data.splits import Data
from ftcourse.evaluation.measures import bootstrap_intervals
from ftcourse.models.backbones import replace_head
from ftcourse.reporting.escaping import escaped
from ftcourse.reporting.options import in_options
from ftcourse.reporting.report import (
    Interrupted,
    Settings,
    backbone_of,
    prepared,
    stages_of,
    versions,
)
from ftcourse.training.checkpoints import write_atomic
from ftcourse.training.loop import finetune, predict

__all__ = ["cross_validate", "in_words"]

NOT_WITH = ("time_budget", "log")


def cross_validate(
    source: str | os.PathLike, out: str | os.PathLike, settings: Settings, folds: int, progress: bool = True
) -> dict[str, Any]:  # fmt: skip
    """Train `folds` times, each time tested on another part of the photos; writes `folds.json` and `folds.md`.

    Returns:
        `mean` and `sd` of the folds' accuracies; `accuracy` of all photos and its `interval` (95 %, bootstrap over
        the photos); `folds`, with each one's accuracy, photos and epochs.

    Raises:
        FileExistsError: `out` is not empty.
        Interrupted: stopped by the user; nothing is written.
        ValueError, OSError: from reading the photos and the weights; too few photos of a class.
    """
    out = Path(out)
    for name in NOT_WITH:
        if getattr(settings, name) is not None:
            raise ValueError(f"{name}={getattr(settings, name)}: does not go with folds={folds}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out}: exists and is not empty; give another folder")
    _, _, data = prepared(source, settings)
    rows, truth, answers = [], [], []
    for number, fold in enumerate(folds_of(data, folds, settings.seed), start=1):
        row, targets, predicted = _one(fold, settings, progress)
        print(f"fold {number} of {folds}: {row['accuracy']:.1%} of {row['test']} photos are right")
        rows.append({"fold": number, **row})
        truth.append(targets)
        answers.append(predicted)
    right = np.concatenate(truth), np.concatenate(answers)
    accuracies = [row["accuracy"] for row in rows]
    found = {
        "name": data.name,
        "source": str(source),
        "mean": statistics.mean(accuracies),
        "sd": statistics.stdev(accuracies),
        "accuracy": float((right[0] == right[1]).mean()),
        "interval": bootstrap_intervals(*right, seed=settings.seed)["accuracy"],
        "samples": len(right[0]),
        "folds": rows,
        "settings": asdict(settings),
        "data_notes": list(data.notes),
        "versions": versions(),
    }
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / "folds.md", _page(found).encode(errors="backslashreplace"))
    write_atomic(out / "folds.json", json.dumps(found, indent=1, allow_nan=False).encode())
    return found


def _one(
    data: Data, settings: Settings, progress: bool
) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """One fold: what its row says, and the true and the predicted classes of its test photos."""
    model = replace_head(backbone_of(settings), num_classes=len(data.classes))
    history = finetune(
        model, data, stages_of(settings, data, model, settings.epochs), batch_size=settings.batch_size,
        seed=settings.seed, progress=progress, **settings.finetune(),
    )  # fmt: skip
    if history.stopped:
        raise Interrupted("interrupted; of a cross-validation nothing is kept")
    logits, targets = predict(model, data.test)
    predicted, true = logits.argmax(1).numpy(), targets.numpy()
    row = {"accuracy": float((predicted == true).mean()), **data.counts}
    row |= {"epochs": len(history.epochs), "best_epoch": history.best["epoch"]}
    return row, true, predicted


def in_words(found: dict[str, Any]) -> str:
    """The result in a sentence."""
    low, high = found["interval"]
    each = ", ".join(f"{row['accuracy']:.1%}" for row in found["folds"])
    return (
        f"{found['mean']:.1%} on average over {len(found['folds'])} folds ({each}; standard deviation "
        f"{found['sd']:.1%}); of all {found['samples']} photos {found['accuracy']:.1%} are right "
        f"(95 % interval {low:.1%} to {high:.1%})."
    )


def _page(found: dict[str, Any]) -> str:
    found = escaped(found)
    lines = ["| fold | accuracy | train | val | test | epochs | best |", "| --- " * 7 + "|"]
    for row in found["folds"]:
        names = ("train", "val", "test", "epochs", "best_epoch")
        cells = [f"{row['accuracy']:.1%}", *(str(row[name]) for name in names)]
        lines.append(f"| {row['fold']} | {' | '.join(cells)} |")
    notes = [f"- {in_options(note)}" for note in found["data_notes"]]
    parts = [
        f"# {found['name']}: cross-validation",
        in_words(found),
        "\n".join(lines),
        "Each photo was in the test of one fold, by a network that was trained without it and without its near "
        "copies and group. The interval is a percentile bootstrap over the photos, 2000 resamples; it does not "
        "tell how much another draw of the training photos would change.",
        *(["\n".join(notes)] if notes else []),
    ]
    return "\n\n".join(parts) + "\n"
