"""Curves with whiskers: each stands at its value, a little apart from the others at the same x."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

import ftcourse as ft

XS = [5, 10, 20]
CURVES = {
    "linear probe": (XS, [0.7, 0.8, 0.9], [0.1, 0.05, 0.02]),
    "all": (XS, [0.6, 0.8, 0.95], [0.2, 0.1, 0.01]),
    "mine": ([10], [0.75]),
}


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


@pytest.mark.parametrize("log", ["", "x"])
def test_whiskers_reach_the_ends_of_the_intervals_and_stand_side_by_side(log):
    (ax,) = ft.plot_intervals(CURVES, log=log).axes
    for bars, (_, ys, half) in zip(ax.containers, list(CURVES.values())[:2], strict=False):
        line, _, (whiskers,) = bars
        assert line.get_ydata().tolist() == ys
        assert np.abs(np.divide(line.get_xdata(), XS) - 1).max() < 0.1
        ends = np.array([segment[:, 1] for segment in whiskers.get_segments()])
        assert ends == pytest.approx(np.stack([np.subtract(ys, half), np.add(ys, half)], 1))
    first, second = (bars[0].get_xdata() for bars in ax.containers[:2])
    assert (first < second).all()
    assert len(ax.containers[2][0].get_xdata()) == 1


def test_panels_share_names_and_colours_and_have_one_legend():
    fig = ft.plot_intervals({"a": CURVES, "b": {"all": CURVES["all"]}}, levels={"none": 0.5})
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["a", "b"]
    colours = [ax.containers[k][0].get_color() for ax, k in zip(fig.axes, (1, 0), strict=True)]
    assert colours[0] == colours[1]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == list(CURVES)


def test_parts_that_differ_in_length_are_refused():
    with pytest.raises(ValueError, match="nothing to plot"):
        ft.plot_intervals({})
    with pytest.raises(ValueError, match="mine: 1 and 2"):
        ft.plot_intervals({"mine": ([1], [1, 2])})
