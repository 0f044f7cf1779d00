"""A learner's function as the checks call it, and a session that stays as it was."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import io
import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ftcourse.exercises.gives import Converter, Unfit
from ftcourse.exercises.verdicts import Wrong
from ftcourse.exercises.words import article, stops_with

__all__ = ["Failed", "Guarded", "HandedBack", "NotAttempted", "an_iterator", "undisturbed"]


class NotAttempted(Exception):
    """The stub's bare NotImplementedError."""


class Failed(Exception):
    """The attempt itself has failed, whatever the judge would have said."""

    def __init__(self, wrong: Wrong):
        super().__init__(wrong.observed)
        self.wrong = wrong


def an_iterator(value: Any) -> Wrong:
    kind = type(value).__name__
    return Wrong(
        f"it is {article(kind)}, which can be read once only",
        "make a list of it: list(...); in a function, return in place of yield.",
    )


class Guarded:
    """Calls the attempt on copies, compares its arguments afterwards, and converts what it gives.

    Args:
        like: a function with the parameters' names, for the messages.
        gives: converts the result, or raises `Unfit`; None takes it as it is.
        changes: the parameters that the function is meant to change.
        iterators: the judge has something to say of an iterator.

    Raises:
        Failed: it raised, gave an iterator or the wrong kind, or changed an argument.
        NotAttempted: it is the stub.
    """

    def __init__(
        self,
        attempt: Callable,
        like: Callable,
        gives: Converter | None = None,
        changes: Iterable[str] = (),
        iterators: bool = False,
    ):
        self.attempt, self.gives, self.changes = attempt, gives, frozenset(changes)
        self.iterators = iterators
        self.left: list[str] = []  # switches that it left changed, and that were put back
        with contextlib.suppress(Exception):
            self._names = list(inspect.signature(like).parameters)
            functools.update_wrapper(self, attempt, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        names = [*getattr(self, "_names", ())[: len(args)]]
        names += [f"argument {i + 1}" for i in range(len(names), len(args))]
        kept = [
            _Kept(name, value)
            for name, value in [*zip(names, args, strict=True), *kwargs.items()]
            if name not in self.changes
        ]
        handed = {id(k.value): k.handed for k in kept}
        answer = self._called(
            [handed.get(id(value), value) for value in args],
            {name: handed.get(id(value), value) for name, value in kwargs.items()},
        )
        for k in kept:
            if change := k.change():
                raise Failed(Wrong(f"it changes {k.name}: {change}", k.advice))
        if isinstance(answer, Iterator) and not self.iterators:
            seen = an_iterator(answer)
            raise Failed(Wrong(f"what your function returns: {seen.observed}", seen.hint))
        return self._converted(answer)

    def _called(self, args: list[Any], kwargs: dict[str, Any]) -> Any:
        try:
            with _switches_kept(self.left):
                return self.attempt(*args, **kwargs)
        except KeyboardInterrupt:  # the learner's way out of an endless loop
            raise
        except BaseException as err:
            # a stub raises it bare; PyTorch's own NotImplementedError has a message
            if isinstance(err, NotImplementedError) and not err.args:
                raise NotAttempted from None
            raise Failed(Wrong(stops_with(err, self.attempt))) from err

    def _converted(self, answer: Any) -> Any:
        if self.gives is None:
            return answer
        try:
            return self.gives(answer)
        except Unfit as err:
            raise Failed(Wrong(err.observed, err.hint)) from None
        except Exception as err:
            kind = article(type(answer).__name__)
            raise Failed(Wrong(f"it returns {kind} that cannot be read")) from err


class HandedBack:
    """A right answer as the lesson goes on with it: the learner's function, its result converted.

    The lesson's tensors are of kinds that a check's are not: made in inference mode, or with gradients. Where an
    answer cannot work with them, it gets plain copies.
    """

    def __init__(self, attempt: Callable, gives: Converter):
        self.attempt, self.gives = attempt, gives
        with contextlib.suppress(Exception):
            functools.update_wrapper(self, attempt, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            try:
                answer = self.attempt(*args, **kwargs)
            except RuntimeError as err:
                if not any(words in str(err) for words in ("nference", "requires grad")):
                    raise
                args, kwargs = tuple(map(_plain, args)), {k: _plain(v) for k, v in kwargs.items()}
                answer = self.attempt(*args, **kwargs)
            return self.gives(answer)
        except Unfit as err:
            raise TypeError(err.observed) from None


def _plain(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value


class _Kept:
    """An argument, what the attempt is handed in its place, and what became of it."""

    def __init__(self, name: str, value: Any):
        self.name, self.value = name, value
        self.handed = value
        self.advice = f"leave {name} as it came in: work on a copy, or make a new one."
        if isinstance(value, nn.Module):
            self._before = _Module(value)
            self.advice = f"put {name} back as it was, or try things on copy.deepcopy({name})."
        elif isinstance(value, Tensor):
            with torch.enable_grad():  # gradients go on to the check's own tensor
                self.handed = value.clone() if value.requires_grad else value.detach().clone()
        elif isinstance(value, np.ndarray | Image.Image):
            self.handed = value.copy()
        elif isinstance(value, list | dict | set):
            with contextlib.suppress(Exception):
                self.handed = copy.deepcopy(value)

    def change(self) -> str | None:
        """What is another about it after the call, or None; a model is put back."""
        if isinstance(self.value, nn.Module):
            return self._before.change()
        if self.handed is self.value or _alike(self.handed, self.value):
            return None
        return "it came back with other values"


def _alike(a: Any, b: Any) -> bool:
    """Are a copy and its original still the same, as far as can be seen?"""
    if type(a) is not type(b):
        return False
    if isinstance(a, Tensor):
        return (
            a.shape == b.shape
            and a.dtype == b.dtype
            and a.requires_grad == b.requires_grad
            and torch.equal(torch.nan_to_num(a.detach()), torch.nan_to_num(b.detach()))
        )
    if isinstance(a, np.ndarray):
        return a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, Image.Image):
        return a.size == b.size and a.tobytes() == b.tobytes()
    if isinstance(a, Mapping):
        return list(a) == list(b) and all(_alike(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(_alike(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, str | int | float | bool | set | frozenset):
        return a == b or a != a
    return True  # objects of other kinds are not looked into


class _Module:
    """A model's layers, tensors, modes and `requires_grad`, as they were."""

    def __init__(self, model: nn.Module):
        self.model = model
        self.layers = [id(m) for m in model.modules()]
        self.tensors = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self.modes = [(m, m.training) for m in model.modules()]
        self.trainable = [(p, p.requires_grad) for p in model.parameters()]

    def change(self) -> str | None:
        if [id(m) for m in self.model.modules()] != self.layers:
            return "it has other layers"
        now = self.model.state_dict()
        other = [k for k, v in self.tensors.items() if not torch.equal(v, now[k])]
        modes = [m for m, mode in self.modes if m.training != mode]
        trainable = [p for p, grad in self.trainable if p.requires_grad != grad]
        self.model.load_state_dict(self.tensors)
        for m, mode in self.modes:
            m.training = mode
        for p, grad in self.trainable:
            p.requires_grad_(grad)
        if other:
            return f"{other[0]} has other values"
        if modes:
            return f"{len(modes)} of its layers are in another mode (train or eval)"
        if trainable:
            return f"requires_grad of {len(trainable)} tensors is another"
        return None


# What a whole session shares: its name -> how to read it, how to set it.
_SWITCHES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "the gradient mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "PyTorch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "PyTorch's number of threads": (torch.get_num_threads, torch.set_num_threads),
    "anomaly detection": (torch.is_anomaly_enabled, torch.set_anomaly_enabled),
    "PyTorch's choice of deterministic algorithms": (
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
    "autocast": (
        lambda: torch.is_autocast_enabled("cpu"),
        lambda then: torch.set_autocast_enabled("cpu", then),
    ),
    "the precision of matrix products": (
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    "NumPy's treatment of errors": (np.geterr, lambda then: np.seterr(**then)),
    "the working directory": (os.getcwd, os.chdir),
    "the environment (os.environ)": (os.environ.copy, lambda then: _put_back(os.environ, then)),
    "matplotlib's settings": (
        lambda: _plotting().copy(),
        lambda then: _put_back(_plotting(), then),
    ),
}


def _plotting() -> Any:
    """matplotlib's settings, if something has imported it."""
    return getattr(sys.modules.get("matplotlib"), "rcParams", {})


def _put_back(mapping: Any, then: Mapping[Any, Any]) -> None:
    for key in then:
        if mapping.get(key) != then[key]:
            mapping[key] = then[key]


def _changed(before: Any, now: Any) -> bool:
    """Settings that are new are not counted: an import may bring some."""
    if isinstance(before, Mapping):
        return any(now.get(key) != value for key, value in before.items())
    return before != now


@contextlib.contextmanager
def _switches_kept(left: list[str]) -> Iterator[None]:
    """Put the switches back; `left` gets the names of those that were changed."""
    before = {name: read() for name, (read, _) in _SWITCHES.items()}
    try:
        yield
    finally:
        for name, (read, put_back) in _SWITCHES.items():
            if _changed(before[name], read()):
                left += [name] * (name not in left)
                put_back(before[name])


@contextlib.contextmanager
def undisturbed(left: list[str]) -> Iterator[None]:
    """Leave random numbers and the switches of the session as they were; `left` gets those that were not.

    What the attempt prints is shown afterwards, as far as it fits: a check calls it many times.
    """
    python, numpy_state, printed = random.getstate(), np.random.get_state(), _Printed()
    try:
        with (
            torch.random.fork_rng(devices=[]),
            contextlib.redirect_stdout(printed),
            _switches_kept(left),
        ):
            torch.manual_seed(0)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)
        printed.show()


class _Printed(io.StringIO):
    """What was printed, up to a limit."""

    limit, lines = 2000, 8

    def write(self, text: str) -> int:
        if self.tell() < self.limit:
            super().write(text[: self.limit])
        return len(text)

    def show(self) -> None:
        printed = self.getvalue().rstrip().splitlines()
        for line in printed[: self.lines]:
            print(f"   your code prints: {line[:100]}")
        if len(printed) > self.lines:
            print("   your code prints more")
