"""Questions of lesson 05, train_on_a_gpu."""

from __future__ import annotations

import queue
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ftcourse.exercises import Choice, Function, Value, Wrong, agrees
from ftcourse.exercises.gives import number

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
        "which calls change what they are called on, and which give something new that needs a name?",
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

    def __init__(self, repeats: int, seconds: float, first: float = 0.3) -> None:
        self.device, self.repeats = MiniDevice(), repeats
        self.seconds, self.first = seconds, first
        self.calls: list[str] = []
        self.took: list[float] = []

    def run(self) -> None:
        pause = self.seconds + (0.0 if "run" in self.calls else self.first)
        self.calls.append("run")
        self.device.submit(lambda: self.work(pause))

    def work(self, pause: float) -> None:
        """Sleep, and note how long that took: more than `pause` on a busy machine."""
        start = time.perf_counter()
        time.sleep(pause)
        self.took.append(time.perf_counter() - start)

    def bounds(self) -> tuple[float, float]:
        """What an honest clock may give: seconds, from and to."""
        took = self.took[1:] or [self.seconds]
        return 0.9 * min(took), 1.2 * max(took) + 0.002

    def wait(self) -> None:
        self.calls.append("wait")
        self.device.wait()


def _judge_measure(attempt: Callable) -> Wrong | None:
    for bench in (_Bench(repeats=2, seconds=0.04), _Bench(repeats=7, seconds=0.02)):
        seconds = attempt(bench.run, bench.wait, bench.repeats)
        bench.device.wait()
        if wrong := _wrong_calls(bench, seconds) or _wrong_seconds(bench, seconds):
            return wrong
    return None


def _wrong_calls(bench: _Bench, seconds: float) -> Wrong | None:
    runs = bench.calls.count("run")
    if runs == 0:
        return Wrong("run was never called", "call run(), with the parentheses.")
    if "wait" not in bench.calls:
        return Wrong("it never waits for the device", "call wait() before you read the clock.")
    if runs < bench.repeats:
        return Wrong(
            f"asked for {bench.repeats} repeats, it runs the work {runs} times in all",
            "one run to warm up, then `repeats` runs by the clock.",
        )
    return None


def _wrong_seconds(bench: _Bench, seconds: float) -> Wrong | None:
    right, (low, high) = bench.seconds, bench.bounds()
    observed = f"it gives {seconds:.3g} for work that takes {right:g} seconds"
    if low < seconds < high:
        return None
    if seconds > 500 * right:
        return Wrong(observed, "give seconds for one run, not milliseconds.")
    if seconds >= high:
        return _too_long(bench, seconds, observed)
    after = "".join(call[0] for call in bench.calls)
    if after.endswith("w") and seconds > 0.4 * right:
        return Wrong(
            f"{observed}: it divides by more runs than the clock saw",
            "after the warm-up, `repeats` runs by the clock.",
        )
    return Wrong(
        f"{observed}: the device was still busy when the clock was read",
        "wait() after the runs and before the last look at the clock.",
    )


def _too_long(bench: _Bench, seconds: float, observed: str) -> Wrong:
    if bench.calls.count("run") <= bench.repeats:
        return Wrong(observed, "is the first run, which sets things up, among those you time?")
    if bench.calls[bench.calls.index("run") + 1] != "wait":
        more = "wait() after the warm-up as well: it still runs when your clock starts."
        return Wrong(observed, more)
    if bench.calls[bench.calls.index("wait") :].count("run") > bench.repeats:
        more = "time `repeats` runs after the warm-up, not one more."
        return Wrong(f"{observed}: the clock saw more runs than it divides by", more)
    if seconds > (bench.first + bench.repeats * bench.seconds) / bench.repeats * 0.9:
        if seconds < bench.first:
            return Wrong(observed, "does your clock start before the warm-up? Start it after.")
        return Wrong(observed, "start the clock after the warm-up, and divide by repeats.")
    return Wrong(observed, "that is all runs together: divide by repeats.")


