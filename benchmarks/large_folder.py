"""A folder of many small photos: how long the first and the second start take, in how much memory; all are used.

    python benchmarks/large_folder.py 20000
    python benchmarks/large_folder.py 200000      # about 20 minutes of one core, 1 GB of disk for the photos

Draws photos of 64 pixels in ten classes into a temporary folder, and loads them twice with `load_data`, each
time in a process of its own that is measured as a whole: the second finds what the first wrote into its index.
Updates benchmarks/results/large_folder.json and .md; earlier numbers of photos stay there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

RESULT = Path(__file__).parent / "results" / "large_folder.json"
SIDE, CLASSES = 64, 10
SETTLED = 3.0  # seconds; a file that was written a moment ago is not remembered

START = """
import json, resource, sys, time
begin = time.perf_counter()
import ftcourse as ft
imported = time.perf_counter()
data = ft.load_data(sys.argv[1], size=64)
used = sum(data.counts.values())
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
processor = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "imports": imported - begin, "seconds": time.perf_counter() - imported,
    "processor_seconds": processor.ru_utime + processor.ru_stime, "peak_mb": peak, "photos_used": used,
    "left_out": sum(note.startswith("Left out") for note in data.notes),
}))
"""


def draw(root: Path, photos: int) -> None:
    """Photos of blurred noise: no two are alike, and none is drawn with few colours."""
    for k in range(CLASSES):
        (root / f"class {k}").mkdir(parents=True)
    for i in range(photos):
        rng = np.random.default_rng(i)
        coarse = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        photo = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        photo.save(root / f"class {i % CLASSES}" / f"{i:06d}.jpg", quality=90)


def start(root: Path, cache: Path) -> dict[str, Any]:
    """One start of a program that loads the folder, in a process of its own."""
    env = os.environ | {"FTCOURSE_CACHE": str(cache), "FTCOURSE_INDEX": "on"}
    done = subprocess.run(
        [sys.executable, "-c", START, str(root)],
        env=env,
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    return {k: round(v, 1) if isinstance(v, float) else v for k, v in found.items()}


def measure(photos: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="large-folder-") as folder:
        root, cache = Path(folder) / "photos", Path(folder) / "cache"
        draw(root, photos)
        time.sleep(SETTLED)
        row: dict[str, Any] = {"first": start(root, cache), "second": start(root, cache)}
        row["index_mb"] = round((cache / "photos.sqlite").stat().st_size / 1e6, 1)
    for found in (row["first"], row["second"]):
        if found["photos_used"] != photos or found["left_out"]:
            raise SystemExit(f"{photos} photos, of which {found} were used")
    return row


def page(results: dict[str, Any]) -> str:
    lines = [
        "# A folder of many small photos",
        "",
        f"`python benchmarks/large_folder.py PHOTOS`: `load_data` of generated JPEGs of {SIDE} pixels in "
        f"{CLASSES} classes, each start a process of its own; {results['machine']}. Seconds are those of the "
        "clock without the imports, and of the processor with them; memory is the largest that the process had.",
        "",
        "| photos | start | seconds | of the processor | peak memory in MB | photos used |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for photos, row in sorted(results["rows"].items(), key=lambda item: int(item[0])):
        for which in ("first", "second"):
            one = row[which]
            lines.append(
                f"| {int(photos):,} | {which} | {one['seconds']:.0f} | {one['processor_seconds']:.0f} "
                f"| {one['peak_mb']:,.0f} | {one['photos_used']:,} |"
            )
    sizes = ", ".join(
        f"{row['index_mb']} MB for {int(n):,}"
        for n, row in sorted(results["rows"].items(), key=lambda item: int(item[0]))
    )
    return "\n".join([*lines, "", f"The index on disk: {sizes}.", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=int, nargs="+")
    for photos in parser.parse_args().photos:
        row = measure(photos)
        results = json.loads(RESULT.read_text()) if RESULT.exists() else {"rows": {}}
        results["machine"] = (
            f"{os.cpu_count()} processor cores, Python {platform.python_version()}, torch {version('torch')}, "
            f"Pillow {version('pillow')}"
        )
        results["command"] = "python benchmarks/large_folder.py PHOTOS"
        results["rows"][str(photos)] = row
        RESULT.write_text(json.dumps(results, indent=1) + "\n")
        RESULT.with_suffix(".md").write_text(page(results))
        print(photos, row)


if __name__ == "__main__":
    main()
