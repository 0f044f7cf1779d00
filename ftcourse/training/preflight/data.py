"""Evidence in the data: labels, numbers that are none, and validation that is another one each time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Subset, TensorDataset

from ftcourse.models.groups import head_of, head_outputs
from ftcourse.training.preflight.check import Check, Evidence, Finding, Unusable, spread, unreadable
from ftcourse.training.preflight.copies import named, overlap
from ftcourse.training.preflight.inputs import inputs_normalised, order_of_channels, sizes
from ftcourse.training.preflight.model import not_finite

__all__ = ["CHECKS", "targets_of"]


# -- labels ------------------------------------------------------------------------------------


def _labels(e: Evidence) -> Iterator[Finding]:
    model, data = e.model, e.data
    outputs = head_outputs(head_of(model)[1])
    classes = len(data.classes)
    if outputs != classes:
        yield Finding(
            "wrong number of classes",
            "the head has another number of outputs than the data has classes",
            f"the head has {outputs} outputs, the data {classes} classes",
            f"ft.replace_head(model, num_classes={classes})",
        )
    for name, split in e.splits:
        most = min(outputs, classes)
        outside = [int(t) for t in targets_of(split).unique() if not 0 <= t < most]
        if outside:
            yield Finding(
                "label out of range",
                "labels lie outside of 0 to the number of classes - 1",
                f"labels {outside[:5]} in {name}, with {outputs} outputs and {classes} classes",
                "number the classes from 0",
            )
            return
    seen = targets_of(data.train).unique().tolist()
    if seen and len(seen) < classes <= len(data.train):
        absent = [c for i, c in enumerate(data.classes) if i not in seen]
        yield Finding(
            "classes without training photos",
            "classes have no photo in the training split",
            f"{len(absent)} of {classes}: {', '.join(map(str, absent[:4]))}",
            "look at how the splits were drawn; a folder that is sorted by class must be shuffled first",
        )
    yield from _class_lists(e)


def targets_of(split: Any) -> Tensor:
    """All labels of a split, int64, where it lists them; an empty tensor where it does not."""
    if isinstance(split, Subset):
        inner = targets_of(split.dataset)
        return inner[torch.as_tensor(split.indices)] if len(inner) else inner
    targets = getattr(split, "targets", None)
    if targets is None and isinstance(split, TensorDataset):
        targets = split.tensors[-1]
    try:
        found = torch.as_tensor(targets if targets is not None else [])
    except (TypeError, ValueError, RuntimeError):  # targets of another task
        return torch.empty(0, dtype=torch.int64)
    whole = found.ndim == 1 and not found.is_floating_point()
    return found.long() if whole else torch.empty(0, dtype=torch.int64)


def _class_lists(e: Evidence) -> Iterator[Finding]:
    """Splits that came with class lists of their own, as those of two ImageFolders."""
    lists = {}
    for name, split in e.splits:
        while isinstance(split, Subset):
            split = split.dataset
        own = getattr(split, "classes", None)
        if isinstance(own, (list, tuple)):
            lists[name] = [str(c) for c in own]
    train = lists.get("train")
    for name, own in lists.items():
        if train is not None and own != train:
            first = next(
                (i for i, (a, b) in enumerate(zip(train, own, strict=False)) if a != b), len(own)
            )
            here = own[first] if first < len(own) else "missing"
            there = train[first] if first < len(train) else "missing"
            yield Finding(
                "classes numbered differently",
                f"train and {name} have different lists of classes, so a number means two things",
                f"class {first} is {there} in train and {here} in {name} "
                f"({len(train)} classes and {len(own)})",
                "make one list of classes, from the training split, and number both splits by it",
            )
            return


def _kinds(e: Evidence) -> Iterator[Finding]:
    """Labels as cross-entropy takes them: whole numbers, one an image."""
    for name, (_, targets) in e.batches.items():
        if not isinstance(targets, Tensor):
            continue
        if targets.ndim == 2 and targets.is_floating_point() and targets.shape[1] > 1:
            continue  # probabilities
        if targets.ndim != 1 or targets.is_floating_point():
            yield Finding(
                "labels of the wrong kind",
                f"the labels of {name} are not one whole number an image",
                f"a batch of {len(targets)} has labels {str(targets.dtype).removeprefix('torch.')} "
                f"{tuple(targets.shape)}",
                "give int labels, or an int64 tensor without dimensions: int(label)",
            )
            return


def _finite(e: Evidence) -> Iterator[Finding]:
    """The first input or target that is no number, by its file or its row."""
    for name, (inputs, targets) in e.batches.items():
        split = dict(e.splits)[name]
        for what, values in (("input", inputs), ("target", targets)):
            for i, x in _by_row(e.rows[name], values):
                if x.is_floating_point() and not x.isfinite().all():
                    bad = int((~x.isfinite()).sum())
                    yield not_finite(
                        f"the {what} of {named(split, i)} in {name}",
                        f"{bad} of its {x.numel()} numbers are nan or infinite",
                        "look at that photo and its transform; leave it out",
                    )
                    return
    for name, split in e.splits:
        for tensor in split.tensors if isinstance(split, TensorDataset) else ():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                row = (
                    int((~tensor.isfinite()).flatten(1).any(1).nonzero()[0])
                    if tensor.ndim > 1
                    else 0
                )
                yield not_finite(
                    f"row {row} of {name}", "it has nan or infinite numbers", "leave it out"
                )
                return


def _by_row(rows: list[int], values: Any) -> Iterator[tuple[int, Tensor]]:
    """Each tensor of a batch's samples, with the sample's row."""
    if isinstance(values, (Tensor, list, tuple)):
        for i, value in zip(rows, values, strict=False):
            yield from ((i, x) for x in _tensors(value))


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in something that may be nested."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _tensors(inner)


def _task(e: Evidence) -> Iterator[Finding]:
    """What the task itself has to say of its targets: boxes, masks."""
    for name, (inputs, targets) in e.batches.items():
        wrong = list(e.task.wrong_targets(e.model, inputs, targets))
        yield from (Finding(kind, f"{what} ({name})", seen, fix) for kind, what, seen, fix in wrong)
        if wrong:
            return


def _read(split: Any, i: int, seed: int) -> Any:
    torch.manual_seed(seed)
    try:
        return split[i][0]
    except Exception as err:  # whatever a data set of the learner's raises
        raise Unusable(unreadable("val", i, err)) from err


def _still(e: Evidence) -> Iterator[Finding]:
    """The same validation photo must be the same each time; the batch has read it once."""
    split, inputs = e.data.val, e.batches["val"][0]
    read = dict(zip(e.rows["val"], inputs, strict=False)) if isinstance(inputs, Tensor) else {}
    for i in spread(split, 8):
        first, second = read.get(i), _read(split, i, seed=1)
        if not isinstance(second, Tensor):
            return
        if first is None or first.dtype != second.dtype or first.shape != second.shape:
            first = _read(split, i, seed=2)  # the batch was made otherwise
        if first.shape != second.shape or not torch.equal(
            torch.nan_to_num(first), torch.nan_to_num(second)
        ):
            yield Finding(
                "validation is random",
                "a validation photo is another one each time it is read",
                f"{named(split, i)}: two readings differ",
                "give val the evaluation transform: no random crop, flip or colour",
            )
            return


def _given(e: Evidence) -> bool:
    return e.data is not None


def _labelled(e: Evidence) -> bool:
    return e.data is not None and e.labels


CHECKS = (
    Check("labels", "model, data", "nothing", _labelled, _labels),
    Check("overlap", "data", "reads files of equal size", _given, overlap),
    Check("kinds of labels", "data", "one batch", _labelled, _kinds),
    Check("finite inputs", "data", "one batch", _given, _finite),
    Check("targets of the task", "model, data, task", "one batch", _given, _task),
    Check("inputs", "model, data", "one batch", _given, inputs_normalised),
    Check("size of photos", "data", "one batch", _labelled, sizes),
    Check(
        "order of channels", "model, data", "reads 32 photos again", _labelled, order_of_channels
    ),
    Check("validation stands still", "data", "8 photos", _given, _still),
)
