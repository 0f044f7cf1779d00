"""What a check is: it looks at some of the evidence, and yields what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ftcourse.models.features import embed
from ftcourse.models.freezing import train_mode
from ftcourse.models.groups import head_of, head_outputs
from ftcourse.tasks.task import Classification, Task, to_device
from ftcourse.training.preflight.watch import Seen, last_operation, watched
from ftcourse.training.stages import Stage

__all__ = [
    "Check", "Evidence", "Finding", "Unusable", "batch_of", "fetch", "first_line", "spread", "stopped",
    "unreadable",
]  # fmt: skip

PROBED = 64, 320  # photos of a split whose features are looked at: at least, and at most


@dataclass(frozen=True)
class Finding:
    """What is wrong, how that was seen, and what to do. `name` is a fixed word for code."""

    name: str
    what: str
    evidence: str
    fix: str

    def __str__(self) -> str:
        return f"preflight: {self.what}\n  seen: {self.evidence}\n  do:   {self.fix}"


class Unusable(Exception):
    """Evidence that cannot be read, and the finding that says so."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.what)
        self.finding = finding


@dataclass
class Evidence:
    """What `preflight` was given, what has been found so far, and what is read from it at most once."""

    model: nn.Module
    data: Any = None
    stages: list[Stage] = field(default_factory=list)
    optimizer: torch.optim.Optimizer | None = None
    evaluate: Callable[[nn.Module], Any] | None = None
    train: Callable[[nn.Module], Any] | None = None
    batch_size: int = 32
    task: Task = field(default_factory=Classification)
    epochs: int | None = None
    found: list[Finding] = field(default_factory=list)
    _probed: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def labels(self) -> bool:
        """One label an image, and one output a class?"""
        return isinstance(self.task, Classification) and not self.one_logit

    @cached_property
    def one_logit(self) -> bool:
        """Does the learner's own loop tell two classes apart by one output, with a binary cross-entropy?"""
        if self.train is None or self.optimizer is None:
            return False
        calls = self.seen_training.losses
        return bool(calls) and all(
            call.function == "binary_cross_entropy_with_logits"
            and (call.outputs.ndim == 1 or call.outputs.shape[-1] == 1)
            for call in calls
        )

    def told(self, *names: str) -> bool:
        """Has one of these been found?"""
        return any(finding.name in names for finding in self.found)

    @property
    def loss_fails(self) -> bool:
        """Would the loss stop with an error, or be nan, for these inputs and labels?"""
        if self.told(
            "label out of range", "labels of the wrong kind", "not finite", "masks of another size"
        ):
            return True
        return self.labels and head_outputs(head_of(self.model)[1]) < len(self.data.classes)

    @property
    def splits(self) -> Iterator[tuple[str, Any]]:
        """The splits that there are, by name."""
        for name in ("train", "val", "test"):
            split = getattr(self.data, name, None)
            if split is not None:
                yield name, split

    @cached_property
    def rows(self) -> dict[str, list[int]]:
        """Which rows of train and val make their batches."""
        return {n: spread(s, self.batch_size) for n, s in self.splits if n != "test"}

    @cached_property
    def batches(self) -> dict[str, tuple[Any, Any]]:
        """A batch of train and one of val: inputs and targets.

        Raises:
            Unusable: they cannot be put together.
        """
        splits = dict(self.splits)
        return {
            name: fetch(splits[name], name, rows, self.task) for name, rows in self.rows.items()
        }

    @cached_property
    def seen_training(self) -> Seen:
        """What the learner's training function did in its first steps."""
        assert self.train is not None
        return watched(self.train, self.model, self.optimizer)

    @cached_property
    def seen_validation(self) -> Seen:
        """What the learner's validation function did, called as an epoch of training leaves the model."""
        assert self.evaluate is not None
        return watched(self.evaluate, self.model, mode=train_mode)

    @cached_property
    def outputs(self) -> Tensor:
        """The model's outputs for the training batch, in eval mode.

        Raises:
            Unusable: the model stops with an error.
        """
        with torch.no_grad():
            return self._forward(self.batches["train"][0])

    @cached_property
    def made_by(self) -> str:
        """The operation that makes the outputs, such as "Softmax"."""
        inputs = self.batches["train"][0]
        if isinstance(inputs, Tensor):
            inputs = inputs[:2].clone()  # two will do: a graph needs memory
            if inputs.is_floating_point():
                inputs.requires_grad_()
        with torch.enable_grad():
            return last_operation(self._forward(inputs))

    @property
    def plain_labels(self) -> bool:
        """Images, and one whole number for each?"""
        return all(
            isinstance(x, Tensor) and x.ndim == 4 and isinstance(y, Tensor) and y.ndim == 1
            for x, y in self.batches.values()
        )

    def probed(self, name: str) -> tuple[Tensor, Tensor]:
        """Features (N, D) and labels (N,) of photos drawn from train or val."""
        if name not in self._probed:
            split, least, most = dict(self.splits)[name], *PROBED
            rows = spread(split, min(most, max(least, 20 * len(self.data.classes))))
            images, labels = fetch(split, name, rows, self.task)
            try:
                self._probed[name] = embed(self.model, images), labels
            except (RuntimeError, ValueError, TypeError) as err:
                raise Unusable(stopped("the model", err)) from err
        return self._probed[name]

    def _forward(self, inputs: Any) -> Tensor:
        device = next(self.model.parameters()).device
        try:
            return self.task.forward(self.model.eval(), to_device(inputs, device))
        except (RuntimeError, ValueError, TypeError, IndexError) as err:
            raise Unusable(stopped("the model", err)) from err


