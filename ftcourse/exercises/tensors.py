"""Comparing the tensor that a learner's function returns with the right one, and with those of known mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ftcourse.exercises import Wrong

__all__ = ["compared"]


def compared(
    answer: Any,
    right: Tensor,
    mistakes: Mapping[str, tuple[Tensor, str]],
    *,
    wanted: str,
    shape: str,
    otherwise: str,
    atol: float = 1e-4,
) -> Wrong | None:
    """None where the answer is right, else what to say.

    Args:
        mistakes: what was seen -> (the tensor that this mistake gives, the hint).
        wanted: the hint where nothing is returned.
        shape: the hint where the shape is wrong.
        otherwise: what is said of values that no known mistake gives.
    """
    if answer is None:
        return Wrong("your function returns nothing", wanted)
    if not isinstance(answer, Tensor):
        return Wrong(f"it returns {type(answer).__name__}, not a tensor")
    if answer.shape != right.shape:
        found, expected = tuple(answer.shape), tuple(right.shape)
        return Wrong(f"the shape is {found}, expected {expected}", shape)
    if torch.allclose(answer, right, atol=atol):
        return None
    for seen, (value, hint) in mistakes.items():
        if torch.allclose(answer, value, atol=atol):
            return Wrong(seen, hint)
    return Wrong(otherwise)
