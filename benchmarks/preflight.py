"""What `ft.preflight` names of mistakes planted one at a time, and what it says of sound set-ups.

    python benchmarks/preflight.py [--processes 2] [--only TEXT ...]

The mistakes and the set-ups are small functions in tests/training/preflight: `planted.py` (a training program by
hand, given to `ft.preflight` with its functions), `planted_finetune.py` (what is handed to `ft.finetune`; what the
whole run tells counts) and `sound.py`. A mistake counts as named if a finding that was written down beforehand as
right is among those told. ResNet-18 with pocket weights, five kinds of drawn insects at 64 pixels, one thread a
process. Writes benchmarks/results/preflight.json and .md; `--only TEXT ...` runs those whose words have a TEXT
in them, and replaces their rows.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import time
import warnings
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


def summary(rows: list[dict[str, Any]]) -> str:
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
    seconds = sorted(r["seconds"] for r in rows if r["part"] != "through finetune")
    lines += [
        "",
        f"One call takes {seconds[len(seconds) // 2]:.1f} s of processor time (median).",
        "",
    ]
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
    options = parser.parse_args()
    jobs = [(part, what) for part, made in PARTS.items() for what in made]
    if options.only:
        jobs = [j for j in jobs if any(text in ": ".join(j) for text in options.only)]
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        rows = []
        for row in pool.map(run, *zip(*jobs, strict=True)):
            rows.append(row)
            good = row["named"] if "named" in row else not row["found"]
            print(
                f"{'   ' if good else '***'} {row['part']}: {row['what']}: {row['found']}",
                flush=True,
            )
    if options.only:
        old = json.loads((RESULTS / "preflight.json").read_text(encoding="utf-8"))["rows"]
        new = {(r["part"], r["what"]): r for r in rows}
        rows = [new.get((r["part"], r["what"]), r) for r in old]
    if rows:
        text = json.dumps({"rows": rows}, indent=1, ensure_ascii=False) + "\n"
        (RESULTS / "preflight.json").write_text(text, encoding="utf-8")
        (RESULTS / "preflight.md").write_text(summary(rows), encoding="utf-8")
        print(summary(rows))


if __name__ == "__main__":
    main()
