"""Evidence in the data: labels, copies, and how the inputs are made."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Subset, TensorDataset

from ftcourse.models.backbones import origin_of, weights_of
from ftcourse.models.groups import head_of, head_outputs
from ftcourse.tasks.task import to_device
from ftcourse.training.preflight.check import Check, Evidence, Finding, Unusable, spread, unreadable
from ftcourse.training.preflight.model import not_finite
from ftcourse.training.preflight.watch import Seen

__all__ = ["CHECKS", "IMAGENET", "channels_told", "channels_turned", "normalisation", "targets_of"]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
FILES = 2000  # photos of a split that are looked for in another one; drawn from all of its classes


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
        outside = [int(t) for t in targets_of(split).unique() if not 0 <= t < outputs]
        if outside:
            yield Finding(
                "label out of range",
                "labels lie outside of 0 to the number of classes - 1",
                f"labels {outside[:5]} in {name}, with {outputs} outputs",
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
            for i, x in zip(e.rows[name], _one_by_one(values), strict=False):
                if x.is_floating_point() and not x.isfinite().all():
                    bad = int((~x.isfinite()).sum())
                    yield not_finite(
                        f"the {what} of {_named(split, i)} in {name}",
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


def _one_by_one(values: Any) -> list[Tensor]:
    """The tensors of a batch, one a sample."""
    if isinstance(values, Tensor):
        return list(values)
    if isinstance(values, (list, tuple)):
        return [x["boxes"] if isinstance(x, dict) else x for x in values]
    return []


def _named(split: Any, i: int) -> str:
    paths = _paths(split)
    return str(paths[i]) if paths is not None else f"item {i}"


def _task(e: Evidence) -> Iterator[Finding]:
    """What the task itself has to say of its targets: boxes, masks."""
    for name, (inputs, targets) in e.batches.items():
        wrong = list(e.task.wrong_targets(e.model, inputs, targets))
        yield from (Finding(kind, f"{what} ({name})", seen, fix) for kind, what, seen, fix in wrong)
        if wrong:
            return


# -- copies ------------------------------------------------------------------------------------


def _overlap(e: Evidence) -> Iterator[Finding]:
    splits = dict(e.splits)
    pairs = (("train", "val", "train and validation overlap"),)
    pairs += (
        ("train", "test", "train and test overlap"),
        ("val", "test", "validation and test overlap"),
    )  # type: ignore[assignment]
    words = {"train": "training", "val": "validation", "test": "test"}
    for one, other, kind in pairs:
        if one not in splits or other not in splits:
            continue
        shared, looked = _shared(splits[one], splits[other])
        if shared:
            yield Finding(
                kind,
                f"photos of the {words[other]} split are in the {words[one]} split as well",
                f"{len(shared)} of {looked} {words[other]} photos, {shared[0]} for one",
                "split again, with copies kept together: ft.load_data does, `ftcourse audit` lists them",
            )


def _shared(one: Any, other: Any) -> tuple[list[str], int]:
    """Which photos of `other` are in `one` as well, by name, and how many were looked for."""
    rows = spread(other, FILES)
    if one is other:
        return [_named(other, i) for i in rows], len(rows)
    base, index = _base(one)
    base2, index2 = _base(other)
    if base is base2 and (isinstance(one, Subset) or isinstance(other, Subset)):
        mine = set(index)
        same = [i for i in rows if index2[i] in mine]
        if same:
            return [_named(other, i) for i in same], len(rows)
    there, here = _paths(one), _paths(other)
    if there is not None and here is not None:
        return _shared_files(there, [here[i] for i in rows]), len(rows)
    known = _fingerprints(one, range(len(one)))
    found = _fingerprints(other, rows) if known else {}
    return [f"number {found[k]}" for k in found if k in known], len(rows)


def _base(split: Any) -> tuple[Any, list[int]]:
    """The data set below a Subset of a Subset, and the rows of it."""
    index = list(range(len(split)))
    while isinstance(split, Subset):
        index = [int(split.indices[i]) for i in index]
        split = split.dataset
    return split, index


def _shared_files(there: list[Any], here: list[Any]) -> list[str]:
    """Files that are the same, or have the same bytes. Only those of one size are read."""
    by_size = defaultdict(list)
    for path in dict.fromkeys(map(Path, there)):
        by_size[path.stat().st_size].append(path)
    digests: dict[Path, bytes] = {}

    def digest(path: Path) -> bytes:
        if path not in digests:
            digests[path] = hashlib.sha256(path.read_bytes()).digest()
        return digests[path]

    shared = []
    for path in map(Path, here):
        same_size = by_size.get(path.stat().st_size, [])
        if path in same_size or any(digest(path) == digest(other) for other in same_size):
            shared.append(str(path))
    return shared


def _fingerprints(split: Any, rows: Any) -> dict[bytes, int]:
    """A few numbers of each photo, as bytes -> its row; {} where photos cannot be had untransformed."""
    read = _raw_reader(split)
    if read is None:
        return {}
    found = {}
    for i in rows:
        x = np.ascontiguousarray(read(i)).reshape(-1)
        some = x[:: max(1, x.size // 4096)]
        if some.size and some.min() != some.max():  # blank ones are all alike
            found[hashlib.sha256(some.tobytes()).digest()] = i
    return found


def _raw_reader(split: Any) -> Any:
    """A function that gives a photo's pixels before any transform, as an array; or None."""
    if isinstance(split, Subset):
        inner = _raw_reader(split.dataset)
        return None if inner is None else lambda i: inner(split.indices[i])
    if hasattr(split, "image"):
        return lambda i: np.asarray(split.image(i))
    if isinstance(split, TensorDataset):
        return lambda i: split.tensors[0][i].detach().cpu().numpy()
    for name in ("data", "images", "imgs"):
        held = getattr(split, name, None)
        if isinstance(held, (np.ndarray, Tensor)) and len(held) == len(split):
            return lambda i: np.asarray(held[i])
    return None


