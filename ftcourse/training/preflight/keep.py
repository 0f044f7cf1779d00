"""Let a function of the learner run, and put back what it changes: weights, optimizers, random numbers."""

from __future__ import annotations

import copy
import functools
import gc
import inspect
import random
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from ftcourse.models.modes import random_kept, unchanged

__all__ = ["put_back", "random_states_kept", "schedulers_of"]


def schedulers_of(optimizer: torch.optim.Optimizer | None) -> list[LRScheduler]:
    """The schedulers that set the rates of an optimizer: they know it, it does not know them."""
    if optimizer is None:
        return []
    kinds = _kinds(LRScheduler)
    found = [o for o in gc.get_objects() if type(o) in kinds]
    mine = [s for s in found if getattr(s, "optimizer", None) is optimizer]
    parts = {id(p) for s in mine for p in getattr(s, "_schedulers", [])}
    return [s for s in mine if id(s) not in parts]


def _kinds(base: type) -> set[type]:
    """A class and all that are derived from it."""
    return {base}.union(*map(_kinds, base.__subclasses__()))


@contextmanager
def put_back(
    function: Callable,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    schedulers: Sequence[LRScheduler],
) -> Iterator[None]:
    """Afterwards the model, the optimizer, its schedulers, and what the function holds are as they were.

    What it holds are objects with a `state_dict` (an average of the weights, a GradScaler, another optimizer),
    generators of random numbers, and what it keeps in dicts, lists, attributes, `nonlocal` and `global` names
    (counters, logs, the best weights so far), in its closure, its arguments or the module that it comes from.
    """
    held = [o for o in _held_by(function) if o is not model and o is not optimizer]
    inside = {id(m) for m in model.modules()}
    stateful: list[Any] = [
        *schedulers,
        *([optimizer] if optimizer is not None else []),
    ]
    others = [o for o in held if id(o) not in inside and not isinstance(o, LRScheduler)]
    modules = [o for o in others if isinstance(o, nn.Module)]
    stateful += [
        o for o in others if hasattr(o, "load_state_dict") and not isinstance(o, nn.Module)
    ]
    states = []
    for o in stateful:
        with suppress(Exception):  # an object of the learner's that has no state to tell now
            states.append((o, copy.deepcopy(o.state_dict())))
    room = 4 * sum(p.nbytes for p in model.parameters()) + (64 << 20)
    own = _Remembered(held, _home(function), room)
    with ExitStack() as stack:
        stack.enter_context(random_states_kept(_generators(held)))
        for module in (model, *modules):
            stack.enter_context(unchanged(module))
        try:
            yield
        finally:
            own.put_back()
            for o, state in states:
                o.load_state_dict(state)


class _Remembered:
    """What a function keeps by means of Python: what is in dicts, lists and objects, and the names it rebinds.

    Tensors in them are copied as long as there is `room`, in bytes: an average of the weights, but no data set.
    """

    def __init__(self, held: list[Any], home: str | None, room: int) -> None:
        self.dicts: list[tuple[dict, dict]] = []
        self.lists: list[tuple[list, list]] = []
        self.cells: list[tuple[types.CellType, Any]] = []
        self.names: list[tuple[dict, str, Any]] = []
        self.tensors: list[tuple[Tensor, Tensor]] = []
        self.home, self.room = home, room
        for one in held:
            self._look(one)

    def _look(self, one: Any) -> None:
        if isinstance(one, dict):
            self._dict(one)
        elif isinstance(one, list):
            self.lists.append((one, list(one)))
            self._copy(one)
        elif isinstance(one, types.FunctionType):
            code = inspect.unwrap(one)
            for cell in code.__closure__ or ():
                with suppress(ValueError):  # an empty one
                    self.cells.append((cell, cell.cell_contents))
                    self._copy([cell.cell_contents])
            space = code.__globals__ if one.__module__ == self.home else {}
            self.names += [(space, n, space[n]) for n in code.__code__.co_names if n in space]
        elif _of_the_learner(type(one)) and hasattr(one, "__dict__"):
            self._dict(vars(one))

    def _dict(self, one: dict) -> None:
        self.dicts.append((one, dict(one)))
        self._copy(one.values())

    def _copy(self, values: Any) -> None:
        for x in values:
            if isinstance(x, Tensor) and x.nbytes <= self.room:
                self.room -= x.nbytes
                self.tensors.append((x, x.detach().clone()))

    def put_back(self) -> None:
        for there, then in self.dicts:
            if len(there) != len(then) or any(there.get(k, self) is not v for k, v in then.items()):
                there.clear()
                there.update(then)
        for row, before in self.lists:
            row[:] = before
        for cell, content in self.cells:
            cell.cell_contents = content
        for space, name, value in self.names:
            space[name] = value
        with torch.no_grad():
            for x, old in self.tensors:
                if not torch.equal(torch.nan_to_num(x.detach()), torch.nan_to_num(old)):
                    x.copy_(old)


