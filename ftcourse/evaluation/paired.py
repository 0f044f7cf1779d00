"""Do two classifiers differ on the same photos? McNemar's exact test, Newcombe's interval of the difference."""

from __future__ import annotations

import math

from ftcourse.evaluation.measures import wilson_interval

__all__ = ["mcnemar_exact", "paired_difference"]


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """The two-sided p-value that as many photos as these are right for one of the two alone, if both are as good.

    Source: https://doi.org/10.1007/BF02295996 ; exact, so by the binomial distribution with 1/2.
    """
    from scipy.stats import binomtest  # 35 MB that most programs can do without

    differ = only_first + only_second
    return float(binomtest(only_first, differ).pvalue) if differ else 1.0


def paired_difference(
    both: int, only_first: int, only_second: int, neither: int, level: float = 0.95
) -> tuple[float, list[float]]:
    """The first accuracy minus the second, and Newcombe's interval [low, high] for it (his method 10).

    Args:
        both, only_first, only_second, neither: photos that are right for these.

    Source: R. G. Newcombe, Statistics in Medicine 17 (1998), 2635-2650.
    """
    n = both + only_first + only_second + neither
    first, second = both + only_first, both + only_second
    p, q = first / n, second / n
    (low_p, high_p), (low_q, high_q) = (wilson_interval(k, n, level) for k in (first, second))
    product: float = both * neither - only_first * only_second
    if product > 0:  # a continuity correction of the correlation, where that is positive
        product = max(product - n / 2, 0.0)
    margins = first * (n - first) * second * (n - second)
    phi = product / math.sqrt(margins) if margins else 0.0

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))

    difference = p - q
    low, high = reach(p - low_p, high_q - q), reach(high_p - p, q - low_q)
    return difference, [difference - low, difference + high]
