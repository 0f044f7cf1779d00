"""Exercises that check themselves: each answers right, wrong or not attempted, and never raises.

A lesson imports its module and calls one exercise a question::

    from ftcourse.exercises import lesson01 as check

    top5 = check.top5(top5)     # the learner's function once it is right, a reference until then
    check.top5.hint()           # the first hint; called again, the second
    check.top5.solution()       # a worked answer

Checks look at behaviour, so that any right answer passes. Whatever the learner hands over, the check
prints plain text and returns something that the rest of the lesson can work with.
"""

from __future__ import annotations

import contextlib
import random
import textwrap
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ftcourse.exercises import progress

__all__ = ["Choice", "Exercise", "Function", "Value", "Wrong", "progress", "same_value"]


@dataclass(frozen=True)
class Wrong:
    """What was seen in a wrong answer, and the hint it draws (None: the exercise's first hint)."""

    observed: str
    hint: str | None = None


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
        try:
            with _undisturbed():
                verdict = self._verdict(attempt)
        except NotImplementedError:
            verdict = None
        except (Exception, SystemExit) as err:
            verdict = Wrong(_describe(err, attempt))
        if verdict is None:
            print(
                f"⏳ {self.number} not attempted yet; the lesson goes on with a reference answer."
            )
            self._print_hint(self.hints[0])
            return self.reference
        if isinstance(verdict, Wrong):
            _say(f"❌ {self.number} not yet: {verdict.observed}")
            self._print_hint(verdict.hint or self.hints[0])
            progress.record(self.number, "wrong")
            return self.reference
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

    def _print_hint(self, hint: str) -> None:
        _say(f"   Hint: {hint}")
        _say(f"   More: check.{self.name}.hint(), or the answer: check.{self.name}.solution()")

    def _verdict(self, attempt: Any) -> bool | Wrong | None:
        """True for right, `Wrong`, or None for not attempted; may raise what the attempt raises."""
        raise TypeError("Exercise is abstract: use Function, Value or Choice")


@dataclass
class Function(Exercise):
    """A function to fill in; its stub raises NotImplementedError when called.

    `judge` calls the attempt on inputs of its own and returns None if it behaves, or a `Wrong`.
    """

    judge: Callable[[Callable], Wrong | None] = field(kw_only=True, repr=False)

    def _verdict(self, attempt: Any) -> bool | Wrong | None:
        if attempt is None or attempt is ...:
            return None
        if not callable(attempt):
            kind = type(attempt).__name__
            return Wrong(
                f"the check needs your function, and got {_article(kind)}",
                f"pass the function itself, without calling it: check.{self.name}({self.name}).",
            )
        if attempt is self.reference:
            return Wrong(
                "this is the reference answer that the check returned",
                "run the cell with your own function again, then this one.",
            )
        return self.judge(attempt) or True


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
        if attempt is None or attempt is ... or attempt == "":
            return None
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


def _letters(answer: Any) -> set[str]:
    """{"a", "c"} from "a", "A, c", "ac", ["a", "c"] or {"a", "c"}."""
    text = answer if isinstance(answer, str) else " ".join(str(a) for a in answer)
    return {c for c in text.lower() if c.isalnum()}


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Leave the random numbers and the gradient mode of the lesson as they were."""
    python, numpy_state, grad = random.getstate(), np.random.get_state(), torch.is_grad_enabled()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)
        torch.set_grad_enabled(grad)


def _describe(err: BaseException, attempt: Any) -> str:
    """The learner's error in one line: what, and in which line of their function."""
    text = next((line for line in str(err).splitlines() if line.strip()), "").strip()
    code: Any = getattr(attempt, "__code__", None)
    where = ""
    for frame in traceback.extract_tb(err.__traceback__):
        if code is not None and frame.filename == code.co_filename and frame.lineno:
            where = f", in line {frame.lineno - code.co_firstlineno + 1} of your function"
    return f"it stops with {type(err).__name__}: {_short(text, quote=False)}{where}"


def _short(value: Any, limit: int = 120, quote: bool = True) -> str:
    try:
        text = repr(value) if quote else str(value)
    except Exception:  # a learner's own class may have a broken __repr__
        text = f"{_article(type(value).__name__)} that cannot be shown"
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
