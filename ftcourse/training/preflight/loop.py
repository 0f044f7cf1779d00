"""Evidence in a run: what the learner's own training function does in its first steps."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ftcourse.training.preflight import schedule
from ftcourse.training.preflight.check import Check, Evidence, Finding, stopped
from ftcourse.training.preflight.data import targets_of
from ftcourse.training.preflight.inputs import channels_told, channels_turned, normalisation
from ftcourse.training.preflight.model import activation, drift, not_finite, smoothing
from ftcourse.training.preflight.validation import pairs_mixed_up
from ftcourse.training.preflight.watch import Seen

__all__ = ["LOOP", "NEAR", "OTHER_FAULTS", "WATCHED", "stands_still", "too_fast", "torchs"]

NEAR = 1e-6  # weights that go no further in a few steps stay where they are
RARE = 1e-4  # an accident as rare as this is none
OTHER_FAULTS = (
    "stale optimizer", "nothing trainable", "parameters missing from the optimizer", "learning rate zero",
    "not finite", "head frozen",
)  # fmt: skip


def _modes(e: Evidence) -> Iterator[Finding]:
    awake = e.seen_training.awake
    if awake:
        yield drift(
            f"your training ran {len(awake)} of them in train mode, {next(iter(awake))} the first"
        )


def _gradients(e: Evidence) -> Iterator[Finding]:
    """Is what the optimizer steps with what backward has added since its last step?"""
    seen = e.seen_training
    if seen.error is not None:
        yield stopped("your training function", seen.error)
        return
    if seen.unlike:
        yield Finding(
            "gradients not cleared",
            "the optimizer steps with gradients of earlier batches in them",
            f"in {seen.unlike} of the first {seen.steps} steps p.grad was not what backward had added since the "
            f"last step",
            "call optimizer.zero_grad() once for each optimizer.step()",
        )
    if e.told(*OTHER_FAULTS) or not seen.count("forward"):
        return
    yield from _no_gradient(e, seen)
    if seen.idle and seen.steps > seen.idle:
        yield Finding(
            "step without a gradient of its own",
            "the optimizer makes steps for which there was no backward pass",
            f"{seen.idle} of the first {seen.steps} steps came without one since the step before",
            "call optimizer.step() once for each time that gradients are complete",
        )
    yield from _lost(e, seen)


def torchs(optimizer: torch.optim.Optimizer | None) -> bool:
    """One of PyTorch's own? Of another one nobody knows how it makes its steps."""
    return type(optimizer).__module__.startswith("torch.optim.")


def _no_gradient(e: Evidence, seen: Seen) -> Iterator[Finding]:
    batches = seen.count("forward")
    if not seen.count("backward"):
        yield Finding(
            "no gradient",
            "no gradient reaches what should train",
            f"{batches} batches went through the model, and backward added nothing to any parameter",
            "call loss.backward() between optimizer.zero_grad() and optimizer.step(), not under no_grad, and on a "
            "loss that was not detached",
        )
    elif not seen.steps and any(seen.moved.values()) and not torchs(e.optimizer):
        return  # one that wraps another, as SAM does
    elif not seen.steps:
        yield Finding(
            "no step",
            "the optimizer makes no step",
            f"{batches} batches went through the model and {seen.count('backward')} times gradients came back",
            "call optimizer.step() after loss.backward(); is it the optimizer that preflight was given?",
        )
    elif 2 * seen.lost >= seen.steps:
        yield Finding(
            "gradients cleared before the step",
            "of several backward passes before a step only the last counts",
            f"in {seen.lost} of the first {seen.steps} steps nothing was left of what the earlier ones had added",
            "call optimizer.zero_grad() once for each optimizer.step(), not once for each batch",
        )
    elif 2 * seen.cleared >= seen.steps:
        yield Finding(
            "gradients cleared before the step",
            "the gradients are cleared between backward and the step",
            f"in {seen.cleared} of the first {seen.steps} steps nothing was left of what backward had added",
            "the order is optimizer.zero_grad(), loss.backward(), optimizer.step()",
        )
    elif _late(seen) >= 2:
        yield Finding(
            "step before backward",
            "the optimizer steps before the batch's gradients are there",
            f"in {_late(seen)} of the first {seen.steps} steps backward came after the step",
            "the order is optimizer.zero_grad(), loss.backward(), optimizer.step()",
        )
    elif _once_an_epoch(seen):
        yield Finding(
            "one step an epoch",
            "there is one backward pass for a whole epoch",
            f"{batches} batches went through the model, and then came one backward pass and one step",
            "call loss.backward() and optimizer.step() for each batch, inside the loop",
        )


def _late(seen: Seen) -> int:
    """Steps between a batch's forward and its backward pass."""
    some = [event for event in seen.events if event in ("forward", "backward", "step")]
    triples = zip(some, some[1:], some[2:], strict=False)
    return sum(three == ("forward", "step", "backward") for three in triples)


def _once_an_epoch(seen: Seen) -> bool:
    if seen.count("backward") != 1 or seen.count("forward") < 3 or "end" not in seen.events:
        return False
    return seen.events.index("end") < seen.events.index("backward")


