"""Two runs on the photos that both tested: the counts by hand, the interval by simulation, the words."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from ftcourse.cli import app
from ftcourse.evaluation.paired import mcnemar_exact, paired_difference
from ftcourse.reporting.compare import compare, summary


def a_run(folder, answers, source="photos"):
    """answers: {file: (true, predicted)}"""
    folder.mkdir()
    rows = [f"{file},test,{true},{said}" for file, (true, said) in answers.items()]
    text = "\n".join(["file,split,true,predicted", *rows, "v.png,val,a,a"])
    (folder / "predictions.csv").write_text(text + "\n")
    (folder / "report.json").write_text(json.dumps({"source": source}))
    return folder


def test_photos_are_paired_by_file_and_counted_by_hand(tmp_path):
    first = a_run(
        tmp_path / "x",
        {"1": ("a", "a"), "2": ("a", "a"), "3": ("b", "a"), "4": ("b", "b"), "5": ("a", "a")},
    )
    second = a_run(
        tmp_path / "y",
        {"4": ("b", "a"), "3": ("b", "b"), "2": ("a", "b"), "1": ("a", "a"), "6": ("a", "a")},
    )
    found = compare(first, second)
    assert found["photos"] == 4 and found["alone"] == [1, 1]
    cells = [found[k] for k in ("both", "only_first", "only_second", "neither")]
    assert cells == [1, 2, 1, 0] and found["accuracies"] == [0.75, 0.5]
    assert found["difference"] == 0.25 and found["p"] == mcnemar_exact(2, 1)
    assert any("The test photos differ: 1 are only" in note for note in found["notes"])
    assert "may be chance" in summary(found)


def test_a_clear_difference_names_the_better_run_on_either_side(tmp_path):
    good = a_run(tmp_path / "good", {str(i): ("a", "a") for i in range(20)})
    bad = a_run(tmp_path / "bad", {str(i): ("a", "b") for i in range(20)}, source="others")
    for pair in ((good, bad), (bad, good)):
        text = summary(compare(*pair))
        assert f"{good} is better by more than chance" in text and "paired by their names" in text
    assert compare(good, good)["p"] == 1.0 and compare(good, good)["difference"] == 0
    assert compare(good, good)["notes"] == []


def test_a_photo_of_two_labels_is_left_out_and_told(tmp_path):
    first = a_run(tmp_path / "x", {"1": ("a", "a"), "2": ("a", "a")})
    second = a_run(tmp_path / "y", {"1": ("a", "a"), "2": ("b", "b")})
    found = compare(first, second)
    assert found["photos"] == 1 and found["other_label"] == 1
    assert any("Under different classes" in note for note in found["notes"])


def test_runs_without_a_photo_in_common_are_refused(tmp_path):
    first, second = (a_run(tmp_path / n, {n: ("a", "a")}) for n in "xy")
    with pytest.raises(ValueError, match=r"no photo was tested in both \(1 and 1"):
        compare(first, second)


def test_mcnemars_p_by_hand():
    # of 5 photos that differ, 5 on one side: 2 (1/2)^5; 1 and 3: 2 (1 + 4) / 16
    assert mcnemar_exact(5, 0) == pytest.approx(2 / 32)
    assert mcnemar_exact(1, 3) == pytest.approx(10 / 16)
    assert mcnemar_exact(0, 0) == 1.0


def test_the_interval_is_that_of_a_worked_example():
    """Altman et al., Statistics with Confidence, 2000, page 52: 0.122, 0.011 to 0.226."""
    difference, interval = paired_difference(14, 5, 0, 22)
    assert difference == pytest.approx(0.122, abs=5e-4)
    assert interval == pytest.approx([0.011, 0.226], abs=6e-4)


def test_the_interval_turns_round_with_the_runs_and_stays_in_its_bounds():
    difference, (low, high) = paired_difference(20, 12, 2, 16)
    assert difference == pytest.approx(0.2) and (low, high) == pytest.approx(
        (0.0562, 0.3292), abs=5e-5
    )
    turned = paired_difference(20, 2, 12, 16)
    assert turned[0] == -difference and turned[1] == pytest.approx([-high, -low])
    for cells in ((10, 0, 0, 0), (0, 10, 0, 0), (0, 0, 0, 10), (5, 0, 0, 5)):
        value, (low, high) = paired_difference(*cells)
        assert -1 <= low <= value <= high <= 1
    assert paired_difference(10, 0, 0, 0)[1][0] < 0  # ten photos prove no equality


@pytest.mark.parametrize("shares", [(0.6, 0.15, 0.05, 0.2), (0.9, 0.05, 0.02, 0.03)])
def test_the_interval_holds_the_true_difference_in_95_of_100_draws(shares):
    drawn = np.random.default_rng(0).multinomial(60, shares, 400)
    truth = shares[1] - shares[2]
    intervals = [paired_difference(*map(int, cells))[1] for cells in drawn]
    assert 0.92 < np.mean([low <= truth <= high for low, high in intervals]) <= 0.995


def test_the_command_prints_the_comparison_and_json(tmp_path):
    first = a_run(tmp_path / "x", {str(i): ("a", "a") for i in range(8)})
    second = a_run(tmp_path / "y", {str(i): ("a", "ab"[i % 2]) for i in range(8)})
    printed = CliRunner().invoke(app, ["compare", str(first), str(second)])
    assert printed.exit_code == 0 and "p = 0.125" in printed.stdout
    as_json = CliRunner().invoke(app, ["compare", str(first), str(second), "--json"])
    assert json.loads(as_json.stdout) == compare(first, second)
    (tmp_path / "empty").mkdir()
    assert CliRunner().invoke(app, ["compare", str(first), str(tmp_path / "empty")]).exit_code == 2
