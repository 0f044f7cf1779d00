"""The places of a detector's maps: one panel a map, a dot in the colour of the class it answers for."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.colors import to_hex

from ftcourse.plots import plot_places, theme_of
from ftcourse.tasks.places import Places

TARGET = {"boxes": torch.tensor([[1.0, 1, 5, 5]]), "labels": torch.tensor([2])}
PLACES = Places(
    points=torch.tensor([[0.0, 0], [4, 4], [0, 4], [4, 0]]), maps=torch.tensor([0, 0, 1, 1]),
    sizes=[(1, 2), (1, 2)], box=torch.tensor([-1, 0, -1, -1]), distances=torch.full((4, 4), torch.nan),
    centreness=torch.tensor([torch.nan, 0.5, torch.nan, torch.nan]),
)  # fmt: skip


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_each_map_has_a_panel_with_the_places_that_answer_in_the_colour_of_the_class(
    theme, tmp_path
):
    photo = torch.zeros(3, 8, 8, dtype=torch.uint8)
    fig = plot_places(
        photo, TARGET, ("background", "ants", "bees"), PLACES, tmp_path / "p.png", theme=theme
    )
    assert [ax.get_title() for ax in fig.axes[:2]] == ["1 x 2: 1 of 2", "1 x 2: 0 of 2"]
    (dots,), (none,) = (ax.collections for ax in fig.axes[:2])
    assert dots.get_offsets().tolist() == [[4, 4]] and len(none.get_offsets()) == 0
    assert to_hex(dots.get_facecolor()[0]).upper() == theme_of(theme).colours[1]
    assert (tmp_path / "p.png").stat().st_size > 2000
    plt.close("all")
