"""The measures are those of scikit-learn or of a loop over photos, for any answers."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from ftcourse.evaluation import measures

quick = settings(max_examples=40, deadline=None)
CLASSES = 4
answers = st.lists(
    st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=40
).map(lambda pairs: tuple(np.array(column) for column in zip(*pairs, strict=True)))


def some_answers(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True classes, and the answers of a good and of a worse classifier."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, CLASSES, n)
    good, worse = (
        np.where(rng.random(n) < share, truth, rng.integers(0, CLASSES, n)) for share in (0.7, 0.3)
    )
    return truth, good, worse


@quick
@given(answers)
def test_the_confusion_matrix_has_true_classes_as_rows(pair):
    truth, said = pair
    found = measures.confusion_matrix(truth, said, CLASSES)
    assert found.dtype == np.int64
    assert (found == metrics.confusion_matrix(truth, said, labels=range(CLASSES))).all()


@quick
@given(answers)
def test_each_class_has_the_numbers_of_scikit_learn_or_none_where_they_divide_by_zero(pair):
    truth, said = pair
    names = list("abcd")
    rows = measures.per_class(measures.confusion_matrix(truth, said, CLASSES), names)
    columns = metrics.precision_recall_fscore_support(
        truth, said, labels=range(CLASSES), zero_division=0
    )
    assert [row["class"] for row in rows] == names
    for row, precision, recall, f1, support in zip(rows, *columns, strict=True):
        i = names.index(row["class"])
        assert set(row) == {"class", "precision", "recall", "f1", "support"}
        assert row["support"] == support and isinstance(row["support"], int)
        assert row["precision"] == (pytest.approx(precision) if (said == i).any() else None)
        assert row["recall"] == (pytest.approx(recall) if support else None)
        assert row["f1"] == (pytest.approx(f1) if support else None)
        assert all(type(row[key]) in (float, type(None)) for key in ("precision", "recall", "f1"))


@quick
@given(answers)
def test_macro_f1_is_the_mean_over_the_classes_that_have_photos(pair):
    truth, said = pair
    confusion = measures.confusion_matrix(truth, said, CLASSES)
    expected = metrics.f1_score(
        truth, said, labels=np.unique(truth), average="macro", zero_division=0
    )
    assert measures.macro_f1(confusion) == pytest.approx(expected)


@quick
@given(answers, st.integers(0, 9))
def test_the_macro_f1_of_weights_is_that_of_photos_repeated_so_often(pair, seed):
    truth, said = pair
    weights = np.random.default_rng(seed).integers(0, 4, len(truth))
    weights[0] += 1  # one photo at least
    expected = measures.macro_f1(
        measures.confusion_matrix(np.repeat(truth, weights), np.repeat(said, weights), CLASSES)
    )
    found = measures._macro_f1_of_weights(truth, said)(weights[None].astype(float))
    assert found == pytest.approx([expected])


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_intervals_are_percentiles_of_the_measures_of_photos_drawn_with_replacement(level):
    truth, said, other = some_answers(50)
    said[:3] = CLASSES  # a class that no photo has
    found = measures.bootstrap_intervals(truth, said, other, seed=7, resamples=300, level=level)
    drawn = np.random.default_rng(7).integers(0, 50, (300, 50))
    values = {
        "accuracy": [(truth[i] == said[i]).mean() for i in drawn],
        "macro_f1": [
            metrics.f1_score(truth[i], said[i], labels=np.unique(truth[i]), average="macro")
            for i in drawn
        ],
        "gain": [(truth[i] == said[i]).mean() - (truth[i] == other[i]).mean() for i in drawn],
    }
    assert list(found) == list(values)
    for name, of_resamples in values.items():
        ends = np.quantile(of_resamples, [(1 - level) / 2, (1 + level) / 2])
        assert found[name] == pytest.approx(ends.tolist()), name


def test_without_another_classifier_there_is_no_gain():
    truth, said, other = some_answers(30)
    alone = measures.bootstrap_intervals(truth, said)
    both = measures.bootstrap_intervals(truth, said, other)
    assert alone == {name: both[name] for name in ("accuracy", "macro_f1")}


def test_an_interval_is_of_2000_resamples_at_95_percent_from_seed_0_unless_asked():
    truth, said, _ = some_answers(40)
    plain = {"seed": 0, "resamples": 2000, "level": 0.95}
    found = measures.bootstrap_intervals(truth, said)
    assert found == measures.bootstrap_intervals(truth, said, **plain)
    for change in ({"seed": 1}, {"resamples": 2001}, {"level": 0.9}):
        assert found != measures.bootstrap_intervals(truth, said, **plain | change)


def test_blocks_of_resamples_change_nothing():
    truth, said, _ = some_answers(3000)  # a block has 1333 of the 2000
    drawn = np.random.default_rng(5).integers(0, 3000, (2000, 3000))
    ends = np.percentile((truth == said)[drawn].mean(1), [2.5, 97.5])
    found = measures.bootstrap_intervals(truth, said, seed=5)["accuracy"]
    assert found == pytest.approx(ends.tolist())


def test_many_photos_are_resampled_in_blocks_of_bounded_memory():
    truth, said, other = some_answers(20_000)
    tracemalloc.start()
    try:
        found = measures.bootstrap_intervals(truth, said, other)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 400e6  # all weights at once, and what is drawn for them, would take 960 MB
    # the normal distribution agrees for so many photos
    for name, value in (
        ("accuracy", truth == said),
        ("gain", (truth == said).astype(float) - (truth == other)),
    ):
        half = 1.96 * value.std() / np.sqrt(len(truth))
        expected = [value.mean() - half, value.mean() + half]
        assert found[name] == pytest.approx(expected, abs=0.15 * half)


def calibration_error_by_photo(probabilities: np.ndarray, targets: np.ndarray, bins: int) -> float:
    """As in the paper: over the bins, share of photos x |accuracy - confidence|."""
    confidence = [max(row) for row in probabilities]
    right = [int(np.argmax(row)) == t for row, t in zip(probabilities, targets, strict=True)]
    error = 0.0
    for k in range(bins):
        last = k == bins - 1
        here = [i for i, c in enumerate(confidence) if k <= c * bins < k + 1 or (last and c == 1)]
        if here:
            accuracy = sum(right[i] for i in here) / len(here)
            mean = sum(confidence[i] for i in here) / len(here)
            error += len(here) / len(targets) * abs(accuracy - mean)
    return error


@quick
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 8), min_size=3, max_size=3), st.integers(0, 2)),
        min_size=1,
        max_size=30,
    ).map(lambda rows: [row for row in rows if sum(row[0])] or [([0, 0, 1], 1)]),
    st.integers(1, 20),
)
def test_the_calibration_error_is_that_of_the_paper_also_for_a_network_that_is_certain(rows, bins):
    counts = np.array([row[0] for row in rows], dtype=float)
    probabilities = counts / counts.sum(1, keepdims=True)
    targets = np.array([row[1] for row in rows])
    found = measures.calibration_error(probabilities, targets, bins)
    assert type(found) is float
    assert found == pytest.approx(calibration_error_by_photo(probabilities, targets, bins))


def test_a_network_that_is_certain_falls_into_the_last_bin_with_others():
    probabilities = np.array([[1.0, 0.0], [0.95, 0.05]])
    found = measures.calibration_error(probabilities, np.array([1, 0]), bins=10)
    assert found == pytest.approx(abs(0.5 - 0.975))


def test_the_calibration_error_has_15_bins_unless_asked():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(3), 200)
    targets = rng.integers(0, 3, 200)
    expected = calibration_error_by_photo(probabilities, targets, 15)
    assert measures.calibration_error(probabilities, targets) == pytest.approx(expected)
    assert measures.calibration_error(probabilities, targets, 16) != pytest.approx(expected)
