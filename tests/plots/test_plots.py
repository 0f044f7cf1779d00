"""Pictures: they show what they are given, on either paper, and leave matplotlib as they found it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import ftcourse as ft
from ftcourse.evaluation.landscape import Landscape
from ftcourse.plots import style, theme_of
from ftcourse.plots.images import overlay, pixels
from ftcourse.plots.training import learning_rates
from ftcourse.training.lr_finder import LRFinder

CLASSES = ("left", "right")


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


def a_history() -> ft.History:
    stages = [
        ft.Stage(train="head", epochs=2, lr=1e-2),
        ft.Stage(train="layer4", epochs=3, lr=1e-3, head_lr=5e-3, layer_decay=0.5),
    ]
    rows = [
        {
            "epoch": e + 1, "stage": 1 + (e >= 2), "train": "head" if e < 2 else "layer4", "lr": 1e-3,
            "train_loss": 1 / (e + 1), "val_loss": 1.2 / (e + 1), "train_accuracy": 0.5 + 0.1 * e,
            "val_accuracy": 0.5 + 0.08 * e, "seconds": 1.0,
        }
        for e in range(4)
    ]  # fmt: skip
    return ft.History(rows, [s.to_dict() for s in stages], best=rows[3])


def photos(n: int = 3) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (3, 24, 24), dtype=torch.uint8, generator=g) for _ in range(n)]


def a_mask() -> torch.Tensor:
    mask = torch.zeros(24, 24, dtype=torch.int64)
    mask[4:12, 4:12], mask[14:20, 14:20] = 1, 2
    return mask


ROWS = [
    {"method": m, "per_class": n, "mean": 0.5 + 0.002 * n + 0.1 * k, "interval95": 0.03}
    for k, m in enumerate(("scratch", "full"))
    for n in (10, 50)
]
BOXES = {"boxes": torch.tensor([[2.0, 3, 12, 14]]), "labels": torch.tensor([1])}
LINE = Landscape(["a", "b"], np.linspace(0, 1, 5), np.arange(5.0), np.ones(5))
GRID = np.linspace(0, 1, 4)
PLANE = Landscape(
    ["a", "b", "c"], GRID, np.add.outer(GRID, GRID), np.ones((4, 4)), GRID, [(0, 0), (1, 0), (0.3, 1)]
)  # fmt: skip
PLOTS = {
    "history": lambda tiny, **k: ft.plot_history(a_history(), **k),
    "confusion": lambda tiny, **k: ft.plot_confusion([[5, 1], [2, 4]], CLASSES, **k),
    "images": lambda tiny, **k: ft.show_images(photos(), ["a", "b", "c"], **k),
    "filters": lambda tiny, **k: ft.plot_filters(tiny, **k),
    "feature maps": lambda tiny, **k: ft.plot_feature_maps(tiny, torch.rand(3, 32, 32), count=3, **k),
    "grad-cam": lambda tiny, **k: ft.plot_grad_cam(photos(), torch.rand(3, 8, 8), list("abc"), **k),
    "lr finder": lambda tiny, **k: ft.plot_lr_finder(
        LRFinder([1e-4, 1e-3, 1e-2], [2.0, 1.0, 3.0], [2.0, 1.5, 2.5], 1e-4), **k
    ),
    "landscape, a line": lambda tiny, **k: ft.plot_landscape(LINE, **k),
    "landscape, a plane": lambda tiny, **k: ft.plot_landscape(PLANE, **k),
    "learning curves": lambda tiny, **k: ft.plot_learning_curves(ROWS, chance=0.5, **k),
    "reliability": lambda tiny, **k: ft.plot_reliability(torch.eye(2)[[0, 1, 1]], [0, 1, 0], **k),
    "masks": lambda tiny, **k: ft.plot_masks(
        photos(2), [a_mask(), a_mask()], ("background", *CLASSES), predicted=[a_mask()] * 2, **k
    ),
    "boxes": lambda tiny, **k: ft.plot_boxes(photos(1), [BOXES], ("background", *CLASSES), **k),
    "embeddings": lambda tiny, **k: ft.plot_embeddings(
        {"before": torch.rand(9, 5), "after": torch.rand(9, 4)}, [0, 1, 0] * 3, CLASSES, **k
    ),
    "lines": lambda tiny, **k: ft.plot_lines(
        {"training": [3, 2, 1.0], "other": ([1, 2, 4], [1, 2, 3], [0.1, 0.2, 0.3])}, log="x", xticks=[1, 2, 4],
        levels={"guessing": 0.5}, moments={"thawed": 1.5}, stars={"other": 2}, title="Loss", **k
    ),
    "panels of lines": lambda tiny, **k: ft.plot_lines(
        {"loss": {"training": [3, 2.0]}, "accuracy": {"validation": [0.5, 0.6]}}, percent="y", title="Run", **k
    ),
    "bars": lambda tiny, **k: ft.plot_bars({"a": 0.1, "b": -0.2}, percent=True, levels={"none": 0}, **k),
    "groups of bars": lambda tiny, **k: ft.plot_bars(
        {"stem": {"weights": 1, "statistics": 2}, "head": {"statistics": 3}}, title="Moved", **k
    ),
    "dots": lambda tiny, **k: ft.plot_dots({"a": [1, 2, 3], "b": 1}, intervals={"a": (1.5, 2.5)}, log=True, **k),
    "attention": lambda tiny, **k: ft.plot_attention(
        {"one head": torch.eye(3), "another": torch.eye(3)}, ("one", "two", "three"), **k
    ),
    "low rank": lambda tiny, **k: ft.plot_low_rank(40, 60, 4, **k),
    "points": lambda tiny, **k: ft.plot_points({"a": ([1, 2], [2, 3]), "b": (1, 1)}, diagonal=True, **k),
}  # fmt: skip


@pytest.mark.parametrize("name", PLOTS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_each_plot_returns_a_figure_writes_a_file_and_leaves_the_settings(
    name, theme, tiny, tmp_path
):
    before = dict(matplotlib.rcParams)
    mine = plt.figure()
    fig = PLOTS[name](tiny, path=tmp_path / "deep" / "plot.png", theme=theme)
    assert isinstance(fig, Figure) and fig.axes
    assert (tmp_path / "deep" / "plot.png").stat().st_size > 2000
    assert dict(matplotlib.rcParams) == before
    assert plt.fignum_exists(mine.number) and plt.fignum_exists(fig.number)
    assert to_rgb(fig.get_facecolor()) == pytest.approx(to_rgb(theme_of(theme).paper))


def test_ticks_made_after_the_plot_returned_have_the_colours_of_the_theme():
    fig = PLOTS["history"](None, theme="dark")
    fig.set_size_inches(16, 8)
    fig.draw_without_rendering()
    for ax in fig.axes:
        labels = ax.get_xticklabels() + ax.get_yticklabels()
        assert {lab.get_color() for lab in labels} == {style.DARK.ink}


def test_the_environment_chooses_the_theme_and_an_unknown_one_is_named(monkeypatch):
    monkeypatch.setenv("FTCOURSE_THEME", "dark")
    assert theme_of() is style.DARK
    assert theme_of("light") is style.LIGHT
    with pytest.raises(ValueError, match="'neon'; use 'light' or 'dark'"):
        theme_of("neon")


def _luminance(colour: str) -> float:
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@pytest.mark.parametrize("t", [style.LIGHT, style.DARK], ids=lambda t: t.name)
def test_text_and_the_first_series_stand_out_from_the_paper(t):
    def contrast(colour):
        high, low = sorted((_luminance(colour), _luminance(t.paper)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    assert contrast(t.ink) > 7 and contrast(t.muted) > 4.5  # WCAG's AAA and AA for text
    assert all(contrast(colour) > 3 for colour in t.colours[:3])  # and for graphics


def test_a_notebook_shows_a_figure_once(monkeypatch):
    shown = []
    display = pytest.importorskip("IPython.display")
    monkeypatch.setattr(display, "display", lambda data, raw: shown.append(data))
    fig = PLOTS["confusion"](None)
    fig._ipython_display_()
    assert set(shown[0]) == {"image/png", "text/plain"} and "<Figure size" in shown[0]["text/plain"]
    assert not plt.fignum_exists(fig.number)  # so the end of the cell shows it no second time


# -- what the pictures say ---------------------------------------------------------------------


def test_a_history_shows_loss_accuracy_and_rates_with_the_kept_epoch():
    fig = ft.plot_history(a_history())
    assert [ax.get_title("left") for ax in fig.axes] == ["Loss", "Accuracy", "Learning rate"]
    stars = [line for line in fig.axes[1].lines if line.get_marker() == "*"]
    assert [line.get_xydata().tolist() for line in stars] == [[[4, pytest.approx(0.74)]]]
    words = {text.get_text() for text in fig.axes[0].texts}
    assert words == {"head", "layer4"}


def test_a_history_of_no_epoch_is_refused_and_one_without_stages_has_no_rates():
    with pytest.raises(ValueError, match="no epochs"):
        ft.plot_history(ft.History())
    old = a_history()
    old.stages = []
    assert len(ft.plot_history(old).axes) == 2


def test_learning_rates_are_those_of_the_stages_as_far_as_they_ran():
    rates = learning_rates(a_history())
    epochs, head = rates["head"]
    assert epochs[-1] < 4 and len(epochs) == len(head)
    assert np.nanmax(head[epochs < 2]) == pytest.approx(1e-2, rel=0.02)
    assert np.nanmax(head[epochs >= 2]) == pytest.approx(5e-3, rel=0.02)
    backbone = rates["backbone"][1]
    assert np.isnan(backbone[epochs < 2]).all()
    assert np.nanmax(backbone) == pytest.approx(5e-4, rel=0.02)
    # cosine: nearly zero at the end of the first stage, and cut off in the midst of the second
    assert head[epochs < 2][-1] < 1e-4 < 1e-3 < head[-1]


@pytest.mark.parametrize(
    "train",
    ["head", "layer3", "all", ("head",), ("layer3", "layer4"), ("layer3", "head"), ("stem",)],
)
def test_learning_rates_are_those_that_the_optimizer_has(tiny, train):
    stage = ft.Stage(
        train, epochs=1, lr=1e-3, head_lr=7e-3, layer_decay=0.5, schedule="constant", warmup=0
    )
    groups = ft.make_optimizer(ft.apply_stage(tiny, stage), stage).param_groups
    expected = {"head": [g["lr"] for g in groups if g["name"] == "head"]}
    expected["backbone"] = [
        g["lr"] for g in groups if g["name"] != "head" and "norm" not in g["name"]
    ]
    row = {"epoch": 1, "stage": 1, "train": stage.label}
    drawn = learning_rates(ft.History([row], [stage.to_dict()]))
    assert set(drawn) == {name for name, rates in expected.items() if rates}
    for name, (_, rates) in drawn.items():
        assert rates.max() == pytest.approx(expected[name][-1])  # of the group that is topmost


def test_mistakes_come_with_the_surest_first(blobs):
    split = ft.Split(torch.zeros(3, 3, 8, 8, dtype=torch.uint8), [0, 1, 0], CLASSES)
    logits = torch.tensor([[0.0, 1.0], [4.0, 0.0], [1.0, 0.0]])
    fig = ft.plot_mistakes(split, logits)
    said = [ax.get_xlabel() for ax in fig.axes if ax.get_xlabel()]
    assert said == ["said: left, 98 %", "said: right, 73 %"]
    with pytest.raises(ValueError, match="all 3 photos are right"):
        ft.plot_mistakes(split, torch.eye(2)[[0, 1, 0]])
    with pytest.raises(ValueError, match="2 rows of logits for 3 photos"):
        ft.plot_mistakes(split, logits[:2])


def test_an_overlay_tints_what_is_masked_and_dims_the_rest():
    photo = torch.full((3, 24, 24), 200, dtype=torch.uint8)
    out = overlay(photo, a_mask(), ["#0072B2", "#D55E00"])
    assert out.shape == (24, 24, 3) and out.min() >= 0 and out.max() <= 1
    assert out[0, 0] == pytest.approx([0.55 * 200 / 255] * 3)
    assert out[6, 6, 2] > out[6, 6, 0]  # blue on the first class
    assert out[16, 16, 0] > out[16, 16, 2]  # red on the second
    with pytest.raises(ValueError, match="differ in size"):
        overlay(photo, a_mask()[:10], ["#0072B2"])


def test_any_kind_of_image_becomes_pixels():
    assert pixels(torch.zeros(3, 4, 5)).shape == (4, 5, 3)
    assert pixels(torch.zeros(1, 4, 5)).shape == (4, 5)
    assert pixels(np.zeros((4, 5, 3), np.uint8)).shape == (4, 5, 3)
    stretched = pixels(torch.tensor([[[-2.0, 0.0, 1.0, 2.0]]]))
    assert stretched.tolist() == [[0.0, 0.5, 0.75, 1.0]]
    with pytest.raises(ValueError, match="no images"):
        ft.show_images([])


def test_unsure_boxes_are_left_out():
    two = {
        "boxes": torch.tensor([[0.0, 0, 5, 5], [6.0, 6, 20, 20]]), "labels": torch.tensor([1, 2]),
        "scores": torch.tensor([0.2, 0.9]),
    }  # fmt: skip
    fig = ft.plot_boxes(photos(1), [two], ("background", *CLASSES), theme="light")
    assert [text.get_text() for text in fig.axes[0].texts] == ["right 90 %"]


def test_learning_curves_take_a_results_file_and_pairs_as_intervals():
    fig = ft.plot_learning_curves({"summary": ROWS})
    names = {text.get_text() for text in fig.axes[0].texts}
    assert names == {"scratch", "full"}
    pair = [{"method": "m", "per_class": n, "mean": 0.5, "interval": [0.4, 0.7]} for n in (5, 10)]
    band = ft.plot_learning_curves(pair).axes[0].collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(0.4) and band[:, 1].max() == pytest.approx(0.7)
    with pytest.raises(ValueError, match="no rows"):
        ft.plot_learning_curves([])


def test_a_reliability_diagram_names_the_calibration_error():
    p = torch.tensor([[0.9, 0.1]] * 10)
    fig = ft.plot_reliability(p, [0] * 6 + [1] * 4)  # sure to 90 %, right in 60 %
    assert fig.axes[0].get_title("left") == "Calibration error 30.0 %"
    logits = ft.plot_reliability(p.log() + 3, [0] * 6 + [1] * 4)
    assert logits.axes[0].get_title("left") == "Calibration error 30.0 %"


def test_movement_needs_weights_to_compare_with(tiny):
    with pytest.raises(ValueError, match="load_backbone"):
        ft.plot_movement(tiny)
    model = ft.replace_head(ft.load_backbone("resnet18", weights=None), 2)
    with torch.no_grad():
        model.layer4[0].conv1.weight.mul_(2)
    fig = ft.plot_movement({"one": model, "two": ft.freeze_report(model)})
    assert [ax.get_title("left") for ax in fig.axes[:2]] == ["one", "two"]
    words = " ".join(text.get_text() for text in fig.axes[0].texts)
    assert "new: nothing to compare with" in words
    bars = [patch.get_width() for patch in fig.axes[0].patches]
    assert sum(width > 0 for width in bars) == 1  # layer4's weights, and nothing else
    each = ft.plot_movement(model, layers=True).axes[0]
    widths = {
        tick.get_text(): bar.get_width()
        for tick, bar in zip(each.get_yticklabels(), each.patches, strict=False)
    }
    assert widths["layer4.0.conv1"] == pytest.approx(1.0)  # twice as large: moved by its own length
    assert sum(width > 0 for width in widths.values()) == 1


def test_filters_of_a_layer_that_is_not_there_are_refused(tiny):
    with pytest.raises(ValueError, match="no convolution 'fc'"):
        ft.plot_filters(tiny, "fc")
    with pytest.raises(ValueError, match="which is no map"):
        ft.plot_feature_maps(tiny, torch.rand(3, 32, 32), ["fc"])


# -- the pictures in the documents -------------------------------------------------------------


def test_each_plot_has_its_picture_in_the_documents():
    script = Path(__file__).parents[2] / "docs" / "make_images.py"
    names = re.search(r"PLOTS: .*?= \((.*?)\)", script.read_text(), re.S)
    assert names is not None
    for name in re.findall(r"\w+", names[1]):
        for suffix in ("", "_dark"):
            picture = script.parent / "images" / "plots" / f"{name}{suffix}.png"
            assert 3000 < picture.stat().st_size < 600_000, picture.name


def test_importing_ftcourse_leaves_matplotlib_alone_until_a_plot_is_asked_for():
    code = (
        "import sys, ftcourse as ft; print('matplotlib' in sys.modules, 'plot_history' in dir(ft));"
        "ft.plot_history; print('matplotlib' in sys.modules, hasattr(ft, 'plot_nothing'))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True", "True", "False"]


def test_every_public_name_is_there():
    missing = [name for name in ft.__all__ if not hasattr(ft, name)]
    assert not missing


def test_a_bright_spot_of_the_input_is_drawn_where_it_is_on_a_photo_of_3_to_2():
    """The network sees the middle of a wide photo; what it found there is drawn there."""
    from ftcourse.data.transforms import eval_transforms

    transform = eval_transforms(128)
    for column, row in ((150, 100), (80, 40), (215, 160)):
        photo = torch.zeros(3, 200, 300, dtype=torch.uint8)
        photo[:, row - 4 : row + 4, column - 4 : column + 4] = 255
        heat = transform(photo).mean(0)
        heat = (heat - heat.min()) / (heat.max() - heat.min())
        (_, below) = ft.plot_grad_cam([photo], heat[None], transform=transform).axes
        left, right, bottom, upper = below.images[1].get_extent()
        y, x = np.unravel_index(np.argmax(below.images[1].get_array()), (128, 128))
        drawn = left + (x + 0.5) / 128 * (right - left), upper + (y + 0.5) / 128 * (bottom - upper)
        assert drawn == pytest.approx((column, row), abs=3)
        assert below.get_xlim() == (0, 300) and below.get_ylim() == (200, 0)
        assert right - left < 0.6 * 300, "the frame leaves out what the network did not see"


def test_heat_of_another_shape_than_the_photo_is_not_stretched_over_it():
    wide = torch.zeros(3, 200, 300, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"300 x 200 and heat of 8 x 8.*give transform="):
        ft.plot_grad_cam([wide], torch.rand(1, 8, 8))


def test_attention_has_the_taking_tokens_as_rows_and_names_both_axes():
    weights = np.array([[0.1, 0.9], [0.8, 0.2]])
    (ax,) = ft.plot_attention(weights, CLASSES).axes
    assert np.array_equal(ax.images[0].get_array(), weights) and ax.images[0].get_clim() == (0, 1)
    assert [text.get_text() for text in ax.get_xticklabels()] == list(CLASSES)
    assert [text.get_text() for text in ax.get_yticklabels()] == list(CLASSES)
    written = {text.get_position(): text.get_text() for text in ax.texts}
    assert written == {(1, 0): ".9", (0, 1): ".8"}, "the strong ones have their weight in them"
    with pytest.raises(ValueError, match=r"shape \(2, 3\) for 2 tokens"):
        ft.plot_attention(np.ones((2, 3)), CLASSES)
    with pytest.raises(ValueError, match="no attention"):
        ft.plot_attention({}, CLASSES)


def test_a_low_rank_change_is_drawn_to_scale():
    (ax,) = ft.plot_low_rank(300, 400, 8).axes
    sizes = [(patch.get_width(), patch.get_height()) for patch in ax.patches]
    assert sizes == [(400, 300), (8, 300), (400, 8)]
    with pytest.raises(ValueError, match="r = 0"):
        ft.plot_low_rank(3, 4, 0)


def test_a_figure_that_is_not_a_cells_last_expression_is_shown_each_time(tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    book = nbformat.v4.new_notebook()
    cell = 'import ftcourse as ft\n_ = ft.plot_bars({"a": 1, "b": 2})\nassert True'
    book.cells = [nbformat.v4.new_code_cell(cell) for _ in range(2)]
    nbclient.NotebookClient(
        book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert [["image/png" in output["data"] for output in c.outputs] for c in book.cells] == [
        [True],
        [True],
    ]
