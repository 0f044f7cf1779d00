"""A kind of question: give each name its letter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ftcourse.exercises import Exercise, Wrong
from ftcourse.exercises.written import as_letters, untouched

__all__ = ["Match"]


@dataclass
class Match(Exercise):
    """A dict with a letter for each name; all letters None, ... or "?" stand for no answer yet.

    `letters` are those to choose from. `tells` has for each name (or each name and letter, as a pair, which
    is looked up first) what a wrong letter draws; the names are gone through in this order.
    """

    letters: str = field(kw_only=True, repr=False)
    tells: Mapping[Any, Wrong] = field(kw_only=True, repr=False)

    def _verdict(self, attempt: Any) -> bool | Wrong | None:
        if attempt is None or attempt is ...:
            return None
        names = ", ".join(self.reference)
        if not isinstance(attempt, Mapping):
            return Wrong("the answer is a dict", f"fill in a letter for each of: {names}.")
        if set(attempt) != set(self.reference):
            return Wrong("the names are not those of the question", f"keep the names: {names}.")
        if all(untouched(letter) for letter in attempt.values()):
            return None
        return self._compared({name: self._letter(given) for name, given in attempt.items()})

    def _letter(self, given: Any) -> str:
        """The one letter of "C", " c", "(c)" or ["c"]; else a text that is none."""
        letters = as_letters(given, self.letters)
        return letters.pop() if letters and len(letters) == 1 else "?"

    def _compared(self, given: dict[str, str]) -> bool | Wrong:
        choices = (
            f"each name gets a letter from {self.letters[0]} to {self.letters[-1]}, in quotes."
        )
        if not all(len(letter) == 1 and letter in self.letters for letter in given.values()):
            return Wrong("not every name has a letter that there is", choices)
        right = {name: letter.lower() for name, letter in self.reference.items()}
        wrong = [name for name in right if given[name] != right[name]]
        if not wrong:
            return True
        for name in wrong:
            if (name, given[name]) in self.tells:
                return self.tells[name, given[name]]
        return next(self.tells[name] for name in self.tells if name in wrong)
