"""The widgets under a real mouse and keyboard: each handle moves what it should, in the page and in Python."""

from __future__ import annotations

import re

import nbformat
import pytest
from PIL import Image

from tests.browser.conftest import RESULTS

pytestmark = pytest.mark.browser
SOON = 30_000  # ms; far above what a busy machine needs

CELLS = {
    "setup": """\
import copy

import ftcourse as ft
from ftcourse import results, widgets

data = ft.load_data("pocket-insects", classes=("ants", "bees"), progress=False)
data = data.with_transforms(ft.data.transforms.train_transforms(64), ft.data.transforms.eval_transforms(64))
small = ft.Data(data.classes, *(s.subset(range(0, len(s), 3)) for s in (data.train, data.val, data.test)))
model = ft.replace_head(ft.load_backbone("resnet18"), num_classes=2)""",
    "augment": "viewer = widgets.augmentation_viewer(data)\nviewer",
    "efficiency": 'widgets.efficiency_explorer(results.load("methods_insects"))',
    "freeze": 'ft.freeze(model, "stem", "layer1", "layer2", "layer3", "layer4")\n'
    "widgets.freeze_explorer(model, size=64, time=False)",
    "frozen": "print(sorted({n.split('.')[0] for n, p in model.named_parameters() if p.requires_grad}))",
    "predict": "explorer = widgets.prediction_explorer(model, small)\nexplorer",
    "live": """\
run = widgets.live_run(copy.deepcopy(model), small, ft.Stage("all", epochs=1000, lr=3e-4), batch_size=8)
run""",
    "stopped": """\
history = run.result(timeout=60)
found = ft.evaluate(run.model, small.val)
print("stopped:", bool(history.stopped), "of 1000 epochs fewer than 100:", len(history.epochs) < 100)
print("best weights kept:", abs(found["accuracy"] - history.best["val_accuracy"]) < 1e-6)""",
}
PLACE = {name: i for i, name in enumerate(CELLS)}


@pytest.fixture(scope="module")
def lab(server, tmp_path_factory):
    """A notebook with one widget a cell, of which the first has been run."""
    file = tmp_path_factory.mktemp("widgets") / "widgets.ipynb"
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS.values()]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), file)
    lab = server.open(file)
    lab.run_cell(PLACE["setup"])
    assert "Error" not in lab.cell(0).inner_text()
    return lab


def show(lab, name: str):
    """Run the widget's cell; its output, once it is there."""
    lab.run_cell(PLACE[name])
    output = lab.cell(PLACE[name]).locator(".jp-OutputArea").first
    output.locator(".jupyter-widgets").first.wait_for()
    output.scroll_into_view_if_needed()
    return output


def picture_of(output) -> str:
    return output.locator("img").first.get_attribute("src")


def wait_for_another_picture(lab, output, before: str) -> None:
    lab.page.wait_for_function(
        "([e, before]) => e.querySelector('img') && e.querySelector('img').src !== before",
        arg=[output.element_handle(), before],
        timeout=SOON,
    )


def numbers_that_train(output) -> int:
    row = output.locator("tr", has_text="numbers that train")
    return int(row.locator("td").nth(1).inner_text().replace(",", ""))


def test_a_slider_of_the_augmentation_viewer_changes_picture_and_code(lab):
    output = show(lab, "augment")
    before = picture_of(output)
    slider = output.get_by_role("slider").nth(3)  # photo, crop, colour, rotation
    slider.focus()
    for _ in range(4):
        lab.page.keyboard.press("ArrowRight")
    output.get_by_text("rotation=20").wait_for(timeout=SOON)
    wait_for_another_picture(lab, output, before)
    lab.picture(PLACE["augment"], RESULTS / "augmentation_viewer.png")


def test_the_slider_of_the_efficiency_explorer_can_be_dragged(lab):
    output = show(lab, "efficiency")
    words = output.get_by_text(re.compile(r"^With \d+ photos a class"))
    before, picture = words.inner_text(), picture_of(output)
    handle = output.get_by_role("slider").first
    box = handle.bounding_box()
    lab.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    lab.page.mouse.down()
    lab.page.mouse.move(box["x"] + 70, box["y"] + box["height"] / 2, steps=5)
    lab.page.mouse.up()
    wait_for_another_picture(lab, output, picture)
    photos = [int(re.findall(r"\d+", text)[0]) for text in (before, words.inner_text())]
    assert photos[0] < photos[1]
    lab.picture(PLACE["efficiency"], RESULTS / "efficiency_explorer.png")