measure = Function(
    number="5.2",
    name="measure",
    reference=_measure,
    why="A warm-up that is waited for, then the runs, then a wait before the last look at the clock: "
    "right where run() returns at once, and right where it does not.",
    hints=(
        "when does run() return on a device with a queue: when the work is done, or at once?",
        "two waits: one so that the warm-up is over when the clock starts, one so that the work is done when "
        "it stops.",
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
    gives=number("return the seconds for one run."),
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
        "add up the new step, loading and computing; how many times does it go into the old one?",
    ),
    worked="guess = 100 / (20 + 80 / 16)",
    mistakes=(
        (16.0, Wrong("that holds for the computing alone", "loading still takes its 20 ms.")),
        (25.0, Wrong("25 ms is the new step", "how many times faster is that than 100 ms?")),
        (
            5.0,
            Wrong(
                "5 would be the limit, with a GPU that takes no time at all",
                "computing still takes 80 / 16 ms.",
            ),
        ),
        (6.25, Wrong("that divides the whole step by 16", "loading does not become faster.")),
        (0.25, Wrong("that is the new step, as a share of the old one", "turn it round.")),
        (20.0, Wrong("20 ms is what loading takes", "old step divided by new step.")),
    ),
)

# ------------------------------------------------------------------------------- 5.4 adam_bytes

_WEIGHTS = 11_177_538


def _numbers_a_weight(count: float, seen: str, hint: str) -> tuple[float, Wrong]:
    return count * 4 * _WEIGHTS / 1e6, Wrong(seen, hint)


adam_bytes = Value(
    number="5.4",
    name="adam_bytes",
    reference=16 * _WEIGHTS / 1e6,
    unit="MB",
    why="Four numbers of 4 bytes for each weight: the weight, its gradient, and AdamW's two running "
    "means. 16 x 11,177,538 bytes are 179 MB, before the first photo.",
    hints=(
        "which tensors of the size of the weights are there? AdamW keeps two.",
        "count the numbers that are kept for one weight, then the bytes of each, then all the weights.",
    ),
    worked="guess = 4 * 4 * 11_177_538 / 1e6",
    mistakes=(
        _numbers_a_weight(1, "those are the weights alone", "gradients and AdamW's come on top."),
        _numbers_a_weight(2, "weights and gradients", "AdamW keeps two more numbers a weight."),
        _numbers_a_weight(3, "three numbers a weight", "AdamW keeps two of its own, not one."),
        _numbers_a_weight(1 / 4, "that is one byte a weight", "a float32 has four."),
        _numbers_a_weight(8, "that is with numbers of 8 bytes", "a float32 has four bytes."),
    ),
)

# ------------------------------------------------------------------------------- 5.5 accumulate


def _accumulate(model: nn.Module, images: Tensor, targets: Tensor, size: int) -> None:
    for some, their in zip(images.split(size), targets.split(size), strict=True):
        loss = F.cross_entropy(model(some), their)
        (loss * len(some) / len(images)).backward()


class _Saved:
    """A tensor that autograd keeps for backward(); it is gone when that is done."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class _Watched(nn.Module):
    """A small network that remembers how many images it was given at once, and what was still kept then."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 3))
        self.seen: list[int] = []
        self.kept = 0
        self._saved: list[weakref.ref] = []

    def forward(self, x: Tensor) -> Tensor:
        self.kept += sum(saved() is not None for saved in self._saved)
        self.seen.append(len(x))
        with torch.autograd.graph.saved_tensors_hooks(self._pack, lambda saved: saved.tensor):
            return 4 * self.layers(x)  # so that the gradients are longer than 1

    def _pack(self, tensor: Tensor) -> _Saved:
        saved = _Saved(tensor)
        self._saved.append(weakref.ref(saved))
        return saved

    def gradients(self) -> list[Tensor]:
        return [torch.zeros(1) if p.grad is None else p.grad for p in self.parameters()]


@dataclass(frozen=True)
class _Batch:
    """A batch whose pieces differ in their labels; the last piece may be smaller."""

    images: Tensor
    targets: Tensor
    size: int

    def after(self, how: Callable) -> _Watched:
        """A fresh network after `how(model, images, targets, size)`."""
        model = _Watched()
        with torch.enable_grad():
            how(model, self.images, self.targets, self.size)
        return model