def _lost(e: Evidence, seen: Seen) -> Iterator[Finding]:
    """The first layer that should train gets no gradient, though layers behind it do."""
    if not seen.reached or seen.idle:
        return
    assert e.optimizer is not None
    held = {id(p) for group in e.optimizer.param_groups for p in group["params"]}
    modules = dict(e.model.named_modules())
    for name in seen.ran:
        own = [
            f"{name}.{n}".lstrip(".")
            for n, p in modules[name].named_parameters(recurse=False)
            if p.requires_grad and id(p) in held
        ]
        if own and not seen.reached & set(own):
            lost = [n for n, p in e.model.named_parameters() if p.requires_grad and id(p) in held]
            lost = [n for n in lost if n not in seen.reached]
            yield Finding(
                "gradient lost on the way",
                "layers that should train get no gradient",
                f"{len(lost)} tensors, {own[0]} the first, got none in {seen.steps} steps; layers behind them did",
                "look for .detach(), .data, .numpy() or torch.no_grad() between them and the loss",
            )
        if own:
            return


def _moves(e: Evidence) -> Iterator[Finding]:
    """Is anything another after the learner's own steps, and is it what should be?"""
    seen, optimizer = e.seen_training, e.optimizer
    assert optimizer is not None
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    frozen = [n for n in seen.frozen_moved if id(dict(e.model.named_parameters())[n]) in held]
    if frozen:
        yield Finding(
            "frozen weights move",
            "weights move that are frozen",
            f"{len(frozen)} tensors with requires_grad=False changed in {seen.steps} steps, {frozen[0]} first: "
            f"the optimizer holds them, with old gradients or momentum",
            "make a new optimizer, of what trains, after freezing",
        )
    working = seen.steps and not seen.cleared and seen.error is None and not e.told(*OTHER_FAULTS)
    rising = len(seen.rates) > 1 and seen.rates[-1] > 1.1 * seen.rates[0]
    furthest = max((seen.moved[n] for n in seen.reached if n in seen.moved), default=0.0)
    if working and seen.reached and not rising and furthest < NEAR:
        lr = max(seen.rates)
        yield stands_still(
            f"in {seen.steps} steps no tensor moved by more than {furthest:.0e} of its size", lr
        )


def stands_still(evidence: str, lr: float) -> Finding:
    return Finding(
        "nothing moves",
        "the weights stay where they are",
        f"{evidence} (lr={lr:g})",
        "raise the learning rate; look at what clips or scales the gradients",
    )


def too_fast(seen: str, lr: float) -> Finding:
    return Finding(
        "learning rate too high",
        "the learning rate is too high for these weights",
        f"{seen} with lr={lr:g}",
        f"divide it by 10: lr={lr / 10:g}",
    )


def _order(e: Evidence) -> Iterator[Finding]:
    """Batches in the order of the classes; see the labels that came to the loss."""
    labels = [t for t in _labels_of(e.seen_training) if len(t) > 1]
    if len(labels) < 2:
        return
    row = torch.cat(labels)
    share = _shares(e, row)
    counts = torch.bincount(row).double()
    if (counts > 0).sum() == 1:  # how likely is that by chance?
        chance = len(row) * math.log(max(share.get(int(row[0]), 1.0), 1e-9)) if share else 0.0
    elif bool((row.diff() >= 0).all()) or bool((row.diff() <= 0).all()):
        orders = torch.lgamma(counts.sum() + 1) - torch.lgamma(counts + 1).sum()
        chance = math.log(2) - orders.item()
    else:
        return
    if chance < math.log(RARE):
        yield Finding(
            "batches sorted by class",
            "training photos come in the order of their classes",
            f"the labels of the first {len(labels)} batches are {_runs(row)}",
            "DataLoader(data.train, batch_size=..., shuffle=True)",
        )


def _labels_of(seen: Seen) -> list[Tensor]:
    """The labels of each batch, as they came to the loss, or else from the loader."""
    found = [call.targets for call in seen.losses if call.function == "cross_entropy"]
    found = found or [t for t in seen.targets if isinstance(t, Tensor)]
    return [t.cpu() for t in found if t.ndim == 1 and not t.is_floating_point() and (t >= 0).all()]


def _shares(e: Evidence, row: Tensor) -> dict[int, float]:
    """The share of each class in the training split."""
    targets = getattr(e.data, "train", None)
    loaders = e.seen_training.loaders
    source = targets if targets is not None else (loaders[0].dataset if loaders else None)
    all_labels = targets_of(source)
    if not len(all_labels):
        return {}
    return {int(c): (all_labels == c).float().mean().item() for c in row.unique()}


def _runs(row: Tensor) -> str:
    values, counts = torch.unique_consecutive(row, return_counts=True)
    pairs = zip(values.tolist(), counts.tolist(), strict=True)
    return ", then ".join(f"{n} times {v}" for v, n in list(pairs)[:4])


