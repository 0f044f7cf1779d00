"""Answers to the questions of lesson 10."""

from __future__ import annotations

import math
import statistics

import numpy as np
import torch
from scipy import stats
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def probe(x, y, **options):
    """As in the lesson."""
    head = LogisticRegression(C=0.01, max_iter=300, **options)
    return make_pipeline(StandardScaler(), head).fit(x, y)


NAMES = {"t": stats.t, "np": np, "math": math, "probe": probe}

# ------------------------------------------------------------------------------------------ 10.1


def by_scipy(values):
    return stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))


def by_statistics(values):
    n = len(values)
    half = stats.t.ppf(0.975, n - 1) * statistics.stdev(values) / math.sqrt(n)
    return [statistics.mean(values) - half, statistics.mean(values) + half]


def by_hand(values):
    n = len(values)
    mean = sum(values) / n
    s = (sum((x - mean) ** 2 for x in values) / (n - 1)) ** 0.5
    low, high = stats.t.ppf([0.025, 0.975], n - 1)
    return mean + low * s / n**0.5, mean + high * s / n**0.5


def in_torch(values):
    x = torch.tensor(values, dtype=torch.float64)
    half = stats.t.isf(0.025, len(x) - 1) * x.std() / len(x) ** 0.5
    return x.mean() - half, x.mean() + half


def as_an_array(values):
    n = len(values)
    return np.mean(values) + np.array([-1, 1]) * stats.t.ppf(0.975, n - 1) * stats.sem(values)


def around(values, half):
    return np.mean(values) - half, np.mean(values) + half


def t_of(values, q=0.975):
    return stats.t.ppf(q, len(values) - 1)


def spoils(values):
    values.sort()
    return by_scipy(values)


# ------------------------------------------------------------------------------------------ 10.3


def by_interp(sizes, accuracies, target):
    """With np.interp on the best accuracies so far, up to the first that is enough."""
    first = next((i for i, a in enumerate(accuracies) if a >= target), None)
    if first is None or first == 0:
        return sizes[0] if first == 0 else None
    before, logs = first - 1, np.log(sizes)
    return float(
        np.exp(np.interp(target, accuracies[before : first + 1], logs[before : first + 1]))
    )


def by_search(sizes, accuracies, target):
    grid = np.union1d(np.geomspace(sizes[0], sizes[-1], 20_001), sizes)
    reached = np.interp(np.log(grid), np.log(sizes), accuracies) >= target - 1e-9
    return float(grid[reached.argmax()]) if reached.any() else None


def powers(sizes, accuracies, target):
    previous = None
    for size, accuracy in zip(sizes, accuracies, strict=True):
        if accuracy >= target:
            if previous is None:
                return size
            s, a = previous
            return s ** ((accuracy - target) / (accuracy - a)) * size ** (
                (target - a) / (accuracy - a)
            )
        previous = size, accuracy
    return None


def in_twos(sizes, accuracies, target):
    enough = [i for i, a in enumerate(accuracies) if a >= target]
    if not enough:
        return None
    i = enough[0]
    if i == 0:
        return sizes[0]
    pair = slice(i - 1, i + 1)
    return 2 ** np.interp(target, accuracies[pair], np.log2(sizes[pair]))


def as_a_tensor(sizes, accuracies, target):
    found = in_twos(sizes, accuracies, target)
    return None if found is None else torch.tensor(found)


def halving(sizes, accuracies, target):
    """Halve the interval in which the first crossing lies."""
    if accuracies[0] >= target:
        return np.float64(sizes[0])
    for (s, a), (r, b) in zip(
        zip(sizes, accuracies, strict=True),
        list(zip(sizes, accuracies, strict=True))[1:],
        strict=False,
    ):
        if b >= target:
            low, high = math.log10(s), math.log10(r)
            for _ in range(50):
                middle = (low + high) / 2
                at = a + (b - a) * (middle - math.log10(s)) / math.log10(r / s)
                low, high = (low, middle) if at >= target else (middle, high)
            return 10**high


def straight(sizes, accuracies, target):
    found = in_twos(sizes, accuracies, target)
    if found in (None, sizes[0]):
        return found
    i = next(i for i, a in enumerate(accuracies) if a >= target)
    return float(np.interp(target, accuracies[i - 1 : i + 1], sizes[i - 1 : i + 1]))


def still_a_logarithm(sizes, accuracies, target):
    found = in_twos(sizes, accuracies, target)
    return found if found is None or accuracies[0] >= target else math.log(found)


