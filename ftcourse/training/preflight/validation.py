"""Evidence in validation: its mode, what it averages, and whether it numbers the classes as training does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Subset

from ftcourse.models.features import embed
from ftcourse.training.preflight.answers import numbered_otherwise, permuted
from ftcourse.training.preflight.check import Check, Evidence, Finding, stopped
from ftcourse.training.preflight.inputs import channels_told, channels_turned, normalisation
from ftcourse.training.preflight.watch import Seen

__all__ = ["FUNCTION", "NUMBERING", "PHOTOS_SHOWN", "pairs_mixed_up"]

# -- the learner's validation function ---------------------------------------------------------


def _mode(e: Evidence) -> Iterator[Finding]:
    seen = e.seen_validation
    if seen.error is not None:
        yield stopped("your validation function", seen.error)
    if seen.training or seen.changed:
        yield Finding(
            "validation in train mode",
            "validation runs in train mode, or changes the model",
            f"{len(seen.training)} BatchNorm and Dropout layers ran in train mode, "
            f"{len(seen.changed)} tensors of the model changed",
            "call model.eval() before validation, and ft.train_mode(model) after it",
        )


def _complete(e: Evidence) -> Iterator[Finding]:
    """Does each photo count once, and are they those of the validation split?"""
    seen = e.seen_validation
    for loader in seen.loaders:
        rest = len(loader.dataset) % loader.batch_size if loader.batch_size else 0  # type: ignore[arg-type]
        if loader.drop_last and rest:
            yield Finding(
                "validation leaves photos out",
                "validation leaves the last photos out",
                f"its DataLoader has drop_last=True: {rest} of {len(loader.dataset)} photos are never seen",  # type: ignore[arg-type]
                "drop_last=False for validation",
            )
            break
    yield from _of_batches(seen)
    train = getattr(e.data, "train", None)
    if seen.loaders and train is not None and all(_is(x.dataset, train) for x in seen.loaders):
        yield Finding(
            "validation on the training photos",
            "validation reads the training split",
            "the DataLoader that it goes through has the training photos",
            "make its DataLoader of the validation split",
        )


def _is(split: Any, train: Any) -> bool:
    while isinstance(split, Subset) and split is not train:
        if split.dataset is not train:
            return False
        split = split.dataset
    return split is train


def _of_batches(seen: Seen) -> Iterator[Finding]:
    """Is what it returns the mean of the batches' means, and not that of the samples?"""
    pairs = [
        (x, t.cpu()) for x, t in zip(seen.outputs, seen.targets, strict=False)
        if isinstance(t, Tensor) and t.ndim == 1 and x.ndim == 2 and len(t) == len(x) and not t.is_floating_point()
    ]  # fmt: skip
    if len(pairs) < 2 or len(pairs) != len(seen.outputs):
        return
    sizes = torch.tensor([float(len(t)) for _, t in pairs])
    right = torch.stack([(x.argmax(1) == t).float().mean() for x, t in pairs])
    loss = torch.stack([F.cross_entropy(x.float(), t) for x, t in pairs])
    returned = _numbers(seen.result)
    for values in (right, 100 * right, loss):
        mean, fair = values.mean().item(), ((values * sizes).sum() / sizes.sum()).item()
        close = 1e-4 * max(1.0, abs(mean)) / 10
        if abs(mean - fair) > 4 * close and any(abs(v - mean) < close for v in returned):
            if any(abs(v - fair) < close for v in returned):
                continue
            yield Finding(
                "mean of unequal batches",
                "validation averages over batches that are not of one size",
                f"it returns {mean:.4f}; over its photos it is {fair:.4f}, for the last batch has "
                f"{int(sizes[-1])} photos and the first {int(sizes[0])}",
                "add up over photos, and divide once by their number",
            )
            return


def _numbers(result: Any) -> list[float]:
    """The numbers in what a function returned."""
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, (list, tuple)):
        return [v for x in result[:20] for v in _numbers(x)]
    if isinstance(result, Tensor):
        return [result.item()] if result.numel() == 1 else []
    try:
        return [float(result)]
    except (TypeError, ValueError):
        return []


def _photos(e: Evidence) -> Iterator[Finding]:
    """What validation makes of photos on their way to the model."""
    images = [x.cpu() for x in e.seen_validation.inputs if x.ndim == 4]
    if not images:
        return
    yield from normalisation(images[0], e.model, "your validation function's")
    turned = list(channels_turned(e.seen_validation, "your validation function's"))
    yield from turned
    if e.data is None or not e.labels:
        return
    train = e.batches["train"][0]
    if images[0].shape[1] == 3 and train.ndim == 4:
        same = torch.cat([x for x in images if x.shape == images[0].shape])
        if not turned:
            yield from channels_told(e.model, train, same, "your validation function's")
        ratio = min(images[0].shape[-2:]) / min(train.shape[-2:])
        if not 0.95 < ratio < 1.5:
            yield Finding(
                "validation photos of another size",
                "validation shows the model photos of another size than training does",
                f"{tuple(images[0].shape[-2:])} pixels, and {tuple(train.shape[-2:])} in training",
                "give both the same size",
            )


# -- a linear probe tells of labels --------------------------------------------------------------


