"""Runs side by side: each curve stands in its run's column, loss above and accuracy below."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest

import ftcourse as ft

NAMES = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
RUNS = {
    run: {name: [k + 0.1 * i, k + 0.2 * i, k + 0.05] for i, name in enumerate(NAMES)}
    for k, run in enumerate(("A", "B", "C"))
}


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


def test_each_curve_stands_in_its_column_from_epoch_one():
    fig = ft.plot_runs(RUNS)
    assert len(fig.axes) == 6
    for column, (run, curves) in enumerate(RUNS.items()):
        above, below = fig.axes[column], fig.axes[3 + column]
        assert above.get_title(loc="left") == run
        for ax, what in ((above, "loss"), (below, "accuracy")):
            lines = {line.get_label(): line for line in ax.lines}
            for split, short in (("training", "train"), ("validation", "val")):
                expected = [[i + 1, v] for i, v in enumerate(curves[f"{short}_{what}"])]
                assert lines[split].get_xydata().tolist() == expected


def test_training_and_validation_have_the_colours_of_all_other_charts():
    runs = ft.plot_runs(RUNS).axes[0].lines
    lines = ft.plot_lines({"training": [1, 2], "validation": [1, 2]}).axes[0].lines
    assert [a.get_color() for a in runs] == [a.get_color() for a in lines]


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match="no runs"):
        ft.plot_runs({})
    with pytest.raises(ValueError, match="B has no val_loss; it has train_loss"):
        ft.plot_runs({"B": {"train_loss": [1.0]}})
