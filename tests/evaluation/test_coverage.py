"""Leaving doubtful answers out, by hand; Wilson's interval; when a temperature is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ftcourse.evaluation.calibration import fit_temperature, temperature_of
from ftcourse.evaluation.coverage import coverage
from ftcourse.evaluation.measures import wilson_interval


def test_what_is_left_is_counted_by_hand():
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8]])
    targets = np.array([0, 1, 1, 0])  # right, wrong, right, wrong
    first, second, third, last = coverage(p, targets, [0.0, 0.7, 0.85, 0.95])
    assert (first["answered"], first["coverage"], first["accuracy"]) == (4, 1.0, 0.5)
    assert (second["answered"], second["accuracy"]) == (3, pytest.approx(2 / 3))
    assert (third["answered"], third["coverage"], third["accuracy"]) == (1, 0.25, 1.0)
    assert last["answered"] == 0 and last["accuracy"] is None and last["accuracy_interval"] is None
    assert second["accuracy_interval"] == wilson_interval(2, 3)


@pytest.mark.parametrize(("hits", "n"), [(0, 12), (12, 12), (7, 12), (450, 500)])
def test_wilsons_interval_is_that_of_the_score_test(hits, n):
    """Its ends are the shares p that |hits/n - p| = z sqrt(p (1 - p) / n) holds for: solved here for p."""
    z, share = 1.959963984540054, hits / n
    roots = np.sort(np.roots([1 + z**2 / n, -(2 * share + z**2 / n), share**2]).real)
    assert wilson_interval(hits, n) == pytest.approx(roots.tolist(), abs=1e-9)


def noisy(n, seed=0):
    """Logits that are twice too large for how often they are right."""
    g = torch.Generator().manual_seed(seed)
    logits = 2.5 * torch.randn(n, 4, generator=g)
    targets = torch.multinomial(logits.softmax(1), 1, generator=g)[:, 0]
    return 2 * logits, targets


def test_a_temperature_is_kept_where_there_are_photos_enough_and_said():
    logits, targets = noisy(400)
    t, said = temperature_of(logits, targets)
    assert t == fit_temperature(logits, targets) and 1.5 < t < 2.6
    assert f"temperature of {t:.2f}" in said and "400 validation photos" in said
    assert "less sure" in said and "more sure" in temperature_of(logits / 4, targets)[1]


def test_few_photos_or_few_mistakes_leave_it_at_1_and_say_how_few():
    logits, targets = noisy(49)
    assert temperature_of(logits, targets)[0] == 1.0
    assert "49 photos" in temperature_of(logits, targets)[1]
    logits, _ = noisy(400)
    right = logits.argmax(1)
    right[:4] = (right[:4] + 1) % 4
    t, said = temperature_of(logits, right)
    assert t == 1.0 and "400 photos, 4 of them wrong" in said
    right[4] = (right[4] + 1) % 4
    assert temperature_of(logits, right)[0] != 1.0
