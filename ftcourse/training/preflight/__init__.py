"""The mistakes that raise no error, found before training and while it runs.

Each check looks at evidence (a real batch, a real step on a copy of the model), not at source code, so it
serves `finetune` and hand-written loops alike. Each kind of evidence has a module here; a check is a small object
(`Check`) in its module, `CHECKS` the list that `preflight` goes through, in this order:

    check                     looks at                          costs
    ------------------------  --------------------------------  --------------------
    stages                    stages                            nothing
    what trains               model                             nothing
    frozen BatchNorm          model                             nothing
    what the optimizer holds  model, optimizer                  nothing
    mode of validation        model, evaluate                   one validation
    training function         model, optimizer, train           its first four steps
    labels                    model, data                       nothing
    overlap                   data                              reads the files once
    inputs                    model, data                       one batch
    outputs                   model, data                       one batch forward
    numbering of the classes  model, data                       128 photos forward
    first steps               model, data, stages or optimizer  six steps on a copy
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from ftcourse.models.modes import modes_kept
from ftcourse.tasks.task import Classification, Task
from ftcourse.training.preflight import data as _data
from ftcourse.training.preflight import model as _model
from ftcourse.training.preflight import run as _run
from ftcourse.training.preflight import validation as _validation
from ftcourse.training.preflight.check import Check, Evidence, Finding
from ftcourse.training.preflight.run import while_training
from ftcourse.training.stages import Stage

__all__ = ["CHECKS", "Check", "Evidence", "Finding", "preflight", "report", "while_training"]

CHECKS: tuple[Check, ...] = (
    *_model.CHECKS,
    _validation.MODE,
    _run.WATCHED,
    *_data.CHECKS,
    _model.OUTPUTS,
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
) -> list[Finding]:
    """Look for what trains without an error and is wrong; returns the findings, worst first.

    Args:
        data: has `train`, `val` (data sets of (image, label)) and `classes`; without it, no data checks.
        stages: what `finetune` will do. Without them the model is judged as it stands: what is frozen, which mode
            its BatchNorm layers are in, what `optimizer` holds. That is the form for a hand-written loop.
        optimizer: the one that will make the steps.
        evaluate: your validation function of the model; it is run once on the model in train mode, as an epoch of
            training leaves it, and watched.
        train: your function that trains the model for an epoch with `optimizer`; its first steps are run and
            watched, and model and optimizer put back as they were. (A scheduler that it steps is not.)
        task: what a batch is and what the loss: see `ftcourse.tasks`. Classification by default; the checks of
            labels, logits and the loss at step 0 are for that one.

    The model and its random state are left as they were: other steps are tried on a copy.

    Raises:
        ValueError: `train` without `optimizer`.
    """
    if train is not None and optimizer is None:
        raise ValueError("preflight: train= needs optimizer=, the one that it makes its steps with")
    chosen = [stages] if isinstance(stages, Stage) else list(stages or [])
    e = Evidence(
        model, data, chosen, optimizer, evaluate, train, batch_size, task or Classification()
    )
    with modes_kept(model), torch.random.fork_rng(devices=[]):
        for check in CHECKS:
            if check.applies(e):
                told = {finding.name for finding in e.found}
                e.found += [f for f in check.look(e) if f.name not in told]
    return e.found


def report(findings: list[Finding], history: Any) -> None:
    """Print findings and keep them in the history."""
    for finding in findings:
        print(finding)
        history.findings.append(asdict(finding))
