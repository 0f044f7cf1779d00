"""Watch a function of the learner at work, for a few steps, and put everything back that it has changed.

`watched` runs it and returns what was seen: batches, losses, gradients, steps, learning rates. A pass over a
DataLoader ends after a few steps, and the function goes on behind its loop as at the end of an epoch.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.lr_scheduler import LRScheduler
from torch.overrides import TorchFunctionMode
from torch.utils.data import DataLoader

from ftcourse.models.freezing import is_frozen
from ftcourse.training.preflight.keep import put_back, schedulers_of

__all__ = ["LossCall", "Seen", "last_operation", "watched"]

STEPS = 4
UNSTEPPED = 64, 12  # batches without a step that are waited for: with backward, and without it
KEPT = 8  # batches whose tensors are kept
LOSSES = ("cross_entropy", "nll_loss", "binary_cross_entropy_with_logits")
_SAME_VALUES = ("View", "Reshape", "Clone", "ToCopy", "Squeeze", "Unsqueeze", "Alias", "Unsafe")


@dataclass
class LossCall:
    """A call of a loss function: what made its input, its settings, its targets and its value."""

    function: str
    made_by: str
    outputs: Tensor
    targets: Any
    weight: Tensor | None
    smoothing: float
    value: Tensor


@dataclass
class Seen:
    """What a function did."""

    events: list[str] = field(default_factory=list)  # forward, backward, step, schedule, end
    inputs: list[Tensor] = field(default_factory=list)  # of the model, the first few
    sizes: list[int] = field(default_factory=list)  # samples of each forward pass
    losses: list[LossCall] = field(default_factory=list)
    loaders: list[DataLoader] = field(default_factory=list)
    targets: list[Any] = field(default_factory=list)  # of each batch that a loader gave
    given: list[Any] = field(default_factory=list)  # the first batches' inputs, as it gave them
    outputs: list[Tensor] = field(default_factory=list)
    training: set[str] = field(default_factory=set)  # BatchNorm and Dropout that ran in train mode
    awake: dict[str, None] = field(default_factory=dict)  # frozen BatchNorm that did
    ran: dict[str, None] = field(default_factory=dict)  # modules with parameters, in their order
    reached: set[str] = field(default_factory=set)  # parameters that a gradient has reached
    moved: dict[str, float] = field(default_factory=dict)  # parameter -> |change| / |size|
    frozen_moved: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)  # tensors of the state that are others
    rates: list[float] = field(default_factory=list)  # highest learning rate at each step
    schedulers: list[LRScheduler] = field(default_factory=list)  # of the optimizer
    steps: int = 0
    unlike: int = 0  # steps with other gradients than backward has added
    cleared: int = 0  # steps before which they were cleared
    idle: int = 0  # steps without a backward pass since the last one
    again: bool = False  # it began another epoch
    cut: bool = False  # a pass over a loader was ended early
    lost: int = 0  # steps in which only the last of several backward passes counts
    result: Any = None
    error: Exception | None = None

    def count(self, event: str) -> int:
        return self.events.count(event)


class _Enough(BaseException):
    """Ends the learner's function after a few steps; no `except Exception` swallows it."""