def clamped(sizes, accuracies, target):
    return float(np.exp(np.interp(target, accuracies, np.log(sizes))))


def clamped_with_a_guard(sizes, accuracies, target):
    return None if target > max(accuracies) else clamped(sizes, accuracies, target)


def last_crossing(sizes, accuracies, target):
    if accuracies[-1] < target:
        return None
    for i in range(len(sizes) - 1, 0, -1):
        if accuracies[i - 1] < target <= accuracies[i]:
            share = (target - accuracies[i - 1]) / (accuracies[i] - accuracies[i - 1])
            return sizes[i - 1] * (sizes[i] / sizes[i - 1]) ** share
    return sizes[0]


def next_size(sizes, accuracies, target):
    return next((s for s, a in zip(sizes, accuracies, strict=True) if a >= target), None)


def instead_of_none(value):
    def attempt(sizes, accuracies, target):
        found = in_twos(sizes, accuracies, target)
        return value if found is None else found

    return attempt


def nothing_below(sizes, accuracies, target):
    return None if target <= accuracies[0] else in_twos(sizes, accuracies, target)


def the_lessons_sizes(sizes, accuracies, target):
    return in_twos([5, 10, 20, 50, 100, 200], accuracies, target)


def strictly_above(sizes, accuracies, target):
    return in_twos(sizes, accuracies, target) if max(accuracies) > target else None


def by_the_end(sizes, accuracies, target):
    return None if accuracies[-1] < target else in_twos(sizes, accuracies, target)


def half_open(sizes, accuracies, target):
    """Passes over a level piece at the target."""
    if accuracies[0] >= target:
        return sizes[0]
    for i in range(1, len(sizes)):
        if accuracies[i - 1] <= target < accuracies[i]:
            return in_twos(sizes[i - 1 : i + 1], accuracies[i - 1 : i + 1], target)
    return sizes[-1] if accuracies[-1] == target else None


def any_change_of_sign(sizes, accuracies, target):
    for i in range(1, len(sizes)):
        if (accuracies[i - 1] - target) * (accuracies[i] - target) <= 0:
            pair = sorted(zip(accuracies[i - 1 : i + 1], np.log(sizes[i - 1 : i + 1]), strict=True))
            return float(np.exp(np.interp(target, *zip(*pair, strict=True))))
    return sizes[0] if accuracies[0] > target else None


def best_so_far(sizes, accuracies, target):
    """The line between two records, where it goes down in between."""
    return in_twos(sizes, np.maximum.accumulate(accuracies).tolist(), target)


def rounded(how):
    def attempt(sizes, accuracies, target):
        found = in_twos(sizes, accuracies, target)
        return None if found is None else how(found)

    return attempt


def needs_two_sizes(sizes, accuracies, target):
    return sizes[1] and in_twos(sizes, accuracies, target)


def spoils_sizes(sizes, accuracies, target):
    found = in_twos(sizes, accuracies, target)
    sizes.reverse()
    return found


# ------------------------------------------------------------------------------------------ 10.6


class AboveThreshold:
    """A probe that says 1 from another probability on."""

    def __init__(self, model, threshold):
        self.model, self.threshold = model, threshold

    def predict(self, x):
        return (self.model.predict_proba(x)[:, 1] > self.threshold).astype(int)


def as_many_of_both(x, y):
    rng, few = np.random.default_rng(0), np.bincount(y).min()
    chosen = [rng.choice(np.flatnonzero(y == c), few, replace=False) for c in (0, 1)]
    return probe(x[np.concatenate(chosen)], y[np.concatenate(chosen)])


def by_the_share(x, y):
    return AboveThreshold(probe(x, y), y.mean())


def by_a_few_sorted(x, y):
    order = np.argsort(y, kind="stable")
    few = min((y == 0).sum(), (y == 1).sum())
    keep = np.r_[order[:few], order[-few:]]
    return probe(x[keep], y[keep])


def strong_weights(x, y):
    counts = np.bincount(y)
    return probe(x, y, class_weight={int(counts.argmin()): 30, int(counts.argmax()): 1})


def less_of_the_bias(x, y):
    """The logits, less the logarithm of the odds: the same as another threshold."""

    class Shifted:
        model, odds = probe(x, y), np.log(y.mean() / (1 - y.mean()))

        def predict(self, new):
            return np.where(self.model.decision_function(new) - self.odds > 0, 1, 0)

    return Shifted()


