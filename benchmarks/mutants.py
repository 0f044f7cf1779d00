"""Would the tests notice? Plant one small mistake at a time in a room and run the tests nearest to it.

    python benchmarks/mutants.py                                   # every room, up to 60 mutants each
    python benchmarks/mutants.py --room evaluation/measures --sample 0   # one room, all of its mutants
    make mutants ROOM=evaluation/measures

A mutant is killed if a test fails (or it runs out of time), and survives if none does. What may be planted is in
`mutants_operators.py`; which tests judge a room, in `ROOMS`. Of the survivors, those that change nothing a test
should pin are listed in `mutants_reasons.json`, each with the reason. The command writes results/mutants.json and
results/mutants.md, a room at a time; a room that was broken off is taken up where it stopped (build/mutants/).

Why it is not mutmut: 3.8.1 was tried, and runs here (with `process_isolation = "forkserver"`), but it passes
over decorated functions (the loop's validation under `inference_mode`, what is `no_grad`, properties) and over
constants outside of functions (the recipe's table), removes no statement and negates no `if`: "the scheduler is
never stepped" would not be tried. cosmic-ray starts Python for each mutant: 6 s of processor time with torch and
pytest. Here a process that has imported the libraries forks for each mutant; only package and tests are new.
"""

from __future__ import annotations

import argparse
import compileall
import gc
import hashlib
import importlib
import itertools
import json
import os
import platform
import resource
import shutil
import signal
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Any

from mutants_operators import Mutant, mutants_of

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "mutants.json"
REASONS = ROOT / "benchmarks" / "mutants_reasons.json"
PROGRESS = ROOT / "build" / "mutants"
COPIED = (
    "ftcourse",
    "tests",
    "benchmarks/results",
    "conftest.py",
    "pyproject.toml",
    "nbval_sanitize.cfg",
)
GREW = (
    "tests were added until the survivors were these; what earlier ones had killed was not tried again, "
    "nor what has a reason to survive"
)
MEMORY = 6 << 30  # bytes a mutant may take

# a room: a module or a package of ftcourse, and the tests nearest to it, the quick ones first
ROOMS: dict[str, tuple[str, ...]] = {
    "data/drawing": ("tests/data/test_draw_sizes.py", "tests/data/test_drawing.py"),
    "data/splits": ("tests/data/test_split.py",),
    "data/transforms": ("tests/data/test_transforms.py",),
    "evaluation/calibration": ("tests/evaluation/test_calibration.py",),
    "evaluation/measures": ("tests/evaluation/test_measures.py",),
    "models/freezing": ("tests/models/test_freeze_report.py", "tests/models/test_freezing.py"),
    "models/groups": ("tests/models/test_groups.py",),
    "training/checkpoints": (
        "tests/training/test_write_atomic.py",
        "tests/training/test_checkpoints.py",
        "tests/training/test_records.py",
        "tests/models/test_rebuilding.py",
    ),
    "training/feature_cache": ("tests/training/test_feature_cache.py",),
    "training/repeats": ("tests/training/test_repeats.py",),
    "training/frozen_prefix": (
        "tests/training/test_frozen_prefix.py",
        "tests/training/test_feature_cache.py",
    ),
    "training/history": ("tests/training/test_history.py",),
    "training/loop": (
        "tests/training/test_one_epoch.py",
        "tests/training/test_against_plain_loop.py",
        "tests/training/test_loop.py",
        "tests/training/test_settings.py",
        "tests/training/test_feature_cache.py",
    ),
    "training/preflight": ("tests/training/preflight",),
    "training/recipes": ("tests/training/test_recipes.py",),
    "training/runs": ("tests/training/test_runs.py",),
    "training/settings": ("tests/training/test_settings.py",),
    "training/stages": (
        "tests/training/test_stages.py",
        "tests/training/test_schedules.py",
        "tests/training/test_settings.py::test_a_stage_takes_numbers_that_make_sense_and_refuses_all_others_by_name",
        "tests/training/test_settings.py::test_a_stage_that_trains_nothing_is_refused",
    ),
}