def _of_the_learner(kind: type) -> bool:
    """A class of the learner's own: what a library's objects keep is their own affair."""
    home = kind.__module__.partition(".")[0]
    whole = (nn.Module, torch.optim.Optimizer, LRScheduler)  # their state is put back as a whole
    libraries = {"torch", "torchvision", "numpy", "ftcourse", "builtins", *sys.stdlib_module_names}
    return not issubclass(kind, whole) and home not in libraries


def _home(function: Any) -> str | None:
    """The module that a function, a method or a `partial` of one comes from."""
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(inspect.unwrap(function), "__module__", None)


def _held_by(function: Any, depth: int = 3) -> list[Any]:
    """The objects that a function can reach by name, the nearest first."""
    found: dict[int, Any] = {}
    named, home = [function], _home(function)
    left_out = (types.ModuleType, type, str, int, float, Tensor)
    for _ in range(depth + 1):
        new = {id(o): o for o in named if id(o) not in found and not isinstance(o, left_out)}
        found |= new
        named = [o for one in new.values() for o in _names_of(one, home)]
    return list(found.values())


def _names_of(one: Any, home: str | None) -> list[Any]:
    if isinstance(one, functools.partial):
        return [one.func, *one.args, *one.keywords.values()]
    if isinstance(one, types.MethodType):
        return [one.__func__, one.__self__]
    if isinstance(one, types.FunctionType):
        code = inspect.unwrap(one)
        cells = []
        for cell in code.__closure__ or ():
            with suppress(ValueError):  # an empty one
                cells.append(cell.cell_contents)
        if one.__module__ != home:
            return cells  # a library's: the names of its module are its own affair
        names = [code.__globals__[n] for n in code.__code__.co_names if n in code.__globals__]
        return [*cells, *names, *(code.__defaults__ or ()), *(code.__kwdefaults__ or {}).values()]
    if isinstance(one, dict):
        return list(one.values())[:50]
    if isinstance(one, (list, tuple)):
        return list(one[:20])
    if isinstance(one, (nn.Module, torch.optim.Optimizer, LRScheduler)):
        return []
    return list(getattr(one, "__dict__", {}).values())


def _generators(objects: list[Any]) -> list[Any]:
    kinds = (torch.Generator, np.random.Generator, random.Random)
    return [o for o in objects if isinstance(o, kinds)]


@contextmanager
def random_states_kept(generators: list[Any] | None = None) -> Iterator[None]:
    """Afterwards the random numbers of Python, NumPy and torch (also its GPUs') go on as if none was drawn."""
    gpus = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    own = [(g, _state(g)) for g in generators or []]
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    try:
        with random_kept(torch_too=False), torch.random.fork_rng(devices=gpus):
            yield
    finally:
        if mps is not None:
            torch.mps.set_rng_state(mps)
        for generator, state in own:
            _set_state(generator, state)


def _state(generator: Any) -> Any:
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    if isinstance(generator, random.Random):
        return generator.getstate()
    return copy.deepcopy(generator.bit_generator.state)


def _set_state(generator: Any, state: Any) -> None:
    if isinstance(generator, torch.Generator):
        generator.set_state(state)
    elif isinstance(generator, random.Random):
        generator.setstate(state)
    else:
        generator.bit_generator.state = state
