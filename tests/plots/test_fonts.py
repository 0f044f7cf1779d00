"""Names of any length and script, and any number of classes, on a picture: no letter is a box, no name a mess."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib import pyplot as plt

import ftcourse as ft
from ftcourse.plots import fonts
from ftcourse.plots.fonts import covering, short


def test_common_letters_need_no_other_font_and_stay_as_they_are():
    assert covering(["daisy", "Gänseblümchen", "роза"]) == (
        ["sans-serif"],
        ["daisy", "Gänseblümchen", "роза"],
    )


def test_a_letter_that_an_installed_font_has_is_drawn_with_that():
    families, (text,) = covering(
        ["\u20d2"]
    )  # in fonts that come with matplotlib, not in its first one
    assert text == "\u20d2" and len(families) == 2
    file = font_manager.findfont(font_manager.FontProperties(family=[families[1]]))
    assert "\u20d2" in fonts._letters(file)


def test_a_letter_that_no_font_has_is_a_number(monkeypatch):
    monkeypatch.setattr(fonts, "_families", lambda: [])
    assert covering(["猫 x"])[1] == [r"\u732b x"]


def test_names_are_wrapped_and_shortened():
    assert short(["daisy", "a very long name of a plant", "b" * 50]) == [
        "daisy",
        "a very long name\nof a plant",
        "b" * 16 + "\n" + "b" * 15 + "…",
    ]
    assert short([""]) == [""]


@pytest.mark.parametrize(
    "names",
    [["猫", "犬"], ["😀", "a$b"], ["Chrysanthemum leucanthemum", "Taraxacum officinale subsp."]],
)
def test_no_name_warns_or_leaves_its_picture(names, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fig = ft.plot_confusion([[5, 1], [2, 4]], names, path=tmp_path / "c.png")
        ft.show_images([np.zeros((3, 8, 8), np.uint8)] * 2, names, path=tmp_path / "i.png")
    boxes = [label.get_window_extent() for label in fig.axes[0].get_yticklabels()]
    assert all(box.x0 >= 0 for box in boxes)
    plt.close("all")


def test_of_many_classes_the_most_confused_are_drawn():
    n = 60
    matrix = np.eye(n, dtype=int) * 9
    matrix[7, 50] = matrix[31, 2] = 5
    fig = ft.plot_confusion(matrix, [f"c{i}" for i in range(n)])
    shown = [label.get_text() for label in fig.axes[0].get_yticklabels()]
    assert len(shown) == 20 and {"c7", "c50", "c31", "c2"} <= set(shown)
    assert shown == sorted(shown, key=lambda name: int(name[1:]))
    assert "20 most confused of 60" in fig.get_suptitle()
    forty = ft.plot_confusion(np.eye(40, dtype=int), [str(i) for i in range(40)])
    assert len(forty.axes[0].get_yticklabels()) == 40
    plt.close("all")
