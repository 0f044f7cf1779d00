"""Questions of lesson 10, how much data."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ftcourse.exercises import Choice, Draw, Formula, Function, Value, Wrong
from ftcourse.exercises.gives import Unfit, number, optional, tuple_of
from ftcourse.exercises.guard import Failed
from ftcourse.exercises.words import article
from ftcourse.exercises.written import as_number, equals

# --------------------------------------------------------------------------------- 10.1 interval


def _interval(values: Sequence[float]) -> tuple[float, float]:
    x = np.asarray(values, dtype=float)
    half = student.ppf(0.975, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x))
    return float(x.mean() - half), float(x.mean() + half)


def _by_scipy(values: Sequence[float]) -> tuple[float, float]:
    """The same by scipy's own function for intervals."""
    n, spread = len(values), np.var(values, ddof=1)
    low, high = student(n - 1, loc=np.mean(values), scale=(spread / n) ** 0.5).interval(0.95)
    return float(low), float(high)


def _runs(draw: Draw) -> Iterator[tuple[list[float]]]:
    """Accuracies, gains below zero, losses above one; from two values to twelve.

    Never all equal: scipy's own interval is nan there.
    """
    for count, middle, spread in ((5, 0.8, 0.03), (2, 0.7, 0.05), (3, -2.0, 3.0), (12, 1.9, 0.4)):
        yield ([middle + spread * x for x in draw.normal(count).tolist()],)
    yield ([0.97, 0.99, 1.0, draw.real(0.93, 0.96)],)  # an end above one


def _close_ends(answer: tuple[float, float], right: tuple[float, float]) -> bool:
    """Within a five hundredth of the interval's length."""
    return bool(np.allclose(answer, right, rtol=0, atol=0.002 * abs(right[1] - right[0])))


def _half(factor: Callable[[np.ndarray, int], float]) -> Callable:
    """Mean plus and minus `factor`(values, their number)."""

    def mistaken(values: Sequence[float]) -> tuple[float, float]:
        x = np.asarray(values, dtype=float)
        half = factor(x, len(x))
        return float(x.mean() - half), float(x.mean() + half)

    return mistaken


def _t(n: int, q: float = 0.975) -> float:
    return float(student.ppf(q, n - 1))


_ENDS = "it is an interval of a mean, also of gains, which may be below 0: leave the ends."
_ROOT = "divide by the square root of the number of runs: it is the mean's interval."