def _batches() -> list[_Batch]:
    found = []
    for photos, size in ((10, 4), (9, 2), (7, 7), (3, 5), (5, 1)):
        torch.manual_seed(photos)
        targets = (torch.arange(photos) // 3) % 3
        found.append(_Batch(torch.randn(photos, 3, 2, 2), targets, size))
    return found


def _pieces(weight: Callable[[int, int, int], float], only_last: bool = False) -> Callable:
    """Accumulation with each piece's loss times weight(its photos, all photos, number of pieces)."""

    def how(model: nn.Module, images: Tensor, targets: Tensor, size: int) -> None:
        parts = list(zip(images.split(size), targets.split(size), strict=True))
        for some, their in parts[-1:] if only_last else parts:
            factor = weight(len(some), len(images), len(parts))
            (F.cross_entropy(model(some), their) * factor).backward()

    return how


_MISTAKES: tuple[tuple[Callable, Wrong], ...] = (
    (
        _pieces(lambda n, total, k: 1.0),
        Wrong(
            "the gradient is that of a sum over the pieces, too large by their number",
            "each piece counts for its share of the photos: loss * len(piece) / len(images).",
        ),
    ),
    (
        _pieces(lambda n, total, k: 1 / k),
        Wrong(
            "each piece counts the same, and the last one is smaller",
            "weight by photos, not by pieces: loss * len(piece) / len(images).",
        ),
    ),
    (
        _pieces(lambda n, total, k: n),
        Wrong("that is the sum over the photos", "divide by the number of all photos."),
    ),
    (
        _pieces(lambda n, total, k: 1 / total),
        Wrong(
            "each piece's mean is divided by the number of all photos",
            "a mean of its photos: times len(piece) it is their sum.",
        ),
    ),
    (
        _pieces(lambda n, total, k: -n / total),
        Wrong("the sign is turned", "the gradient itself; going downhill is the optimizer's."),
    ),
    *(
        (
            _pieces(weight, only_last=True),
            Wrong(
                "only the last piece is in the gradient",
                "no zero_grad between the pieces: let it add.",
            ),
        )
        for weight in (
            lambda n, total, k: 1.0,
            lambda n, total, k: n / total,
            lambda n, total, k: 1 / k,
        )
    ),
)


def _judge_accumulate(attempt: Callable) -> Wrong | None:
    found = []
    for batch in _batches():
        model = batch.after(attempt)
        if wrong := _wrong_way(model, batch):
            return wrong
        found.append((batch, model.gradients()))

    def is_from(how: Callable) -> bool:
        return all(agrees(g, b.after(how).gradients(), 1e-3) for b, g in found)

    if is_from(_whole):
        return None
    for how, wrong in _MISTAKES:
        if is_from(how):
            return wrong
    return Wrong("the gradient is not that of the whole batch")


def _whole(model: nn.Module, images: Tensor, targets: Tensor, size: int) -> None:
    F.cross_entropy(model(images), targets).backward()


def _needs_gradients(model: nn.Module) -> list[bool]:
    return [p.requires_grad for p in model.parameters()]


def _wrong_way(model: _Watched, batch: _Batch) -> Wrong | None:
    photos, size = len(batch.images), batch.size
    if not agrees(list(model.parameters()), list(_Watched().parameters())):
        return Wrong("the weights have moved", "no step here: leave the gradients in p.grad.")
    if not any(g.any() for g in model.gradients()):
        return Wrong("p.grad is empty afterwards", "call backward() for each piece.")
    if not (all(part.training for part in model.modules()) and all(_needs_gradients(model))):
        return Wrong(
            "the model is left in eval mode, or frozen", "change nothing but what is in p.grad."
        )
    if max(model.seen) > size:
        return Wrong(
            f"{max(model.seen)} images went through the network at once, and {size} were allowed",
            "images.split(size) cuts them into pieces of at most `size`.",
        )
    if sum(model.seen) != photos:
        return Wrong(
            f"{sum(model.seen)} images went through the network, and there are {photos}",
            "each once; the last piece may be smaller, and images.split(size) takes it along.",
        )
    if model.kept:
        return Wrong(
            "what the earlier pieces left for backward() is still in memory when the next one comes",
            "backward() for each piece, at once: only then its memory is free for the next.",
        )
    return None


accumulate = Function(
    number="5.5",
    name="accumulate",
    reference=_accumulate,
    why="Each piece adds its share to p.grad, and the sum is the gradient of the whole batch; no "
    "more than `size` photos were in memory at once.",
    hints=(
        "backward() adds to p.grad (lesson 04). What must the losses of the pieces be multiplied "
        "with, so that their sum is the mean over all photos?",
        "images.split(size) cuts; a piece of 2 photos of 10 is a fifth of the mean.",
    ),
    worked=(
        "def accumulate(model, images, targets, size):\n"
        "    for some, their in zip(images.split(size), targets.split(size)):\n"
        "        loss = F.cross_entropy(model(some), their)\n"
        "        (loss * len(some) / len(images)).backward()"
    ),
    changes=("model",),
    judge=_judge_accumulate,
)
