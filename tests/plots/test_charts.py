"""Lines, bars, dots and points: each number stands where it belongs, and a name has one colour everywhere."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

import ftcourse as ft
from ftcourse.plots import style


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


def lines_of(ax) -> dict[str, object]:
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def test_a_curve_is_drawn_at_its_own_x_with_its_interval_and_its_star():
    xs, ys = [10, 20, 50], [0.5, 0.7, 0.8]
    fig = ft.plot_lines({"head": (xs, ys, [0.1, 0.2, 0.05])}, stars={"head": 20}, log="x")
    (ax,) = fig.axes
    assert lines_of(ax)["head"].get_xydata().tolist() == np.transpose([xs, ys]).tolist()
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(0.4) and band.max() == pytest.approx(0.9)
    star = next(line for line in ax.lines if line.get_marker() == "*")
    assert star.get_xydata().tolist() == [[20, 0.7]]
    assert ax.get_xscale() == "log"


@pytest.mark.parametrize("theme", [style.LIGHT, style.DARK])
def test_one_name_has_one_colour_in_every_chart_and_others_take_none_of_theirs(theme):
    t = theme.name
    seen = [
        lines_of(ft.plot_lines({"mine": [1], "training": [1], "validation": [2]}, theme=t).axes[0]),
        lines_of(ft.plot_lines({"validation": [1], "training": [2]}, theme=t).axes[0]),
    ]
    for name, role in (("training", 0), ("validation", 1)):
        assert {lines[name].get_color() for lines in seen} == {theme.colours[role]}
    assert seen[0]["mine"].get_color() not in theme.colours[:2]
    rows = [{"method": m, "per_class": 5, "mean": 0.5, "interval": 0.1} for m in ("all", "scratch")]
    ends = ft.plot_learning_curves(rows, theme=t).axes[0].texts
    assert {text.get_text(): text.get_color() for text in ends} == {
        "all": theme.colours[1],
        "scratch": theme.colours[6],
    }


def test_panels_share_their_axis_and_one_legend_names_all():
    fig = ft.plot_lines({"A": {"training": [1, 9]}, "B": {"validation": [2, 3]}})
    left, right = fig.axes
    assert left.get_ylim() == right.get_ylim() and left.get_ylim()[0] == 0
    names = [text.get_text() for text in right.get_legend().get_texts()]
    assert names == ["training", "validation"]
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["A", "B"]


def test_bars_begin_at_zero_stand_in_order_and_have_their_value_beside_them():
    (ax,) = ft.plot_bars({"first": 0.25, "second": -0.5}, percent=True).axes
    assert [bar.get_width() for bar in ax.patches] == [0.25, -0.5]
    assert [text.get_text() for text in ax.texts] == ["25 %", "-50 %"]
    assert [lab.get_text() for lab in ax.get_yticklabels()] == ["first", "second"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first is on top"


def test_a_group_that_lacks_a_series_leaves_its_place_free_and_the_legend_names_each_once():
    values = {"stem": {"weights": 1.0, "statistics": 2.0}, "head": {"statistics": 3.0}}
    (ax,) = ft.plot_bars(values).axes
    middles = [bar.get_y() + bar.get_height() / 2 for bar in ax.patches]
    assert middles[1] - 0 == pytest.approx(middles[2] - 1), "statistics at the same place in both"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["weights", "statistics"]


def test_differences_are_painted_by_their_sign():
    values = {"better": [1, 2], "worse": [-1, -2], "neither": [-1, 2], "by interval": [-1, 4]}
    (ax,) = ft.plot_dots(values, by_sign=True, intervals={"by interval": (0.5, 2.5)}).axes
    diamonds = [line for line in ax.lines if line.get_marker() == "D"]
    green, red, grey = style.LIGHT.colours[2], style.LIGHT.colours[1], style.LIGHT.muted
    assert [to_rgb(d.get_color()) for d in diamonds] == [
        to_rgb(c) for c in (green, red, grey, green)
    ]
    assert [d.get_xdata()[0] for d in diamonds] == [1.5, -1.5, 0.5, 1.5]


def test_what_cannot_be_drawn_is_named():
    for chart in (ft.plot_lines, ft.plot_bars, ft.plot_dots, ft.plot_points):
        with pytest.raises(ValueError, match="nothing to plot"):
            chart({})
    with pytest.raises(ValueError, match="no runs of b"):
        ft.plot_dots({"a": [1], "b": []})
    with pytest.raises(ValueError, match="mine: 2 and 3 values"):
        ft.plot_lines({"mine": ([1, 2], [1, 2, 3])})
    with pytest.raises(ValueError, match="mine: 2 and 3 values"):
        ft.plot_points({"mine": ([1, 2], [1, 2, 3])})
