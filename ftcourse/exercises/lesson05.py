"""Questions of lesson 05, train_on_a_gpu."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ftcourse.exercises import Choice, Function, Wrong, agrees
from ftcourse.exercises.gives import number

__all__ = ["MiniDevice", "all_moved", "looks", "measure", "train_epoch"]


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

# ------------------------------------------------------------------------------ 5.3 train_epoch

# What hands a tensor's numbers to Python: a CPU that asks for them waits until the device has them.
_ASK = {
    "item", "tolist", "numpy", "cpu", "__float__", "__int__", "__bool__", "__index__", "__repr__", "__format__",
    "__array__", "__contains__",
}  # fmt: skip


class _Looks(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += getattr(func, "__name__", "") in _ASK
        return func(*args, **(kwargs or {}))


def looks(run: Callable[[], Any]) -> int:
    """How often run() asks a tensor for its numbers, so that the CPU would wait for a GPU."""
    with _Looks() as found:
        run()
    return found.count


Batches = list[tuple[Tensor, Tensor]]


def _train_epoch(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], optimizer: torch.optim.Optimizer
) -> float:
    total, photos = torch.zeros(()), 0
    for x, y in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(y)
        photos += len(y)
    return total.item() / photos


@dataclass
class _Epoch:
    """A small network, its batches (the last one smaller), and an optimizer; old gradients are still there."""

    batches: Batches
    model: nn.Module
    optimizer: torch.optim.Optimizer

    @classmethod
    def of(cls, sizes: tuple[int, ...]) -> _Epoch:
        torch.manual_seed(sum(sizes))
        batches = [(torch.randn(n, 3, 4, 4), torch.randint(0, 3, (n,))) for n in sizes]
        model = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.Tanh(), nn.Linear(8, 3))
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        return cls(batches, model, torch.optim.SGD(model.parameters(), lr=0.3))

    def after(self, how: Callable) -> tuple[float, list[Tensor], int]:
        """What `how` returns, the weights it leaves, and how often it looked."""
        found: list[Any] = []
        count = looks(lambda: found.append(how(self.model, self.batches, self.optimizer)))
        return found[0], [p.detach() for p in self.model.parameters()], count


def _variant(
    zero: bool = True, step: bool = True, mean: Callable[[list, list], float] | None = None
) -> Callable:
    """An epoch in which one thing is wrong, whatever it looks at."""

    def how(model: nn.Module, batches: Batches, optimizer: torch.optim.Optimizer) -> float:
        losses, sizes = [], []
        for x, y in batches:
            if zero:
                optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            if step:
                optimizer.step()
            losses.append(loss.item())
            sizes.append(len(y))
        by_photos = sum(a * n for a, n in zip(losses, sizes, strict=True))
        return mean(losses, sizes) if mean else by_photos / sum(sizes)

    return how


_WEIGHTS: tuple[tuple[Callable, Wrong], ...] = (
    (
        _variant(step=False),
        Wrong("the weights have not moved", "backward(), then a step, each batch."),
    ),
    (
        _variant(zero=False),
        Wrong("old gradients are in the steps", "zero the gradients before each backward()."),
    ),
)
_VALUES: tuple[tuple[Callable, Wrong], ...] = (
    (
        _variant(mean=lambda losses, sizes: sum(losses) / len(losses)),
        Wrong(
            "that is the mean over batches, and the last one is smaller",
            "weight each batch's loss by its photos, as lesson 04 does.",
        ),
    ),
    (
        _variant(mean=lambda losses, sizes: sum(a * n for a, n in zip(losses, sizes, strict=True))),
        Wrong("that is the sum over the photos", "divide by the number of photos."),
    ),
    (
        _variant(mean=lambda losses, sizes: sum(losses)),
        Wrong("that is the sum over the batches", "weight by photos, and divide by their number."),
    ),
    (
        _variant(mean=lambda losses, sizes: losses[-1]),
        Wrong("that is the loss of the last batch", "the mean over all photos of the epoch."),
    ),
)


def _judge_train_epoch(attempt: Callable) -> Wrong | None:
    many = 0
    for sizes in ((4, 4, 4, 1), (3, 3), (5, 5, 5, 5, 5, 2)):
        value, weights, count = _Epoch.of(sizes).after(attempt)
        right, expected, _ = _Epoch.of(sizes).after(_train_epoch)
        if not agrees(weights, expected, 1e-3):
            return _first(_WEIGHTS, sizes, lambda v, w, own=weights: agrees(w, own, 1e-3)) or Wrong(
                "the weights are not those of the loop of lesson 04",
                "the same steps as in lesson 04: zero_grad, forward, backward, step.",
            )
        if not agrees(value, right, 1e-3):
            return _first(_VALUES, sizes, lambda v, w, own=value: agrees(v, own, 1e-3)) or Wrong(
                f"it returns {value:.4g} where {right:.4g} is the mean loss over the photos"
            )
        if count > 1:
            many = max(many, count)
    if many:
        return Wrong(
            f"the numbers are right, and it looks {many} times in 6 steps",
            "keep the sum as a tensor, and ask for its number once, after the loop.",
        )
    return None


def _first(
    known: tuple[tuple[Callable, Wrong], ...], sizes: tuple[int, ...], fits: Callable
) -> Wrong | None:
    for how, wrong in known:
        value, weights, _ = _Epoch.of(sizes).after(how)
        if fits(value, weights):
            return wrong
    return None


train_epoch = Function(
    number="5.3",
    name="train_epoch",
    reference=_train_epoch,
    why="The sum stays on the device, and the CPU asks for it once. Weights and number are the same.",
    hints=(
        "which of the lines of the old loop turns a tensor into a Python number? What could stand there instead?",
        "loss.detach() is still a tensor, without the graph behind it, and tensors can be added up.",
    ),
    worked=(
        "def train_epoch(model, batches, optimizer):\n"
        "    total, photos = 0.0, 0\n"
        "    for x, y in batches:\n"
        "        loss = F.cross_entropy(model(x), y)\n"
        "        optimizer.zero_grad()\n"
        "        loss.backward()\n"
        "        optimizer.step()\n"
        "        total += loss.detach() * len(y)\n"
        "        photos += len(y)\n"
        "    return total.item() / photos"
    ),
    gives=number("return one number: the mean loss over the photos."),
    changes=("model", "optimizer"),
    judge=_judge_train_epoch,
)