@dataclass(frozen=True)
class Check:
    """One kind of mistake.

    Args:
        name: a few words for the table in the package's docstring.
        looks_at: which of `preflight`'s arguments it needs.
        costs: what it computes.
        applies: can it be made with what there is?
        look: yields the findings.
        dear: it takes too long to be made before each run of `finetune`; `preflight` makes it.
    """

    name: str
    looks_at: str
    costs: str
    applies: Callable[[Evidence], bool]
    look: Callable[[Evidence], Iterable[Finding]]
    dear: bool = False


def first_line(err: Exception) -> str:
    """What an error says, in one line."""
    return f"{type(err).__name__}: {(str(err).strip().splitlines() or ['no message'])[0][:160]}"


def stopped(who: str, err: Exception) -> Finding:
    """Something of the learner's ended with an error."""
    return Finding(
        "stops with an error",
        f"{who} stops with an error",
        first_line(err),
        "call it by itself: the traceback names the line",
    )


def unreadable(name: str, i: int, err: Exception) -> Finding:
    """An item of a data set that raises an error."""
    return Finding(
        "no batch",
        f"item {i} of {name} cannot be read",
        first_line(err),
        "read that item by itself, or leave it out",
    )


def spread(split: Any, size: int) -> list[int]:
    """Rows drawn from the whole split, so that each class has a share; the same each time."""
    n = len(split)
    return (
        torch.randperm(n, generator=torch.Generator().manual_seed(0))[:size].sort().values.tolist()
    )


def batch_of(split: Any, size: int, task: Task) -> tuple[Any, Any]:
    """A batch drawn from the whole split."""
    return fetch(split, "this split", spread(split, size), task)


def fetch(split: Any, name: str, rows: list[int], task: Task) -> tuple[Any, Any]:
    """These rows of a split as one batch.

    Raises:
        Unusable: there are none, or they cannot be put together.
    """
    if not rows:
        raise Unusable(
            Finding("empty split", f"{name} is empty", f"len({name}) is 0", "give it photos")
        )
    some = torch.utils.data.Subset(split, rows)
    loader = DataLoader(some, batch_size=len(rows), collate_fn=task.collate)
    try:
        return next(task.batches(loader, "cpu"))
    except Exception as err:  # whatever a data set of the learner's raises
        raise Unusable(_no_batch(split, name, rows, err)) from err


def _no_batch(split: Any, name: str, rows: list[int], err: Exception) -> Finding:
    """Why these rows make no batch: of what sizes and kinds are they?"""
    kinds: dict[str, int] = {}
    for i in rows:
        try:
            item = split[i]
        except Exception as bad:
            return unreadable(name, i, bad)
        kinds.setdefault(
            " and ".join(_kind(x) for x in item) if isinstance(item, tuple) else _kind(item), i
        )
    seen = "; ".join(f"item {i}: {kind}" for kind, i in list(kinds.items())[:3])
    return Finding(
        "no batch",
        f"items of {name} cannot be put into one batch",
        f"{seen} ({first_line(err)})" if len(kinds) < 2 else seen,
        "make all images one size and kind in the transform: a resize and a crop, ToDtype(torch.float32)",
    )


def _kind(x: Any) -> str:
    if isinstance(x, Tensor):
        return f"{str(x.dtype).removeprefix('torch.')} {tuple(x.shape)}"
    return type(x).__name__
