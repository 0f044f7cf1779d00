"""Kill `ftcourse train` at random times and resume it: does it end with the bits of a run that nobody touched?

Each run is the command itself in a process of its own, killed by SIGKILL some times at random moments (while
packages are imported, photos read, weights written), then taken up with --resume, or begun again where nothing was
begun. Each bit of `model.safetensors` must equal that of the unbroken run, `history.json` and `report.json` but
for seconds and paths.

    python benchmarks/kill.py                # 50 kills; writes benchmarks/results/kill.json and kill.md
    python benchmarks/kill.py --kills 3      # a short one, prints only
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
OPTIONS = [
    "--strategy",
    "layer4",
    "--epochs",
    "4",
    "--size",
    "32",
    "--batch-size",
    "8",
    "--seed",
    "3",
]
CLOCKS = {"seconds", "times", "command", "source", "peak_memory"}  # what may differ


def draw_photos(folder: Path, each: int = 16, side: int = 36) -> Path:
    """Two classes of noise, one of them with a bright corner."""
    for k, name in enumerate(("plain", "corner")):
        (folder / name).mkdir(parents=True)
        for i in range(each):
            pixels = np.random.default_rng(100 * k + i).integers(60, 160, (side, side, 3), np.uint8)
            if k:
                pixels[:14, :14] = 240
            Image.fromarray(pixels).save(folder / name / f"{i:02d}.png")
    return folder


def command(photos: Path, out: Path, *more: str) -> subprocess.Popen:
    own = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [
        sys.executable,
        "-m",
        "ftcourse",
        "train",
        str(photos),
        "--out",
        str(out),
        *OPTIONS,
        *more,
    ]
    return subprocess.Popen(
        words, env=own, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def unbroken(photos: Path, out: Path) -> float:
    """Seconds of processor time that it takes: moments of kills are spread over a run, also on a busy machine."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = command(photos, out)
    told = process.communicate()[1]
    assert process.returncode == 0, told
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def used(process: subprocess.Popen) -> float:
    """Seconds of processor time that a process has had (Linux); else seconds since the machine began."""
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return time.monotonic()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def kill_after(process: subprocess.Popen, seconds: float) -> bool:
    """Whether it was killed; False if it was done before."""
    end = used(process) + seconds
    while process.poll() is None:
        if used(process) >= end:
            process.kill()
            process.communicate()
            return True
        time.sleep(0.005)
    return False


def result(out: Path) -> dict[str, Any]:
    """What must be equal: a hash of the model, the history and the report without clocks."""
    read = lambda name: _timeless(json.loads((out / name).read_text(encoding="utf-8")))  # noqa: E731
    return {
        "model": hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest(),
        "history": read("history.json"),
        "report": read("report.json"),
    }


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in CLOCKS}
    return [_timeless(v) for v in value] if isinstance(value, list) else value


def begun(out: Path) -> bool:
    return (out / "settings.json").exists()


def killed_run(
    photos: Path, out: Path, kills: int, longest: float, rng: random.Random
) -> dict[str, Any]:
    """One run, killed up to so many times; then let go to its end. What happened, in numbers."""
    seen: dict[str, Any] = {"kills": 0, "leftovers": 0, "told": []}
    while seen["kills"] < kills:
        process = command(photos, out, *(["--resume"] if begun(out) else []))
        if kill_after(process, rng.uniform(0, longest)):
            seen["kills"] += 1
            seen["leftovers"] += len(list(out.glob(".*.part"))) if out.exists() else 0
            continue
        told = process.communicate()[1]
        if process.returncode != 0:
            seen["told"].append(told.strip()[-300:])
        break  # it was quicker than its kill
    process = command(photos, out, *(["--resume"] if begun(out) else []))
    told = process.communicate()[1]
    if process.returncode != 0:
        seen["told"].append(told.strip()[-300:])
    return seen


def trial(kills: int, each: int, seed: int, folder: Path) -> dict[str, Any]:
    """Runs killed `each` times at the most, until so many kills have been."""
    rng, photos = random.Random(seed), draw_photos(folder / "photos")
    seconds = unbroken(photos, folder / "unbroken")
    expected, runs, left = result(folder / "unbroken"), [], kills
    while left > 0:
        out = folder / f"run{len(runs)}"
        seen = killed_run(photos, out, min(left, rng.randint(1, each)), seconds, rng)
        found = result(out) if (out / "report.json").exists() else None
        seen["same"] = {k: found is not None and found[k] == expected[k] for k in expected}
        seen["left_behind"] = sorted(p.name for p in out.iterdir() if p.name.startswith("."))
        left -= seen["kills"]
        runs.append(seen)
        print(f"run {len(runs)}: {seen}", flush=True)
    return {
        "command": f"python benchmarks/kill.py --kills {kills} --each {each} --seed {seed}",
        "train": " ".join(["ftcourse train PHOTOS --out RUN", *OPTIONS]),
        "unbroken_processor_seconds": round(seconds, 1),
        "kills": sum(run["kills"] for run in runs),
        "runs": sum(run["kills"] > 0 for run in runs),  # the others were done before their kill
        "same": sum(all(run["same"].values()) for run in runs if run["kills"]),
        "with_leftovers_after_a_kill": sum(run["leftovers"] > 0 for run in runs),
        "with_leftovers_at_the_end": sum(bool(run["left_behind"]) for run in runs),
        "refused": sum(bool(run["told"]) for run in runs),
        "detail": runs,
        "versions": {n: version(n) for n in ("torch", "torchvision", "numpy", "pillow")},
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def page(found: dict[str, Any]) -> str:
    return f"""# Killed and resumed

`{found["command"]}`

`{found["train"]}`, 32 photos,
killed by SIGKILL at random moments and taken up with `--resume`. An unbroken run takes
{found["unbroken_processor_seconds"]} s of processor time.

| | |
| --- | --- |
| kills | {found["kills"]} |
| runs that were killed and resumed | {found["runs"]} |
| of them with the same model (each bit), history and report (but for seconds) | {found["same"]} |
| in which a kill left a half-written file | {found["with_leftovers_after_a_kill"]} |
| with one left at the end | {found["with_leftovers_at_the_end"]} |
| in which a command was refused | {found["refused"]} |

{found["platform"]}, Python {found["python"]}, {", ".join(f"{n} {v}" for n, v in found["versions"].items())}.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--each", type=int, default=6, help="kills a run at the most")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = trial(asked.kills, asked.each, asked.seed, Path(folder))
    if asked.kills >= 50:
        RESULTS.joinpath("kill.json").write_text(
            json.dumps(found, indent=1) + "\n", encoding="utf-8"
        )
        RESULTS.joinpath("kill.md").write_text(page(found), encoding="utf-8")
    print(page(found))
    raise SystemExit(0 if found["same"] == found["runs"] and not found["refused"] else 1)


if __name__ == "__main__":
    main()