def _paths(split: Any) -> list[Any] | None:
    """The files of a split of ours, of torchvision's ImageFolder, or of a Subset of either."""
    if isinstance(split, Subset):
        inner = _paths(split.dataset)
        return None if inner is None else [inner[i] for i in split.indices]
    paths, samples = getattr(split, "paths", None), getattr(split, "samples", None)
    if paths is None and isinstance(samples, list):
        paths = [s[0] for s in samples if isinstance(s, tuple)]
    return list(paths) if paths is not None and len(paths) == len(split) else None


# -- inputs ------------------------------------------------------------------------------------


def _inputs(e: Evidence) -> Iterator[Finding]:
    if e.told("not finite"):
        return
    for name, (inputs, _) in e.batches.items():
        if isinstance(inputs, Tensor) and inputs.ndim == 4:  # detectors normalise for themselves
            yield from normalisation(inputs, e.model, name)


class _Arrived(BaseException):
    """Carries what has arrived at the first layer out of the model."""

    def __init__(self, x: Tensor) -> None:
        self.x = x


@torch.no_grad()
def _arriving(model: nn.Module, images: Tensor) -> Tensor:
    """What the first layer with three channels gets: the model may normalise for itself."""

    def stop(module: nn.Module, args: tuple[Tensor]) -> None:
        raise _Arrived(args[0].cpu())

    first = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.in_channels == 3]
    hooks = [m.register_forward_pre_hook(stop) for m in first]
    try:
        model(to_device(images, next(model.parameters()).device))
    except _Arrived as arrived:
        return arrived.x.float()
    except Exception:  # the model's own error is told where its outputs are asked for
        return images
    finally:
        for hook in hooks:
            hook.remove()
    return images


def normalisation(images: Tensor, model: nn.Module, split: str) -> Iterator[Finding]:
    """Undo the expected normalisation: real photos then fill 0 to 1, and wrongly made inputs do not."""
    if not images.is_floating_point():
        return  # the model has to make something else of them; or its outputs say that it does not
    arrived, expected = _arriving(model, images), _expected(model)
    raw_low, raw_high = arrived.min().item(), arrived.max().item()
    if expected is None:  # any scale may be meant, but for that of bytes
        if raw_high <= 20:
            return
        expected = (torch.zeros(3, 1, 1), torch.ones(3, 1, 1))
    mean, std = expected
    if arrived.shape[1] != len(mean):
        return
    pixels = arrived * std + mean
    low, high = (q.item() for q in _quantiles(pixels))
    inside = low >= -0.05 and high <= 1.05
    if inside and (high - low > 0.6 or _grey(pixels) or not _usual_scale(raw_low, raw_high)):
        return
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


