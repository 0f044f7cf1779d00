"""The page of `ftcourse serve`, without gradio: a module in its place notes what it is built of."""

# fixtures are imported, and then named as arguments
# ruff: noqa: F401, F811

from __future__ import annotations

import importlib.machinery
import sys
from types import ModuleType

import pytest

from ftcourse.shipping import serve
from ftcourse.shipping.inference import load_run, predict_files
from tests.shapes import photos, run
from tests.test_cli import ftcourse, told


class Interface:
    def __init__(self, fn, inputs, outputs, **options):
        self.fn, self.inputs, self.options = fn, inputs, options
        Interface.last = self

    def launch(self, **options):
        self.launched = options


class Shown(Exception):
    """gradio.Error."""


@pytest.fixture
def gradio(monkeypatch):
    module = ModuleType("gradio")
    module.__spec__ = importlib.machinery.ModuleSpec("gradio", None)
    module.Interface, module.Error = Interface, Shown
    module.Image = module.Label = lambda **options: options
    monkeypatch.setitem(sys.modules, "gradio", module)


def test_the_page_answers_as_predict_does_from_the_file_itself(run, photos, gradio):
    ftcourse("serve", run, "--port", 7999)
    built, file = Interface.last, photos / "square" / "03.png"
    address = {"server_name": "127.0.0.1", "server_port": 7999}
    assert built.launched == {**address, "share": False, "show_error": True}
    # a picture decoded by the page would have lost its EXIF and its bits
    assert built.inputs["type"] == "filepath" and built.inputs["image_mode"] is None
    (expected,) = predict_files(load_run(run), [file])
    assert built.fn(str(file)) == {one["class"]: one["probability"] for one in expected["top"]}
    assert built.fn(None) == {}


def test_a_file_that_is_no_photo_is_told_on_the_page_without_its_folder(run, tmp_path, gradio):
    (tmp_path / "bad.jpg").write_text("no photo")
    shown = serve.page(load_run(run))
    with pytest.raises(Shown, match=r"^bad\.jpg: cannot be decoded"):
        shown.fn(str(tmp_path / "bad.jpg"))


def test_without_the_extra_it_is_named(run, monkeypatch):
    monkeypatch.setattr(serve.importlib.util, "find_spec", lambda name: None)
    assert 'pip install "ftcourse[demo]"' in told("serve", run)