interval = Formula(
    number="10.1",
    name="interval",
    reference=_interval,
    why="Mean plus and minus Student's t times the standard error. With five runs t is 2.78, not 1.96: "
    "five values know little about their own spread.",
    hints=(
        "three steps: the mean, the standard deviation (ddof=1), and its share of the mean, s / √n.",
        "the half is a product of three: Student's t, the standard deviation, one over a root. Then both ends.",
    ),
    worked=(
        "def interval(values):\n"
        "    n = len(values)\n"
        "    half = t.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5\n"
        "    return np.mean(values) - half, np.mean(values) + half"
    ),
    gives=tuple_of(number(), number(), hint="return the lower and the upper end."),
    cases=_runs,
    second=_by_scipy,
    agree=_close_ends,
    describe=lambda values: f"for {len(values)} values around {np.mean(values):.2g}",
    mistakes=(
        (
            lambda v: (min(v), max(v)),
            Wrong("these are the smallest and the largest", "the range grows with more runs."),
        ),
        (
            lambda v: tuple(np.percentile(v, [2.5, 97.5])),
            Wrong(
                "these are percentiles of the values",
                "an interval of their *mean* is asked for: mean plus and minus.",
            ),
        ),
        (_half(lambda x, n: _t(n) * x.std(ddof=1)), Wrong("that is n times √n too wide", _ROOT)),
        (
            _half(lambda x, n: _t(n) * x.std(ddof=1) / n),
            Wrong("it divides by n", "by the square root of n."),
        ),
        (
            _half(lambda x, n: 1.96 * x.std(ddof=1) / n**0.5),
            Wrong("it is too narrow", "1.96 is for many runs; for few, Student's t is larger."),
        ),
        (
            _half(lambda x, n: _t(n) * x.std() / n**0.5),
            Wrong("it is too narrow", "the standard deviation divides by n - 1: ddof=1."),
        ),
        (
            _half(lambda x, n: 1.96 * x.std() / n**0.5),
            Wrong("it is too narrow, for two reasons", "ddof=1, and t for 1.96."),
        ),
        (
            _half(lambda x, n: x.std(ddof=1) / n**0.5),
            Wrong("that is the standard error", "multiply it by Student's t."),
        ),
        (
            _half(lambda x, n: _t(n, 0.95) * x.std(ddof=1) / n**0.5),
            Wrong("it leaves out 5 % on each side", "2.5 % on each side: ppf(0.975)."),
        ),
        (
            _half(lambda x, n: float(student.ppf(0.975, n)) * x.std(ddof=1) / n**0.5),
            Wrong("t has one degree of freedom too many", "n values leave n - 1 of them."),
        ),
        (
            _half(lambda x, n: _t(5) * x.std(ddof=1) / n**0.5),
            Wrong("it takes the t of five values, always", "n - 1 belongs into t.ppf."),
        ),
        (
            _half(lambda x, n: _t(n) * x.std(ddof=1) / (n - 1) ** 0.5),
            Wrong("it takes 1 off twice", "ddof=1 has done so: s is divided by the root of n."),
        ),
        (
            _half(lambda x, n: _t(n, 0.95) * x.std() / n**0.5),
            Wrong("it is too narrow, for two reasons", "ddof=1, and 2.5 % on each side."),
        ),
        (
            lambda v: tuple(end + np.median(v) - np.mean(v) for end in _interval(v)),
            Wrong("it lies around the median", "x̄ is the mean."),
        ),
        (
            lambda v: (np.mean(v), _interval(v)[1] - np.mean(v)),
            Wrong(
                "that is the mean, and half the length",
                "return both ends: one below the mean, one above.",
            ),
        ),
        (
            _half(lambda x, n: _t(n) * x.var(ddof=1) / n**0.5),
            Wrong("it takes the variance", "the standard deviation is its root."),
        ),
        (
            lambda v: tuple(np.clip(_interval(v), 0, 1)),
            Wrong("the ends are cut off at 0 and 1", _ENDS),
        ),
        (
            lambda v: (max(_interval(v)[0], 0), min(_interval(v)[1], 1)),
            Wrong("the ends are cut off at 0 and 1", _ENDS),
        ),
        (lambda v: (max(_interval(v)[0], 0), _interval(v)[1]), Wrong("it is cut off at 0", _ENDS)),
        (lambda v: tuple(np.maximum(_interval(v), 0)), Wrong("it is cut off at 0", _ENDS)),
        (lambda v: (_interval(v)[0], min(_interval(v)[1], 1)), Wrong("it is cut off at 1", _ENDS)),
        (lambda v: tuple(np.minimum(_interval(v), 1)), Wrong("it is cut off at 1", _ENDS)),
        (
            lambda v: tuple(round(end, 2) for end in _interval(v)),
            Wrong("the ends are rounded", "leave the numbers as they are."),
        ),
        (
            lambda v: tuple(100 * end for end in _interval(v)),
            Wrong("the ends are in percent", "in the unit of the values, as they come."),
        ),
        (
            lambda v: _interval(v)[::-1],
            Wrong("the upper end comes first", "return the lower end, then the upper one."),
        ),
    ),
)

# ------------------------------------------------------------------------------ 10.2 test_photos


_WANTED = (1.96 / 0.02) ** 2 * 0.9 * 0.1


def _is_count(answer: Any, photos: float) -> bool:
    """Rounded as any number; the right one also rounded up, for fewer photos would not do."""
    found = as_number(answer, "photos")
    also = (865, 870) if photos == 865 else ()
    exact = _WANTED if photos == 865 else photos
    return found is not None and (found in also or equals(found, float(exact)))


def _is_near(answer: Any) -> bool:
    found = as_number(answer, "photos")
    return found is not None and 840 < found < 890


test_photos = Value(
    number="10.2",
    name="test_photos",
    reference=865,
    same=_is_count,
    why="n = (1.96 / 0.02)² x 0.9 x 0.1 = 864.4. Half the interval costs four times the photos.",
    hints=(
        "set 1.96 √(p (1 - p) / n) equal to 0.02 and solve for n.",
        "square both sides; n comes to the other side. p is 0.9 here.",
    ),
    worked="guess = int(np.ceil((1.96 / 0.02) ** 2 * 0.9 * 0.1))",
    mistakes=(
        (
            lambda a: as_number(a, "photos") is None,
            Wrong("that is no number", "write one number of photos, such as 25."),
        ),
        (
            lambda a: (as_number(a, "photos") or 0) <= 0,
            Wrong("there are no tests of so few photos", "solve for n, the number below the root."),
        ),
        (2401, Wrong("that is for p = 0.5", "the accuracy is 0.9 here.")),
        (
            3457.44,
            Wrong("that is for one point to each side", "± 2 points: 0.02 to each side."),
        ),
        (216.09, Wrong("that is for ± 4 points", "± 2 points: 0.02 to each side.")),
        (225, Wrong("that is one standard error of 2 points", "95 %: 1.96.")),
        (900, Wrong("that is with 2 in place of 1.96", "take the 1.96 of the formula above.")),
        (9604, Wrong("the spread of one photo is missing", "p (1 - p) = 0.09 belongs in it.")),
        (29.4, Wrong("the square is missing", "n stands under a root.")),
        (608.86, Wrong("that is for 90 % of the time", "19 of 20 is 95 %: 1.96.")),
        (1493, Wrong("that is for 99 % of the time", "19 of 20 is 95 %: 1.96.")),
        (0.086436, Wrong("that is with points for shares", "two points are 0.02.")),
        (_is_near, Wrong("near, and not rounded as it should be", "round at the end only.")),
    ),
)

