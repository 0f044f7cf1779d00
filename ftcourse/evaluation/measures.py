"""How good a classifier is, and how sure we can be of that, from its answers on one split."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = [
    "bootstrap_intervals",
    "calibration_error",
    "confusion_matrix",
    "macro_f1",
    "per_class",
    "wilson_interval",
]


def confusion_matrix(targets: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts int64 (classes, classes): rows are true classes, columns predicted ones."""
    cells = np.asarray(targets) * classes + np.asarray(predicted)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def per_class(confusion: np.ndarray, classes: list[str]) -> list[dict[str, Any]]:
    """One dict a class: `class`, `precision`, `recall`, `f1` (fractions), `support` (photos).

    Precision is None for a class that was never predicted, recall and F1 for one without photos.
    """
    hits, support, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    return [
        {
            "class": name,
            "precision": float(hits[i] / predicted[i]) if predicted[i] else None,
            "recall": float(hits[i] / support[i]) if support[i] else None,
            "f1": float(2 * hits[i] / (support[i] + predicted[i])) if support[i] else None,
            "support": int(support[i]),
        }
        for i, name in enumerate(classes)
    ]


def macro_f1(confusion: np.ndarray) -> float:
    """The mean F1 of the classes that have photos."""
    f1 = [row["f1"] for row in per_class(confusion, [""] * len(confusion))]
    return float(np.mean([value for value in f1 if value is not None]))


def bootstrap_intervals(
    targets: np.ndarray,
    predicted: np.ndarray,
    other: np.ndarray | None = None,
    *,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> dict[str, list[float]]:
    """Percentile bootstrap intervals [low, high] over the photos of a split (Efron 1979).

    Args:
        targets, predicted: int (N,), true and predicted classes.
        other: int (N,), what another classifier predicts for the same photos.
        seed: of the resampling; the same seed gives the same interval.

    Returns:
        `accuracy` and `macro_f1`; with `other`, also `gain`: the accuracy minus that of the other
        classifier, both on the same resampled photos. Its interval says whether the two really differ.
    """
    rng = np.random.default_rng(seed)
    n = len(targets)
    values: dict[str, list[np.ndarray]] = {"accuracy": [], "macro_f1": []}
    hits = (predicted == targets).astype(np.float64)
    gain = None if other is None else hits - (other == targets)
    f1_of = _macro_f1_of_weights(targets, predicted)
    per_block = max(1, min(resamples, 4_000_000 // n))  # a block of weights takes 32 MB at most
    for start in range(0, resamples, per_block):
        rows = min(per_block, resamples - start)
        drawn = rng.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
        # how often each resample holds each photo, (rows, N)
        weights = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(float)
        values["accuracy"].append(weights @ hits / n)
        values["macro_f1"].append(f1_of(weights))
        if gain is not None:
            values.setdefault("gain", []).append(weights @ gain / n)
    ends = (50 * (1 - level), 50 * (1 + level))
    return {k: np.percentile(np.concatenate(v), ends).tolist() for k, v in values.items()}


def _macro_f1_of_weights(
    targets: np.ndarray, predicted: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """A function from weights (rows, N) to the macro F1 of each row."""
    present = np.unique(targets)
    true = (targets[:, None] == present).astype(np.float64)
    said = (predicted[:, None] == present).astype(np.float64)

    def f1_of(weights: np.ndarray) -> np.ndarray:
        support = weights @ true
        f1 = 2 * (weights @ (true * said)) / np.maximum(support + weights @ said, 1)
        return f1.sum(1) / (support > 0).sum(1)  # no hits without photos, so those add nothing

    return f1_of


def wilson_interval(hits: int, n: int, level: float = 0.95) -> list[float]:
    """Wilson's interval [low, high] for a share, `hits` of `n` photos; right also for few, for none and for all.

    12 of 12 give 0.758 to 1.  Source: https://doi.org/10.1080/01621459.1927.10502953
    """
    from scipy.stats import binomtest  # 35 MB that most programs can do without

    found = binomtest(int(hits), int(n)).proportion_ci(level, method="wilson")
    return [float(found.low), float(found.high)]


def calibration_error(probabilities: np.ndarray, targets: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error: how far confidence and accuracy lie apart, averaged over photos.

    Args:
        probabilities: float (N, classes), rows sum to 1.
        bins: equally wide bins of the confidence.

    Source: https://arxiv.org/abs/1706.04599
    """
    confidence, hits = probabilities.max(1), probabilities.argmax(1) == targets
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(place, confidence, bins) - np.bincount(place, hits, bins)
    return float(np.abs(gap).sum() / len(targets))
