"""Questions of lesson 05, train_on_a_gpu."""

from __future__ import annotations

import copy
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ftcourse.exercises import Choice, Function, Value, Wrong

__all__ = ["MiniDevice", "accumulate", "adam_bytes", "all_moved", "measure", "speed_up"]


class MiniDevice:
    """An asynchronous device in miniature: one thread that works through a queue, in order.

    As with a GPU, `submit` returns at once, and `wait` returns when everything submitted is done.
    """

    def __init__(self) -> None:
        self._jobs: queue.Queue = queue.Queue()
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                job()
            finally:
                self._jobs.task_done()

    def submit(self, job: Callable[[], Any]) -> None:
        """Put a job into the queue."""
        self._jobs.put(job)

    def wait(self) -> None:
        """Return when the queue is empty and the last job is done."""
        self._jobs.join()


# -------------------------------------------------------------------------------- 5.1 all_moved

all_moved = Choice(
    number="5.1",
    name="all_moved",
    reference="b, d",
    why="A module moves in place; a tensor does not, its .to() gives a new one that needs a name. B "
    "and D have the model, the images and the targets on the device when the step is made.",
    hints=(
        "three things must be there: the model, the images, the targets. Check each, program by "
        "program.",
        "images.to(device) alone throws its result away, and model.to(device) does not move the "
        "batches that come later.",
    ),
    worked='answer = "b, d"',
    options={
        "a": Wrong(
            "in A the moved images have no name: `images` is still the one on the CPU",
            "tensors do not move in place. What does images.to(device) return, and who keeps it?",
        ),
        "b": None,
        "c": Wrong(
            "in C the targets have stayed on the CPU, and the loss needs them",
            "three things must be on the device.",
        ),
        "d": None,
    },
)

# ---------------------------------------------------------------------------------- 5.2 measure


def _measure(run: Callable, wait: Callable, repeats: int = 5) -> float:
    run()
    wait()
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    wait()
    return (time.perf_counter() - start) / repeats


class _Bench:
    """Work for a `MiniDevice` that takes `seconds`, the first time `first` seconds more."""

    def __init__(self, seconds: float, first: float) -> None:
        self.device, self.seconds, self.first = MiniDevice(), seconds, first
        self.calls: list[str] = []

    def run(self) -> None:
        pause = self.seconds + (0.0 if "run" in self.calls else self.first)
        self.calls.append("run")
        self.device.submit(lambda: time.sleep(pause))

    def wait(self) -> None:
        self.calls.append("wait")
        self.device.wait()


def _judge_measure(attempt: Callable) -> Wrong | None:
    bench = _Bench(seconds=0.02, first=0.5)
    answer = attempt(bench.run, bench.wait, 5)
    bench.device.wait()
    if answer is None:
        return Wrong("your function returns nothing", "return the seconds for one run.")
    runs = bench.calls.count("run")
    if runs == 0:
        return Wrong("run was never called", "call run(), with the parentheses.")
    if "wait" not in bench.calls:
        return Wrong("it never waits for the device", "call wait() before you read the clock.")
    seconds = float(answer)
    if seconds < 0.015:
        return Wrong(
            f"it finds {1000 * seconds:.1f} ms for work that takes 20 ms: the device was still busy "
            "when the clock was read",
            "wait() after the runs and before the last look at the clock.",
        )
    if seconds > 0.08:
        return _too_long(seconds, bench.calls)
    if runs < 5:
        return Wrong(
            f"it runs the work {runs} times in all",
            "one run to warm up, then `repeats` runs by the clock.",
        )
    return None


def _too_long(seconds: float, calls: list[str]) -> Wrong:
    observed = f"it gives {seconds:.3g} for work that takes 0.02 seconds"
    if seconds > 1:
        return Wrong(observed, "give seconds for one run, not milliseconds.")
    if calls.count("run") <= 5:
        return Wrong(observed, "is the first run, which sets things up, among those you time?")
    first = calls.index("run")
    if calls[first + 1] != "wait":
        more = "wait() after the warm-up as well: it still runs when your clock starts."
        return Wrong(observed, more)
    return Wrong(observed, "that is all runs together: divide by repeats.")