def test_a_click_on_a_layer_thaws_it_in_the_view_and_in_the_model(lab):
    output = show(lab, "freeze")
    assert numbers_that_train(output) == 1026  # 512 x 2 weights and 2 biases
    # by its text: the icon is a letter of a font, and belongs to the button's accessible name
    layer4 = output.locator("button", has_text=re.compile("^layer4$"))
    layer4.click()
    output.get_by_text('ft.Stage(train="layer4")').wait_for(timeout=SOON)
    assert numbers_that_train(output) == 8_394_754
    lab.picture(PLACE["freeze"], RESULTS / "freeze_explorer.png")
    lab.run_cell(PLACE["frozen"])
    assert lab.output(PLACE["frozen"]).strip() == "['fc', 'layer4']"


def test_the_keyboard_alone_reaches_a_layer_and_presses_it(lab):
    output = show(lab, "freeze")
    before = numbers_that_train(output)
    output.get_by_role("button").first.focus()
    reached = []
    for _ in range(12):
        name = lab.page.evaluate("document.activeElement.innerText").strip()
        reached.append(name)
        if name == "layer3":
            break
        lab.page.keyboard.press("Tab")
    assert reached[-1] == "layer3", reached
    lab.page.keyboard.press("Enter")
    lab.page.wait_for_function(
        "([e, before]) => !e.innerText.includes(before)",
        arg=[output.element_handle(), f"{before:,}"],
        timeout=SOON,
    )
    assert numbers_that_train(output) == before + 2_099_712  # layer3


def test_a_photo_of_one_s_own_is_explained_and_a_broken_file_is_named(lab, tmp_path):
    photo, broken = tmp_path / "mine.png", tmp_path / "broken.png"
    Image.new("RGB", (90, 60), (200, 60, 30)).save(photo)
    broken.write_bytes(b"no photo at all")
    output = show(lab, "predict")
    before = picture_of(output)
    for file in (photo, broken):
        with lab.page.expect_file_chooser() as chooser:
            output.get_by_role("button", name=re.compile("Your own photo")).click()
        chooser.value.set_files(file)
        if file == photo:
            wait_for_another_picture(lab, output, before)
            alt = output.locator("img").first.get_attribute("alt")
            assert alt.startswith("mine.png; the network says")
            lab.picture(PLACE["predict"], RESULTS / "prediction_explorer.png")
    output.get_by_text("broken.png: cannot be decoded as a photo").wait_for(timeout=SOON)


def test_stop_ends_a_live_run_cleanly_with_its_best_weights(lab):
    output = show(lab, "live")
    lab.page.wait_for_function(
        "e => /epoch [3-9] of 1000/.test(e.innerText)", arg=output.element_handle(), timeout=90_000
    )
    lab.picture(PLACE["live"], RESULTS / "live_run.png")
    output.get_by_role("button", name="Stop").click()
    output.get_by_text(re.compile("Stopped. The model has the weights of epoch")).wait_for(
        timeout=SOON
    )
    lab.run_cell(PLACE["stopped"])
    said = lab.output(PLACE["stopped"])
    assert "stopped: True of 1000 epochs fewer than 100: True" in said
    assert "best weights kept: True" in said


def test_no_widget_is_wider_than_the_window_and_each_picture_has_a_text(lab):
    """The last one: by now, all of them are in the page."""
    assert lab.page.locator(".jp-OutputArea .jupyter-widgets").count() > 20
    page = lab.page.locator(".jp-Notebook").first
    assert page.evaluate("e => e.scrollWidth <= e.clientWidth + 1")
    images = lab.page.locator(".jp-Notebook img")
    assert images.count() >= 3
    alts = [images.nth(i).get_attribute("alt") or "" for i in range(images.count())]
    assert all(len(alt) > 10 for alt in alts), alts
    unnamed = lab.page.locator('.jp-Notebook .track[role="img"]:not([aria-label])')
    assert unnamed.count() == 0
    assert lab.errors == []
