"""Carry right answers through the lessons: does every answer that a check takes work in the cells after it?

Each variant puts one of the answers of tests/lessons/answers behind each check of a solved lesson, and runs the
whole lesson: the solution's answer is checked as it is stored, the other one after it, and the lesson goes on with
that. What its cells print must be what is stored, as for `pytest --nbval`. Where a right answer may print
something else, the cell's text and the reason stand in the answers' `OTHERWISE`: such a cell need only run.

    python benchmarks/carried.py                # all variants of all lessons; writes results/carried.{json,md}
    python benchmarks/carried.py --only 04      # one lesson, writes its row
    python benchmarks/carried.py --variant 1    # one other answer to each exercise; notes the code it was tried on

The tests carry one variant through a few lessons each time. For the others they ask that the code of the lesson
and its answers is that on which variant 1 was last carried through.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
ANSWERS = ROOT / "tests" / "lessons"
CHECK = re.compile(r"^[\w, ]+ = check\.(\w+)\((\w+)\)$", re.M)
BEGIN = """\
import sys

sys.path.insert(0, {folder!r})
from answers.{lesson} import RIGHT as carried_answers"""
GIVE = '{name} = carried_answers["{exercise}"][{index}]'


def lessons() -> list[str]:
    return sorted(file.stem[:2] for file in (ROOT / "solutions").glob("*.ipynb"))


def _module(number: str) -> Any:
    if str(ANSWERS) not in sys.path:
        sys.path.insert(0, str(ANSWERS))
    return importlib.import_module(f"answers.lesson{number}")


def answers(number: str) -> dict[str, list[Any]]:
    return _module(number).RIGHT


def otherwise(number: str) -> dict[str, str]:
    """Texts of cells that may print something else, with the reason."""
    return getattr(_module(number), "OTHERWISE", {})


def variants(number: str) -> int:
    """So many that each answer of each exercise is in one."""
    return max(len(given) for given in answers(number).values())


def code(number: str) -> str:
    """A fingerprint of the code of the solved lesson and of its answers: words may change."""
    (file,) = (ROOT / "solutions").glob(f"{number}_*.ipynb")
    cells = [c.source for c in nbformat.read(file, as_version=4).cells if c.cell_type == "code"]
    text = (ANSWERS / "answers" / f"lesson{number}.py").read_text(encoding="utf-8")
    return hashlib.sha256(json.dumps([*cells, text]).encode()).hexdigest()[:16]


def carried(number: str, variant: int) -> nbformat.NotebookNode:
    """The solved lesson, with answer `variant` of each exercise (round and round) after the solution's."""
    (file,) = (ROOT / "solutions").glob(f"{number}_*.ipynb")
    nb, given = nbformat.read(file, as_version=4), answers(number)
    found, free, cells = set(), set(), []
    for cell in nb.cells:
        cells.append(cell)
        if cell.cell_type != "code":
            continue
        for text in otherwise(number):
            if text in cell.source:
                cell.metadata.setdefault("tags", []).append("nbval-ignore-output")
                free.add(text)
        for check in CHECK.finditer(cell.source):
            exercise, name = check.groups()
            if exercise in given:
                index = variant % len(given[exercise])
                line = GIVE.format(name=name, exercise=exercise, index=index)
                cells.append(nbformat.v4.new_code_cell(f"{line}\n{check[0]}"))
                found.add(exercise)
    nb.cells = cells
    if found != set(given):
        raise ValueError(f"{file.name} has no check cell of {sorted(set(given) - found)}")
    if free != set(otherwise(number)):
        raise ValueError(f"{file.name} has no cell with {sorted(set(otherwise(number)) - free)}")
    begin = BEGIN.format(folder=str(ANSWERS), lesson=f"lesson{number}")
    nb.cells.insert(0, nbformat.v4.new_code_cell(begin))
    return nb