measure = Function(
    number="5.2",
    name="measure",
    reference=_measure,
    why="A warm-up that is waited for, then the runs, then a wait before the last look at the clock: "
    "right where run() returns at once, and right where it does not.",
    hints=(
        "when does run() return on a device with a queue: when the work is done, or at once?",
        "run(); wait(); start = time.perf_counter(); repeats times run(); wait(); then "
        "(time.perf_counter() - start) / repeats.",
    ),
    worked=(
        "def measure(run, wait, repeats=5):\n"
        "    run()\n"
        "    wait()\n"
        "    start = time.perf_counter()\n"
        "    for _ in range(repeats):\n"
        "        run()\n"
        "    wait()\n"
        "    return (time.perf_counter() - start) / repeats"
    ),
    judge=_judge_measure,
)

# --------------------------------------------------------------------------------- 5.3 speed_up

speed_up = Value(
    number="5.3",
    name="speed_up",
    reference=4.0,
    why="100 ms become 20 + 80 / 16 = 25 ms. The part that the GPU does not touch, a fifth, is now "
    "four fifths of the step.",
    hints=(
        "how long does a step take afterwards? Which of the two parts has changed?",
        "20 ms + 80 ms / 16 = 25 ms; how many times does it go into 100 ms?",
    ),
    worked="guess = 100 / (20 + 80 / 16)",
    mistakes=(
        (16, Wrong("that holds for the computing alone", "loading still takes its 20 ms.")),
        (25, Wrong("25 ms is the new step", "how many times faster is that than 100 ms?")),
        (
            5,
            Wrong(
                "5 would be the limit, with a GPU that takes no time at all",
                "computing still takes 80 / 16 ms.",
            ),
        ),
        (6.25, Wrong("that divides the whole step by 16", "loading does not become faster.")),
        (20, Wrong("20 ms is what loading takes", "old step divided by new step.")),
    ),
)

# ------------------------------------------------------------------------------- 5.4 adam_bytes


def _same_megabytes(attempt: Any, reference: Any) -> bool:
    return abs(float(attempt) - float(reference)) <= 0.02 * float(reference)


adam_bytes = Value(
    number="5.4",
    name="adam_bytes",
    reference=178.8,
    why="Four numbers of 4 bytes for each weight: the weight, its gradient, and AdamW's two running "
    "means. 16 x 11,177,538 bytes are 179 MB, before the first photo.",
    hints=(
        "which tensors of the size of the weights are there? AdamW keeps two.",
        "weights + gradients + 2 of AdamW = 4 numbers of 4 bytes for each of 11,177,538 weights.",
    ),
    worked="guess = 4 * 4 * 11_177_538 / 1e6",
    same=_same_megabytes,
    mistakes=(
        (44.7, Wrong("those are the weights alone", "gradients and AdamW's memory come on top.")),
        (89.4, Wrong("weights and gradients", "AdamW keeps two more numbers a weight.")),
        (134.1, Wrong("three numbers a weight", "AdamW keeps two of its own, not one.")),
        (11.2, Wrong("that is one byte a weight", "a float32 has four.")),
        (
            lambda a: float(a) > 1e6,
            Wrong("that looks like bytes, and the question asks for MB", "divide by 1e6."),
        ),
    ),
)

# ------------------------------------------------------------------------------- 5.5 accumulate


def _accumulate(model: nn.Module, images: Tensor, targets: Tensor, size: int) -> None:
    for some, their in zip(images.split(size), targets.split(size), strict=True):
        loss = F.cross_entropy(model(some), their)
        (loss * len(some) / len(images)).backward()


