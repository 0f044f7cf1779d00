"""What `ft.preflight` names of mistakes planted one at a time, and what it says of sound set-ups.

    python benchmarks/preflight.py [--processes 2] [--only TEXT ...] [--left]
    python benchmarks/preflight.py --cost [--before FOLDER]

The mistakes and the set-ups are small functions in tests/training/preflight: `planted.py` (a training program by
hand, given to `ft.preflight` with its functions), `planted_finetune.py` (what is handed to `ft.finetune`; what the
whole run tells counts) and `sound.py`. A mistake counts as named if a finding that was written down beforehand as
right is among those told. ResNet-18 with pocket weights, five kinds of drawn insects at 64 pixels, one thread a
process. Writes benchmarks/results/preflight.json and .md; `--only TEXT ...` runs those whose words have a TEXT
in them, `--left` those that have no row yet, and replaces their rows. `--cost` measures instead what preflight
adds to a small run of `finetune`, of this checkout and of another one in FOLDER, in turns: processor seconds,
median of three runs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.training.preflight import planted, planted_finetune, sound  # noqa: E402

RESULTS = Path(__file__).parent / "results"
PARTS = {
    "by hand": planted.PLANTED,
    "through finetune": planted_finetune.PLANTED,
    "sound": sound.SOUND,
}


def run(part: str, what: str) -> dict[str, Any]:
    """One mistake or set-up: what was told, and in how many seconds of processor time."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    start = time.process_time()
    row: dict[str, Any] = {"part": part, "what": what}
    with contextlib.redirect_stdout(io.StringIO()):
        if part == "sound":
            row["found"] = sorted({f.name for f in sound.SOUND[what]()})
        elif part == "by hand":
            make, names = planted.PLANTED[what]
            row["found"] = sorted({f.name for f in make().findings()})
        else:
            make, names = planted_finetune.PLANTED[what]
            row["found"] = sorted(set(planted_finetune.findings(make)))
    if part != "sound":
        row |= {"right": sorted(names), "named": bool(names & set(row["found"]))}
    return row | {"seconds": round(time.process_time() - start, 1)}


def costs(before: Path | None, times: int = 3) -> dict[str, dict[str, float]]:
    """Processor seconds of `finetune` by what trains, with and without preflight, of both versions."""
    folders = {"now": ROOT} | ({"before": before.resolve()} if before else {})
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in folders}
    for _ in range(times):
        for name, folder in folders.items():
            env = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
            program = [sys.executable, "-B", str(ROOT / "benchmarks" / "preflight_cost.py")]
            out = subprocess.run(program, env=env, cwd=folder, capture_output=True, check=True)
            runs[name].append(json.loads(out.stdout))
            print(name, runs[name][-1], flush=True)
    return {
        name: {key: round(statistics.median(r[key] for r in mine), 2) for key in mine[0]}
        for name, mine in runs.items()
    }


def cost_lines(cost: dict[str, dict[str, float]]) -> list[str]:
    """The same as a table."""
    lines = ["| `finetune`, seconds of processor time | " + " | ".join(cost) + " |"]
    lines.append("| --- |" + " --- |" * len(cost))
    for key in cost["now"]:
        values = " | ".join(f"{mine[key]:.2f}" for mine in cost.values())
        lines.append(f"| {key} preflight | {values} |")
    return lines


def summary(rows: list[dict[str, Any]], cost: dict[str, dict[str, float]]) -> str:
    """The results as a page."""
    lines = [
        "# What preflight names",
        "",
        "Made by `python benchmarks/preflight.py`; its docstring says how.",
        "",
    ]
    lines += ["| | tried | |", "| --- | --- | --- |"]
    for part in ("by hand", "through finetune"):
        mine = [r for r in rows if r["part"] == part]
        lines.append(f"| mistakes {part} | {len(mine)} | {sum(r['named'] for r in mine)} named |")
    mine = [r for r in rows if r["part"] == "sound"]
    lines.append(
        f"| sound set-ups | {len(mine)} | {sum(bool(r['found']) for r in mine)} false alarms |"
    )
    tried = {(r["part"], r["what"]) for r in rows}
    left = sum((part, what) not in tried for part, made in PARTS.items() for what in made)
    if left:
        lines += ["", f"The bench is not finished: {left} are not tried yet.", ""]
    seconds = sorted(r["seconds"] for r in rows if r["part"] == "by hand" and r["seconds"])
    if seconds:
        middle = statistics.median(seconds)
        lines += ["", f"One call takes {middle:.1f} s of processor time (median).", ""]
    if cost:
        lines += [*cost_lines(cost), ""]
    lines += ["Not named:", ""]
    missed = [r for r in rows if not r.get("named", True)]
    lines += [
        f"- {r['part']}: {r['what']} (told: {', '.join(r['found']) or 'nothing'})" for r in missed
    ]
    alarms = [r for r in mine if r["found"]]
    if alarms:
        lines += ["", "False alarms:", ""]
        lines += [f"- {r['what']}: {', '.join(r['found'])}" for r in alarms]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--left", action="store_true")
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--before", type=Path)
    options = parser.parse_args()
    file = RESULTS / "preflight.json"
    old = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    rows, cost = old.get("rows", []), old.get("cost", {})
    if options.cost:
        cost = costs(options.before)
    else:
        for known in _tried(options.processes, options.only, rows, options.left):
            _write(known, cost)  # an unfinished bench keeps what it has
            rows = known
    _write(rows, cost)
    print(summary(rows, cost))


def _write(rows: list[dict[str, Any]], cost: dict[str, dict[str, float]]) -> None:
    text = json.dumps({"rows": rows, "cost": cost}, indent=1, ensure_ascii=False) + "\n"
    (RESULTS / "preflight.json").write_text(text, encoding="utf-8")
    (RESULTS / "preflight.md").write_text(summary(rows, cost), encoding="utf-8")


def _tried(
    processes: int, only: list[str], old: list[dict[str, Any]], left: bool
) -> Iterator[list[dict[str, Any]]]:
    """Tries all mistakes and set-ups, or those with one of these texts in their words; others keep their old row.

    After each one, all rows there are.
    """
    jobs = [(part, what) for part, made in PARTS.items() for what in made]
    chosen = [j for j in jobs if not only or any(text in ": ".join(j) for text in only)]
    rows = {(r["part"], r["what"]): r for r in old}
    chosen = [job for job in chosen if not (left and job in rows)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for row in pool.map(run, *zip(*chosen, strict=True)):
            rows[row["part"], row["what"]] = row
            good = row["named"] if "named" in row else not row["found"]
            print(
                f"{'   ' if good else '***'} {row['part']}: {row['what']}: {row['found']}",
                flush=True,
            )
            yield [rows[job] for job in jobs if job in rows]


if __name__ == "__main__":
    main()
