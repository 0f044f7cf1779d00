"""What a learner's function should give: converted where its meaning is clear, refused with a hint where not.

Each function here makes a converter: it takes what came back and returns what the lesson can go on with, or
raises `Unfit`. The same converter stands between the learner's function and the next cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ftcourse.exercises.words import article, short

__all__ = ["Converter", "Unfit", "mapping", "module", "number", "optional", "several", "tensor"]
__all__ += ["truth", "tuple_of", "whole"]

Converter = Callable[[Any], Any]
NOTHING = "end it with `return ...`."


class Unfit(Exception):
    """The answer is not of the kind that is asked for: what was seen, and the hint it draws."""

    def __init__(self, observed: str, hint: str | None = None):
        super().__init__(observed)
        self.observed, self.hint = observed, hint


def _there(value: Any) -> None:
    if value is None:
        raise Unfit("your function returns nothing", NOTHING)


def _single(value: Any, what: str, many: str | None) -> Any:
    """The one number of a tensor or an array, as a Python number."""
    _there(value)
    if isinstance(value, Tensor | np.ndarray | np.generic):
        count = int(np.prod(tuple(value.shape)))
        if count != 1:
            raise Unfit(f"it returns {count} numbers, expected one", many)
        return value.item()
    if isinstance(value, list | tuple) and any(isinstance(v, Real | Tensor) for v in value):
        raise Unfit(f"it returns {article(type(value).__name__)}, expected {what}", many)
    return value


def number(many: str | None = None) -> Converter:
    """A float; `many` is the hint where several come."""

    def convert(value: Any) -> float:
        value = _single(value, "one number", many)
        if isinstance(value, str) or not isinstance(value, Real):
            raise Unfit(
                f"it returns {article(type(value).__name__)}, expected a number",
                "return the number itself: no text, no list.",
            )
        return float(value)

    return convert


def whole(many: str | None = None) -> Converter:
    """An int; 3.0 is one, 3.5 is not."""

    def convert(value: Any) -> int:
        found = number(many)(value)
        if found != found or found in (float("inf"), float("-inf")) or found != int(found):
            raise Unfit(f"it returns {found:g}, expected a whole number", "use // and int().")
        return int(found)

    return convert


def truth() -> Converter:
    """True or False, also as numpy or a tensor of one."""

    def convert(value: Any) -> bool:
        value = _single(value, "True or False", "return one True or False: all(...) or any(...).")
        if value is not True and value is not False:
            raise Unfit(f"it returns {article(type(value).__name__)}", "return True or False.")
        return bool(value)

    return convert


def tensor(dtype: torch.dtype | None = torch.float32, *, hint: str | None = None) -> Converter:
    """A tensor of this dtype on the CPU (None: any); numpy arrays and lists of numbers are converted.

    Between floats, and from whole numbers to whole numbers, the dtype is converted; a tensor of truth values
    where numbers are asked for, or floats where positions are, is refused.
    """

    def convert(value: Any) -> Tensor:
        _there(value)
        try:
            found = value if isinstance(value, Tensor) else _as_tensor(value)
        except (TypeError, ValueError, RuntimeError):
            kind = article(type(value).__name__)
            raise Unfit(f"it returns {kind}, expected a tensor", hint) from None
        if dtype is None or found.dtype == dtype:
            return found
        if _family(found.dtype) != _family(dtype) and not (
            dtype.is_floating_point and _family(found.dtype) == "whole"
        ):
            raise Unfit(
                f"it returns a tensor of {found.dtype}, expected {dtype}", hint or "look at .dtype."
            )
        return found.to(dtype)

    return convert


def _as_tensor(value: Any) -> Tensor:
    if isinstance(value, np.ndarray | list | tuple | Real) and not isinstance(value, str):
        if isinstance(value, list | tuple) and any(isinstance(v, Tensor) for v in value):
            return torch.stack([torch.as_tensor(v) for v in value])
        return torch.as_tensor(value)
    raise TypeError(type(value).__name__)


def _family(dtype: torch.dtype) -> str:
    if dtype == torch.bool:
        return "truth"
    return "real" if dtype.is_floating_point else "whole"


def several(item: Converter | None = None, *, hint: str | None = None) -> Converter:
    """A list, each entry converted by `item`; tuples, arrays and tensors become one."""

    def convert(value: Any) -> list[Any]:
        _there(value)
        if isinstance(value, Tensor | np.ndarray):
            value = value.tolist()
        if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
            raise Unfit(f"it returns {article(type(value).__name__)}, expected a list", hint)
        found = list(value)
        return found if item is None else [item(entry) for entry in found]

    return convert


def tuple_of(*items: Converter | None, hint: str | None = None) -> Converter:
    """A tuple of so many entries, each converted by its own converter (None: as it is)."""

    def convert(value: Any) -> tuple[Any, ...]:
        _there(value)
        if isinstance(value, Tensor | np.ndarray) and all(item is not None for item in items):
            value = value.tolist()
        if not isinstance(value, list | tuple):
            kind = article(type(value).__name__)
            raise Unfit(f"it returns {kind}, expected {len(items)} values", hint)
        if len(value) != len(items):
            raise Unfit(f"it returns {len(value)} values, expected {len(items)}", hint)
        pairs = zip(items, value, strict=True)
        return tuple(entry if item is None else item(entry) for item, entry in pairs)

    return convert


def mapping(*, hint: str | None = None) -> Converter:
    """A dict."""

    def convert(value: Any) -> dict[Any, Any]:
        _there(value)
        if not isinstance(value, Mapping):
            raise Unfit(f"it returns {article(type(value).__name__)}, expected a dict", hint)
        return dict(value)

    return convert


def module(*, hint: str | None = "return the model.") -> Converter:
    """An nn.Module."""

    def convert(value: Any) -> nn.Module:
        if value is None:
            raise Unfit("your function returns nothing", "end it with `return model`.")
        if not isinstance(value, nn.Module):
            raise Unfit(f"it returns {short(type(value).__name__, quote=False)}, no model", hint)
        return value

    return convert


def optional(item: Converter) -> Converter:
    """None where that is an answer, else what `item` makes of it."""
    return lambda value: None if value is None else item(value)
