"""The pictures of docs/images/widgets/: each widget in a real JupyterLab, on light and on dark paper.

    python docs/widget_images.py            needs the extra `browser` and Chromium, see docs/lab.py
    python docs/widget_images.py --dark     the dark ones

A notebook with one cell a widget is made, run and clicked on; its numbers are those of this machine.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).parent))
from lab import Lab, open_lab
from make_images import IMAGES, shrink

SETUP = """\
import os
os.chdir(os.environ["FTCOURSE_ROOT"])
import torch
import ftcourse as ft
from ftcourse import widgets

data = ft.load_data("pocket-insects", classes=("ants", "bees"), progress=False)
small = data.with_transforms(ft.data.transforms.train_transforms(64), ft.data.transforms.eval_transforms(64))
model = ft.replace_head(ft.load_backbone("resnet18"), num_classes=2)
_ = ft.freeze(model, "stem", "layer1", "layer2", "layer3", "layer4")\
"""
FINETUNED = """\
trained = ft.replace_head(ft.load_backbone("resnet18"), num_classes=2)
stages = [ft.Stage("head", epochs=2, lr=1e-2), ft.Stage("layer4", epochs=3, lr=1e-3)]
_ = ft.finetune(trained, small, stages, progress=False)
widgets.prediction_explorer(trained, small)\
"""
LIVE = """\
run = widgets.live_run(
    ft.replace_head(ft.load_backbone("resnet18"), num_classes=2), small,
    [ft.Stage("head", epochs=3, lr=1e-2), ft.Stage("layer4", epochs=12, lr=1e-3)],
    cache=False, preflight=False,
)
run\
"""
RESULTS = """\
from ftcourse import results

widgets.efficiency_explorer(results.load("methods_insects"))\
"""
PROGRESS = """\
import os, tempfile
from ftcourse.exercises import progress

os.environ["FTCOURSE_PROGRESS"] = tempfile.mkdtemp() + "/progress.json"  # a learner in lesson 02
for number in ("0.1", "0.2", "0.3", "1.1", "1.2", "1.3", "1.4", "2.1", "2.2"):
    progress.record(number, "right")
for number, event in (("1.2", "hint"), ("1.3", "solution"), ("2.3", "wrong"), ("2.3", "hint")):
    progress.record(number, event)
widgets.progress_board()\
"""


def freeze(lab: Lab, i: int) -> None:
    # by its text: the icon is a letter of a font, and belongs to the button's accessible name
    lab.cell(i).locator("button", has_text=re.compile("^layer4$")).click()
    lab.wait_for_text('ft.Stage(train="layer4")')
    lab.page.wait_for_timeout(4000)  # the time is measured


def live(lab: Lab, i: int) -> None:
    lab.wait_for_text("layer4")
    lab.page.wait_for_function(
        "() => /epoch (9|1\\d) of/.test(document.body.innerText)", timeout=lab.timeout
    )


def rates(lab: Lab, i: int) -> None:
    lab.cell(i).get_by_role("button", name="Find").click()
    lab.wait_for_text('try ft.Stage(train="head"')


CELLS: dict[str, tuple[str, Callable[[Lab, int], None] | None]] = {
    "freeze_explorer": ("widgets.freeze_explorer(model, data)", freeze),
    "progress_board": (PROGRESS, None),
    "augmentation_viewer": ("widgets.augmentation_viewer(data)", None),
    "efficiency_explorer": (RESULTS, None),
    "rate_finder": ("widgets.rate_finder(model, small)", rates),
    "prediction_explorer": (FINETUNED, None),
    "live_run": (LIVE, live),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dark", action="store_true", help="JupyterLab's dark theme")
    parser.add_argument("--only", nargs="*", choices=list(CELLS), help="only these widgets")
    parser.add_argument("--out", type=Path, default=IMAGES / "widgets")
    parser.add_argument(
        "--timeout", type=float, default=240.0, help="seconds to wait for each cell"
    )
    asked = parser.parse_args()
    names = asked.only or list(CELLS)
    sources = [SETUP, *(CELLS[name][0] for name in names)]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    environment = {"FTCOURSE_ROOT": str(IMAGES.parent.parent)}
    environment |= {"FTCOURSE_THEME": "dark"} if asked.dark else {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "widgets.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), file)
        with open_lab(file, dark=asked.dark, env=environment, timeout=asked.timeout) as lab:
            lab.run_all()
            for i, name in enumerate(names, start=1):
                lab.wait_for_cell(i)
                act = CELLS[name][1]
                try:
                    if act:
                        act(lab, i)
                finally:  # a picture also of what went wrong
                    target = asked.out / f"{name}{'_dark' if asked.dark else ''}.png"
                    lab.picture(i, target)
                shrink(target)
                print(f"wrote {target.name}", flush=True)
            if "live_run" in names:
                lab.page.get_by_role("button", name="Stop").click()
                lab.wait_for_text("Stopped. The model has the weights of epoch")
                print("the stop button works")
            for error in lab.errors:
                print("the page complains:", error)


if __name__ == "__main__":
    main()
