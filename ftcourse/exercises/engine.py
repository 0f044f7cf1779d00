"""The engine of the exercises: what judges an attempt, what is printed, what the lesson goes on with."""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import os
import random
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

import ftcourse.exercises.progress as progress

__all__ = ["Choice", "Exercise", "Function", "Value", "Wrong", "same_value"]


@dataclass(frozen=True)
class Wrong:
    """What was seen in a wrong answer, and the hint it draws (None: the exercise's first hint)."""

    observed: str
    hint: str | None = None


class _FromCheck:
    """Of the type of a reference that a check has handed out, to tell it from the same answer by a learner."""


_MARKED: dict[type, Any] = {
    kind: type(kind.__name__, (_FromCheck, kind), {})
    for kind in (int, float, str, tuple, list, dict, set)
}


@dataclass
class Exercise:
    """One question.

    Args:
        number: lesson and place, "1.2".
        name: what the lesson's module calls it, for the lines that tell how to get a hint.
        reference: the answer the lesson goes on with until the learner's is right.
        why: why the right answer is right; shown with it.
        hints: the first says where to look, the second nearly how.
        worked: the answer in full, as text; shown by `solution()` only.
    """

    number: str
    name: str
    reference: Any = field(repr=False)
    why: str = field(repr=False)
    hints: tuple[str, str] = field(repr=False)
    worked: str = field(repr=False)
    shown: int = field(default=0, init=False, repr=False)

    def __call__(self, attempt: Any = None) -> Any:
        """Print right, wrong or not attempted; return the attempt if right, else the reference."""
        if self._handed_out(attempt):
            _say(
                f"⏳ {self.number} waits: this is the reference answer that the check returned. For an answer "
                f"of your own, run its cell again, then this one."
            )
            return attempt
        verdict: bool | Wrong | None
        left: list[str] = []
        try:
            with _undisturbed(left):
                verdict = self._verdict(attempt)
        except KeyboardInterrupt:  # the learner's way out of an endless loop
            raise
        except _Iterates as err:
            verdict = Wrong(f"what your function returns: {err}", _an_iterator(err).hint)
        except BaseException as err:
            # a stub raises it bare; PyTorch's own NotImplementedError has a message
            stub = isinstance(err, NotImplementedError) and not err.args
            verdict = None if stub else Wrong(_describe(err, attempt))
        if verdict is True and left:
            verdict = Wrong(
                f"what it gives is right, but it leaves {' and '.join(left)} changed for all code after it",
                "put back what you switch; `with torch.no_grad():` does so by itself.",
            )
        if verdict is None:
            print(
                f"⏳ {self.number} not attempted yet; the lesson goes on with a reference answer."
            )
            self._print_hint(self.hints[0])
            return self._a_reference()
        if isinstance(verdict, Wrong):
            _say(f"❌ {self.number} not yet: {verdict.observed}")
            self._print_hint(verdict.hint or self.hints[0])
            progress.record(self.number, "wrong")
            return self._a_reference()
        _say(f"✅ {self.number} right. {self.why}")
        progress.record(self.number, "right")
        return attempt

    def hint(self) -> None:
        """Print the first hint; called again, the second."""
        if self.shown >= len(self.hints):
            print(f"No more hints for {self.number}; check.{self.name}.solution() has the answer.")
            return
        self.shown += 1
        text = self.hints[self.shown - 1]
        _say(f"Hint {self.shown} of {len(self.hints)} for {self.number}: {text}")
        progress.record(self.number, "hint")

    def solution(self) -> None:
        """Print a worked answer and why it is right."""
        print(f"One answer to {self.number}:\n\n{self.worked}\n")
        _say(self.why, indent="")
        progress.record(self.number, "solution")

    def _a_reference(self) -> Any:
        """The reference, which remembers that it is one; of a dict a copy, which the lesson may change."""
        marked = _MARKED.get(type(self.reference))
        return self.reference if marked is None else marked(copy.deepcopy(self.reference))

    def _handed_out(self, attempt: Any) -> bool:
        """Is it what `_a_reference` gave, and no answer? `answer = check.x(answer)` run twice asks so."""
        if callable(self.reference):
            return attempt is self.reference
        return isinstance(attempt, _FromCheck) and attempt == self.reference

    def _print_hint(self, hint: str) -> None:
        _say(f"   Hint: {hint}")
        _say(f"   More: check.{self.name}.hint(), or the answer: check.{self.name}.solution()")

    def _verdict(self, attempt: Any) -> bool | Wrong | None:
        """True for right, `Wrong`, or None for not attempted; may raise what the attempt raises."""
        raise TypeError("Exercise is abstract: use Function, Value or Choice")


@dataclass
class Function(Exercise):
    """A function to fill in; its stub raises NotImplementedError when called.

    `judge` calls the attempt on inputs of its own and returns None if it behaves, or a `Wrong`. An answer
    that is an iterator is caught before it, unless `iterators` says that the judge has more to say of one.
    """

    judge: Callable[[Callable], Wrong | None] = field(kw_only=True, repr=False)
    iterators: bool = field(default=False, kw_only=True, repr=False)

    def _verdict(self, attempt: Any) -> bool | Wrong | None:
        if attempt is None or attempt is ...:
            return None
        if not callable(attempt):
            kind = type(attempt).__name__
            return Wrong(
                f"the check needs your function, and got {_article(kind)}",
                f"pass the function itself, without calling it: check.{self.name}({self.name}).",
            )
        return self.judge(attempt if self.iterators else _without_iterators(attempt)) or True


