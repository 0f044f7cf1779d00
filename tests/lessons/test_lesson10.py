"""What lesson 10's key says of the results is what the results say."""

from __future__ import annotations

import numpy as np
from scipy import stats

from ftcourse import results


def by_scipy(values):
    return stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))


def gain(name, per_class, method):
    """The 95 % interval of what a method gains over the linear probe, in points, at 64 pixels."""
    runs = [
        r
        for r in results.load(name)["runs"]
        if (r["classes"], r["pixels"], r["per_class"]) == (2, 64, per_class)
    ]
    by_seed = {
        m: {r["seed"]: r["accuracy"] for r in runs if r["method"] == m}
        for m in (method, "linear probe")
    }
    return by_scipy([100 * (a - by_seed["linear probe"][s]) for s, a in by_seed[method].items()])


def test_10_4_is_what_the_results_say():
    assert gain("methods_insects", 100, "all")[0] > 0
    for method in ("last block", "all", "LP-FT"):
        low, high = gain("methods_photos", 20, method)
        assert low < 0 < high
        assert high - low > 4
    low, high = gain("methods_photos", 100, "last block")
    assert 0 < low < 1 and (low + high) / 2 * 153 / 100 < 1.5  # about one photo
    low, high = gain("methods_insects", 20, "last block")
    assert low < 0 < high
