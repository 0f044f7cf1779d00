"""What a check says of a wrong answer, and when two answers are the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

__all__ = ["Wrong", "agrees", "same_value"]


@dataclass(frozen=True)
class Wrong:
    """What was seen in a wrong answer, and the hint it draws (None: the exercise's first hint)."""

    observed: str
    hint: str | None = None


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


def agrees(a: Any, b: Any, tolerance: float = 1e-4) -> bool:
    """The same numbers up to `tolerance` (relative, and absolute near zero), in the same containers.

    Shapes must be equal, nan agrees with nan, a list with a tuple, and whole numbers and truth values exactly.
    """
    if a is None or b is None or isinstance(a, str) or isinstance(b, str):
        return type(a) is type(b) and a == b
    if isinstance(a, Mapping) or isinstance(b, Mapping):
        both = isinstance(a, Mapping) and isinstance(b, Mapping) and a.keys() == b.keys()
        return both and all(agrees(a[k], b[k], tolerance) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        pairs = zip(a, b, strict=False)
        return len(a) == len(b) and all(agrees(x, y, tolerance) for x, y in pairs)
    if isinstance(a, list | tuple) or isinstance(b, list | tuple):
        return False
    x, y = (torch.as_tensor(v).detach() for v in (a, b))
    if x.shape != y.shape:
        return False
    if not x.is_floating_point() and not y.is_floating_point():
        return torch.equal(x.long(), y.long())
    x, y = x.double(), y.double()
    return torch.allclose(x, y, rtol=tolerance, atol=tolerance * 1e-2, equal_nan=True)
