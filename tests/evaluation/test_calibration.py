"""A temperature is found that makes confidence and accuracy agree, and bins say how they agree."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ftcourse.evaluation.calibration import fit_temperature, reliability
from ftcourse.evaluation.measures import calibration_error

quick = settings(max_examples=40, deadline=None)


def drawn_from(logits: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Labels that follow the probabilities which these logits state."""
    generator = torch.Generator().manual_seed(seed)
    return torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)


@pytest.fixture
def honest():
    logits = 2 * torch.randn(4000, 5, generator=torch.Generator().manual_seed(1))
    return logits, drawn_from(logits)


@pytest.mark.parametrize("sharpened", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_how_much_logits_were_sharpened(honest, sharpened):
    logits, targets = honest
    assert fit_temperature(sharpened * logits, targets) == pytest.approx(sharpened, rel=0.05)


def test_the_temperature_lowers_loss_and_calibration_error_and_keeps_the_answers(honest):
    logits, targets = honest
    sharp = 3 * logits
    cooled = sharp / fit_temperature(sharp, targets)
    assert F.cross_entropy(cooled, targets) < F.cross_entropy(sharp, targets)
    before, after = (
        calibration_error(x.softmax(1).numpy(), targets.numpy()) for x in (sharp, cooled)
    )
    assert after < before / 3
    assert torch.equal(cooled.argmax(1), sharp.argmax(1))


def test_a_network_that_is_always_right_gets_a_temperature_far_below_one():
    assert 0.05 <= fit_temperature(4 * torch.eye(3), torch.arange(3)) < 0.2


@pytest.mark.parametrize(
    ("logits", "targets"),
    [
        (torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64)),
        (torch.tensor([[torch.nan, 0]]), torch.tensor([0])),
    ],
)
def test_no_photos_or_logits_that_are_not_finite_are_refused(logits, targets):
    with pytest.raises(ValueError, match="at least one photo and finite logits"):
        fit_temperature(logits, targets)


def test_reliability_puts_each_photo_into_the_bin_of_its_confidence():
    probabilities = torch.tensor([[0.95, 0.05], [0.94, 0.06], [0.4, 0.6], [1.0, 0.0]])
    rows = reliability(probabilities, torch.tensor([0, 1, 1, 0]), bins=10)
    assert [(r["low"], r["samples"]) for r in rows] == [(0.6, 1), (0.9, 3)]
    assert rows[1]["accuracy"] == pytest.approx(2 / 3)
    assert rows[1]["confidence"] == pytest.approx((0.95 + 0.94 + 1) / 3)


def test_the_temperature_is_searched_from_a_twentieth_to_twenty():
    answers = torch.eye(3) / 2  # right, and with so little room that the end of the search is best
    assert fit_temperature(answers, torch.arange(3)) == pytest.approx(0.05, rel=1e-3)
    always_wrong = torch.tensor([1, 2, 0])
    assert fit_temperature(answers, always_wrong) == pytest.approx(20, rel=1e-3)


def test_there_is_no_better_temperature_nearby(honest):
    logits, targets = honest
    found = fit_temperature(1.7 * logits, targets)

    def loss(t: float) -> float:
        return F.cross_entropy(1.7 * logits.double() / t, targets).item()

    assert loss(found) < min(loss(found * 0.999), loss(found * 1.001))


@quick
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 8), min_size=3, max_size=3), st.integers(0, 2)),
        min_size=1,
        max_size=30,
    ),
    st.integers(1, 20),
)
def test_the_rows_hold_each_photo_once_and_add_up_to_the_calibration_error(rows, bins):
    counts = torch.tensor([[c + 0.01 for c in row[0]] for row in rows], dtype=torch.float64)
    probabilities, targets = (
        counts / counts.sum(1, keepdim=True),
        torch.tensor([r[1] for r in rows]),
    )
    table = reliability(probabilities, targets, bins)
    assert sum(row["samples"] for row in table) == len(rows)
    for row in table:
        assert set(row) == {"low", "high", "samples", "confidence", "accuracy"}
        assert row["high"] - row["low"] == pytest.approx(1 / bins)
        assert row["low"] - 1e-9 <= row["confidence"] <= row["high"] + 1e-9
        assert row["low"] * bins == pytest.approx(round(row["low"] * bins))
    assert [row["low"] for row in table] == sorted({row["low"] for row in table})
    assert all(row["samples"] > 0 for row in table)
    gaps = sum(row["samples"] * abs(row["confidence"] - row["accuracy"]) for row in table)
    expected = calibration_error(probabilities.numpy(), targets.numpy(), bins)
    assert gaps / len(rows) == pytest.approx(expected)


def test_there_are_ten_bins_unless_asked():
    probabilities = torch.linspace(0.5, 1, 200).unsqueeze(1)
    probabilities, targets = torch.cat([probabilities, 1 - probabilities], 1), torch.zeros(200)
    assert reliability(probabilities, targets) == reliability(probabilities, targets, bins=10)
    assert reliability(probabilities, targets) != reliability(probabilities, targets, bins=11)
