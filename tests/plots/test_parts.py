"""The parts of a network in one picture, and the answers to several photos on one axis."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.colors import to_rgb

import ftcourse as ft
from ftcourse.plots import style

PHOTO = torch.zeros(3, 8, 12, dtype=torch.uint8)


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_parts_stand_in_the_order_in_which_a_photo_meets_them(theme, tmp_path):
    fig = ft.plot_parts(2048, tmp_path / "parts.png", theme=theme)
    (ax,) = fig.axes
    boxes = [text for text in ax.texts if text.get_text() and text.get_position()[1] == 0]
    names = [text.get_text() for text in sorted(boxes, key=lambda text: text.get_position()[0])]
    assert names == [
        "photo", "stem", "layer1", "layer2", "layer3", "layer4", "2,048\nfeatures", "head", "scores",
    ]  # fmt: skip
    assert (tmp_path / "parts.png").stat().st_size > 2000


def answers(**values: float) -> list[tuple[str, float]]:
    return list(values.items())


def test_bars_of_all_photos_share_an_axis_that_ends_at_the_longest():
    said = {"one": answers(cat=0.12, dog=0.05), "two": answers(dog=0.02, cat=0.01)}
    fig = ft.plot_answers({"one": PHOTO, "two": PHOTO}, said)
    beside = fig.axes[1::2]
    assert [ax.get_xlim() for ax in beside] == [(0, pytest.approx(1.16 * 0.12))] * 2
    assert [bar.get_width() for ax in beside for bar in ax.patches] == [0.12, 0.05, 0.02, 0.01]
    assert [text.get_text() for text in beside[0].texts] == ["12 %", "5.0 %"]
    assert beside[0].get_ylim()[0] > beside[0].get_ylim()[1], "the likeliest is on top"


def test_the_right_class_is_told_from_the_others_by_its_colour_and_by_its_type():
    fig = ft.plot_answers({"one": PHOTO}, {"one": answers(cat=0.5, dog=0.3)}, right={"one": "dog"})
    ax = fig.axes[1]
    blue, green = (to_rgb(style.LIGHT.colours[k]) for k in (0, 2))
    assert [bar.get_facecolor()[:3] for bar in ax.patches] == [blue, green]
    assert [label.get_fontweight() for label in ax.get_yticklabels()] == ["normal", "bold"]


def test_what_cannot_be_drawn_is_named():
    with pytest.raises(ValueError, match="no photos"):
        ft.plot_answers({}, {})
    with pytest.raises(ValueError, match="no answers for two"):
        ft.plot_answers({"one": PHOTO, "two": PHOTO}, {"one": answers(cat=1.0)})
