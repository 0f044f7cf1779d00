"""Evidence in validation: the mode it runs in, and whether it numbers the classes as training does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ftcourse.models.features import embed
from ftcourse.models.freezing import train_mode
from ftcourse.models.modes import unchanged
from ftcourse.tasks.task import Task
from ftcourse.training.preflight.check import Check, Evidence, Finding, batch_of

__all__ = ["MODE", "NUMBERING", "worse_than_guessing"]

SIGMAS = 3.0


def _evaluation_findings(model: nn.Module, evaluate: Callable) -> Iterator[Finding]:
    training: set[str] = set()

    def watch(module: nn.Module, name: str) -> Any:
        return module.register_forward_pre_hook(
            lambda m, _: training.add(name) if m.training else None
        )

    kinds = (_BatchNorm, nn.Dropout)
    hooks = [watch(m, n) for n, m in model.named_modules() if isinstance(m, kinds)]
    with unchanged(model):
        before = {k: v.detach().clone() for k, v in model.state_dict().items()}
        train_mode(model)  # as an epoch of training leaves it
        try:
            evaluate(model)
        finally:
            for hook in hooks:
                hook.remove()
        changed = [k for k, v in model.state_dict().items() if not torch.equal(v, before[k])]
    if training or changed:
        yield Finding(
            "validation in train mode",
            "validation runs in train mode, or changes the model",
            f"{len(training)} BatchNorm and Dropout layers ran in train mode, "
            f"{len(changed)} tensors of the model changed",
            "call model.eval() before validation, and ft.train_mode(model) after it",
        )


def _mode(e: Evidence) -> Iterator[Finding]:
    assert e.evaluate is not None
    yield from _evaluation_findings(e.model, e.evaluate)


def _numbered(e: Evidence) -> Iterator[Finding]:
    if not e.loss_fails:
        yield from _numbering(e.model, e.data, e.task)


@torch.no_grad()
def _numbering(model: nn.Module, data: Any, task: Task, photos: int = 64) -> Iterator[Finding]:
    """Do train and val number the classes alike? A linear probe fitted to the one tells of the other."""
    classes = len(data.classes)
    train, val = (batch_of(getattr(data, name), photos, task) for name in ("train", "val"))
    if len(train[1].unique()) < classes or len(val[1]) < 8 * classes:
        return  # too few photos to tell
    from scipy.optimize import linear_sum_assignment  # 35 MB that most programs can do without

    scores = _probe(embed(model, train[0]), train[1], embed(model, val[0]), classes)
    answers = scores.argmax(1)
    table = torch.zeros(classes, classes)
    table.index_put_((answers, val[1]), torch.ones(len(answers)), accumulate=True)
    rows, columns = linear_sum_assignment(table.numpy(), maximize=True)
    own, best = table.trace().item(), table[rows, columns].sum().item()
    differ = sum(table[i].sum().item() for i, j in zip(rows, columns, strict=True) if i != j)
    if own < len(answers) / classes and best - own > SIGMAS * max(differ, 1) ** 0.5:
        swapped = [f"{i} -> {j}" for i, j in zip(rows, columns, strict=True) if i != j]
        yield _numbered_otherwise(
            f"a linear probe fitted to {len(train[1])} training photos names {own:.0f} of {len(val[1])} "
            f"validation photos right, and {best:.0f} with {', '.join(swapped[:4])}"
        )


def _numbered_otherwise(evidence: str) -> Finding:
    return Finding(
        "classes numbered differently",
        "train and validation seem to number the classes in different orders",
        evidence,
        "make one list of classes, from the training split, and number both splits by it",
    )


def _probe(x: Tensor, y: Tensor, new: Tensor, classes: int) -> Tensor:
    """Scores (N, classes) of a ridge regression from standardised features to one-hot labels."""
    mean, std = x.mean(0), x.std(0) + 1e-6
    x, new = (x - mean) / std, (new - mean) / std
    goal = F.one_hot(y, classes).float()
    kernel = x @ x.T + x.shape[1] * torch.eye(len(x))  # dual form: as many unknowns as photos
    return new @ (x.T @ torch.linalg.solve(kernel, goal - goal.mean(0))) + goal.mean(0)


def worse_than_guessing(row: dict[str, Any], data: Any) -> Iterator[Finding]:
    classes, n = len(getattr(data, "classes", [])), len(data.val)
    train, val = row.get("train_accuracy", 0.0), row.get("val_accuracy", 1.0)
    if not classes or train < 1 / classes:
        return
    if val < 1 / classes - SIGMAS * ((1 - 1 / classes) / classes / n) ** 0.5:
        yield _numbered_otherwise(
            f"after epoch {row['epoch']} the accuracy is {train:.2f} in training and {val:.2f} on {n} validation "
            f"photos; guessing among {classes} classes gives {1 / classes:.2f}"
        )


MODE = Check(
    "mode of validation",
    "model, evaluate",
    "one validation",
    lambda e: e.evaluate is not None,
    _mode,
)
NUMBERING = Check(
    "numbering of the classes",
    "model, data",
    "128 photos forward",
    # finetune sees it for nothing, after its first epoch
    lambda e: e.data is not None and e.labels and not e.stages,
    _numbered,
)
