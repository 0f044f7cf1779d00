"""Answers as people write them: 8,394,754 and "1/3", "33 %", "178.8 MB", "b and d", and rounded ones."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from fractions import Fraction
from numbers import Real
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["as_letters", "as_number", "as_numbers", "equals", "is_rounded", "unit_mistake"]
__all__ += ["untouched"]

_GROUPED = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?$")
_UNITS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


def untouched(answer: Any) -> bool:
    """No answer yet: None, ..., or a text of nothing but blanks and question marks."""
    return answer is None or answer is ... or (isinstance(answer, str) and not answer.strip(" ?"))


def as_number(answer: Any, unit: str = "") -> float | int | None:
    """The number that is meant, or None: a number of any library, a text, (8, 394, 754), a list of one.

    Args:
        unit: what may stand behind a number in a text, such as "MB"; "%" always may, and divides by 100.
    """
    if isinstance(answer, Tensor | np.ndarray | np.generic):
        return as_number(answer.item(), unit) if np.prod(tuple(answer.shape)) == 1 else None
    if isinstance(answer, bool):
        return None
    if isinstance(answer, Real):  # Fraction as well
        return answer if isinstance(answer, int) else float(answer)
    if isinstance(answer, str):
        return _from_text(answer, unit)
    if isinstance(answer, list | tuple) and len(answer) == 1:
        return as_number(answer[0], unit)
    if isinstance(answer, tuple) and _are_thousands(answer):
        return int("".join([str(answer[0]), *(f"{part:03d}" for part in answer[1:])]))
    return None


def _are_thousands(parts: tuple[Any, ...]) -> bool:
    """`guess = 8,394,754` is a tuple for Python."""
    whole = len(parts) > 1 and all(type(part) is int for part in parts)
    groups = all(part == 0 or 100 <= part <= 999 for part in parts[1:])  # Python refuses 054
    return whole and parts[0] != 0 and groups


def _from_text(text: str, unit: str) -> float | int | None:
    text = text.strip().lstrip("=≈~").strip().replace("_", "").replace("−", "-")
    share = text.endswith("%")
    text = (text[:-1] if share else text).strip()
    if unit and text.lower().endswith(unit.lower()):
        text = text[: -len(unit)].strip()
    if _GROUPED.match(text):
        text = text.replace(",", "")
    try:
        number: float | int = int(text)
    except ValueError:
        try:
            number = float(Fraction(text.replace(" ", ""))) if "/" in text else float(text)
        except (ValueError, ZeroDivisionError):
            return None
    return number / 100 if share else number


def as_numbers(answer: Any) -> tuple[float | int, ...] | None:
    """Several numbers: (256, 10, 10) as tuple, list, tensor, torch.Size, "256 x 10 x 10"; else None."""
    if isinstance(answer, Tensor | np.ndarray):
        answer = answer.tolist()
    if isinstance(answer, str):
        answer = [part for part in re.split(r"[,;x×\s]+", answer.strip().strip("()[]")) if part]
    if not isinstance(answer, list | tuple):
        return None
    numbers = [as_number(part) for part in answer]
    return None if any(n is None for n in numbers) else tuple(n for n in numbers if n is not None)


def equals(number: float | int, reference: float | int) -> bool:
    """A count is right or wrong; any other number may be rounded, to two digits or more."""
    if isinstance(reference, int):
        return number == reference
    return math.isclose(number, reference, rel_tol=1e-4, abs_tol=1e-9) or is_rounded(
        number, reference
    )


def is_rounded(number: float, reference: float) -> bool:
    """Is `number` the reference with two or more of its digits, the last one rounded? As float32 or better."""
    if not math.isfinite(number) or not reference:
        return False
    first = math.floor(math.log10(abs(reference)))
    places = [digits - 1 - first for digits in range(2, 8)]
    return any(
        math.isclose(number, round(reference, n), rel_tol=1e-6, abs_tol=1e-12) for n in places
    )


def unit_mistake(number: float, reference: float, unit: str) -> str | None:
    """The unit in which the number would be right ("MiB", "GB" where "MB" is asked), or None."""
    if not unit.endswith("B"):
        return None
    size = reference * _UNITS[unit[:-1]]
    others = {f"{name}B": step for name, step in (_UNITS | _BINARY).items() if f"{name}B" != unit}
    for name, step in others.items():
        if math.isclose(number, size / step, rel_tol=5e-3):
            return "bytes" if name == "B" else name
    return None


def as_letters(answer: Any, known: Iterable[str]) -> set[str] | None:
    """{"a", "c"} from "a", "A, c", "ac", "a and c", ["a", "c"] or {"a", "c"}; None for what is no text."""
    if not isinstance(answer, str):
        if not isinstance(answer, list | tuple | set | frozenset):
            return None
        if not all(isinstance(part, str) for part in answer):
            return None
        answer = " ".join(sorted(answer))
    known, found = set(known), set()
    for word in re.findall(r"\w+", answer.lower()):
        if set(word) <= known:
            found |= set(word)
        elif word not in ("and", "or", "answer"):
            found |= set(word)  # letters that there are not: told by the check
    return found
