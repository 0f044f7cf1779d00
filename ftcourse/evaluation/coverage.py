"""What an answer is worth if the doubtful ones are left out: accuracy against coverage.

Source: selective classification, https://arxiv.org/abs/1705.08500
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ftcourse.evaluation.measures import wilson_interval

__all__ = ["THRESHOLDS", "coverage"]

THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def coverage(
    probabilities: np.ndarray, targets: np.ndarray, thresholds: Sequence[float] = THRESHOLDS
) -> list[dict[str, Any]]:
    """One dict a threshold: only photos whose likeliest class has at least that probability are answered.

    Args:
        probabilities: float (N, classes), rows sum to 1.
        targets: int (N,).

    Returns:
        `threshold`, `answered` (photos), `coverage` (their share), and of them `accuracy` and `accuracy_interval`
        (95 %, Wilson), both None where none is answered.
    """
    confidence, hits = probabilities.max(1), probabilities.argmax(1) == targets
    rows = []
    for threshold in thresholds:
        kept = confidence >= threshold
        n, right = int(kept.sum()), int(hits[kept].sum())
        rows.append(
            {
                "threshold": float(threshold),
                "answered": n,
                "coverage": n / len(targets),
                "accuracy": right / n if n else None,
                "accuracy_interval": wilson_interval(right, n) if n else None,
            }
        )
    return rows
