"""The pictures of docs/images/lessons/: lessons in a real JupyterLab, with their stored outputs.

    python docs/lesson_images.py            needs the extra `browser` and Chromium, see docs/lab.py

One is in JupyterLab's dark theme; that one is run first, so that its widget is there.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from lab import Lab, start_lab
from make_images import IMAGES, ROOT, shrink

WIDTH, HEIGHT = 1280, 900
TO_THE_TOP = """words => {
    const found = [...document.querySelectorAll('.jp-Notebook :is(h1, h2, h3, p, .jp-CodeCell)')].find(
        e => e.textContent.includes(words));
    found.scrollIntoView({block: 'start'});
}"""


@dataclass(frozen=True)
class Place:
    """A lesson, and the text that stands at the window's top."""

    lesson: str
    words: str
    dark: bool = False


PLACES = {
    "load_a_pretrained_resnet": Place("01_load_a_pretrained_resnet", "Three things to notice"),
    "freeze_dark": Place("03_freeze", "Going forward costs the same", dark=True),
    "segmentation": Place("13_semantic_segmentation", "First, what you are going to build"),
}


def take(lab: Lab, place: Place, target: Path) -> None:
    page = lab.page
    if not page.locator(".jp-TableOfContents").is_visible():
        page.get_by_role("tab", name=re.compile("Table of Contents")).click()
    page.locator(".jp-TableOfContents .jp-tocItem-heading").first.wait_for()
    page.evaluate(TO_THE_TOP, place.words)
    page.wait_for_timeout(1500)  # pictures and formulas
    lab.screenshot(target)
    shrink(target, WIDTH)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=list(PLACES), help="only these pictures")
    parser.add_argument("--out", type=Path, default=IMAGES / "lessons")
    asked = parser.parse_args()
    chosen = {name: PLACES[name] for name in asked.only or PLACES}
    for dark in (False, True):
        places = {name: place for name, place in chosen.items() if place.dark == dark}
        if not places:
            continue
        with start_lab(dark=dark, width=WIDTH, height=HEIGHT) as server:
            for name, place in places.items():
                lab = server.open(ROOT / "lessons" / f"{place.lesson}.ipynb", outputs=not dark)
                if dark:
                    lab.run_all()
                    lab.wait_for_all()
                take(lab, place, asked.out / f"{name}.png")
                print(f"wrote {name}.png", flush=True)


if __name__ == "__main__":
    main()