# ---------------------------------------------------------------------------- 10.3 photos_needed


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


def _by_interp(sizes: Sequence[float], accuracies: Sequence[float], target: float) -> float | None:
    """The same by NumPy: between the first size that is enough and the one before."""
    best = np.maximum.accumulate(accuracies)
    i = bisect.bisect_left(best.tolist(), target)
    if i in (0, len(sizes)):
        return None if i else float(sizes[0])
    pair = slice(i - 1, i + 1)
    return float(np.exp(np.interp(target, accuracies[pair], np.log(sizes[pair]))))


Curve = tuple[list[float], list[float], float]


def _shapes(draw: Draw, points: int) -> Iterator[list[float]]:
    """A curve that rises, one that dips, one that falls at its end, one that is level for a while."""
    steps = draw.uniform(0.03, 0.09, points).tolist()
    rising = [0.4 + sum(steps[: i + 1]) for i in range(points)]
    yield rising
    yield [rising[1], rising[0], *rising[2:]]
    yield [*rising[:-2], rising[-1], rising[-2]]
    yield [*rising[:2], rising[1], *rising[3:]]


def _curves(draw: Draw) -> Iterator[Curve]:
    """Curves over several sizes, and a single point; targets between, at, below and above the points."""
    for sizes in (
        [5.0, 10.0, 20.0, 50.0, 100.0, 200.0],
        [8.0, 40.0, 90.0],
        [2.0, 3.0, 300.0, 1000.0],
    ):
        for curve in _shapes(draw, len(sizes)):
            low, high = min(curve), max(curve)
            between = [low + share * (high - low) for share in (0.2, 0.55, draw.real(0.6, 0.99))]
            for target in (*between, low - 0.05, high + 0.01, curve[0], curve[1], high):
                yield sizes, curve, target
    yield [50.0], [0.8], 0.7
    yield [50.0], [0.8], 0.9


def _told(sizes: list[float], accuracies: list[float], target: float) -> str:
    shown = ", ".join(f"{s:g}: {a:.2f}" for s, a in zip(sizes, accuracies, strict=True))
    return f"for the curve {shown} and the target {target:.2f}"


def _nearly(answer: float | None, right: float | None) -> bool:
    """Within half a percent of the photos."""
    if answer is None or right is None:
        return answer is right
    return math.isclose(answer, right, rel_tol=5e-3) or (answer != answer and right != right)


def _crossing(how: Callable[[float, float, float], float]) -> Callable:
    """Right but between two sizes, where `how`(size before, size after, share) is taken."""

    def mistaken(sizes: list[float], accuracies: list[float], target: float) -> float | None:
        i = next((i for i, a in enumerate(accuracies) if a >= target), None)
        if not i:
            return None if i is None else sizes[0]
        before, after = accuracies[i - 1], accuracies[i]
        return how(sizes[i - 1], sizes[i], (target - before) / (after - before))

    return mistaken


def _else(
    never: Callable[[list[float]], float | None] = lambda sizes: None,
    first: Callable[[list[float]], float | None] = lambda sizes: sizes[0],
) -> Callable:
    """Right but where the curve never gets there, or is there at once."""

    def mistaken(sizes: list[float], accuracies: list[float], target: float) -> float | None:
        if accuracies[0] >= target:
            return first(sizes)
        found = _photos_needed(sizes, accuracies, target)
        return never(sizes) if found is None else found

    return mistaken


def _last(sizes: list[float], accuracies: list[float], target: float) -> float | None:
    """The last crossing in place of the first."""
    if accuracies[-1] < target:
        return None
    below = [i for i, a in enumerate(accuracies) if a < target]
    if not below:
        return sizes[0]
    pair = slice(below[-1], below[-1] + 2)
    return _photos_needed(sizes[pair], accuracies[pair], target)


