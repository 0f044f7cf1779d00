"""A kind of question for open tasks: change these settings until what they are for behaves as is asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ftcourse.exercises.engine import Exercise
from ftcourse.exercises.guard import an_iterator
from ftcourse.exercises.verdicts import Wrong
from ftcourse.exercises.words import short
from ftcourse.exercises.written import as_number, untouched

__all__ = ["Settings"]


@dataclass
class Settings(Exercise):
    """A dict of settings, given with values that do not do it; the learner changes them. Many answers are right.

    Args:
        start: the settings as the lesson gives them; an answer that still equals them is none yet.
        choices: for each name, the values there are (a tuple), or a range (low, high, what it is) of numbers.
            A range whose ends are whole takes whole numbers only.
        judge: tries the settings, converted to these kinds; None if they behave, or a `Wrong` with the numbers.
    """

    start: Mapping[str, Any] = field(kw_only=True, repr=False)
    choices: Mapping[str, Any] = field(kw_only=True, repr=False)
    judge: Callable[[dict[str, Any]], Wrong | None] = field(kw_only=True, repr=False)

    def _verdict(self, attempt: Any) -> bool | Wrong | None:
        if untouched(attempt):
            return None
        if isinstance(attempt, Iterator):
            return an_iterator(attempt)
        names = ", ".join(self.start)
        if not isinstance(attempt, Mapping):
            return Wrong("the answer is a dict", f"keep its form, and change its values: {names}.")
        if set(attempt) != set(self.start):
            return Wrong("the names are not those of the task", f"keep the names: {names}.")
        if all(untouched(value) for value in attempt.values()):
            return None
        settings: dict[str, Any] = {}
        for name in self.start:
            found = self._read(name, attempt[name])
            if isinstance(found, Wrong):
                return found
            settings[name] = found
        if settings == dict(self.start):
            return None
        return self.judge(settings) or True

    def _read(self, name: str, value: Any) -> Any:
        """The value as it is meant, or what is wrong with it."""
        known = self.choices[name]
        if len(known) != 3 or not isinstance(known[2], str) or isinstance(known[0], str | bool):
            for choice in known:
                if type(choice) is type(value) and choice == value:
                    return choice
            listed = " or ".join(repr(choice) for choice in known)
            return Wrong(f"{name!r} is {short(value)}", f"it can be {listed}.")
        low, high, what = known
        number = as_number(value)
        whole = isinstance(low, int)
        fits = number is not None and math.isfinite(number) and low <= number <= high
        if not fits or (whole and number != int(number)):  # type: ignore[arg-type]
            kind = "a whole number" if whole else "a number"
            return Wrong(f"{name!r} is {short(value)}", f"{what}: {kind} from {low:g} to {high:g}.")
        return int(number) if whole else float(number)  # type: ignore[arg-type]

    def _right(self, attempt: Any) -> Any:
        return {name: self._read(name, attempt[name]) for name in self.start}
