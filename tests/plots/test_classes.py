"""Scores by class: the classes in order, the bars as high as the scores, each method in its colour."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.colors import to_hex

from ftcourse.plots import plot_class_scores, plot_masks, theme_of
from ftcourse.plots.images import NO_TRUTH, overlay

SCORES = {"from scratch": {"pole": 0.0, "sky": 0.7}, "all layers": {"pole": 0.1, "sky": 0.9}}


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_classes_stand_from_best_to_worst_with_a_bar_for_each_method(theme, tmp_path):
    fig = plot_class_scores(SCORES, tmp_path / "bars.png", theme=theme)
    ax, t = fig.axes[0], theme_of(theme)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["sky", "pole"]
    assert [bar.get_height() for bar in ax.patches] == [0.7, 0.0, 0.9, 0.1]
    colours = [to_hex(bar.get_facecolor()).upper() for bar in ax.patches[::2]]
    assert colours == [t.colours[6].upper(), t.colours[1].upper()]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(SCORES)
    assert (tmp_path / "bars.png").stat().st_size > 2000


@pytest.mark.parametrize(
    ("scores", "words"),
    [({}, "no scores"), ({"a": {"x": 1}, "b": {"y": 1}}, "a has other classes than b")],
)
def test_scores_that_cannot_be_drawn_are_refused(scores, words):
    with pytest.raises(ValueError, match=words):
        plot_class_scores(scores)


def test_pixels_without_a_truth_are_grey_and_named():
    photo, mask = torch.rand(3, 4, 4), torch.zeros(4, 4, dtype=torch.int64)
    mask[0], mask[1] = 255, 1
    painted = overlay(photo, mask)
    assert {to_hex(c).upper() for c in painted[0]} == {NO_TRUTH}
    assert to_hex(painted[1, 0]).upper() != NO_TRUTH
    fig = plot_masks([photo], [mask], ["background", "ants"])
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["ants", "no truth"]
