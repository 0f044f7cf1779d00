"""Inputs of a check, drawn anew from a seed each time it is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Draw"]


class Draw:
    """Random numbers of a seed, as tensors and as Python's own; the session's generators are not touched."""

    def __init__(self, seed: int):
        self._rng = np.random.default_rng(seed)

    def normal(self, *shape: int) -> Tensor:
        """float32, mean 0 and standard deviation 1."""
        return torch.from_numpy(self._rng.standard_normal(shape, dtype=np.float32))

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """float32 in [low, high)."""
        return torch.from_numpy(self._rng.uniform(low, high, shape).astype(np.float32))

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """int64 in [low, high)."""
        return torch.from_numpy(self._rng.integers(low, high, shape))

    def whole(self, low: int, high: int) -> int:
        """An int from low to high, both included."""
        return int(self._rng.integers(low, high + 1))

    def real(self, low: float, high: float) -> float:
        return float(self._rng.uniform(low, high))

    def one_of(self, choices: Sequence[Any]) -> Any:
        return choices[int(self._rng.integers(len(choices)))]

    def shuffled(self, items: Sequence[Any]) -> list[Any]:
        return [items[i] for i in self._rng.permutation(len(items))]
