"""The plan of the house: old paths name the new ones, and nothing below the plots needs them to be imported."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import ftcourse as ft
from ftcourse._moved import MODULES, NAMES

PACKAGE = Path(ft.__file__).parent
BELOW_PLOTS = ("data", "models", "tasks", "training", "evaluation")
ON_TOP = ("bugs", "exercises")  # what learners read and call: they use the package as `ft`


@pytest.mark.parametrize("old", sorted(MODULES))
def test_an_old_module_path_fails_and_names_the_new_one_which_is_there(old):
    with pytest.raises(ImportError, match=rf"is now ftcourse\.{MODULES[old]}\b"):
        importlib.import_module(f"ftcourse.{old}")
    importlib.import_module(f"ftcourse.{MODULES[old]}")


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_name_of_the_old_data_module_fails_and_names_its_room(name):
    room = f"ftcourse.data.{NAMES[name]}"
    with pytest.raises(ImportError, match=f"{room}.{name}"):
        exec(f"from ftcourse.data import {name}", {})
    assert hasattr(importlib.import_module(room), name)


def test_a_module_that_never_was_is_missing_as_any_other():
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'ftcourse\.loops'"):
        importlib.import_module("ftcourse.loops")
    with pytest.raises(AttributeError):
        _ = importlib.import_module("ftcourse.data").Spilt


def test_no_name_of_ft_is_also_the_name_of_a_module():
    modules = {info.name for info in pkgutil.iter_modules([str(PACKAGE)])}
    assert not modules & set(ft.__all__)


def test_few_modules_stand_outside_of_the_wings():
    assert len(list(PACKAGE.glob("*.py"))) <= 8


def test_each_wing_opens_with_a_sentence_about_itself():
    for folder in (p for p in PACKAGE.iterdir() if (p / "__init__.py").exists()):
        assert importlib.import_module(f"ftcourse.{folder.name}").__doc__, folder.name


def imports_at_module_level(file: Path) -> set[str]:
    body = ast.parse(file.read_text(encoding="utf-8")).body
    names = set()
    for node in body:
        if isinstance(node, ast.ImportFrom):
            names |= {node.module or ""} | {f"{node.module}.{a.name}" for a in node.names}
        elif isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
    return names


def test_nothing_below_the_plots_imports_them_before_a_picture_is_asked_for():
    for wing in BELOW_PLOTS:
        for file in (PACKAGE / wing).rglob("*.py"):
            found = imports_at_module_level(file)
            assert not any(n.startswith(("ftcourse.plots", "matplotlib")) for n in found), file


def test_no_room_goes_round_the_wings_by_importing_the_whole_package():
    for file in PACKAGE.rglob("*.py"):
        inside = file.relative_to(PACKAGE).parts[0]
        if len(file.relative_to(PACKAGE).parts) > 1 and inside not in ON_TOP:
            assert "ftcourse" not in imports_at_module_level(file), file


def test_an_old_module_asked_for_as_an_attribute_is_named_too():
    with pytest.raises(AttributeError, match=r"it is now ftcourse\.training\.loop"):
        _ = ft.loop  # type: ignore[attr-defined]


def test_every_name_of_ft_is_that_of_its_room_and_is_listed_for_type_checkers_too():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    static = next(n for n in tree.body if isinstance(n, ast.If)).body
    rooms = {alias.name: node.module for node in static for alias in node.names}
    assert sorted(rooms) == sorted(ft.__all__)
    for name, room in rooms.items():
        assert getattr(ft, name) is getattr(importlib.import_module(room), name)
        assert name in dir(ft)


@pytest.mark.parametrize(
    "words", ["ft.training.loop.finetune", "ft.data.transforms.STD", "ft.tasks.task"]
)
def test_a_wing_and_its_rooms_are_attributes_as_soon_as_ftcourse_is_imported(words):
    subprocess.run([sys.executable, "-c", f"import ftcourse as ft; {words}"], check=True)


def test_a_package_that_is_missing_is_named_when_it_is_needed():
    code = (
        "import sys; sys.modules['safetensors'] = None\nimport ftcourse as ft\n"
        "try: ft.load_model\nexcept ImportError as err: print(err)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert (
        "ftcourse.load_model needs safetensors, which is not installed: `ftcourse doctor`" in said
    )


def test_no_benchmark_has_the_name_of_something_in_the_tests_of_lessons():
    """Both folders come to be on `sys.path`: of two modules of one name, whichever was there first is imported."""
    root = PACKAGE.parent
    tests = {info.name for info in pkgutil.iter_modules([str(root / "tests" / "lessons")])}
    assert "answers" in tests
    assert not tests & {file.stem for file in (root / "benchmarks").glob("*.py")}
