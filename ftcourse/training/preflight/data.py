"""Evidence in the data: labels, copies, and how the inputs are made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ftcourse.models.backbones import weights_of
from ftcourse.models.groups import head_of, head_outputs
from ftcourse.training.preflight.check import Check, Evidence, Finding

__all__ = ["CHECKS", "IMAGENET"]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


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
    targets = torch.as_tensor(getattr(data.train, "targets", []))
    outside = [int(t) for t in targets.unique() if not 0 <= t < outputs]
    if outside:
        yield Finding(
            "label out of range",
            "labels lie outside of 0 to the number of classes - 1",
            f"labels {outside[:5]} with {outputs} outputs",
            "number the classes from 0",
        )


def _inputs(e: Evidence) -> Iterator[Finding]:
    for name, (inputs, _) in e.batches.items():
        if isinstance(inputs, Tensor) and inputs.ndim == 4:  # detectors normalise for themselves
            yield from _normalisation(inputs, e.model, name)


def _normalisation(images: Tensor, model: nn.Module, split: str) -> Iterator[Finding]:
    """Undo the expected normalisation: real photos then fill 0 to 1, and wrongly made inputs do not."""
    mean, std = _expected(model)
    pixels = images.float() * std + mean
    low, high = (q.item() for q in _quantiles(pixels))
    if low >= -0.05 and high <= 1.05 and high - low > 0.6:
        return
    raw_low, raw_high = images.min().item(), images.max().item()
    if raw_high > 20:
        guess = "they look like 0 to 255"
    elif raw_low >= 0 and raw_high <= 1.001:
        guess = "they look like 0 to 1, not normalised"
    else:
        guess = "they look normalised by another mean and std"
    yield Finding(
        "inputs not normalised as the weights expect",
        f"{split} inputs are not normalised as the weights expect: {guess}",
        f"inputs span {raw_low:.2f} to {raw_high:.2f}; with the weights' mean and std undone, "
        f"98 % of the pixels lie in {low:.2f} to {high:.2f} instead of about 0 to 1",
        "use weights.transforms() of the weights that the model was loaded with",
    )


def _quantiles(pixels: Tensor) -> tuple[Tensor, Tensor]:
    flat = pixels.flatten()
    flat = flat[:: max(1, len(flat) // 100_000)]
    return flat.quantile(0.01), flat.quantile(0.99)


def _expected(model: nn.Module) -> tuple[Tensor, Tensor]:
    weights = weights_of(model)
    preset = weights.transforms() if weights else None
    mean, std = getattr(preset, "mean", IMAGENET[0]), getattr(preset, "std", IMAGENET[1])
    return torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)


def _overlap(e: Evidence, most: int = 5000) -> Iterator[Finding]:
    train, val = (_fingerprints(getattr(e.data, name), most) for name in ("train", "val"))
    both = sorted(set(train) & set(val))
    if both:
        yield Finding(
            "train and validation overlap",
            "photos of the validation split are in the training split as well",
            f"{len(both)} of {len(val)} validation photos, {val[both[0]]} for one",
            "split again, with copies kept together: ft.load_data does, `ftcourse audit` lists them",
        )


def _fingerprints(split: Any, most: int) -> dict[str, str]:
    """Hash of each photo's file (or of its pixels, where there is no file) -> its name."""
    paths = _paths(split)
    if paths is not None:
        return {hashlib.sha256(Path(p).read_bytes()).hexdigest(): str(p) for p in paths[:most]}
    if hasattr(split, "load"):
        rows = range(min(len(split), most // 10))
        return {hashlib.sha256(split.load(i).tobytes()).hexdigest(): f"number {i}" for i in rows}
    return {}


def _paths(split: Any) -> list[Any] | None:
    """The files of a split of ours, of torchvision's ImageFolder, or of a Subset of either."""
    if isinstance(split, torch.utils.data.Subset):
        inner = _paths(split.dataset)
        return None if inner is None else [inner[i] for i in split.indices]
    paths, samples = getattr(split, "paths", None), getattr(split, "samples", None)
    if paths is None and isinstance(samples, list):
        paths = [s[0] for s in samples if isinstance(s, tuple)]
    return None if paths is None else list(paths)


def _given(e: Evidence) -> bool:
    return e.data is not None


CHECKS = (
    Check("labels", "model, data", "nothing", lambda e: _given(e) and e.labels, _labels),
    Check("overlap", "data", "reads the files once", _given, _overlap),
    Check("inputs", "model, data", "one batch", _given, _inputs),
)
