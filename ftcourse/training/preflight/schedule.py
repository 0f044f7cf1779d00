"""Evidence in a schedule: when the learner's function steps it, and when it will be over."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from ftcourse.training.preflight.check import Check, Evidence, Finding
from ftcourse.training.preflight.watch import Seen

__all__ = ["CHECK"]

OVER = 0.02  # of the highest rate: below that nothing is learnt any more
LONGEST = 3000  # steps of a schedule that are looked at


def _schedule(e: Evidence) -> Iterator[Finding]:
    seen, optimizer = e.seen_training, e.optimizer
    assert optimizer is not None
    if not seen.steps or seen.error is not None:
        return
    schedulers = seen.schedulers
    if not schedulers:
        falls = [b < 0.6 * a for a, b in zip(seen.rates, seen.rates[1:], strict=False)]
        if len(falls) > 1 and all(falls):
            yield _wrong(f"in the first steps the rate goes {_shown(seen.rates)}", "once an epoch")
        return
    first = {name: seen.events.index(name) for name in ("schedule", "step") if name in seen.events}
    if "schedule" not in first:
        if seen.again:
            yield _wrong(
                "one epoch ended, the next began, and the schedule was never stepped",
                "or delete it; once an epoch, or once a batch where it counts batches",
            )
        return
    if first["schedule"] < first["step"]:
        yield _wrong(
            "it is stepped before the optimizer, which skips its first value",
            "behind optimizer.step()",
        )
        return
    if seen.loaders:
        yield from _length(e, seen, schedulers[0], len(seen.loaders[0]))


def _length(e: Evidence, seen: Seen, scheduler: LRScheduler, batches: int) -> Iterator[Finding]:
    """Is it over long before the run is, or the run long before it?"""
    end = seen.events.index("end") if "end" in seen.events else len(seen.events)
    each_batch = seen.events[:end].count("schedule") > 1
    name, known = type(scheduler).__name__, _horizon(scheduler)
    steps = max(1, round(batches * seen.steps / max(1, seen.events[:end].count("forward"))))
    unit = "batch" if each_batch else "epoch"
    whole = (steps if each_batch else 1) * (e.epochs or 1)
    over = _over_after(scheduler, e.optimizer, min(whole, LONGEST))
    if each_batch and over is not None and over < 0.5 * whole:
        yield _wrong(
            f"{name} is stepped once a batch, and its rate has ended after {over} of {whole} steps"
            f" ({steps} an epoch); it goes {_shown(seen.rates)}",
            "once an epoch, behind the loop over batches; or give it the number of batches",
        )
    elif e.epochs and known and (known > 2 * whole or known < 0.5 * whole):
        yield _wrong(
            f"{name} is made for {known} steps, and is stepped once a {unit}: {whole} times in all",
            f"{known // max(1, whole)} times as often, or make it for {whole} steps",
        )
    elif (
        not each_batch
        and name == "OneCycleLR"
        and known
        and known % steps == 0
        and known > steps > 2
    ):
        yield _wrong(
            f"{name} is made for {known} steps, {known // steps} times the {steps} batches of an epoch, and is "
            f"stepped once an epoch",
            "once a batch, behind optimizer.step()",
        )


def _horizon(scheduler: LRScheduler) -> int | None:
    """For how many steps a schedule that ends was made."""
    for name in ("total_steps", "T_max", "T_0"):
        value = getattr(scheduler, name, None)
        if isinstance(value, int):
            return None if name == "T_0" else value
    return None


def _over_after(
    scheduler: LRScheduler, optimizer: torch.optim.Optimizer | None, steps: int
) -> int | None:
    """After how many of so many steps its rate is near 0; None if it is not. All is put back."""
    assert optimizer is not None
    states = copy.deepcopy((scheduler.state_dict(), optimizer.state_dict()))
    rates = [max(group["lr"] for group in optimizer.param_groups)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the optimizer makes no steps meanwhile
        try:
            for _ in range(steps):
                scheduler.step()
                rates.append(max(group["lr"] for group in optimizer.param_groups))
        except (ValueError, TypeError):  # OneCycleLR is at its end; another needs a metric
            if not hasattr(scheduler, "total_steps"):
                rates = rates[:1]
        finally:
            scheduler.load_state_dict(states[0])
            optimizer.load_state_dict(states[1])
    top = next(i for i, rate in enumerate(rates) if rate >= 0.999 * max(rates))
    low = [i for i in range(top, len(rates)) if rates[i] <= OVER * rates[top]]
    if low:
        return low[0]
    return len(rates) - 1 if 1 < len(rates) <= steps else None


def _shown(rates: list[float]) -> str:
    return ", ".join(f"{rate:.2g}" for rate in rates)


def _wrong(evidence: str, when: str) -> Finding:
    return Finding(
        "schedule stepped wrongly",
        "the learning rate's schedule is stepped at the wrong time, or made for another number of steps",
        evidence,
        f"call scheduler.step() {when}",
    )


def _applies(e: Evidence) -> bool:
    return e.train is not None and e.optimizer is not None


CHECK: Any = Check("schedule", "optimizer, train, epochs", "as above", _applies, _schedule)
