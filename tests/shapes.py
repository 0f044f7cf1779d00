"""Photos of three coloured shapes and a run trained on them, for the tests of the command line and its files."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ftcourse.reporting.report import Settings, train_and_report
from ftcourse.training.runs import Run

CLASSES = {"circle": (220, 40, 40), "square": (40, 200, 60), "stripes": (50, 70, 230)}
QUICK = Settings(strategy="layer4", epochs=2, size=32, batch_size=8)


def draw_photos(root: Path, photos: int = 10, side: int = 36) -> Path:
    """A folder a class, each photo a shape in the colour of its class on a noisy ground."""
    rng = np.random.default_rng(0)
    for name, colour in CLASSES.items():
        (root / name).mkdir(parents=True)
        for i in range(photos):
            image = Image.fromarray(rng.integers(90, 160, (side, side, 3), dtype=np.uint8))
            draw = ImageDraw.Draw(image)
            x, y = (int(v) for v in rng.integers(1, 10, 2))
            if name == "circle":
                draw.ellipse([x, y, x + 24, y + 24], fill=colour)
            elif name == "square":
                draw.rectangle([x, y, x + 24, y + 24], fill=colour)
            else:
                for row in range(x % 8, side, 8):
                    draw.line([0, row, side, row], fill=colour, width=4)
            image.save(root / name / f"{i:02d}.png")
    return root


@functools.cache
def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="ftcourse-tests-")


@functools.cache
def _photos() -> Path:
    return draw_photos(Path(_folder().name) / "shapes")


@functools.cache
def _run() -> Path:
    run = Path(_folder().name) / "run"
    train_and_report(_photos(), run, QUICK, progress=False)
    return run


@pytest.fixture
def photos() -> Path:
    """The folder of photos: to read only."""
    return _photos()


@pytest.fixture
def own_photos(tmp_path) -> Path:
    """A copy of it, to change."""
    return Path(shutil.copytree(_photos(), tmp_path / "shapes"))


@pytest.fixture
def run() -> Path:
    """A finished run on those photos: to read only."""
    return _run()


def interrupt_after(epochs: int, monkeypatch) -> None:
    """Press Ctrl-C when the checkpoint of that epoch has been written."""
    save = Run.save

    def save_then_stop(self, *args):
        save(self, *args)
        if len(self.history.epochs) == epochs:
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "save", save_then_stop)
