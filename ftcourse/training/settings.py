"""What a run is asked for: refused where it makes no sense, and compared with what it was when it is resumed."""

from __future__ import annotations

import hashlib
import inspect
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
)

from ftcourse.training.numbers import is_number, whole
from ftcourse.training.stages import Stage

__all__ = ["check_settings", "difference", "labels_of", "settings_of", "stage_difference"]

# The arguments of `finetune` that are no settings of the run: they change no number (where it runs, what it may
# reuse, whom it tells), or are compared in another way (`data`, `stages`, `task`).
NO_SETTINGS = {
    *("model", "data", "stages", "task", "out_dir", "resume", "device", "cache"),
    *("preflight", "progress", "on_epoch", "on_batch"),
}


# -- what makes no sense -----------------------------------------------------------------------


def check_settings(asked: Mapping[str, Any], stages: Sequence[Any], data: Any) -> None:
    """Refuse settings of `finetune` that make no sense.

    Raises:
        ValueError: with the setting, its value, and what to do.
    """
    if not stages or not all(isinstance(stage, Stage) for stage in stages):
        raise ValueError(f"stages={list(stages)!r}: give at least one ft.Stage")
    whole("batch_size", asked["batch_size"], 1)
    whole("seed", asked["seed"], -math.inf)
    whole("num_workers", asked["num_workers"], 0)
    for name in ("early_stopping", "views"):
        if asked[name] is not None:
            whole(name, asked[name], 1, "; None is without")
    smoothing, ema = asked["label_smoothing"], asked["ema"]
    if not is_number(smoothing) or not 0 <= smoothing < 1:
        raise ValueError(f"label_smoothing={smoothing!r}: a share of the target, 0 to below 1")
    if ema is not None and (not is_number(ema) or not 0 < ema < 1):
        raise ValueError(f"ema={ema!r}: a decay between 0 and 1, such as 0.99; None is without")
    if isinstance(data, (tuple, list, dict, Dataset)) and not hasattr(data, "train"):
        raise ValueError(
            f"data is a {type(data).__name__}, and has no splits `train` and `val`; ft.load_data makes them of "
            f"data sets of photos: ft.finetune(model, ft.load_data((train, val)), stages)"
        )
    _check_split(data, "train", 2)
    _check_split(data, "val", 1)


def _check_split(data: Any, name: str, least: int) -> None:
    split: Any = getattr(data, name, None)
    if isinstance(split, DataLoader):
        raise ValueError(
            f"data.{name} is a DataLoader; give its data set (.dataset): finetune loads it itself"
        )
    if isinstance(split, IterableDataset) or not hasattr(split, "__len__"):
        what = "missing" if split is None else f"a {type(split).__name__}, which has no length"
        raise ValueError(
            f"data.{name} is {what}; give a data set with __len__ and __getitem__, such as a list of pairs "
            f"(image, label)"
        )
    if len(split) < least:
        verb = "train on" if name == "train" else "validate on"
        raise ValueError(
            f"data.{name} has {len(split) or 'no'} samples; to {verb}, give at least {least}"
        )


# -- what a run was asked for ------------------------------------------------------------------


def settings_of(
    function: Callable, asked: Mapping[str, Any], data: Any, task: str
) -> dict[str, Any]:
    """All that changes the numbers of a run, ready for JSON: what `function` was called with, data and task.

    A setting that `function` gets in future is among them without a word here.
    """
    names = [n for n in inspect.signature(function).parameters if n not in NO_SETTINGS]
    found = {name: _plain(asked[name]) for name in names}
    splits = {name: _told_by(getattr(data, name)) for name in ("train", "val")}
    classes = [_plain(c) for c in getattr(data, "classes", None) or []]
    return {**found, "classes": classes, "task": task, "data": splits}


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    if isinstance(value, Tensor) or hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def _told_by(split: Any) -> dict[str, Any]:
    """What tells one split from another without reading its photos; its `labels` may be unknown."""
    labels = labels_of(split)
    digest = labels and hashlib.sha256(repr(labels).encode()).hexdigest()[:16]
    return {"samples": len(split), "labels": digest}


def labels_of(split: Any) -> list[int] | None:
    """The labels of a data set by position; None if it does not say them without giving its photos."""
    if isinstance(split, Subset):
        inside = labels_of(split.dataset)
        return inside and [inside[i] for i in split.indices]
    if isinstance(split, ConcatDataset):
        parts = [labels_of(part) for part in split.datasets]
        return None if None in parts else [label for part in parts for label in part or ()]
    labels: Any = getattr(split, "targets", getattr(split, "labels", None))
    if isinstance(split, TensorDataset) and labels is None:
        labels = split.tensors[-1]
    labels = labels.tolist() if hasattr(labels, "tolist") else labels
    if not isinstance(labels, (list, tuple)) or len(labels) != len(split):
        return None
    try:
        return [operator.index(_plain(label)) for label in labels]
    except TypeError:  # masks, boxes, texts
        return None


def difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Where two runs' settings differ ("" if they do not), and which of them the earlier does not tell."""
    old, untold = _flat(then), []
    for name, value in _flat(now).items():
        if name not in old:
            untold.append(name)
        elif old[name] != value and not (name.endswith(".labels") and None in (old[name], value)):
            return f"{name}={old[name]!r}, not {value!r}", untold
    return "", untold


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        inside = _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else None
        found |= {f"{prefix}{name}": value} if inside is None else inside
    return found


def stage_difference(then: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> str:
    """Where two runs' stages differ; "" if they do not."""
    if len(then) != len(now):
        return f"{len(then)} stages, not {len(now)}"
    for number, (old, new) in enumerate(zip(then, now, strict=True), start=1):
        for name, value in new.items():
            if name in old and _plain(old[name]) != _plain(value):
                return f"{name}={_plain(old[name])!r} in stage {number}, not {_plain(value)!r}"
    return ""