def _usual_scale(low: float, high: float) -> bool:
    """Do values fill 0 to 1, or -1 to 1? Then few contrasts are not what makes them look narrow."""
    return (0 <= low < 0.2 and 0.8 < high <= 1.001) or (
        -1.001 <= low < -0.8 and 0.8 < high <= 1.001
    )


def _grey(pixels: Tensor) -> bool:
    """The same in all channels: only the right mean and std undo it to that."""
    return bool((pixels.amax(1) - pixels.amin(1)).max() < 0.02)


def _quantiles(pixels: Tensor) -> tuple[Tensor, Tensor]:
    flat = pixels.flatten()
    flat = flat[:: max(1, len(flat) // 100_000)]
    return flat.quantile(0.01), flat.quantile(0.99)


def _expected(model: nn.Module) -> tuple[Tensor, Tensor] | None:
    """The mean and std that the weights were trained with; None where there is nothing to tell."""
    weights, origin = weights_of(model), origin_of(model)
    for holder in model.modules():  # timm's way to say it
        settings = getattr(holder, "pretrained_cfg", None) or getattr(holder, "default_cfg", None)
        if isinstance(settings, dict) and {"mean", "std"} <= set(settings):
            return _as_channels(settings["mean"], settings["std"])
    if weights is not None:
        preset = weights.transforms()
        return _as_channels(
            getattr(preset, "mean", IMAGENET[0]), getattr(preset, "std", IMAGENET[1])
        )
    kin = any(
        k.__module__.startswith("torchvision.models.")
        for m in model.modules()
        for k in type(m).__mro__
    )
    if not kin or (origin is not None and origin.weights is None):
        return None
    return _as_channels(*IMAGENET)


def _as_channels(mean: Any, std: Any) -> tuple[Tensor, Tensor]:
    return torch.tensor(mean).view(-1, 1, 1), torch.tensor(std).view(-1, 1, 1)


# -- size, channels, randomness ----------------------------------------------------------------


def _sizes(e: Evidence) -> Iterator[Finding]:
    """Things look larger or smaller in validation than they were learnt."""
    sides = {
        n: x.shape[-2:] for n, (x, _) in e.batches.items() if isinstance(x, Tensor) and x.ndim == 4
    }
    if len(sides) < 2:
        return
    ratio = min(sides["val"]) / min(sides["train"])
    if (
        not 0.95 < ratio < 1.5
    ):  # larger by a quarter is a known trick: https://arxiv.org/abs/1906.06423
        (a, b), (c, d) = sides["train"], sides["val"]
        yield Finding(
            "validation photos of another size",
            "validation photos have another size than training photos",
            f"{a} x {b} pixels in training, {c} x {d} in validation",
            "give both transforms the same size",
        )


def _channels(e: Evidence) -> Iterator[Finding]:
    """Compare each photo's channels with those of its file, and those of both splits with each other."""
    splits = dict(e.splits)
    for name, (inputs, _) in e.batches.items():
        if not isinstance(inputs, Tensor) or inputs.ndim != 4 or inputs.shape[1] != 3:
            return
        raw = _raw_means(splits[name], e.rows[name])
        if raw is not None and _reversed(raw, _undone(inputs, e.model).mean((2, 3))):
            yield _swapped(
                name,
                f"in {len(raw)} photos, the means of blue and red fit those of the files' red and blue",
            )
            return
    if len(e.batches) == 2:
        yield from channels_told(e.model, e.batches["train"][0], e.batches["val"][0], "val")


def channels_told(model: nn.Module, train: Tensor, other: Tensor, name: str) -> Iterator[Finding]:
    """Red less blue: where it is far from 0 in one and the opposite in the other, one has them swapped.

    As the network gets them, and with the normalisation undone: they may be swapped behind it or before.
    """
    if min(len(train), len(other)) < 8:
        return
    for change in (lambda x: x.float(), lambda x: _undone(x, model)):
        a, b = ((m[:, 0] - m[:, 2]) for m in (change(x).mean((2, 3)) for x in (train, other)))
        error = (a.var() / len(a) + b.var() / len(b)).sqrt().clamp(min=1e-6)
        apart, together = (a.mean() - b.mean()).abs(), (a.mean() + b.mean()).abs()
        if apart > 8 * error and together < 0.25 * apart:
            yield _swapped(
                name,
                f"red less blue is {a.mean():+.2f} on average in training and {b.mean():+.2f} there",
            )
            return


def channels_turned(seen: Seen, name: str) -> Iterator[Finding]:
    """Does the model get what a loader gave, with the channels the other way round?"""
    for given, got in zip(seen.given, seen.inputs, strict=False):
        if given.shape != got.shape or given.ndim != 4 or given.shape[1] != 3:
            return
        got = got.to(given.device, given.dtype)
        if torch.equal(given.flip(1), got) and not torch.equal(given, got):
            yield _swapped(
                name, "the model gets the loader's photos with their channels turned round"
            )
            return


def _swapped(name: str, evidence: str) -> Finding:
    return Finding(
        "channels in another order",
        f"{name} photos seem to have their channels in the order blue, green, red",
        evidence,
        "OpenCV reads blue first: image[..., ::-1], or cv2.cvtColor(image, cv2.COLOR_BGR2RGB)",
    )


def _undone(inputs: Tensor, model: nn.Module) -> Tensor:
    mean, std = _expected(model) or _as_channels(*IMAGENET)
    return inputs.float() * std + mean


def _raw_means(split: Any, rows: list[int]) -> Tensor | None:
    """Mean of red, green and blue of each photo as its file has them, float32 (N, 3) in 0 to 1."""
    read, paths = _raw_reader(split), _paths(split)
    if isinstance(_base(split)[0], TensorDataset):
        return None
    means = []
    for i in rows[:32]:
        try:
            if paths is not None:
                with Image.open(paths[i]) as photo:
                    x = np.asarray(photo.convert("RGB").resize((32, 32))).transpose(2, 0, 1)
            elif read is not None:
                x = read(i)
            else:
                return None
        except (OSError, ValueError):
            return None
        if x.ndim != 3 or x.dtype != np.uint8:
            return None
        x = x if x.shape[0] == 3 else x.transpose(2, 0, 1)
        means.append(torch.from_numpy(x.reshape(3, -1).mean(1) / 255).float())
    return torch.stack(means) if means and len(means[0]) == 3 else None


def _reversed(raw: Tensor, means: Tensor) -> bool:
    """Do the inputs' channel means fit the files' better backwards? (Colours are changed in training.)"""
    means = means[: len(raw)]
    tinted = (raw[:, 0] - raw[:, 2]).abs() > 0.05
    if tinted.sum() < 8:
        return False
    straight = (means - raw)[tinted].abs().mean(1)
    backwards = (means - raw.flip(1))[tinted].abs().mean(1)
    return bool(
        (backwards < straight).float().mean() > 0.9 and backwards.mean() < 0.6 * straight.mean()
    )


def _read_twice(split: Any, i: int) -> tuple[Any, Any]:
    images = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        try:
            images.append(split[i][0])
        except Exception as err:  # whatever a data set of the learner's raises
            raise Unusable(unreadable("val", i, err)) from err
    return images[0], images[1]


def _still(e: Evidence) -> Iterator[Finding]:
    """The same validation photo must be the same each time."""
    split = e.data.val
    rows = spread(split, 8)
    for i in rows:
        first, second = _read_twice(split, i)
        if isinstance(first, Tensor) and (
            first.shape != second.shape
            or not torch.equal(torch.nan_to_num(first), torch.nan_to_num(second))
        ):
            yield Finding(
                "validation is random",
                "a validation photo is another one each time it is read",
                f"{_named(split, i)}: two readings differ",
                "give val the evaluation transform: no random crop, flip or colour",
            )
            return


def _given(e: Evidence) -> bool:
    return e.data is not None


def _labelled(e: Evidence) -> bool:
    return e.data is not None and e.labels


CHECKS = (
    Check("labels", "model, data", "nothing", _labelled, _labels),
    Check("overlap", "data", "reads files of equal size", _given, _overlap),
    Check("kinds of labels", "data", "one batch", _labelled, _kinds),
    Check("finite inputs", "data", "one batch", _given, _finite),
    Check("targets of the task", "model, data, task", "one batch", _given, _task),
    Check("inputs", "model, data", "one batch", _given, _inputs),
    Check("size of photos", "data", "one batch", _labelled, _sizes),
    Check("order of channels", "model, data", "reads 64 photos again", _labelled, _channels),
    Check("validation stands still", "data", "16 photos", _given, _still),
)
