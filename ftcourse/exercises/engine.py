"""The engine of the exercises: what judges an attempt, what is printed, what the lesson goes on with.

What all exercises keep, whatever their own judge does: the answer is called on copies and its arguments are
compared afterwards; its result is converted to what is asked for, in the check and in the lesson; the session's
random numbers and switches stay as they were; an error of the check is not blamed on the learner; and what
a check hands out in place of an answer is never counted as one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

import ftcourse.exercises.progress as progress
from ftcourse.exercises.drawn import Draw
from ftcourse.exercises.gives import Converter
from ftcourse.exercises.guard import (
    Failed,
    Guarded,
    HandedBack,
    NotAttempted,
    an_iterator,
    undisturbed,
)
from ftcourse.exercises.verdicts import Wrong, agrees, same_value
from ftcourse.exercises.words import article, in_words, say, short, stops_with
from ftcourse.exercises.written import (
    as_letters,
    as_number,
    as_numbers,
    equals,
    unit_mistake,
    untouched,
)

__all__ = ["Choice", "Exercise", "Formula", "Function", "Value"]


class _FromCheck:
    """Of the type of a reference that a check has handed out, to tell it from the same answer by a learner."""


_MARKED: dict[type, Any] = {
    kind: type(kind.__name__, (_FromCheck, kind), {})
    for kind in (int, float, str, tuple, list, dict, set)
}


class _Stumbled(Exception):
    """The check itself has failed, on its own reference as well."""


@dataclass
class Exercise:
    """One question.

    Args:
        number: lesson and place, "1.2".
        name: what the lesson's module calls it, for the lines that tell how to get a hint.
        reference: the answer the lesson goes on with until the learner's is right.
        why: why the right answer is right; shown with it.
        hints: the first says where to look, the second how to go on; neither is the answer.
        worked: the answer in full, as text; shown by `solution()` only.
    """

    number: str
    name: str
    reference: Any = field(repr=False)
    why: str = field(repr=False)
    hints: tuple[str, str] = field(repr=False)
    worked: str = field(repr=False)
    shown: int = field(default=0, init=False, repr=False)
    tries: int = field(default=0, init=False, repr=False)

    def __call__(self, attempt: Any = None) -> Any:
        """Print right, wrong or waiting; return the attempt if right, else the reference."""
        if self._handed_out(attempt):
            say(
                f"⏳ {self.number} waits: this is the reference answer that the check returned. For an answer "
                f"of your own, run its cell again, then this one."
            )
            return attempt
        own = attempt.attempt if isinstance(attempt, HandedBack) else attempt
        left: list[str] = []
        try:
            verdict = self._judged(own, left)
        except _Stumbled as err:
            say(f"❔ {self.number} cannot be judged here: {err}. That is no mistake of yours.")
            return self._a_reference()
        if verdict is None:
            say(f"⏳ {self.number} waits for your answer; until then the lesson goes on with ours.")
            return self._a_reference()
        self.tries += 1
        if verdict is True and left:
            verdict = _left_changed(left)
        if isinstance(verdict, Wrong):
            say(f"❌ {self.number} not yet: {verdict.observed}")
            self._print_hint(verdict.hint or self.hints[0])
            progress.record(self.number, "wrong")
            return self._a_reference()
        say(f"✅ {self.number} right. {self.why}")
        progress.record(self.number, "right")
        return self._right(own)

    def hint(self) -> None:
        """Print the first hint; called again, the second."""
        if self.shown >= len(self.hints):
            print(f"No more hints for {self.number}; check.{self.name}.solution() has the answer.")
            return
        self.shown += 1
        text = self.hints[self.shown - 1]
        say(f"Hint {self.shown} of {len(self.hints)} for {self.number}: {text}")
        progress.record(self.number, "hint")

    def solution(self) -> None:
        """Print a worked answer and why it is right."""
        print(f"One answer to {self.number}:\n\n{self.worked}\n")
        say(self.why, indent="")
        progress.record(self.number, "solution")

    def _judged(self, attempt: Any, left: list[str]) -> bool | Wrong | None:
        """The verdict; an error is the answer's where the reference passes, else the check's own."""
        with undisturbed(left):
            try:
                return self._verdict(attempt)
            except (KeyboardInterrupt, _Stumbled):
                raise
            except NotAttempted:
                return None
            except Failed as err:
                return err.wrong
            except BaseException as err:
                self._must_hold(err)
                return self._unreadable(err, attempt)

    def _must_hold(self, err: BaseException) -> None:
        """Raise `_Stumbled` where the check fails with its own reference, too."""
        try:
            fine = self._verdict(self.reference) is True
        except Exception:
            fine = False
        if not fine:
            raise _Stumbled(
                f"the check itself stops with {type(err).__name__}: {short(err, quote=False)}"
            )

    def _unreadable(self, err: BaseException, attempt: Any) -> Wrong:
        return Wrong(f"{short(attempt)} cannot be read as an answer ({type(err).__name__})")

    def _a_reference(self) -> Any:
        """The reference, which remembers that it is one; of a dict a copy, which the lesson may change."""
        marked = _MARKED.get(type(self.reference))
        return self.reference if marked is None else marked(copy.deepcopy(self.reference))

    def _handed_out(self, attempt: Any) -> bool:
        """Is it what `_a_reference` gave, and no answer? `answer = check.x(answer)` run twice asks so."""
        if callable(self.reference):
            return attempt is self.reference
        return isinstance(attempt, _FromCheck) and attempt == self.reference

    def _right(self, attempt: Any) -> Any:
        """What the lesson goes on with after a right answer."""
        return copy.deepcopy(self.reference)

    def _print_hint(self, hint: str) -> None:
        say(f"   Hint: {hint}")
        say(f"   More: check.{self.name}.hint(), or the answer: check.{self.name}.solution()")

    def _verdict(self, attempt: Any) -> bool | Wrong | None:
        """True for right, `Wrong`, or None for not attempted; may raise what the attempt raises."""
        raise TypeError("Exercise is abstract: use Function, Formula, Value or Choice")


def _left_changed(switches: list[str]) -> Wrong:
    return Wrong(
        f"what it gives is right, but it leaves {' and '.join(switches)} changed for all code after it",
        "put back what you switch; `with torch.no_grad():` does so by itself.",
    )


@dataclass
class Function(Exercise):
    """A function to fill in; its stub raises NotImplementedError when called.

    Args:
        judge: calls the attempt on inputs of its own; None if it behaves, or a `Wrong`.
        gives: what its result is converted to (`ftcourse.exercises.gives`), in the judge and in the lesson.
        changes: the names of the parameters that it is meant to change; all others must come back as they were.
        iterators: the judge has more to say of an answer that is an iterator.
    """

    judge: Callable[[Callable], Wrong | None] | None = field(default=None, kw_only=True, repr=False)
    gives: Converter | None = field(default=None, kw_only=True, repr=False)
    changes: tuple[str, ...] = field(default=(), kw_only=True, repr=False)
    iterators: bool = field(default=False, kw_only=True, repr=False)

    def guarded(self, attempt: Callable) -> Guarded | type:
        """The attempt on copies, with its result converted; a class is called as it is."""
        if isinstance(attempt, type):
            return attempt
        return Guarded(attempt, self.reference, self.gives, self.changes, self.iterators)

    def _verdict(self, attempt: Any) -> bool | Wrong | None:
        if untouched(attempt):
            return None
        if not callable(attempt):
            kind = type(attempt).__name__
            return Wrong(
                f"the check needs your function, and got {article(kind)}",
                f"pass the function itself, without calling it: check.{self.name}({self.name}).",
            )
        guarded = self.guarded(attempt)
        if wrong := self._wrong(guarded):
            return wrong
        left = getattr(guarded, "left", [])
        return _left_changed(left) if left else True

    def _wrong(self, attempt: Callable) -> Wrong | None:
        assert self.judge is not None, f"{self.number} has no judge"
        return self.judge(attempt)

    def _unreadable(self, err: BaseException, attempt: Any) -> Wrong:
        if isinstance(attempt, type):
            return Wrong(stops_with(err, attempt))
        text = short(short(err, quote=False), quote=False)
        return Wrong(
            f"the check cannot use what it returns: {type(err).__name__}: {text}".rstrip(": ")
        )

    def _right(self, attempt: Any) -> Any:
        if self.gives is None or isinstance(attempt, type):
            return attempt
        return HandedBack(attempt, self.gives)


@dataclass
class Formula(Function):
    """A function judged by its results, on inputs drawn anew each time.

    Args:
        cases: the inputs, as tuples of arguments; several shapes, signs, orders, boundaries, values of each
            parameter. It is called with a `Draw` of another seed at each try.
        mistakes: a function with a known mistake, and what is said where the attempt agrees with it on *all*
            inputs. The first that fits is told.
        second: the same by another formula; the tests compare it with the reference.
        tolerance: relative, of real numbers.
        agree: in place of `agrees`, (answer, expected) -> bool.
        describe: of the arguments, the words for the message; by default the small ones as they are.
        also: what else is looked at, once the results are right; None if it behaves, or a `Wrong`.
    """

    cases: Callable[[Draw], Iterable[tuple[Any, ...]]] = field(kw_only=True, repr=False)
    mistakes: tuple[tuple[Callable, Wrong], ...] = field(default=(), kw_only=True, repr=False)
    second: Callable | None = field(default=None, kw_only=True, repr=False)
    tolerance: float = field(default=1e-4, kw_only=True, repr=False)
    agree: Callable[[Any, Any], bool] | None = field(default=None, kw_only=True, repr=False)
    describe: Callable[..., str] | None = field(default=None, kw_only=True, repr=False)
    also: Callable[[Callable], Wrong | None] | None = field(default=None, kw_only=True, repr=False)

    def agreeing(self, answer: Any, expected: Any) -> bool:
        if self.agree is not None:
            return self.agree(answer, expected)
        return agrees(answer, expected, self.tolerance)

    def expected(self, f: Callable, case: tuple[Any, ...]) -> Any:
        """What the reference, or a mistake, gives for copies of these arguments."""
        given = f(*copy.deepcopy(case))
        return given if self.gives is None else self.gives(given)

    def _wrong(self, attempt: Callable) -> Wrong | None:
        seen: list[tuple[tuple[Any, ...], Any]] = []
        first: tuple[tuple[Any, ...], Any, Any] | None = None
        for case in self.cases(Draw(self.tries)):
            right = self.expected(self.reference, case)
            try:
                answer = attempt(*copy.deepcopy(case))
            except Failed as err:
                if first is None:
                    return self._failed(err.wrong, case) if seen else err.wrong
                break
            seen.append((case, answer))
            if first is None and not self.agreeing(answer, right):
                first = (case, answer, right)
        if first is None:
            return self.also(attempt) if self.also is not None else None
        return self._known(seen) or self._told(*first)

    def _failed(self, wrong: Wrong, case: tuple[Any, ...]) -> Wrong:
        """It has worked for other inputs: say for which it does not."""
        return Wrong(f"{self._described(case)}: {wrong.observed}", wrong.hint)

    def _known(self, seen: list[tuple[tuple[Any, ...], Any]]) -> Wrong | None:
        """The mistake that gives all these answers."""
        for mistaken, wrong in self.mistakes:
            try:
                if all(
                    self.agreeing(answer, self.expected(mistaken, case)) for case, answer in seen
                ):
                    return wrong
            except Exception:
                continue
        return None

    def _told(self, case: tuple[Any, ...], answer: Any, right: Any) -> Wrong:
        """What differs, where no known mistake gives these answers."""
        which = ""
        if isinstance(right, tuple) and any(isinstance(part, Tensor) for part in right):
            pairs = list(zip(answer, right, strict=True))
            apart = [i for i, (a, b) in enumerate(pairs) if not agrees(a, b, self.tolerance)]
            i = apart[0] if apart else 0
            which, (answer, right) = f"of value {i + 1} of {len(pairs)} ", pairs[i]
        shapes = [tuple(getattr(value, "shape", ())) for value in (answer, right)]
        if shapes[0] != shapes[1]:
            seen = f"the shape {which}is {shapes[0]}, expected {shapes[1]}"
        elif isinstance(right, Tensor) and right.numel() > 8:
            place = int((answer.double() - right.double()).abs().nan_to_num(nan=1e30).argmax())
            a, b = (float(v.flatten()[place]) for v in (answer, right))
            seen = (
                f"the shape {which}is right, the values are not: {a:.4g} where {b:.4g} is expected"
            )
        else:
            seen = (
                f"{self._described(case)} it returns {in_words(answer)}, expected {in_words(right)}"
            )
            return Wrong(seen)
        return Wrong(f"{self._described(case)}: {seen}")

    def _described(self, case: tuple[Any, ...]) -> str:
        if self.describe is not None:
            return self.describe(*case)
        return f"for {short(', '.join(in_words(value) for value in case), quote=False)}"


@dataclass
class Value(Exercise):
    """A value to predict or to work out; None, ... or "?" stands for no answer yet.

    Where the reference is a number (or a tuple of numbers), the answer may be written as people write it, and
    rounded to two digits or more; a count must be right. `mistakes` pairs a typical wrong value (or a test of
    the number) with what it draws.

    Args:
        unit: of the number, such as "MB"; the answer in another unit of memory is told.
        same: in place of these rules, (answer, reference) -> bool; the answer is then taken as it was written.
    """

    mistakes: tuple[tuple[Any, Wrong], ...] = field(default=(), kw_only=True, repr=False)
    unit: str = field(default="", kw_only=True, repr=False)
    same: Callable[[Any, Any], bool] | None = field(default=None, kw_only=True, repr=False)

    def _verdict(self, attempt: Any) -> bool | Wrong | None:
        if untouched(attempt):
            return None
        if isinstance(attempt, list | tuple) and attempt and all(a is None for a in attempt):
            return None
        if isinstance(attempt, Iterator):
            return an_iterator(attempt)
        answer = self._read(attempt)
        if answer is None:
            return Wrong(f"{short(attempt)} is not the kind of answer asked for", self._form())
        if self._same(answer, self.reference):
            return True
        for value, wrong in self.mistakes:
            if self._is(answer, value):
                return wrong
        return self._in_another_unit(answer) or Wrong(f"{short(attempt)} is not what comes out")

    def _read(self, attempt: Any) -> Any:
        """What the attempt means, or None."""
        if self.same is not None:
            return attempt
        if self._is_number():
            return as_number(attempt, self.unit)
        if isinstance(self.reference, tuple):
            return as_numbers(attempt)
        return attempt

    def _is_number(self) -> bool:
        return isinstance(self.reference, int | float)

    def _form(self) -> str:
        if self._is_number():
            return f"write one number{f' in {self.unit}' if self.unit else ''}, such as 25 or 0.33."
        if isinstance(self.reference, tuple):
            blanks = ", ".join("..." for _ in self.reference)
            return f"write {len(self.reference)} numbers in this order: ({blanks})."
        return self.hints[0]

    def _is(self, answer: Any, value: Any) -> bool:
        if callable(value):
            return bool(value(answer))
        try:
            return self._same(answer, value)
        except (TypeError, ValueError):
            return False

    def _same(self, answer: Any, value: Any) -> bool:
        if self.same is not None:
            return self.same(answer, value)
        if self._is_number() and isinstance(value, int | float):
            return equals(answer, value)
        if isinstance(self.reference, tuple) and isinstance(value, tuple):
            pairs = zip(answer, value, strict=False)
            return len(answer) == len(value) and all(equals(a, b) for a, b in pairs)
        return same_value(answer, value)

    def _in_another_unit(self, answer: Any) -> Wrong | None:
        if not (self.unit and self._is_number()):
            return None
        unit = unit_mistake(answer, self.reference, self.unit)
        if unit is None:
            return None
        step = {"M": "1,000,000", "G": "1,000,000,000", "k": "1,000"}.get(self.unit[:-1], "1")
        return Wrong(
            f"that is the number of {unit}, and {self.unit} are asked for",
            f"one {self.unit} is {step} bytes here; a MiB is 1,048,576.",
        )


@dataclass
class Choice(Exercise):
    """One letter (or several, as "a, c" or "a and c") of `options`; each wrong one says what speaks against it."""

    options: Mapping[str, Wrong | None] = field(kw_only=True, repr=False)

    def _verdict(self, attempt: Any) -> bool | Wrong | None:
        if untouched(attempt):
            return None
        if isinstance(attempt, Iterator):
            return an_iterator(attempt)
        letters = as_letters(attempt, self.options)
        if not letters or letters - set(self.options):
            return Wrong(
                f"{short(attempt)} is not among {', '.join(self.options)}",
                f'answer with a letter in quotes, such as "{next(iter(self.options))}".',
            )
        right = as_letters(self.reference, self.options) or set()
        if letters == right:
            return True
        for letter in sorted(letters - right):
            wrong = self.options[letter]
            if wrong is not None:
                return wrong
        missing = len(right - letters)
        return Wrong(f"right so far, and {missing} more {'is' if missing == 1 else 'are'} true")
