"""docs/reliability.md: what was tried, how often, and how it ended.

    python benchmarks/reliability.py          # writes the page from the results that are there
    python benchmarks/reliability.py --run    # first runs the tests of TESTS and counts them (minutes)
    python benchmarks/reliability.py --run cache atomic    # those of these rows alone

No number is written by hand: those of tests come from running them (results/reliability.json), the others from the
results of the benchmark that the row names. A row whose results are not there is left out.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
COUNTED = RESULTS / "reliability.json"
PAGE = ROOT / "docs" / "reliability.md"
Row = tuple[str, str, str, str]  # what, how often, how it ended, made by

# What is tried by tests: in words, the files, and which of their tests ("" for all).
TESTS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "plain": (
        "`finetune` against a loop written from the docs of PyTorch: the same weights, in many settings",
        ("tests/training/test_against_plain_loop.py",),
        "",
    ),
    "resume": (
        "a run broken off after some epoch and resumed: the same bits as unbroken",
        ("tests/training/test_loop.py", "tests/training/test_settings.py"),
        "resumed and same_bits",
    ),
    "cache": (
        "training with what is frozen computed once against computing it each time",
        (
            "tests/training/test_feature_cache.py",
            "tests/training/test_frozen_prefix.py",
            "tests/training/test_repeats.py",
        ),
        "",
    ),
    "state": (
        "nan, interrupts and other settings: the weights are those that the message names",
        ("tests/training/test_settings.py", "tests/training/test_runs.py"),
        "nan or finite or resumed or stopped or weights or saved",
    ),
    "groups": (
        "layer groups of networks of all kinds: each parameter in one group, or refused",
        ("tests/models/test_groups.py",),
        "",
    ),
    "atomic": (
        "a write that fails or breaks off at each of its steps: the old file, and no rest",
        ("tests/training/test_write_atomic.py",),
        "",
    ),
    "archives": (
        "archives with `..`, absolute paths, drive letters, links, devices, bombs, or damaged: refused",
        ("tests/data/test_downloads.py",),
        "zip or in_a_tar or a_tar or archive or names_that",
    ),
    "downloads": (
        "downloads cut, damaged, foreign, endless, slow, without a server: resumed, refused or left",
        ("tests/data/test_downloads.py", "tests/models/test_backbones.py"),
        "a_download or hash or connection or damaged or a_network or a_part or a_source or ranges",
    ),
    "weights": (
        "weights and headers of strangers: loaded, or refused by name; no code runs, no network",
        ("tests/training/test_records.py", "tests/models/test_backbones.py"),
        "header or hostile or weights or run_code or damaged",
    ),
    "records": (
        "checkpoints, histories, reports and settings with any part changed: refused by name",
        ("tests/training/test_records.py",),
        "checkpoint or history or report or settings or json",
    ),
    "photos": (
        "photos broken, empty, of odd modes and depths, turned, animated, thin strips, with odd metadata",
        ("tests/data/test_photos.py", "tests/data/test_loading.py"),
        "test_photos or broken or odd or exif or animation or decoded or no_photos or placeholder",
    ),
    "folders": (
        "folders with links in circles, pipes, devices, odd names and layouts: read as they are, or told",
        ("tests/data/test_folders.py",),
        "",
    ),
    "names": (
        "names of classes and files with markup in them: pages have the same elements",
        ("tests/reporting/test_escaping.py",),
        "",
    ),
    "split": (
        "splits, subsets and draws of any photos: each keeps its label, its file and its side",
        ("tests/data/test_split.py", "tests/data/test_drawing.py", "tests/data/test_groups.py"),
        "",
    ),
    "near": (
        "copies scaled, cropped, turned, mirrored, recompressed: found, and no others",
        ("tests/data/test_near_copies.py",),
        "",
    ),
    "measures": (
        "accuracy, F1, intervals, calibration of any answers: those of scikit-learn or of the paper",
        ("tests/evaluation",),
        "",
    ),
}


def count(files: tuple[str, ...], keyword: str) -> dict[str, int] | None:
    """How many of these tests passed, failed, were skipped; None if no such file is there."""
    there = [name for name in files if (ROOT / name).exists()]
    if not there:
        return None
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *there]
        command += ["-k", keyword] * bool(keyword) + [f"--junitxml={report}"]
        subprocess.run(command, cwd=ROOT, check=False)
        suite = next(ET.parse(report).getroot().iter("testsuite"))
    tests, skipped = int(suite.attrib["tests"]), int(suite.attrib["skipped"])
    failed = int(suite.attrib["failures"]) + int(suite.attrib["errors"])
    return {"passed": tests - skipped - failed, "failed": failed, "skipped": skipped}


def of_tests() -> Iterator[Row]:
    counted = _read(COUNTED)
    for name, row in (counted or {"tests": {}})["tests"].items():
        what, _, keyword = TESTS[name]
        n = row["passed"] + row["failed"]
        ended = "all as they should" if not row["failed"] else f"**{row['failed']} otherwise**"
        if row["skipped"]:
            ended += f"; {row['skipped']} more were skipped, for want of a package, a GPU or a file"
        files = ", ".join(f"`{file}`" for file in row["files"])
        yield what, f"{n} tests", ended, f"{files}{f' (`-k {keyword!r}`)' if keyword else ''}"


def of_mutants() -> Iterator[Row]:
    results = _read(RESULTS / "mutants.json")
    if results:
        rooms = results["rooms"].values()
        tried = sum(row["tried"] for row in rooms)
        killed = sum(row["killed"] + row["timeout"] for row in rooms)
        least = min((row["killed"] + row["timeout"]) / row["tried"] for row in rooms)
        yield (
            f"small mistakes planted in {len(results['rooms'])} rooms of the package, one at a time",
            f"{tried} mutants",
            f"{killed} noticed by the nearest tests ({killed / tried:.1%}; at least {least:.0%} in each room); "
            f"the other {tried - killed} are listed in [mutants.md](../benchmarks/results/mutants.md)",
            "`make mutants`",
        )


def of_kills() -> Iterator[Row]:
    found = _read(RESULTS / "kill.json")
    if found:
        yield (
            "`ftcourse train` killed by SIGKILL at random moments, then taken up with `--resume`",
            f"{found['kills']} kills of {found['runs']} runs",
            f"{found['same']} of {found['runs']} ended with the same bits of the model, the same history and "
            f"report; a command was refused in {found['refused']}, half-written files were left at the end of "
            f"{found['with_leftovers_at_the_end']}",
            f"`{found['command']}`",
        )


def of_preflight() -> Iterator[Row]:
    rows = (_read(RESULTS / "preflight.json") or {"rows": []})["rows"]
    told = {"by hand": "in loops by hand", "through finetune": "through `finetune`"}
    for part, where in told.items():
        mine = [row for row in rows if row["part"] == part]
        if mine:
            named = sum(row["named"] for row in mine)
            ended = f"{named} named by `preflight`, as was written down beforehand"
            yield f"mistakes planted {where}", f"{len(mine)}", ended, PREFLIGHT
    mine = [row for row in rows if row["part"] == "sound"]
    if mine:
        alarms = sum(bool(row["found"]) for row in mine)
        yield "sound set-ups", f"{len(mine)}", f"{alarms} false alarms of `preflight`", PREFLIGHT


def of_near_copies() -> Iterator[Row]:
    page = RESULTS / "near_copies.md"
    if page.exists():
        text = page.read_text(encoding="utf-8").partition("Groups among")[0]
        pairs = [(int(a), int(b)) for a, b in re.findall(r"\| (\d+)/(\d+) \|$", text, flags=re.M)]
        found, tried = (sum(column) for column in zip(*pairs, strict=True))
        yield (
            f"near copies of real photos, changed in {len(pairs)} ways (scaled, cropped, turned, mirrored)",
            f"{tried} pairs",
            f"{found} found ({found / tried:.1%}), from {min(a / b for a, b in pairs):.0%} of one way to all of "
            f"others: [near_copies.md](../benchmarks/results/near_copies.md)",
            "`python benchmarks/near_copies.py FOLDER`",
        )


def of_answers() -> Iterator[Row]:
    lessons = (_read(RESULTS / "exercise_answers.json") or {"lessons": {}})["lessons"].values()
    if lessons:
        sums = {k: sum(row[k] for row in lessons) for k in next(iter(lessons)) if k != "left"}
        told = "[exercise_answers.md](../benchmarks/results/exercise_answers.md)"
        made = "`python benchmarks/exercise_answers.py`"
        yield (
            f"right and wrong answers to the {sums['exercises']} exercises of the lessons",
            f"{sums['right']} right, {sums['wrong']} wrong",
            f"{sums['taken']} right ones taken, {sums['refused']} wrong ones refused: {told}",
            made,
        )
        left = sums["mutants"] - sums["noticed"]
        yield (
            "small mistakes planted in their worked answers",
            f"{sums['mutants']} mutants",
            f"{sums['noticed']} refused; the other {left} are right as well, each with its reason: {told}",
            made,
        )
    carried = (_read(RESULTS / "carried.json") or {"lessons": {}})["lessons"].values()
    if carried:
        variants = sum(row["variants"] for row in carried)
        other = sum(len(row["failed"]) for row in carried)
        yield (
            "whole lessons run with right answers of other styles",
            f"{variants} runs, {sum(row['answers'] for row in carried)} answers",
            f"{variants - other} go on as with ours, {other} not: [carried.md](../benchmarks/results/carried.md)",
            "`make carried`",
        )


PREFLIGHT = "`python benchmarks/preflight.py`"
SOURCES: tuple[Callable[[], Iterator[Row]], ...] = (
    of_kills,
    of_tests,
    of_preflight,
    of_near_copies,
    of_mutants,
    of_answers,
)


def page() -> str:
    """docs/reliability.md, from the results that are there."""
    counted: dict[str, Any] = _read(COUNTED) or {}
    lines = [
        "# What was tried, how often, and how it ended",
        "",
        "That a program says something is no proof that it does it. So what can go wrong was made to go wrong,",
        "and this is the list. `python benchmarks/reliability.py` writes it from the results of the commands in",
        "the last column. What is promised about the files of strangers is in [SECURITY.md](../SECURITY.md).",
        "",
        "| what was tried | how often | how it ended | made by |",
        "| --- | --- | --- | --- |",
    ]
    for source in SOURCES:
        for row in source():
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    lines += [
        "",
        "A test counts once, however many examples it draws: those with hypothesis try 25 to 100 each. "
        f"The tests were counted with {counted.get('versions', 'nothing yet')}.",
        "",
        "## What this does not show",
        "",
        "- Nothing is proved: each row is a number of tries by people and programs who looked for faults.",
        "- Mutants are mistakes of one place. That tests notice a small one says little about a wrong idea.",
        "- The tests run on a CPU. Those of `tests/training/test_gpu.py` need a GPU and are skipped without one.",
        "- `finetune` makes those checks of `preflight` that cost little. That classes are numbered differently,",
        "  it sees in its own validation; that labels of training were shuffled, `ft.preflight` alone sees.",
        "- Not tried: a disk that lies about having written, memory that flips a bit, a damaged file system.",
    ]
    return "\n".join(lines) + "\n"


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def run(rows: list[str]) -> None:
    """Count the tests of these rows of TESTS (none named: of all), each into results/reliability.json."""
    packages = ("torch", "torchvision", "pytest", "hypothesis")
    versions = [f"Python {platform.python_version()}", *(f"{n} {version(n)}" for n in packages)]
    for name in rows or TESTS:
        _, files, keyword = TESTS[name]
        row = count(files, keyword)
        if row is None:
            continue
        known = (_read(COUNTED) or {"tests": {}})["tests"]
        known[name] = row | {"files": [file for file in files if (ROOT / file).exists()]}
        found = {key: known[key] for key in TESTS if key in known}
        text = json.dumps({"versions": ", ".join(versions), "tests": found}, indent=1)
        COUNTED.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--run", nargs="*", metavar="ROW", help="run the tests of these rows first (of all)"
    )
    rows = parser.parse_args().run
    if rows is not None:
        run(rows)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
