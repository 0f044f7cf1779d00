"""Small charts in a grid: each panel has its own curves and the common one, and all share axes and legend."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest

import ftcourse as ft


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


def test_each_panel_has_its_own_curves_and_the_common_one():
    xs = [1, 2, 3]
    fig = ft.plot_panels(
        {
            letter: {"training": (xs, [0.1 * k] * 3), "validation": (xs, [0.2 * k] * 3)}
            for k, letter in enumerate("ABCDE")
        },
        columns=3,
        everywhere={"sound": (xs, [0.5, 0.6, 0.7])},
        xlabel="epoch",
        percent="y",
        ylim=(0, 1),
    )
    assert [ax.get_title(loc="left") for ax in fig.axes] == [*"ABCDE", ""]
    for k, ax in enumerate(fig.axes[:5]):
        drawn = [line.get_ydata().tolist() for line in ax.lines]
        assert drawn == [[0.5, 0.6, 0.7], [0.1 * k] * 3, [0.2 * k] * 3]
        assert ax.get_ylim() == (0, 1)
    assert not fig.axes[5].axison
    (legend,) = fig.legends
    assert [text.get_text() for text in legend.get_texts()] == ["sound", "training", "validation"]


def test_a_panel_may_have_a_common_curve_of_its_own():
    fig = ft.plot_panels(
        {"A": {"training": [1, 2]}, "B": {"training": [1, 2], "sound": [5, 6]}},
        everywhere={"sound": [3, 4]},
    )
    drawn = [[line.get_ydata().tolist() for line in ax.lines] for ax in fig.axes]
    assert drawn == [[[3, 4], [1, 2]], [[5, 6], [1, 2]]]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["sound", "training"]


def test_a_name_has_one_colour_in_all_panels_and_there_must_be_a_panel():
    fig = ft.plot_panels({"A": {"training": [1, 2]}, "B": {"validation": [2], "training": [1, 2]}})
    left, right = fig.axes
    assert left.lines[0].get_color() == right.lines[1].get_color() != right.lines[0].get_color()
    with pytest.raises(ValueError, match="nothing to plot"):
        ft.plot_panels({})
