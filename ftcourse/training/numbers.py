"""Numbers that settings may have: whole ones, and finite ones. True and False are neither."""

from __future__ import annotations

import math
import operator
from typing import Any

__all__ = ["is_number", "whole"]


def whole(name: str, value: Any, least: float, more: str = "") -> int:
    """A whole number of at least `least`.

    Raises:
        ValueError: it is none; True and False are none either.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least:
        span = f" of at least {least}" if least > -math.inf else ""
        raise ValueError(f"{name}={value!r}: give a whole number{span}{more}")
    return number


def is_number(value: Any) -> bool:
    """True for a finite number; True and False are none."""
    try:
        return not isinstance(value, (bool, str)) and math.isfinite(value)
    except TypeError:
        return False
