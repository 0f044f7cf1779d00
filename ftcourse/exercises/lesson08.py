"""Questions of lesson 08, how much data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student

from ftcourse.exercises import Choice, Function, Value, Wrong

# --------------------------------------------------------------------------------- 8.1 interval


def _interval(values: Sequence[float]) -> tuple[float, float]:
    x = np.asarray(values, dtype=float)
    half = student.ppf(0.975, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x))
    return float(x.mean() - half), float(x.mean() + half)


def _two_numbers(answer: Any) -> tuple[float, float] | None:
    try:
        low, high = (float(v) for v in answer)
    except (TypeError, ValueError):
        return None
    return low, high


def _judge_interval(attempt: Callable) -> Wrong | None:
    for values in ([0.77, 0.825, 0.865, 0.835, 0.8], [0.5, 0.6, 0.7], [0.91, 0.93, 0.9, 0.95] * 2):
        answer = _two_numbers(attempt(list(values)))
        if answer is None:
            return Wrong("it does not return two numbers", "return the lower and the upper end.")
        if wrong := _wrong_interval(answer, values):
            return wrong
    return None


def _wrong_interval(answer: tuple[float, float], values: list[float]) -> Wrong | None:
    x, n = np.asarray(values), len(values)
    low, high = _interval(values)
    if np.allclose(answer, (low, high), rtol=0, atol=0.02 * (high - low)):
        return None
    right, got = (high - low) / 2, (answer[1] - answer[0]) / 2
    seen = f"for {n} values it gives {answer[0]:.3f} to {answer[1]:.3f}"
    if np.allclose(answer, (x.min(), x.max())):
        return Wrong(seen + ", the smallest and the largest", "the range grows with more runs.")
    if abs(sum(answer) / 2 - x.mean()) > 1e-6:
        return Wrong(seen, "the interval has the mean of the values in its middle.")
    typical = (
        (
            math.sqrt(n),
            "divide by the square root of the number of runs: it is the mean's interval.",
        ),
        (
            1.96 / student.ppf(0.975, n - 1),
            "1.96 is for many runs; for few, Student's t is larger.",
        ),
        (math.sqrt((n - 1) / n), "the standard deviation divides by n - 1: ddof=1."),
        (1 / student.ppf(0.975, n - 1), "that is the standard error; multiply it by Student's t."),
        (student.ppf(0.95, n - 1) / student.ppf(0.975, n - 1), "2.5 % on each side: ppf(0.975)."),
        (math.sqrt((n - 1) / n) * 1.96 / student.ppf(0.975, n - 1), "ddof=1, and t for 1.96."),
    )
    for factor, hint in typical:
        if abs(got / right - factor) < 0.02:
            return Wrong(seen, hint)
    return Wrong(seen + f", and not {low:.3f} to {high:.3f}")


interval = Function(
    number="8.1",
    name="interval",
    reference=_interval,
    why="Mean plus and minus Student's t times the standard error. With five runs t is 2.78, not 1.96: "
    "five values know little about their own spread.",
    hints=(
        "three steps: the mean, the standard deviation (ddof=1), and its share of the mean, s / √n.",
        "half = t.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5; return mean - half, mean + half.",
    ),
    worked=(
        "def interval(values):\n"
        "    n = len(values)\n"
        "    half = t.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5\n"
        "    return np.mean(values) - half, np.mean(values) + half"
    ),
    judge=_judge_interval,
)

# ------------------------------------------------------------------------------ 8.2 test_photos

test_photos = Value(
    number="8.2",
    name="test_photos",
    reference=865,
    same=lambda a, b: bool(
        isinstance(a, (int, float, np.number))
        and not isinstance(a, bool)
        and 855 <= a <= 905
        and (b == 865)
    ),
    why="n = (1.96 / 0.02)² x 0.9 x 0.1 = 864.4. Half the interval costs four times the photos.",
    hints=(
        "set 1.96 √(p (1 - p) / n) equal to 0.02 and solve for n.",
        "n = (1.96 / 0.02)**2 * 0.9 * 0.1",
    ),
    worked="guess = round((1.96 / 0.02) ** 2 * 0.9 * 0.1 + 0.5)",
    mistakes=(
        (lambda a: 2300 < a < 2600, Wrong("that is for p = 0.5", "the accuracy is 0.9 here.")),
        (
            lambda a: 3300 < a < 3700,
            Wrong("that is for one point to each side", "± 2 points: 0.02 to each side."),
        ),
        (lambda a: 215 < a < 235, Wrong("that is one standard error of 2 points", "95 %: 1.96.")),
        (
            lambda a: 8500 < a < 9700,
            Wrong("the spread of one photo is missing", "p (1 - p) = 0.09 belongs in it."),
        ),
        (lambda a: 28 < a < 31, Wrong("the square is missing", "n stands under a root.")),
    ),
)

# ---------------------------------------------------------------------------- 8.3 photos_needed


def _photos_needed(
    sizes: Sequence[float], accuracies: Sequence[float], target: float
) -> float | None:
    if accuracies[0] >= target:
        return float(sizes[0])
    for i in range(1, len(sizes)):
        if accuracies[i] >= target:
            share = (target - accuracies[i - 1]) / (accuracies[i] - accuracies[i - 1])
            x = [math.log(sizes[i - 1]), math.log(sizes[i])]
            return math.exp(x[0] + share * (x[1] - x[0]))
    return None


SIZES = [5, 10, 20, 50, 100, 200]
RISING = [0.60, 0.70, 0.80, 0.84, 0.90, 0.95]
DIPPING = [0.60, 0.80, 0.62, 0.70, 0.90, 0.95]


def _judge_photos_needed(attempt: Callable) -> Wrong | None:
    for target in (0.75, 0.87, 0.80, 0.61):
        wrong = _wrong_crossing(attempt, RISING, target)
        if wrong:
            return wrong
    never = attempt(list(SIZES), list(RISING), 0.97)
    if never is not None and not (isinstance(never, float) and not math.isfinite(never)):
        return Wrong(
            f"for 0.97, which 200 photos do not reach, it says {never}", "return None in that case."
        )
    first = attempt(list(SIZES), list(RISING), 0.50)
    if first is None or abs(float(first) - 5) > 0.05:
        return Wrong(
            f"for 0.50, which 5 photos reach already, it says {first}", "return the smallest size."
        )
    return _wrong_crossing(attempt, DIPPING, 0.75)


def _wrong_crossing(attempt: Callable, accuracies: list[float], target: float) -> Wrong | None:
    right = _photos_needed(SIZES, accuracies, target)
    answer = attempt(list(SIZES), list(accuracies), target)
    if answer is None or isinstance(answer, (tuple, list, str)):
        return Wrong(f"for the target {target} it returns {answer!r}", "return a number of photos.")
    got = float(answer)
    if right is not None and abs(got - right) < 0.01 * right:
        return None
    linear = float(np.interp(target, RISING, SIZES))
    seen = f"for the target {target} it gives {got:.1f} photos"
    if accuracies is DIPPING:
        return Wrong(
            seen + ", where the curve dips once on its way up",
            "go from the left and stop at the first crossing.",
        )
    if abs(got - linear) < 0.01 * linear:
        return Wrong(seen, "the axis is logarithmic: interpolate log(photos), then take exp of it.")
    if got in SIZES:
        return Wrong(seen + ", a measured size", "the crossing lies between two measured sizes.")
    if right is not None and abs(got - math.log(right)) < 0.05:
        return Wrong(seen, "that is log(photos): take exp of it.")
    return Wrong(seen + f", and not {right:.1f}")


photos_needed = Function(
    number="8.3",
    name="photos_needed",
    reference=_photos_needed,
    why="A straight line between two measured points of the plot, whose axis is logarithmic, read "
    "sideways. Where the curve does not get there, it says so and does not guess.",
    hints=(
        "find the first size that reaches the target; the crossing is between it and the one before.",
        "share = (target - a[i-1]) / (a[i] - a[i-1]); photos = s[i-1] * (s[i] / s[i-1]) ** share.",
    ),
    worked=(
        "def photos_needed(sizes, accuracies, target):\n"
        "    if accuracies[0] >= target:\n"
        "        return sizes[0]\n"
        "    for i in range(1, len(sizes)):\n"
        "        if accuracies[i] >= target:\n"
        "            share = (target - accuracies[i - 1]) / (accuracies[i] - accuracies[i - 1])\n"
        "            return sizes[i - 1] * (sizes[i] / sizes[i - 1]) ** share\n"
        "    return None"
    ),
    judge=_judge_photos_needed,
)

# ------------------------------------------------------------------------------- 8.4 read_gains

read_gains = Choice(
    number="8.4",
    name="read_gains",
    reference="a, d",
    why="The interval of A lies above zero, that of D on both sides of it. B takes 'not shown to differ' "
    "for 'shown to be equal': the intervals reach several points to each side. In C all seeds share "
    "one test of 153 photos, and 0.7 points are a single one of them.",
    hints=(
        "for each sentence: where is zero, inside or outside of the interval? And what does the "
        "interval know nothing about?",
        "B: how far do the intervals reach? C: which luck is missing in the right panel?",
    ),
    worked='answer = "a, d"',
    options={
        "a": None,
        "b": Wrong(
            "the intervals in B hold zero, but also differences of several points",
            "not shown to be different, is that shown to be equal?",
        ),
        "c": Wrong(
            "the intervals of the right panel come from one test of 153 photos, the same for all seeds",
            "how many of 153 photos are 0.7 points?",
        ),
        "d": None,
    },
)

# ----------------------------------------------------------------------------------- 8.5 honest

honest = Choice(
    number="8.5",
    name="honest",
    reference="b, d",
    why="B says how many seeds and how large the test was. D found the leak and mended it before "
    "training. A has chosen by the test, C has chosen by the very photos it reports.",
    hints=(
        "for each sentence: was anything chosen with the help of the photos that give the number?",
        "the best of five on the test was chosen by the test; an epoch was chosen by validation.",
    ),
    worked='answer = "b, d"',
    options={
        "a": Wrong(
            "the seed in A was chosen by the test, so the test is no test any more",
            "what would the five seeds give on new photos? Their mean.",
        ),
        "b": None,
        "c": Wrong(
            "the photos in C have chosen the epoch: of all epochs, the one that suits them",
            "which split has had no part in any decision?",
        ),
        "d": None,
    },
)