def watched(
    function: Callable[[nn.Module], Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    mode: Callable[[nn.Module], Any] | None = None,
) -> Seen:
    """Run `function(model)`, the model in some mode, and tell what it did; with an optimizer only its first steps.

    Weights, optimizer, schedulers and what else the function holds are put back; see `put_back`.
    """
    seen = Seen(schedulers=schedulers_of(optimizer))
    with put_back(function, model, optimizer, seen.schedulers), ExitStack() as stack:
        before = {k: v.detach().clone() for k, v in model.state_dict().items()}
        stack.enter_context(_Recorder(seen, model, optimizer, stack))
        if mode is not None:
            mode(model)
        try:
            seen.result = function(model)
        except _Enough:
            seen.again = True
        except Exception as err:
            seen.error = None if seen.cut else err  # behind the cut: it may come of fewer batches
        now = model.state_dict()
        seen.changed = [
            k for k, v in now.items() if not torch.equal(*map(torch.nan_to_num, (v, before[k])))
        ]
        for name, p in model.named_parameters():
            if name in before:
                change, size = (p.detach() - before[name]).norm(), before[name].norm()
                least = 1e-3 * p.numel() ** 0.5  # what begins at 0 has no size of its own
                seen.moved[name] = (change / size.clamp(min=least)).item()
                if change > 0 and not p.requires_grad:
                    seen.frozen_moved.append(name)
    return seen


class _Recorder(TorchFunctionMode):
    """Writes down what happens while it is entered."""

    def __init__(
        self,
        seen: Seen,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None,
        stack: ExitStack,
    ) -> None:
        super().__init__()
        self.seen, self.model, self.optimizer = seen, model, optimizer
        self.fresh: dict[nn.Parameter, Tensor] = {}  # what backward has added since the last step
        self.latest: dict[nn.Parameter, Tensor] = {}  # what the last backward pass has
        self.done: list[int] = []  # data sets whose pass was ended
        self.inside = False
        stack.enter_context(_iterating(self._batches))
        for handle in self._hooks():
            stack.callback(handle.remove)
        for scheduler in seen.schedulers:
            stack.enter_context(_noted(scheduler, lambda: self.event("schedule")))

    def event(self, name: str) -> None:
        self.seen.events.append(name)

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") in LOSSES and len(self.seen.losses) < KEPT**2:
            self._loss(func, args, kwargs or {}, result)
        return result

    def _loss(self, func: Any, args: Any, kwargs: dict[str, Any], value: Any) -> None:
        given = inspect.signature(func).bind(*args, **kwargs).arguments
        outputs, targets = given["input"], given["target"]
        self.seen.losses.append(
            LossCall(
                func.__name__,
                last_operation(outputs),
                outputs.detach(),
                targets.detach(),
                given.get("weight"),
                given.get("label_smoothing", 0.0),
                value.detach(),
            )
        )

    def _hooks(self) -> Iterator[Any]:
        optimizer = self.optimizer
        yield self.model.register_forward_pre_hook(self._forward, with_kwargs=True)
        yield self.model.register_forward_hook(self._outputs)
        for name, m in self.model.named_modules():
            yield m.register_forward_pre_hook(functools.partial(self._module, name))
        if optimizer is None:
            return
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for name, p in self.model.named_parameters():
            if p.requires_grad and id(p) in held:
                yield p.register_hook(functools.partial(self._gradient, name, p))
        yield optimizer.register_step_pre_hook(self._step)

    def _forward(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self.inside = True
        self._arrive(next((x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)), None))

    def _arrive(self, first: Tensor | None) -> None:
        if first is not None:
            self.seen.sizes.append(len(first) if first.ndim else 1)
            if len(self.seen.inputs) < KEPT:
                self.seen.inputs.append(first.detach().clone())

    def _outputs(self, module: nn.Module, args: Any, outputs: Any) -> None:
        self.inside = False
        if self.optimizer is None and isinstance(outputs, Tensor):
            self.seen.outputs.append(outputs.detach().cpu())

    def _module(self, name: str, m: nn.Module, args: Any) -> None:
        if any(True for _ in m.parameters(recurse=False)):
            self.seen.ran.setdefault(name)
            if name == next(iter(self.seen.ran)):
                self.event("forward")
                if not self.inside:  # a loop may call the layers one by one
                    self._arrive(next((x for x in args if isinstance(x, Tensor)), None))
        if m.training and isinstance(m, (_BatchNorm, nn.Dropout)):
            self.seen.training.add(name)
            if isinstance(m, _BatchNorm) and m.track_running_stats and is_frozen(m):
                self.seen.awake.setdefault(name)

    def _gradient(self, name: str, p: nn.Parameter, grad: Tensor) -> None:
        if not self.seen.events or self.seen.events[-1] != "backward":
            self.event("backward")
            self.latest.clear()
        self.seen.reached.add(name)
        for kept in (self.fresh, self.latest):
            kept[p] = kept[p] + grad if p in kept else grad.clone()

    def _step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        seen = self.seen
        if seen.steps == STEPS:
            raise _Enough
        seen.steps += 1
        seen.rates.append(max(group["lr"] for group in optimizer.param_groups))
        self.event("step")
        if args[1:] or kwargs.get("closure"):  # it will call backward itself
            self.fresh.clear()
            return
        if any(_unlike(p.grad, g) for p, g in self.fresh.items()):
            lost = not any(_unlike(p.grad, g) for p, g in self.latest.items())
            seen.lost, seen.unlike = seen.lost + lost, seen.unlike + (not lost)
        told = [p for p, g in self.fresh.items() if g.any()]
        seen.cleared += bool(told) and not any(p.grad is not None and p.grad.any() for p in told)
        seen.idle += not self.fresh
        self.fresh.clear()

    def _batches(self, loader: DataLoader, batches: Iterator[Any]) -> Iterator[Any]:
        """The batches of a loader, no more than are needed."""
        seen = self.seen
        if id(loader.dataset) in self.done:
            raise _Enough
        seen.loaders.append(loader)
        for number, batch in enumerate(batches):
            if self.optimizer is not None and self._enough(number):
                seen.cut = True
                break
            if isinstance(batch, (list, tuple)) and len(batch) == 2:
                seen.targets.append(batch[1])
                if len(seen.given) < KEPT and isinstance(batch[0], Tensor):
                    seen.given.append(batch[0].clone())
            yield batch
        if self.optimizer is not None:
            self.event("end")
            self.done.append(id(loader.dataset))

    def _enough(self, batches: int) -> bool:
        wait = UNSTEPPED["backward" not in self.seen.events]
        return self.seen.steps >= STEPS or batches >= wait


def last_operation(x: Tensor) -> str:
    """The name of the operation that made a tensor, such as "Softmax"; "" where no gradient is asked for."""
    node = x.grad_fn
    while node is not None:
        name = node.name().removesuffix("0").removesuffix("Backward")
        if not name.startswith(_SAME_VALUES) or not node.next_functions:
            return name
        node = node.next_functions[0][0]  # type: ignore[assignment]
    return ""


def _unlike(a: Tensor | None, b: Tensor) -> bool:
    """Do two gradients point in different directions? (Clipping and scaling turn no sign.)"""
    if a is None:
        return False
    turned = b.abs()[a.to(b.device) * b < 0].sum()
    return bool(turned > 0.05 * b.abs().sum())


@contextmanager
def _iterating(through: Callable[[DataLoader, Iterator[Any]], Iterator[Any]]) -> Iterator[None]:
    """Each pass over any DataLoader goes through a function, while this is entered."""
    original = DataLoader.__iter__

    def iterate(loader: DataLoader) -> Any:
        return through(loader, original(loader))

    DataLoader.__iter__ = iterate  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        DataLoader.__iter__ = original  # type: ignore[method-assign]


@contextmanager
def _noted(scheduler: LRScheduler, note: Callable[[], None]) -> Iterator[None]:
    """`note` is called at each step of a scheduler."""
    original = scheduler.step

    @functools.wraps(original)
    def step(*args: Any, **kwargs: Any) -> None:
        note()
        original(*args, **kwargs)

    scheduler.step = step  # type: ignore[method-assign]
    try:
        yield
    finally:
        del scheduler.step