def several_small_ones(x, y):
    """A vote of five probes, each on other photos of the common class."""
    few, rng = np.bincount(y).min(), np.random.default_rng(1)
    models = []
    for _ in range(5):
        keep = np.concatenate([rng.choice(np.where(y == c)[0], few, False) for c in (0, 1)])
        models.append(probe(x[keep], y[keep]))

    class Vote:
        def predict(self, new):
            return (np.mean([m.predict(new) for m in models], 0) > 0.5).astype(np.int64)

    return Vote()


def twice_each_rare_one(x, y):
    rare = np.bincount(y).argmin()
    keep = np.concatenate([np.arange(len(y)), np.where(y == rare)[0]])
    return probe(x[keep], y[keep])


def ones_are_rare(x, y):
    return AboveThreshold(probe(x, y), 0.15)


def too_much(x, y):
    rare = np.bincount(y).argmin()
    return DummyClassifier(strategy="constant", constant=rare).fit(x, y)


class Probabilities:
    def __init__(self, x, y):
        self.model = probe(x, y)

    def predict(self, x):
        return self.model.predict_proba(x)[:, 1]


def two_columns(x, y):
    class Both:
        model = probe(x, y)

        def predict(self, new):
            return self.model.predict_proba(new)

    return Both()


def spoils_labels(x, y):
    y[:] = 1 - y
    return probe(x, y)


RIGHT = {
    "interval": [
        by_scipy,
        by_statistics,
        by_hand,
        in_torch,
        as_an_array,
        lambda v: torch.tensor(by_scipy(v)),
        lambda v: around(v, t_of(v) * np.std(v) / (len(v) - 1) ** 0.5),
    ],
    "test_photos": [864, 865, 864.36, 860, np.int64(870), "864", "865 photos", "~ 860"],
    "photos_needed": [by_interp, by_search, powers, in_twos, as_a_tensor, halving],
    "read_gains": ["a, d", "DA", {"d", "a"}, ["a", "d"], "a and d", "a d"],
    "honest": ["b, d", "DB", ["d", "b"], {"b", "d"}, "b and d", "b & d"],
    "find_both": [
        as_many_of_both,
        by_the_share,
        by_a_few_sorted,
        strong_weights,
        less_of_the_bias,
        several_small_ones,
    ],
}

