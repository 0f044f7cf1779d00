"""CONTRIBUTING.md works as it stands: each recipe is carried out from its own text, in a copy of the repository.

A block of Python that begins with the path of a file is written there, one that begins with "at the end of" is
appended; a block of text is the row of a check in the table of all; a block of sh is run. `make` finds in the copy
a .venv that passes on to the Python that runs this test.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ftcourse.training import preflight

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n)*)", TEXT, re.M))
NOT_COPIED = (".git", ".venv", ".*_cache", "__pycache__", "_build", "runs", "images", "*.egg-info")
PROGRAMS = ("python", "ruff", "mypy", "lint-imports", "ftcourse")

sys.path.insert(0, str(ROOT / "authoring"))

import places  # noqa: E402

needs_make = pytest.mark.skipif(
    os.name == "nt" or shutil.which("make") is None, reason="the recipes are for make and sh"
)


class Clone:
    """A copy of the repository, in which a stranger does what CONTRIBUTING.md says."""

    def __init__(self, root: Path) -> None:
        self.root = root
        ignored = shutil.ignore_patterns(*NOT_COPIED)
        shutil.copytree(ROOT, root, ignore=ignored, copy_function=_copy, dirs_exist_ok=True)
        (root / ".venv" / "bin").mkdir(parents=True)
        for name in PROGRAMS:
            program = root / ".venv" / "bin" / name
            program.write_text(f'#!/bin/sh\nexec "{Path(sys.executable).with_name(name)}" "$@"\n')
            program.chmod(0o755)
        (root / ".venv" / ".ready").touch()

    def run(self, command: str) -> str:
        env = {**os.environ, "PYTHONPATH": str(self.root), "FTCOURSE_PROGRESS": "off"}
        env = {k: v for k, v in env.items() if not k.startswith(("PYTEST_", "MAKE"))}
        done = subprocess.run(
            command, shell=True, cwd=self.root, env=env, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def do(self, section: str, **names: str) -> list[Path]:
        """Carry out the blocks of a section in their order; returns the files that it wrote."""
        written = []
        for kind, block in blocks(section):
            if kind == "sh":
                for line in block.splitlines():
                    self.run(line)
            elif kind == "text":
                self._list_check(block)
            else:
                written.append(self._write(block))
        return written

    def _write(self, block: str) -> Path:
        first, _, body = block.partition("\n")
        how, name = re.fullmatch(r"# (at the end of )?([\w/.]+)", first).groups()
        file = self.root / name
        assert file.exists() == bool(how), f"{name} is{' not' * bool(how)} there already"
        file.write_text(f"{file.read_text('utf-8')}\n\n{body}" if how else body, encoding="utf-8")
        return file

    def _list_check(self, row: str) -> None:
        """Put the row below that of the last check of `data`."""
        file = self.root / "ftcourse" / "training" / "preflight" / "__init__.py"
        last, text = preflight.data.CHECKS[-1].name, file.read_text("utf-8")
        below = re.sub(rf"^(    {last}  .*\n)", rf"\g<1>{row}", text, count=1, flags=re.M)
        assert below != text
        file.write_text(below, encoding="utf-8")


def _copy(source: str, target: str) -> None:
    if source.endswith(".safetensors"):
        Path(target).symlink_to(source)
    else:
        shutil.copyfile(source, target)


def blocks(section: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(sh|python|text)\n(.*?)^```$", SECTIONS[section], re.M | re.S)


@pytest.fixture
def clone(tmp_path) -> Clone:
    return Clone(tmp_path / "clone")


@needs_make
@pytest.mark.parametrize(
    "section", ["Add a task", "Add a backbone", "Add a data set", "Add a preflight check"]
)
def test_a_recipe_does_what_it_says_and_its_code_is_as_lint_wants_it(clone, section):
    written = clone.do(section)
    assert len(written) == 2
    names = " ".join(str(file.relative_to(clone.root)) for file in written)
    clone.run(f".venv/bin/ruff check {names}")
    clone.run(f".venv/bin/ruff format --check {names}")
    clone.run(".venv/bin/lint-imports --no-cache")


@needs_make
def test_a_lesson_is_added_by_the_recipe_and_then_every_place_knows_it(clone):
    number = len(places.lessons(ROOT))
    begin, finish = (text.replace("NN", f"{number:02}") for _, text in blocks("Add a lesson"))
    for line in begin.splitlines():
        clone.run(line)
    assert stored(clone, "lessons", number).count("waits for your answer") == 2
    assert stored(clone, "solutions", number).count("right. ") == 2

    the_author_writes(clone, number)
    for line in finish.splitlines():
        said = clone.run(line)
    assert said.strip() == ""
    clone.run(".venv/bin/python authoring/build.py --check")
    clone.run(".venv/bin/ruff check . && .venv/bin/ruff format --check .")


def stored(clone: Clone, folder: str, number: int) -> str:
    """What the cells of the notebook printed; none of them stopped with an error."""
    file = next((clone.root / folder).glob(f"{number:02}_my_topic.ipynb"))
    outputs = [
        o for c in json.loads(file.read_text("utf-8"))["cells"] for o in c.get("outputs", ())
    ]
    assert outputs and all(o["output_type"] != "error" for o in outputs)
    return "".join("".join(o.get("text", ())) for o in outputs)


def the_author_writes(clone: Clone, number: int) -> None:
    """Words in place of the template's, and the lines that the list of places asks for."""
    for file in (
        f"authoring/{number:02}_my_topic.py",
        f"ftcourse/exercises/lesson{number:02}.py",
        f"authoring/claims.d/{number:02}.md",
    ):
        text = (clone.root / file).read_text("utf-8")
        (clone.root / file).write_text(re.sub("[«»]", "", text), encoding="utf-8")
    for one in places.missing(clone.root):
        file = clone.root / one.file
        if sums := re.search(r"says (\d+) minutes of lessons; it is (\d+)", one.what):
            old, new = (f"| {n} |" for n in sums.groups())
            file.write_text(file.read_text("utf-8").replace(old, new), encoding="utf-8")
        elif one.what.startswith("says '**This was the last"):
            text = file.read_text("utf-8").replace("**This was the last lesson.** ", "")
            file.write_text(text, encoding="utf-8")
        elif one.after:
            text = file.read_text("utf-8").replace(one.after, f"{one.after}\n{one.add}")
            file.write_text(text, encoding="utf-8")
        elif one.add:
            file.write_text(f"{file.read_text('utf-8')}#\n{one.add}\n", encoding="utf-8")


def test_every_command_of_make_that_the_page_names_is_a_target():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    named = set(re.findall(r"\bmake ([a-z][\w-]*)", TEXT + (ROOT / "README.md").read_text("utf-8")))
    assert len(named) > 6 and named <= targets, named - targets


def test_there_is_a_recipe_for_each_thing_that_is_often_added():
    assert [name for name in SECTIONS if name.startswith("Add ")] == [
        "Add a lesson", "Add a task", "Add a backbone", "Add a data set",
        "Add a preflight check",
    ]  # fmt: skip
