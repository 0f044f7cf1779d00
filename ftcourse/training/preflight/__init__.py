"""The mistakes that raise no error, found before training and while it runs.

Each check looks at evidence (a real batch, a real step on a copy of the model), not at source code, so it
serves `finetune` and hand-written loops alike. Each kind of evidence has a module here; a check is a small object
(`Check`) in its module, `CHECKS` the list that `preflight` goes through, in this order. (`model` asks what was
loaded and trains; `data`, `copies` and `inputs` what comes in; `loop`, `schedule` and `run` what steps do;
`validation` and `answers` what is measured. `watch` looks on while functions of the learner run; `keep` puts
things back.) `finetune` makes those that are not dear before it starts, and looks on while it runs.

    check                     looks at                          costs
    ------------------------  --------------------------------  --------------------
    finite weights            model, optimizer                  nothing
    stages                    stages                            nothing
    what trains               model                             nothing
    frozen BatchNorm          model                             nothing
    what the optimizer holds  model, optimizer                  nothing
    weights loaded            model                             nothing
    mode of validation        model, evaluate                   one validation
    what validation averages  evaluate, data                    as above
    modes in training         model, optimizer, train           your first four steps
    gradients and steps       optimizer, train                  as above
    what moves                model, optimizer, train           as above
    schedule                  optimizer, train, epochs          as above
    labels                    model, data                       nothing
    overlap                   data                              reads files of equal size
    kinds of labels           data                              one batch
    finite inputs             data                              one batch
    targets of the task       model, data, task                 one batch
    inputs                    model, data                       one batch
    size of photos            data                              one batch
    order of channels         model, data                       reads 32 photos again
    validation stands still   data                              8 photos
    smoothing and weights     task, data                        nothing
    outputs                   model, data                       one batch forward
    order of batches          train                             as above
    batches in the loop       model, train                      as above
    photos in validation      model, evaluate, data             as above
    meaning of labels (dear)  model, data                       128 photos or more
    first steps               model, data, stages or optimizer  six steps on a copy
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import torch
from torch import nn
from torch.utils.data import IterableDataset

from ftcourse.models.modes import modes_kept
from ftcourse.tasks.task import Classification, Task
from ftcourse.training.preflight import data as _data
from ftcourse.training.preflight import loop as _loop
from ftcourse.training.preflight import model as _model
from ftcourse.training.preflight import run as _run
from ftcourse.training.preflight import validation as _validation
from ftcourse.training.preflight.answers import Answers
from ftcourse.training.preflight.check import Check, Evidence, Finding, Unusable
from ftcourse.training.preflight.keep import random_states_kept
from ftcourse.training.preflight.run import while_training
from ftcourse.training.stages import Stage

__all__ = [
    "CHECKS", "Answers", "Check", "Evidence", "Finding", "before_training", "preflight", "report",
    "while_training",
]  # fmt: skip

CHECKS: tuple[Check, ...] = (
    *_model.CHECKS,
    *_validation.FUNCTION,
    *_loop.WATCHED,
    *_data.CHECKS,
    *_model.OUTPUTS,
    *_loop.LOOP,
    _validation.PHOTOS_SHOWN,
    _validation.NUMBERING,
    _run.STEPS,
)


def preflight(
    model: nn.Module,
    data: Any = None,
    stages: Stage | Sequence[Stage] | None = None,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    evaluate: Callable[[nn.Module], Any] | None = None,
    train: Callable[[nn.Module], Any] | None = None,
    batch_size: int = 32,
    task: Task | None = None,
    epochs: int | None = None,
) -> list[Finding]:
    """Look for what trains without an error and is wrong; returns the findings, worst first.

    Args:
        data: has `train`, `val` (data sets of (image, label)) and `classes`; without it, no data checks. Nor are
            there any of a stream (IterableDataset), or of samples that are dicts.
        stages: what `finetune` will do. Without them the model is judged as it stands: what is frozen, which mode
            its BatchNorm layers are in, what `optimizer` holds. That is the form for a hand-written loop.
        optimizer: the one that will make the steps.
        evaluate: your validation function of the model; it is run once on the model in train mode, as an epoch of
            training leaves it, and watched.
        train: your function that trains the model for an epoch with `optimizer`; its first steps are run and
            watched, and model, optimizer and schedulers put back as they were, as is what else the function holds:
            an average of the weights, a GradScaler, counters, logs. A pass over a DataLoader ends after four
            steps, and the function goes on behind it.
        task: what a batch is and what the loss: see `ftcourse.tasks`. Classification by default; the checks of
            labels, logits and the loss at step 0 are for that one.
        epochs: how many you will train for, so that the length of a schedule can be judged.

    The model, and the random numbers of Python, NumPy and torch, are left as they were: other steps are tried on a
    copy. What stops with an error, in your functions or in the data, becomes a finding. With all of its arguments
    a call takes about 5 s of processor time for a ResNet-18 at 64 pixels (benchmarks/results/preflight.md).

    Raises:
        ValueError: `train` without `optimizer`; `data` without one of its attributes; or the layer groups of the
            model cannot be found, and the message says how to name them.
    """
    if train is not None and optimizer is None:
        raise ValueError("preflight: train= needs optimizer=, the one that it makes its steps with")
    chosen = [stages] if isinstance(stages, Stage) else list(stages or [])
    e = Evidence(
        model,
        _looked_into(data, task or Classification()),
        chosen,
        optimizer,
        evaluate,
        train,
        batch_size,
        task or Classification(),
        epochs,
    )
    return _findings(e, CHECKS)


def _looked_into(data: Any, task: Task) -> Any:
    """The data, if samples can be taken from it one by one; else None."""
    if data is None:
        return None
    labels = isinstance(task, Classification)
    missing = [n for n in ("train", "val", *(["classes"] * labels)) if not hasattr(data, n)]
    if missing:
        raise ValueError(
            f"preflight: a {type(data).__name__} has no {' and no '.join(missing)}; give data with train, val and "
            f"classes, as ft.load_data does, or leave it out"
        )
    for split in (data.train, data.val):
        if isinstance(split, IterableDataset) or not hasattr(split, "__len__"):
            return None
        with random_states_kept(), suppress(Exception):  # one that cannot be read is told later on
            if labels and isinstance(split[0], Mapping):
                return None
    return data


def before_training(
    model: nn.Module, data: Any, stages: Sequence[Stage], *, batch_size: int, task: Task
) -> list[Finding]:
    """What `finetune` asks before a run: all of `preflight`'s checks but the dear ones."""
    e = Evidence(model, data, list(stages), batch_size=batch_size, task=task)
    return _findings(e, [check for check in CHECKS if not check.dear])


def _findings(e: Evidence, checks: Sequence[Check]) -> list[Finding]:
    with modes_kept(e.model), random_states_kept():
        for check in checks:
            if check.applies(e):
                e.found += [f for f in _look(check, e) if not e.told(f.name)]
    return e.found


def _look(check: Check, e: Evidence) -> list[Finding]:
    try:
        return list(check.look(e))
    except Unusable as err:
        return [err.finding]


def report(findings: list[Finding], history: Any) -> None:
    """Print findings and keep them in the history."""
    for finding in findings:
        print(finding)
        history.findings.append(asdict(finding))