def _rounded(sizes: list[float], accuracies: list[float], target: float) -> int | None:
    found = _photos_needed(sizes, accuracies, target)
    return None if found is None else round(found)


_NEVER = "where the curve never gets there, return None."

photos_needed = Formula(
    number="10.3",
    name="photos_needed",
    reference=_photos_needed,
    why="A straight line between two measured points of the plot, whose axis is logarithmic, read "
    "sideways. Where the curve does not get there, it says so and does not guess.",
    hints=(
        "find the first size that reaches the target; the crossing is between it and the one before.",
        "which share of the way up is the target? Go this share of the way from the one log(size) to the other.",
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
    gives=optional(number("return one number of photos.")),
    cases=_curves,
    second=_by_interp,
    agree=_nearly,
    describe=_told,
    mistakes=(
        (
            _crossing(lambda a, b, share: a + share * (b - a)),
            Wrong(
                "it goes straight from size to size",
                "the axis is logarithmic: interpolate log(photos), then take exp of it.",
            ),
        ),
        (
            _crossing(lambda a, b, share: math.log(a) + share * math.log(b / a)),
            Wrong("that is log(photos)", "take exp of it."),
        ),
        (
            _crossing(lambda a, b, share: b),
            Wrong("it is a measured size", "the crossing lies between two measured sizes."),
        ),
        (
            _crossing(lambda a, b, share: a),
            Wrong("it is the size before", "the crossing lies between two measured sizes."),
        ),
        (
            _crossing(lambda a, b, share: b * (a / b) ** share),
            Wrong("share and 1 - share are exchanged", "at share 0 stands the smaller size."),
        ),
        (_last, Wrong("it is the last crossing", "go from the left and stop at the first.")),
        (
            lambda s, a, target: None if target > a[-1] else _photos_needed(s, a, target),
            Wrong(
                "where the last accuracy is below the target, it answers None",
                "the curve may have been there before, and have fallen again.",
            ),
        ),
        (
            lambda s, a, target: _photos_needed(s, sorted(a), target),
            Wrong("it sorts the accuracies", "each belongs to its size: leave them in place."),
        ),
        (_rounded, Wrong("it is rounded", "leave the number as it is.")),
        (_else(lambda sizes: sizes[-1]), Wrong("it answers the largest size at most", _NEVER)),
        (_else(lambda sizes: math.inf), Wrong("it answers inf for never", _NEVER)),
        (_else(lambda sizes: math.nan), Wrong("it answers nan for never", _NEVER)),
        (_else(lambda sizes: 0.0), Wrong("it answers 0 for never", _NEVER)),
        (_else(lambda sizes: -1.0), Wrong("it answers -1 for never", _NEVER)),
        (
            _else(first=lambda sizes: None),
            Wrong("where the first size is enough, it answers None", "return the smallest size."),
        ),
        (
            _else(first=lambda sizes: 0.0),
            Wrong("where the first size is enough, it answers 0", "return the smallest size."),
        ),
        (
            lambda sizes, accuracies, target: float(
                np.exp(np.interp(target, accuracies, np.log(sizes)))
            ),
            Wrong(
                "np.interp has an answer for everything",
                "it wants a rising curve, and stays at its ends: look for the first crossing yourself.",
            ),
        ),
        (lambda *given: None, Wrong("it returns nothing", "return a number of photos.")),
    ),
)

# ------------------------------------------------------------------------------- 10.4 read_gains

read_gains = Choice(
    number="10.4",
    name="read_gains",
    reference="a, d",
    why="The interval of A lies above zero, that of D on both sides of it. B takes 'not shown to differ' "
    "for 'shown to be equal': the intervals reach several points to each side. In C all seeds share "
    "one test of 153 photos, and 0.7 points are a single one of them.",
    hints=(
        "for each sentence: where is zero, inside or outside of the interval? And what does the "
        "interval know nothing about?",
        "two sentences claim more than an interval can say: what would it take to show that two things are equal?",
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

# ----------------------------------------------------------------------------------- 10.5 honest

honest = Choice(
    number="10.5",
    name="honest",
    reference="b, d",
    why="B says how many seeds and how large the test was. D found the leak and mended it before "
    "training. A has chosen by the test, C has chosen by the very photos it reports.",
    hints=(
        "for each sentence: was anything chosen with the help of the photos that give the number?",
        "a choice may be of a seed, of an epoch, of a network. Go through each sentence: by which photos?",
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

# ------------------------------------------------------------------------------- 10.6 find_both

_BOTH = 0.6  # the share of each class that must be found
# Which class is rare, its photos and those of the other class.
_DRAWS = ((1, 5, 40), (0, 5, 40), (1, 8, 60), (0, 6, 50), (1, 5, 30), (0, 7, 60))


def _rare(seed: int, rare: int, few: int, many: int) -> tuple[np.ndarray, ...]:
    """Features and labels to train on, and of 400 others to judge by; drawn, 96 numbers each."""
    rng = np.random.default_rng(seed)
    spread = 1 / np.sqrt(1 + np.arange(96) / 8)
    way = rng.normal(size=96) * spread
    way *= 4 / np.linalg.norm(way / spread)

    def drawn(counts: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        y = rng.permutation(np.repeat([0, 1], counts))
        x = 3 + rng.normal(size=(len(y), 96)) * spread + (y[:, None] - 0.5) * way
        return x.astype(np.float32), y

    return *drawn([few if c == rare else many for c in (0, 1)]), *drawn([200, 200])


def _with_predict(value: Any) -> Any:
    """What has a `predict`, or `Unfit`."""
    if value is None:
        raise Unfit("your function returns nothing", "end it with `return probe(...)`.")
    if not callable(getattr(value, "predict", None)):
        raise Unfit(
            f"it returns {article(type(value).__name__)}, which has no predict",
            "return the fitted classifier itself, not what it predicts.",
        )
    return value


def _said(classifier: Any, x: np.ndarray) -> np.ndarray:
    """Its predictions, an array (photos,)."""
    try:
        said = np.asarray(classifier.predict(x.copy()))
    except Exception as err:
        raise Failed(
            Wrong(f"its predict stops with {type(err).__name__}: {err}", "is it fitted?")
        ) from err
    if said.shape != (len(x),):
        raise Failed(
            Wrong(
                f"its predict gives the shape {said.shape} for {len(x)} photos",
                "one label, 0 or 1, for each photo.",
            )
        )
    if not set(np.unique(said)) <= {0, 1}:
        raise Failed(Wrong("its predictions are not 0 and 1", "labels, not probabilities."))
    return said


def _judge_find_both(attempt: Callable) -> Wrong | None:
    found: dict[int, list[tuple[float, float]]] = {0: [], 1: []}
    for seed, (rare, few, many) in enumerate(_DRAWS):
        x, y, new, right = _rare(seed, rare, few, many)
        said = _said(attempt(x, y), new)
        recall = [float((said[right == c] == c).mean()) for c in (0, 1)]
        found[rare].append((recall[rare], recall[1 - rare]))
    for rare, recalls in found.items():
        of_rare, of_common = np.mean(recalls, 0)
        if min(of_rare, of_common) >= _BOTH:
            continue
        seen = (
            f"where class {rare} is rare, it finds {100 * of_rare:.0f} % of the rare class "
            f"and {100 * of_common:.0f} % of the common one"
        )
        if of_rare < _BOTH:
            hint = "the common class still outvotes the rare one: which of the ways helps more?"
            if np.mean(found[1 - rare], 0)[0] >= _BOTH:
                hint = "either class may be the rare one: count them, np.bincount(y)."
            return Wrong(seen, hint)
        return Wrong(seen, "that is too much of the cure: both classes count.")
    return None


def _find_both(x: np.ndarray, y: np.ndarray) -> Any:
    few = np.bincount(y).min()
    keep = np.concatenate([np.where(y == c)[0][:few] for c in (0, 1)])
    head = LogisticRegression(C=0.01, max_iter=300)
    return make_pipeline(StandardScaler(), head).fit(x[keep], y[keep])


find_both = Function(
    number="10.6",
    name="find_both",
    reference=_find_both,
    why="Both classes are found, at a price: the more of the rare one, the fewer of the common one. Which "
    "mistakes are dearer is not for the classifier to know. Only more photos of the rare class help both.",
    hints=(
        "print np.bincount(y): what happens if the head sees as many of the one class as of the other?",
        "keep `few` photos of each class and fit on these; or leave the photos and move the threshold of "
        "predict_proba towards the share of the rare class.",
    ),
    worked=(
        "def find_both(x, y):\n"
        "    few = np.bincount(y).min()\n"
        "    keep = np.concatenate([np.where(y == c)[0][:few] for c in (0, 1)])\n"
        "    return probe(x[keep], y[keep])"
    ),
    gives=_with_predict,
    judge=_judge_find_both,
)