def run(number: str, variant: int) -> str:
    """Nothing where all cells print what is stored, else the lines that say which do not."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{number}_carried.ipynb"
        nbformat.write(carried(number, variant), file)
        options = ["--nbval", "--nbval-sanitize-with", str(ROOT / "nbval_sanitize.cfg")]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
        command += ["-c", str(ROOT / "pyproject.toml"), "--rootdir", folder, str(file)]
        own = {**os.environ, "FTCOURSE_PROGRESS": "off", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True)
    if done.returncode == 0:
        return ""
    return done.stdout[-6000:] + done.stderr[-2000:]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", metavar="NN", help="only this lesson")
    parser.add_argument(
        "--variant", type=int, help="only this one; 1 notes the code it was tried on"
    )
    parser.add_argument("--processes", type=int, default=2)
    a = parser.parse_args()
    asked = [
        (number, variant)
        for number in lessons()
        if a.only in (None, number)
        for variant in range(variants(number))
        if a.variant in (None, variant)
    ]
    failed: dict[str, list[int]] = {number: [] for number, _ in asked}
    with ThreadPoolExecutor(a.processes) as pool:
        results = pool.map(lambda one: run(*one), asked)
        for (number, variant), told in zip(asked, results, strict=True):
            print(
                f"lesson {number}, variant {variant}: {'FAILED' if told else 'the same'}",
                flush=True,
            )
            if told:
                print(told)
                failed[number].append(variant)
            if a.variant is None and variant == variants(number) - 1:
                write(number, failed[number])
            if variant == 1 and not told:
                note(number)
    return any(failed.values())


def stored() -> dict[str, Any]:
    """What was found: the rows of the lessons, and the code with which each was last carried through."""
    file = RESULTS / "carried.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return {"lessons": {}, "last_carried": {}, **found}


def note(number: str) -> None:
    """That variant 1 goes through this lesson with the code that it has now."""
    found = stored()
    found["last_carried"][number] = code(number)
    save(found)


def write(number: str, failed: list[int]) -> None:
    """The row of one lesson, beside the rows that are there."""
    found = stored()
    found["lessons"][number] = {
        "exercises": len(answers(number)),
        "answers": sum(map(len, answers(number).values())),
        "variants": variants(number),
        "failed": failed,
        "otherwise": list(otherwise(number).values()),
    }
    save(found)


def save(found: dict[str, Any]) -> None:
    for part in ("lessons", "last_carried"):
        found[part] = {n: found[part][n] for n in lessons() if n in found[part]}
    versions = {name: version(name) for name in ("torch", "torchvision", "nbval")}
    found = {**found, "command": "python benchmarks/carried.py", "versions": versions}
    file = RESULTS / "carried.json"
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "carried.md").write_text(table(found), encoding="utf-8")


def table(found: dict[str, Any]) -> str:
    rows = found["lessons"]
    lines = [
        "# Right answers, carried through their lessons\n",
        f"`{found['command']}`: each variant runs a whole lesson with one of the right answers to each exercise",
        "(`tests/lessons/answers/`), and compares what its cells print with what is stored.\n",
        "| lesson | exercises | answers | variants run | that print something else |",
        "| --- | --- | --- | --- | --- |",
    ]
    for number, row in rows.items():
        cells = [number, *(row[k] for k in ("exercises", "answers", "variants"))]
        lines.append(f"| {' | '.join(map(str, cells))} | {len(row['failed'])} |")
    total = [sum(row[k] for row in rows.values()) for k in ("exercises", "answers", "variants")]
    bad = sum(len(row["failed"]) for row in rows.values())
    lines.append(f"| all | {' | '.join(map(str, total))} | {bad} |")
    free = [f"- {number}: {why}" for number, row in rows.items() for why in row["otherwise"]]
    if free:
        lines += [
            "\nCells that need only run, since a right answer may print something else there:\n",
            *free,
        ]
    versions = ", ".join(f"{name} {v}" for name, v in found["versions"].items())
    return "\n".join([*lines, f"\n{versions}.", ""])


if __name__ == "__main__":
    sys.exit(main())