@dataclass
class Value(Exercise):
    """A value to predict or to work out; None or ... stands for no answer yet.

    `mistakes` pairs a typical wrong value (or a test of the attempt) with what it draws.
    """

    mistakes: tuple[tuple[Any, Wrong], ...] = field(default=(), kw_only=True, repr=False)
    same: Callable[[Any, Any], bool] | None = field(default=None, kw_only=True, repr=False)

    def _verdict(self, attempt: Any) -> bool | Wrong | None:
        if attempt is None or attempt is ...:
            return None
        if isinstance(attempt, Iterator):
            return _an_iterator(attempt)
        same = self.same or same_value
        if same(attempt, self.reference):
            return True
        for value, wrong in self.mistakes:
            if value(attempt) if callable(value) else same(attempt, value):
                return wrong
        return Wrong(f"{_short(attempt)} is not what comes out")


@dataclass
class Choice(Exercise):
    """One letter (or several, as "a, c") of `options`; each wrong one says what speaks against it."""

    options: Mapping[str, Wrong | None] = field(kw_only=True, repr=False)

    def _verdict(self, attempt: Any) -> bool | Wrong | None:
        if attempt is None or attempt is ... or (isinstance(attempt, str) and not attempt.strip()):
            return None
        if isinstance(attempt, Iterator):
            return _an_iterator(attempt)
        letters = _letters(attempt)
        unknown = sorted(letters - set(self.options))
        if not letters or unknown:
            return Wrong(
                f"{_short(attempt)} is not among {', '.join(self.options)}",
                f'answer with a letter in quotes, such as "{next(iter(self.options))}".',
            )
        right = _letters(self.reference)
        if letters == right:
            return True
        for letter in sorted(letters - right):
            wrong = self.options[letter]
            if wrong is not None:
                return wrong
        missing = len(right - letters)
        return Wrong(f"right so far, and {missing} more {'is' if missing == 1 else 'are'} true")


def _say(text: str, indent: str = "   ") -> None:
    """Print, broken at words: a notebook breaks long output anywhere."""
    print(textwrap.fill(text, 96, subsequent_indent=indent, break_on_hyphens=False))


def same_value(a: Any, b: Any) -> bool:
    """Is `a` the reference `b`, up to float rounding, as list, tuple, array or tensor?"""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same_value(a[k], b[k]) for k in a)
    if isinstance(a, str) or isinstance(b, str):
        return isinstance(a, str) and isinstance(b, str) and a.strip() == b.strip()
    if isinstance(a, set | frozenset) or isinstance(b, set | frozenset):
        return set(a) == set(b)
    x, y = (np.asarray(v.detach().cpu() if isinstance(v, torch.Tensor) else v) for v in (a, b))
    if x.shape != y.shape or x.dtype.kind not in "biuf" or y.dtype.kind not in "biuf":
        return False
    rtol = 1e-4 if y.dtype.kind == "f" else 0.0  # a count is right or wrong
    return bool(np.allclose(x.astype(float), y.astype(float), rtol=rtol, atol=1e-6))


class _Iterates(Exception):
    """The learner's function returned an iterator, which may never end."""


def _without_iterators(attempt: Callable) -> Callable:
    """The attempt, stopped where it returns an iterator: a check that reads it might never end."""
    if isinstance(attempt, type):
        return attempt

    @functools.wraps(attempt, updated=())
    def called(*args: Any, **kwargs: Any) -> Any:
        answer = attempt(*args, **kwargs)
        if isinstance(answer, Iterator):
            raise _Iterates(_short(_an_iterator(answer).observed, quote=False))
        return answer

    return called


def _an_iterator(value: Any) -> Wrong:
    kind = type(value).__name__
    return Wrong(
        f"it is {_article(kind)}, which can be read once only",
        "make a list of it: list(...); in a function, return in place of yield.",
    )


def _letters(answer: Any) -> set[str]:
    """{"a", "c"} from "a", "A, c", "ac", ["a", "c"] or {"a", "c"}."""
    text = answer if isinstance(answer, str) else " ".join(str(a) for a in answer)
    return {c for c in text.lower() if c.isalnum()}


# What a whole session shares: its name -> how to read it, how to set it.
_SWITCHES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "the gradient mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "PyTorch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "PyTorch's number of threads": (torch.get_num_threads, torch.set_num_threads),
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
def _undisturbed(left: list[str]) -> Iterator[None]:
    """Leave random numbers and the switches of the session as they were; `left` names those that were not.

    What the attempt prints is shown afterwards, as far as it fits: a check calls it many times.
    """
    python, numpy_state, printed = random.getstate(), np.random.get_state(), _Printed()
    before = {name: read() for name, (read, _) in _SWITCHES.items()}
    try:
        with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(printed):
            torch.manual_seed(0)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)
        for name, (read, put_back) in _SWITCHES.items():
            if _changed(before[name], read()):
                left.append(name)
                put_back(before[name])
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


def _describe(err: BaseException, attempt: Any) -> str:
    """The learner's error in one line: what, and in which line of their function."""
    words = _short(err, quote=False, limit=10_000)
    text = next((line for line in words.splitlines() if line.strip()), "").strip()
    code: Any = None
    with contextlib.suppress(Exception):  # a learner's own object may fail at any touch
        code = attempt.__code__
    where = ""
    for frame in traceback.extract_tb(err.__traceback__):
        if code is not None and frame.filename == code.co_filename and frame.lineno:
            where = f", in line {frame.lineno - code.co_firstlineno + 1} of your function"
    return f"it stops with {type(err).__name__}: {_short(text, quote=False)}{where}"


def _short(value: Any, limit: int = 120, quote: bool = True) -> str:
    try:
        text = repr(value) if quote else str(value)
        text = str(text)
    except (Exception, SystemExit):  # a learner's own class may have a broken __repr__
        text = f"{_article(type(value).__name__)} that cannot be shown"
    text = " ".join(text.split()) if quote else text.strip()
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
