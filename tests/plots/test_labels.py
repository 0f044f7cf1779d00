"""Labels of boxes: none covers another, none leaves its photo, each stays at its box."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.colors import to_hex

import ftcourse as ft
from ftcourse.plots import theme_of

NAMES = ("background", "ants", "bees")
PHOTO = torch.zeros(3, 96, 96, dtype=torch.uint8)


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


def labels_of(ax, fig):
    """The areas of the labels, with their backgrounds, as they are drawn."""
    fig.canvas.draw()
    return [text.get_bbox_patch().get_window_extent() for text in ax.texts]


def shared(a, b) -> float:
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return max(0, width) * max(0, height)


def heap(corner, n=5):
    """Boxes that lie nearly on one another."""
    left, top = corner
    return [[left + k, top + k, min(96, left + 30 + k), min(96, top + 30 + k)] for k in range(n)]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("corner", [(30, 30), (0, 0), (66, 0), (0, 66), (66, 66)])
def test_labels_of_overlapping_boxes_do_not_cover_each_other_and_stay_on_the_photo(theme, corner):
    boxes = torch.tensor(heap(corner), dtype=torch.float32)
    target = {
        "boxes": boxes,
        "labels": torch.tensor([1, 2, 1, 2, 1]),
        "scores": torch.full((5,), 0.9),
    }
    fig = ft.plot_boxes([PHOTO] * 4, [target] * 4, NAMES, theme=theme)
    for ax in fig.axes[:4]:
        areas = labels_of(ax, fig)
        assert len(areas) == 5
        for i, a in enumerate(areas):
            assert all(shared(a, b) < 1 for b in areas[:i])
            inside = ax.get_window_extent()
            assert inside.x0 - 3 < a.x0 and a.x1 < inside.x1 + 3
            assert inside.y0 - 3 < a.y0 and a.y1 < inside.y1 + 3


def test_a_box_alone_has_its_label_right_above_it():
    target = {"boxes": torch.tensor([[20.0, 40, 60, 80]]), "labels": torch.tensor([2])}
    fig = ft.plot_boxes([PHOTO], [target], NAMES)
    (area,), ax = labels_of(fig.axes[0], fig), fig.axes[0]
    left, top = ax.transData.transform((20, 40))
    assert abs(area.x0 - left) < 3 and 0 <= area.y0 - top < 4
    assert ax.texts[0].get_text() == "bees"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_label_has_the_colour_of_its_box_and_boxes_below_the_threshold_have_none(theme):
    target = {
        "boxes": torch.tensor([[5.0, 20, 40, 60], [50, 20, 90, 60]]), "labels": torch.tensor([2, 1]),
        "scores": torch.tensor([0.8, 0.3]),
    }  # fmt: skip
    fig = ft.plot_boxes([PHOTO], [target], NAMES, theme=theme)
    (label,) = fig.axes[0].texts
    frame = to_hex(label.get_bbox_patch().get_edgecolor()).upper()
    assert label.get_text() == "bees 80 %" and frame == theme_of(theme).colours[1]


def test_labels_keep_their_places_at_another_dpi():
    target = {
        "boxes": torch.tensor(heap((30, 30)), dtype=torch.float32),
        "labels": torch.ones(5).long(),
    }
    fig = ft.plot_boxes([PHOTO], [target], NAMES)
    fig.set_dpi(200)
    areas = labels_of(fig.axes[0], fig)
    assert all(shared(a, b) < 2 for i, a in enumerate(areas) for b in areas[:i])