def _gradients(model: nn.Module) -> list[Tensor]:
    return [torch.zeros(1) if p.grad is None else p.grad.clone() for p in model.parameters()]


class _Watched(nn.Module):
    """A small network that remembers how many images it was given at once."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 3))
        self.seen: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        return self.layers(x)


def _close(a: list[Tensor], b: list[Tensor]) -> bool:
    pairs = zip(a, b, strict=True)
    return all(x.shape == y.shape and torch.allclose(x, y, atol=1e-5) for x, y in pairs)


def _judge_accumulate(attempt: Callable) -> Wrong | None:
    start = _Watched()
    images, targets = torch.randn(10, 3, 2, 2), torch.tensor([0, 1, 0, 1, 0, 1, 0, 0, 2, 2])

    def after(how: Callable) -> tuple[list[Tensor], _Watched]:
        model = copy.deepcopy(start)
        with torch.enable_grad():
            how(model)
        return _gradients(model), model

    def pieces(weight: Callable[[int], float]) -> Callable:
        def how(model: nn.Module) -> None:
            for some, their in zip(images.split(4), targets.split(4), strict=True):
                (F.cross_entropy(model(some), their) * weight(len(some))).backward()

        return how

    expected, _ = after(lambda m: F.cross_entropy(m(images), targets).backward())
    found, model = after(lambda m: attempt(m, images.clone(), targets.clone(), 4))
    moved = zip(model.parameters(), start.parameters(), strict=True)
    if any(not torch.equal(p, q) for p, q in moved):
        return Wrong("the weights have moved", "no step here: leave the gradients in p.grad.")
    if not any(g.any() for g in found):
        return Wrong("p.grad is empty afterwards", "call backward() for each piece.")
    if max(model.seen) > 4:
        return Wrong(
            f"{max(model.seen)} images went through the network at once, and 4 were allowed",
            "images.split(size) cuts them into pieces of at most `size`.",
        )
    if sum(model.seen) < len(images):
        return Wrong(
            f"{sum(model.seen)} of {len(images)} images went through the network",
            "the last piece may be smaller; images.split(size) takes it along.",
        )
    if _close(found, expected):
        return None
    if _close(found, after(pieces(lambda n: 1.0))[0]):
        return Wrong(
            "the gradient is that of a sum over the pieces, about three times too large",
            "each piece counts for its share of the photos: loss * len(piece) / len(images).",
        )
    if _close(found, after(pieces(lambda n: 1 / 3))[0]):
        return Wrong(
            "each piece counts the same, and the last one is smaller",
            "weight by photos, not by pieces: loss * len(piece) / len(images).",
        )
    if _close(found, after(pieces(lambda n: n))[0]):
        return Wrong("that is the sum over the photos", "divide by the number of all photos.")
    last = after(lambda m: (F.cross_entropy(m(images[8:]), targets[8:])).backward())[0]
    if any(_close(found, [w * g for g in last]) for w in (1.0, 0.2, 1 / 3, 2.0)):
        return Wrong(
            "only the last piece is in the gradient", "no zero_grad between the pieces: let it add."
        )
    return Wrong("the gradient is not that of the whole batch")


accumulate = Function(
    number="5.5",
    name="accumulate",
    reference=_accumulate,
    why="Each piece adds its share to p.grad, and the sum is the gradient of the whole batch; no "
    "more than `size` photos were in memory at once.",
    hints=(
        "backward() adds to p.grad (lesson 04). What must the losses of the pieces be multiplied "
        "with, so that their sum is the mean over all photos?",
        "for each piece: (F.cross_entropy(model(piece), its_targets) * len(piece) / len(images))"
        ".backward()",
    ),
    worked=(
        "def accumulate(model, images, targets, size):\n"
        "    for some, their in zip(images.split(size), targets.split(size)):\n"
        "        loss = F.cross_entropy(model(some), their)\n"
        "        (loss * len(some) / len(images)).backward()"
    ),
    judge=_judge_accumulate,
)