def _batches(e: Evidence) -> Iterator[Finding]:
    """What the loop makes of photos and labels on their way to model and loss."""
    seen = e.seen_training
    images = [x for x in seen.inputs if x.ndim == 4]
    if not e.told("inputs not normalised as the weights expect") and images:
        yield from normalisation(images[0].cpu(), e.model, "your training function's")
    turned = list(channels_turned(seen, "your training function's"))
    yield from turned
    if images and not turned and e.data is not None and e.labels and images[0].shape[1] == 3:
        shown = torch.cat([x for x in images if x.shape == images[0].shape]).cpu()
        yield from channels_told(e.model, e.batches["train"][0], shown, "your training function's")
    yield from _parted(seen)
    for call in seen.losses[:1]:
        yield from activation(
            call.made_by, "the outputs that your training function hands to the loss"
        )
        if call.function == "nll_loss" and call.outputs.max() > 1e-3:
            yield Finding(
                "logits where log-probabilities belong",
                "nll_loss gets outputs that are no logarithms of probabilities",
                f"the largest of them is {call.outputs.max():.2f}, and a log-probability is at most 0",
                "use nn.CrossEntropyLoss, or log_softmax before it",
            )
        classes = call.outputs.shape[1] if call.outputs.ndim > 1 else 2
        yield from smoothing(call.weight, call.smoothing, classes)
    yield from _became_nan(e, seen)
    labels = _labels_of(seen)
    if e.data is not None and e.labels and not e.loss_fails and len(labels) == len(seen.sizes) > 0:
        pairs = [(x.cpu(), y) for x, y in zip(images, labels, strict=False) if len(x) == len(y)]
        yield from pairs_mixed_up(e, pairs)


def _parted(seen: Seen) -> Iterator[Finding]:
    """Are a batch's images in another order than the loader gave them in, and its labels not, or the reverse?"""
    if len(seen.losses) != len(seen.sizes):
        return  # which loss is of which batch?
    moved = {"images": 0, "labels": 0}
    batches = list(zip(seen.given, seen.inputs, seen.targets, seen.losses, strict=False))
    for given, got, labels, call in batches:
        same_kind = isinstance(labels, Tensor) and labels.shape == getattr(
            call.targets, "shape", None
        )
        if given.shape != got.shape or not same_kind or len(given) < 2:
            return
        images, goals = _order_of(given, got), call.targets.cpu()
        if images is None or not torch.equal(labels.cpu().sort(0).values, goals.sort(0).values):
            return  # something else was made of them
        in_place = torch.arange(len(given))
        stay = bool((labels.cpu()[images] == goals).all())
        if not stay and not torch.equal(images, in_place):
            moved["images"] += 1
        elif not stay:
            moved["labels"] += 1
    for what, count in moved.items():
        if 2 * count > len(batches):
            yield Finding(
                "labels do not belong to the photos",
                "your training function parts photos from their labels",
                f"in {count} of {len(batches)} batches {what} went on in another order than they came in",
                "shuffle both by one permutation, or leave it to the DataLoader",
            )


def _order_of(given: Tensor, got: Tensor) -> Tensor | None:
    """The rows of `given` that `got` consists of, or None where it is something else."""
    a, b = (
        x.detach().cpu().flatten(1) if x.ndim > 1 else x.detach().cpu()[:, None]
        for x in (given, got)
    )
    if torch.equal(a, b):
        return torch.arange(len(a))
    match = (a[None] == b[:, None]).all(2) if a.shape[1] < 64 else _rows_alike(a, b)
    return match.int().argmax(1) if bool(match.any(1).all()) else None


def _rows_alike(a: Tensor, b: Tensor) -> Tensor:
    sums = [x.double().sum(1) for x in (a, b)]
    return sums[0][None] == sums[1][:, None]


def _became_nan(e: Evidence, seen: Seen) -> Iterator[Finding]:
    bad = [i for i, call in enumerate(seen.losses) if not call.value.isfinite().all()]
    if not bad or e.told("not finite"):
        return
    i = bad[0]
    if (
        i < len(seen.inputs)
        and seen.inputs[i].is_floating_point()
        and not seen.inputs[i].isfinite().all()
    ):
        yield not_finite(
            f"batch {i} of your training function", "its images have nan or infinite numbers",
            "look at that batch's photos and their transform",
        )  # fmt: skip
    elif i and seen.steps:
        yield too_fast(
            f"the loss went from {seen.losses[0].value.mean():.2f} to nan in {i} steps",
            max(seen.rates),
        )
    else:
        yield not_finite(
            "the loss of the first batch", "its images and the weights are finite",
            "look at how the loss is computed: a logarithm of 0, a division by the number of nothing",
        )  # fmt: skip


def _watched(e: Evidence) -> bool:
    return e.train is not None and e.optimizer is not None


WATCHED = (
    Check(
        "modes in training", "model, optimizer, train", "your first four steps", _watched, _modes
    ),
    Check("gradients and steps", "optimizer, train", "as above", _watched, _gradients),
    Check("what moves", "model, optimizer, train", "as above", _watched, _moves),
    schedule.CHECK,
)
LOOP = (
    Check("order of batches", "train", "as above", _watched, _order),
    Check("batches in the loop", "model, train", "as above", _watched, _batches),
)