WRONG = {
    "interval": [
        (lambda v: around(v, t_of(v) * np.std(v, ddof=1)), "divide by the square root"),
        (lambda v: around(v, t_of(v) * np.std(v, ddof=1) / len(v)), "the square root of n"),
        (lambda v: around(v, 1.96 * np.std(v, ddof=1) / len(v) ** 0.5), "Student's t is larger"),
        (lambda v: around(v, t_of(v) * np.std(v) / len(v) ** 0.5), "ddof=1"),
        (lambda v: around(v, np.std(v, ddof=1) / len(v) ** 0.5), "multiply it by Student's t"),
        (lambda v: around(v, 1.96 * np.std(v) / len(v) ** 0.5), "ddof=1, and t"),
        (lambda v: around(v, t_of(v, 0.95) * np.std(v, ddof=1) / len(v) ** 0.5), "ppf(0.975)"),
        (lambda v: around(v, t_of(v) * np.var(v, ddof=1) / len(v) ** 0.5), "the variance"),
        (lambda v: (min(v), max(v)), "grows with more runs"),
        (lambda v: np.percentile(v, [2.5, 97.5]), "of their *mean*"),
        (lambda v: np.clip(by_scipy(v), 0, 1), "leave the ends"),
        (lambda v: np.round(by_scipy(v), 2), "rounded"),
        (lambda v: 100 * np.array(by_scipy(v)), "in percent"),
        (lambda v: by_scipy(v)[::-1], "lower end, then"),
        (lambda v: (0.0, by_scipy(v)[1]), "three steps"),
        (lambda v: np.mean(v), "lower and the upper end"),
        (lambda v: around(v, 0.3), "three steps"),
        (lambda v: around(v, 2.776 * stats.sem(v)), "n - 1 belongs"),
        (lambda v: around(v, t_of(v) * np.std(v, ddof=1) / (len(v) - 1) ** 0.5), "root of n"),
        (lambda v: around(v, t_of(v, 0.95) * np.std(v) / len(v) ** 0.5), "2.5 % on each side"),
        (lambda v: (np.mean(v), t_of(v) * stats.sem(v)), "return both ends"),
        (lambda v: np.median(v) + np.array([-1, 1]) * t_of(v) * stats.sem(v), "is the mean"),
        (lambda v: np.maximum(by_scipy(v), 0), "leave the ends"),
        (lambda v: np.minimum(by_scipy(v), 1), "leave the ends"),
        (lambda v: stats.norm.interval(0.95, np.mean(v), stats.sem(v)), "Student's t is larger"),
        (lambda v: stats.t.interval(0.95, len(v) - 1), "three steps"),
        (lambda v: np.abs(by_scipy(v)), "three steps"),
        (lambda v: v.mean(), "stops with AttributeError"),
        (lambda v: None, "returns nothing"),
        (spoils, "it changes values"),
    ],
    "test_photos": [
        (2401, "0.9 here"),
        (3457, "0.02 to each side"),
        ("3,457", "0.02 to each side"),
        (216, "0.02 to each side"),
        (225, "1.96"),
        (900, "2 in place of 1.96"),
        (9604, "0.09 belongs"),
        (29, "under a root"),
        (609, "19 of 20"),
        (1493, "19 of 20"),
        (0.0864, "two points are"),
        (855, "at the end only"),
        (863, "at the end only"),
        (880, "at the end only"),
        (200, "solve for n"),
        (86, "solve for n"),
        (-865, "solve for n"),
        (float("nan"), "solve for n"),
        ("many", "write one number"),
        (True, "write one number"),
        ([864, 865], "write one number"),
    ],
    "photos_needed": [
        (straight, "the axis is logarithmic"),
        (still_a_logarithm, "take exp"),
        (clamped, "an answer for everything"),
        (clamped_with_a_guard, "the first"),
        (by_the_end, "have fallen again"),
        (half_open, "for the curve"),
        (any_change_of_sign, "for the curve"),
        (best_so_far, "for the curve"),
        (lambda s, a, target: in_twos(s, sorted(a), target), "in place"),
        (rounded(round), "leave the number"),
        (rounded(math.ceil), "for the curve"),
        (rounded(int), "for the curve"),
        (rounded(lambda n: f"{n:.0f}"), "the number itself"),
        (needs_two_sizes, "IndexError"),
        (instead_of_none(-1), "return None"),
        (last_crossing, "stop at the first"),
        (next_size, "between two measured sizes"),
        (nothing_below, "the smallest size"),
        (instead_of_none(math.inf), "return None"),
        (instead_of_none(math.nan), "return None"),
        (instead_of_none(0), "return None"),
        (the_lessons_sizes, "for the curve"),
        (strictly_above, "find the first size"),
        (lambda s, a, target: None, "a number of photos"),
        (lambda s, a, target: 33.3, "find the first size"),
        (lambda s, a, target: (in_twos(s, a, target),), "one number of photos"),
        (spoils_sizes, "it changes sizes"),
    ],
    "read_gains": [
        ("a, b, d", "shown to be equal"),
        ("a, c, d", "how many of 153"),
        ("b", "shown to be equal"),
        ("c", "how many of 153"),
        ("a", "1 more is true"),
        ("d", "1 more is true"),
        ("a, b, c, d", "shown to be equal"),
        ("e", "a letter in quotes"),
        ("none", "a letter in quotes"),
        (0.05, "a letter in quotes"),
        ([], "a letter in quotes"),
    ],
    "honest": [
        ("a", "five seeds give on new photos"),
        ("b, c", "no part in any decision"),
        ("a, b, c, d", "five seeds give on new photos"),
        ("c", "no part in any decision"),
        ("b", "1 more is true"),
        ("d", "1 more is true"),
        ("x", "a letter in quotes"),
        ("all", "a letter in quotes"),
        (4, "a letter in quotes"),
        ([], "a letter in quotes"),
    ],
    "find_both": [
        (probe, "outvotes the rare one"),
        (lambda x, y: probe(x, y, class_weight="balanced"), "outvotes the rare one"),
        (twice_each_rare_one, "outvotes the rare one"),
        (ones_are_rare, "either class may be the rare one"),
        (too_much, "too much of the cure"),
        (lambda x, y: probe(x, 1 - y), "too much of the cure"),
        (lambda x, y: probe(x, y).predict(x), "has no predict"),
        (lambda x, y: None, "returns nothing"),
        (lambda x, y: LogisticRegression(), "is it fitted?"),
        (lambda x, y: probe, "has no predict"),
        (Probabilities, "labels, not probabilities"),
        (two_columns, "one label, 0 or 1"),
        (spoils_labels, "it changes y"),
    ],
}

EQUIVALENT = {
    "find_both": {
        "comparison: y == c -> (y != c)": "the same photos, those of the other class first",
    },
}