class Bench:
    """A copy of the project in which mutants are planted, and a process that forks to try each."""

    def __init__(self, tests: tuple[str, ...]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ftcourse-mutants-"))
        self.tests = there(tests)
        for name in COPIED:
            source, ignore = ROOT / name, shutil.ignore_patterns("__pycache__")
            if source.is_dir():
                shutil.copytree(source, self.folder / name, ignore=ignore)
            else:
                shutil.copy(source, self.folder / name)
        # compiled once; a file is compiled anew if and only if its text has changed
        compileall.compile_dir(
            self.folder / "ftcourse", quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH
        )
        code, self.seconds = self.run(3600)  # with the time that the libraries take to import
        if code != 0:
            raise SystemExit(f"the tests fail without a mutant:\n{self.output()[-3000:]}")
        for name in (self.folder / "modules").read_text().split():
            try:
                importlib.import_module(name)
            except Exception:  # not every name in sys.modules can be imported by it
                continue
        gc.collect()
        gc.freeze()  # the libraries' million objects: no fork looks through them for garbage
        self.limit = 10 + 4 * self.seconds

    def output(self) -> str:
        return (self.folder / "output").read_text(errors="replace")

    def run(self, limit: float) -> tuple[int | None, float]:
        """(pytest's exit code, or None for one that ended otherwise, CPU seconds) of a fork."""
        pid = os.fork()
        if pid == 0:
            self._child(limit)
        wall = time.monotonic() + 12 * limit  # others may use the machine, too
        while True:
            done, status, usage = os.wait4(pid, os.WNOHANG)
            if done:
                break
            if time.monotonic() > wall:
                os.killpg(pid, signal.SIGKILL)
            time.sleep(0.02)
        seconds = usage.ru_utime + usage.ru_stime
        return (os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else None), seconds

    def _child(self, limit: float) -> None:
        code = 3
        try:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            out = os.open(self.folder / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1), os.dup2(out, 2)
            resource.setrlimit(resource.RLIMIT_CPU, (int(limit) + 1, int(limit) + 2))
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
            os.chdir(self.folder)
            sys.path[:0] = [str(self.folder)]
            os.environ["PYTHONPATH"] = str(self.folder)
            code = self._pytest()
            listed = [name for name in sys.modules if _is_library(name)]
            (self.folder / "modules").write_text("\n".join(listed))
        finally:
            os._exit(code)

    def _pytest(self) -> int:
        import pytest
        from hypothesis import Phase, settings

        phases = (Phase.explicit, Phase.generate)  # that it fails is enough: no simpler example
        settings.register_profile("mutants", database=None, derandomize=True, phases=phases)
        settings.load_profile("mutants")
        plugins = ("cacheprovider", "nbval", "xdist", "faulthandler")
        options = [
            "-x",
            "-q",
            "--tb=line",
            "--basetemp",
            str(self.folder / "temp"),
            "-o",
            "addopts=",
        ]
        options += [word for name in plugins for word in ("-p", f"no:{name}")]
        return int(pytest.main([*options, *self.tests]))

    def outcome(self, mutant: Mutant) -> str:
        path = self.folder / mutant.file
        source = path.read_bytes()
        path.write_bytes(mutant.applied_to(source))
        try:
            code, _ = self.run(self.limit)
        finally:
            path.write_bytes(source)
        return {0: "survived", None: "timeout"}.get(code, "killed")

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _is_library(name: str) -> bool:
    return not name.startswith(("ftcourse", "tests", "conftest", "__", "test_"))


def files_of(room: str) -> list[Path]:
    path = ROOT / "ftcourse" / room
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def there(tests: tuple[str, ...]) -> list[str]:
    """Those of the tests, files or single ones, whose file is there."""
    return [test for test in tests if (ROOT / test.split("::")[0]).exists()]


def all_mutants(room: str) -> list[Mutant]:
    """Every mutant of a room."""
    return [
        mutant
        for path in files_of(room)
        for mutant in mutants_of(path.read_bytes(), path.relative_to(ROOT).as_posix())
    ]


def chosen(room: str, sample: int, seed: int) -> list[Mutant]:
    """So many mutants of a room, drawn by seed; all of them with `sample=0`.

    Each has a lot of its own, so a change elsewhere in the room leaves most of the sample as it is.
    """
    found = all_mutants(room)
    if not sample or sample >= len(found):
        return found
    lot = {m: hashlib.sha256(f"{seed}/{m.key}".encode()).digest() for m in found}
    return sorted(sorted(found, key=lot.__getitem__)[:sample], key=found.index)


def fingerprint(room: str) -> str:
    """Of what decides the outcomes: the room, its tests, and what plants the mutants."""
    tests = [ROOT / test.split("::")[0] for test in there(ROOMS[room])]
    inside = [sorted(path.rglob("*.py")) if path.is_dir() else [path] for path in tests]
    files = [*files_of(room), *itertools.chain(*inside)]
    files += [ROOT / "tests" / "conftest.py", Path(__file__).with_name("mutants_operators.py")]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()


def try_room(room: str, sample: int, seed: int, survivors_only: bool = False) -> dict[str, Any]:
    """Try the mutants of a room that were not tried yet with these tests; the room's results."""
    mutants = chosen(room, sample, seed)
    progress = PROGRESS / f"{room.replace('/', '-')}.json"
    known = json.loads(progress.read_text()) if progress.exists() else {}
    mark, outcomes = fingerprint(room), known.get("outcomes", {})
    if known.get("fingerprint") != mark:  # more tests, perhaps: what was killed may count or not
        why = reasons()
        outcomes = {
            k: v for k, v in outcomes.items() if survivors_only and (v != "survived" or k in why)
        }
    todo = [mutant for mutant in mutants if mutant.key not in outcomes]
    bench = Bench(ROOMS[room]) if todo else None
    if bench:
        print(f"{room}: {len(todo)} to try; all its tests take {bench.seconds:.0f} s", flush=True)
    try:
        for i, mutant in enumerate(todo, 1):
            outcomes[mutant.key] = found = bench.outcome(mutant)
            progress.parent.mkdir(parents=True, exist_ok=True)
            progress.write_text(json.dumps({"fingerprint": mark, "outcomes": outcomes}))
            if found == "survived":
                print(f"  {told(mutant)}", flush=True)
            if i % 25 == 0:
                print(f"  {room}: {i} of {len(todo)}", flush=True)
    finally:
        if bench:
            bench.close()
    count = [outcomes[mutant.key] for mutant in mutants]
    survived = [mutant for mutant in mutants if outcomes[mutant.key] == "survived"]
    return {
        "tests": there(ROOMS[room]),
        "possible": len(all_mutants(room)),
        "tried": len(mutants),
        "note": GREW if survivors_only else "",
        "seed": seed if len(mutants) < len(all_mutants(room)) else None,
        "killed": count.count("killed"),
        "timeout": count.count("timeout"),
        "survived": [
            {
                k: getattr(m, k)
                for k in ("key", "file", "line", "function", "kind", "before", "after")
            }
            for m in survived
        ],
    }


def told(mutant: Mutant | dict[str, Any]) -> str:
    """A mutant in a line."""
    m = mutant if isinstance(mutant, dict) else vars(mutant) | {"key": mutant.key}
    change = f"{m['before']} -> {m['after']}" if m["after"] else m["before"]
    return f"{m['key']} {m['file']}:{m['line']} {m['function']}, {m['kind']}: {change}"


def reasons() -> dict[str, str]:
    """Why a survivor may survive, by its key."""
    found = json.loads(REASONS.read_text(encoding="utf-8")) if REASONS.exists() else []
    return {key: row["reason"] for row in found for key in row["mutants"]}


def page(results: dict[str, Any], why: dict[str, str]) -> str:
    """results/mutants.md."""
    lines = [
        "# Mutants: would the tests notice?",
        "",
        f"Made by `{results['command']}`; {results['versions']}.",
        "Each row: so many small mistakes, planted one at a time, and judged by the room's nearest tests alone.",
        "Where not all were tried, they were drawn by the seed. Of the survivors, `reason given` counts those of",
        "which the list below says why no test should notice them; `open`: a test is missing.",
        "",
        "| room | mutants tried | of | seed | killed | of these by time | survived | reason given | open |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for room, row in _sorted(results):
        killed, excused = row["killed"] + row["timeout"], _excused(row, why)
        lines.append(
            f"| {room} | {row['tried']} | {row['possible']} | {'' if row['seed'] is None else row['seed']} | "
            f"{killed} ({killed / row['tried']:.0%}) | {row['timeout']} | {len(row['survived'])} | {excused} | "
            f"{len(row['survived']) - excused} |"
        )
    lines += [""] + [
        f"- {room}: {row['note']}" for room, row in _sorted(results) if row.get("note")
    ]
    lines += ["", "## The survivors"]
    for room, row in _sorted(results):
        if row["survived"]:
            lines += ["", f"### {room}", "", "| where | mistake | reason |", "| --- | --- | --- |"]
        for m in row["survived"]:
            change = (
                f"{_code(m['before'])} becomes {_code(m['after'])}"
                if m["after"]
                else _code(m["before"])
            )
            where = f"{m['function'] or 'top'}, line {m['line']}"
            lines.append(f"| {where} | {m['kind']}: {change} | {why.get(m['key'], 'open')} |")
    return "\n".join(lines) + "\n"


def _sorted(results: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return sorted(results["rooms"].items())


def _excused(row: dict[str, Any], why: dict[str, str]) -> int:
    return sum(m["key"] in why for m in row["survived"])


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|").replace("`", "'") + "`"


def machine() -> str:
    names = ("torch", "pytest", "hypothesis")
    return ", ".join([f"Python {platform.python_version()}", *(f"{n} {version(n)}" for n in names)])


def write(rooms: dict[str, Any], command: str) -> None:
    """Put the results of these rooms beside those of the others, and write the page."""
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {"rooms": {}}
    known = {"command": command, "versions": machine(), "rooms": known["rooms"] | rooms}
    RESULTS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    RESULTS.with_suffix(".md").write_text(page(known, reasons()), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--room", action="append", choices=sorted(ROOMS), help="may be repeated")
    parser.add_argument(
        "--sample", type=int, default=60, help="mutants a room; 0: all (default 60)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--survivors", action="store_true",
                        help="after tests were added: try again what survived without a reason")  # fmt: skip
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the copy is removed
    for room in given.room or sorted(ROOMS):
        row = try_room(room, given.sample, given.seed, given.survivors)
        write({room: row}, "python benchmarks/mutants.py")
        killed = row["killed"] + row["timeout"]
        print(
            f"{room}: {killed} of {row['tried']} killed ({killed / row['tried']:.0%})", flush=True
        )


if __name__ == "__main__":
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # set before torch is imported; a fork has no threads of its parent
    main()