def _numbered(e: Evidence) -> Iterator[Finding]:
    """Do train and val number the classes alike? A linear probe fitted to the one tells of the other."""
    if e.loss_fails or not e.plain_labels:
        return
    classes = len(e.data.classes)
    x, y = e.probed("train")
    new, goal = e.probed("val")
    if len(y.unique()) < classes or len(goal) < 8 * classes:
        return  # too few photos to tell
    from scipy.optimize import linear_sum_assignment  # 35 MB that most programs can do without

    answers = _probe(x, y, new, classes).argmax(1)
    table = torch.zeros(classes, classes)
    table.index_put_((answers, goal), torch.ones(len(answers)), accumulate=True)
    rows, columns = linear_sum_assignment(table.numpy(), maximize=True)
    own, best = table.trace().item(), table[rows, columns].sum().item()
    moved = [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if i != j]
    if moved and permuted(table, moved):
        swapped = [f"{i} -> {j}" for i, j in moved]
        yield numbered_otherwise(
            f"a linear probe fitted to {len(y)} training photos names {own:.0f} of {len(goal)} "
            f"validation photos right, and {best:.0f} with {', '.join(swapped[:4])}"
        )
        return
    yield from _shuffled(x, y, new, goal, classes)


def _shuffled(x: Tensor, y: Tensor, new: Tensor, goal: Tensor, classes: int) -> Iterator[Finding]:
    """Can the labels be learnt from photos of the one split, and not at all from those of the other?"""
    shares = {"train": _left_out(x, y, classes), "val": _left_out(new, goal, classes)}
    for bad, good in (("train", "val"), ("val", "train")):
        n = {"train": len(y), "val": len(goal)}
        usual = {"train": _commonest(y), "val": _commonest(goal)}
        error = {k: (usual[k] * (1 - usual[k]) / n[k]) ** 0.5 for k in n}
        nothing = shares[bad] < usual[bad] + error[bad]
        if nothing and shares[good] > usual[good] + 6 * error[good]:
            yield Finding(
                "labels do not belong to the photos",
                f"the labels of {bad} have nothing to do with its photos",
                f"a linear probe, tested on photos it was not fitted to, is right for {shares[bad]:.0%} of "
                f"{n[bad]} photos of {bad}, and for {shares[good]:.0%} of {n[good]} of {good}",
                "look at some photos with their labels; were photos and labels sorted or shuffled apart?",
            )
            return


def _commonest(y: Tensor) -> float:
    return torch.bincount(y).max().item() / len(y)


def pairs_mixed_up(e: Evidence, pairs: list[tuple[Tensor, Tensor]]) -> Iterator[Finding]:
    """Does a probe fitted to the training split know the labels that a loop gives to photos?"""
    n = sum(len(y) for _, y in pairs)
    if n < 16 or not e.plain_labels or e.told("labels do not belong to the photos"):
        return
    classes = len(e.data.classes)
    x, y = e.probed("train")
    shapes = {tuple(images.shape[1:]) for images, _ in pairs}
    if len(y.unique()) < classes or len(shapes) > 1:
        return
    labels = torch.cat([t for _, t in pairs])
    if labels.max() >= classes:
        return
    seen = embed(e.model, torch.cat([images for images, _ in pairs]))
    known = _left_out(x, y, classes)
    share = (_probe(x, y, seen, classes).argmax(1) == labels).float().mean().item()
    usual = max(_commonest(labels), _commonest(y))
    error = (usual * (1 - usual) / n) ** 0.5
    if known > usual + 6 * error and share < usual + 1.5 * error:
        yield Finding(
            "labels do not belong to the photos",
            "in your training function the labels have nothing to do with the photos",
            f"a linear probe fitted to the training split names {share:.0%} of {n} photos of your batches as they "
            f"are labelled, and {known:.0%} of the split's own",
            "look at what is shuffled, sorted or mixed between the loader and the loss",
        )


def _scaled(x: Tensor, *others: Tensor) -> list[Tensor]:
    mean, std = x.mean(0), x.std(0) + 1e-6
    return [(z - mean) / std for z in (x, *others)]


def _probe(x: Tensor, y: Tensor, new: Tensor, classes: int) -> Tensor:
    """Scores (N, classes) of a ridge regression from standardised features to one-hot labels."""
    x, new = _scaled(x, new)
    goal = F.one_hot(y, classes).float()
    kernel = x @ x.T + x.shape[1] * torch.eye(len(x))  # dual form: as many unknowns as photos
    return new @ (x.T @ torch.linalg.solve(kernel, goal - goal.mean(0))) + goal.mean(0)


def _left_out(x: Tensor, y: Tensor, classes: int) -> float:
    """The accuracy of the same probe on each photo, fitted to all the others (in closed form)."""
    (x,) = _scaled(x)
    goal = F.one_hot(y, classes).float()
    inverse = torch.linalg.inv(x @ x.T + x.shape[1] * torch.eye(len(x)))
    centred = goal - goal.mean(0)
    scores = goal - (inverse @ centred) / inverse.diagonal().unsqueeze(1)
    return (scores.argmax(1) == y).float().mean().item()


def _labelled(e: Evidence) -> bool:
    return e.data is not None and e.labels


def _function(e: Evidence) -> bool:
    return e.evaluate is not None


FUNCTION = (
    Check("mode of validation", "model, evaluate", "one validation", _function, _mode),
    Check("what validation averages", "evaluate, data", "as above", _function, _complete),
)
PHOTOS_SHOWN = Check(
    "photos in validation", "model, evaluate, data", "as above", _function, _photos
)
NUMBERING = Check(
    "meaning of labels", "model, data", "128 photos or more", _labelled, _numbered, dear=True
)
