"""Blood cells (BCCD) once more, on larger photos: are platelets found, which detection.py misses at 128x96?

    python benchmarks/detection_larger.py bccd.zip

All is as in detection.py (photos, epochs, rates, pocket weights), but that photos are shrunk to 213x160 pixels.
One seed, since it takes minutes. Writes ftcourse/results/detection_larger.json and
benchmarks/results/detection_larger.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import detection
import torch
import torchvision

from ftcourse import results

NAME, SIZE, SEED, RATE = "detection_larger", (160, 213), 0, 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path, metavar="bccd.zip")
    torch.set_num_threads(1)
    data = detection.read(parser.parse_args().photos, SIZE)
    run = detection.run(data, "fine-tuned", RATE, SEED, SIZE[0])
    small = next(
        r
        for r in results.load("detection")["runs"]
        if (r["arm"], r["lr"], r["seed"]) == ("fine-tuned", RATE, SEED)
    )
    content = {
        "command": f"python benchmarks/{NAME}.py bccd.zip",
        "seeds": [SEED],
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__},
        "setting": {"size": SIZE, "epochs": detection.EPOCHS, "batch_size": detection.BATCH,
                    "photos": {k: len(getattr(data, k)) for k in ("train", "val", "test")}},
        "runs": [run],
    }  # fmt: skip
    results.path(NAME).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    lines = [
        "# BCCD blood cells, on larger photos: FCOS on ResNet-18 with pocket weights, seed 0",
        "",
        "| photos | mAP | mAP at IoU 0.5 | RBC | WBC | Platelets | CPU s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for size, r in (("128x96", small), (f"{SIZE[1]}x{SIZE[0]}", run)):
        classes = " | ".join(f"{100 * r['map_50_class'][c]:.0f} %" for c in detection.CLASSES)
        lines.append(
            f"| {size} | {100 * r['map']:.1f} % | {100 * r['map_50']:.1f} % | {classes} | {r['cpu_seconds']:.0f} |"
        )
    lines += ["", f"One seed, all else as in detection.md. Made by `{content['command']}` with torch "
              f"{torch.__version__}.", ""]  # fmt: skip
    page = "\n".join(lines)
    (Path(__file__).parent / "results" / f"{NAME}.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
