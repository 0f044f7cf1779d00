"""Evidence in the answers that `finetune` scores anyway: accuracies, and which class is taken for which."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ftcourse.tasks.task import Classification, Pairs, Task, joined
from ftcourse.training.preflight.check import Finding

__all__ = ["Answers", "exchanged", "numbered_otherwise", "permuted", "worse_than_guessing"]

SIGMAS = 3.0
MOST = 2000  # classes, for whose table there is memory


class Answers:
    """How often each class is taken for each other in the newest validation.

    Attributes:
        table: int64 (classes, classes), rows are answers and columns are labels; None as long as none was noted,
            and where a sample has no single label.
    """

    def __init__(self) -> None:
        self.table: Tensor | None = None

    @contextmanager
    def noted(self, task: Task) -> Iterator[None]:
        """Answers that the task scores while this is entered go into the table."""
        if not isinstance(task, Classification):
            yield
            return
        score, own = task.metrics, vars(task).get("metrics")

        def metrics(batches: Pairs) -> dict[str, float]:
            outputs, targets = joined(batches)
            self.table = _table(outputs, targets)
            return score([(outputs, targets)])

        task.metrics = metrics  # type: ignore[method-assign]
        try:
            yield
        finally:
            del task.metrics
            if own is not None:
                task.metrics = own  # type: ignore[method-assign]


def _table(outputs: Tensor, targets: Tensor) -> Tensor | None:
    classes = outputs.shape[1]
    if targets.ndim != 1 or targets.is_floating_point() or classes > MOST:
        return None
    if targets.min() < 0 or targets.max() >= classes:
        return None
    pairs = outputs.argmax(1) * classes + targets
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def exchanged(row: dict[str, Any], table: Tensor) -> Iterator[Finding]:
    """Are some classes named as one another, by a network that knows its training photos?"""
    classes = len(table)
    if row.get("train_accuracy", 0.0) < 1 / classes + 0.25 * (1 - 1 / classes):
        return
    taken = _closed({j: i for j, i in enumerate(table.argmax(0).tolist()) if i != j})
    moved = [(i, j) for j, i in taken.items() if table[i, j] > 0]
    if len(moved) > 1 and len(moved) == len(taken) and permuted(table, moved):
        total, right = int(table.sum()), int(table.trace())
        best = right + sum(int(table[i, j] - table[j, j]) for i, j in moved)
        yield numbered_otherwise(
            f"after epoch {row['epoch']} the network names {right} of {total} validation photos right, and {best} "
            f"with {', '.join(f'{i} -> {j}' for i, j in moved[:4])}"
        )


def _closed(taken: dict[int, int]) -> dict[int, int]:
    """Those of the classes that change places among themselves: label -> answer."""
    while taken and set(taken) != set(taken.values()):
        taken = {j: i for j, i in taken.items() if i in taken and j in taken.values()}
    return taken


def permuted(table: Tensor, moved: list[tuple[int, int]]) -> bool:
    """Are the classes that change places named right less often than by guessing, and often with the change?"""
    classes = len(table)
    theirs = table[:, [j for _, j in moved]].sum().item()
    own = sum(table[i, i].item() for i, _ in moved)
    best = sum(table[i, j].item() for i, j in moved)
    sigmas = SIGMAS if classes == 2 else SIGMAS + 1  # more classes have more permutations
    return (
        own < theirs / classes and best - own > sigmas * max(best + (classes > 2) * own, 1) ** 0.5
    )


def numbered_otherwise(evidence: str) -> Finding:
    return Finding(
        "classes numbered differently",
        "train and validation seem to number the classes in different orders",
        evidence,
        "make one list of classes, from the training split, and number both splits by it",
    )


def worse_than_guessing(row: dict[str, Any], data: Any) -> Iterator[Finding]:
    """What an epoch's accuracies tell of the labels."""
    classes, n = len(getattr(data, "classes", [])), len(data.val)
    train, val = row.get("train_accuracy", 0.0), row.get("val_accuracy", 1.0)
    if not classes or train < 1 / classes:
        return
    error = ((1 - 1 / classes) / classes / n) ** 0.5
    if val < 1 / classes - SIGMAS * error:
        yield numbered_otherwise(
            f"after epoch {row['epoch']} the accuracy is {train:.2f} in training and {val:.2f} on {n} validation "
            f"photos; guessing among {classes} classes gives {1 / classes:.2f}"
        )
    elif n >= 10 * classes > 20 and train > 0.75 and val < 1 / classes + 2 * error:
        yield Finding(
            "validation no better than guessing",
            "what is learnt from the training photos is worth nothing on the validation photos",
            f"after epoch {row['epoch']} the accuracy is {train:.2f} in training and {val:.2f} on {n} validation "
            f"photos; guessing among {classes} classes gives {1 / classes:.2f}",
            "look at labelled photos of both splits: are the classes numbered alike, are the inputs made alike?",
        )
