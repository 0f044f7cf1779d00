"""Blood cells (BCCD, 3 classes) with boxes: a pre-trained backbone against random weights.

    python benchmarks/detection.py bccd.zip

The zip holds BCCD/JPEGImages, Annotations (Pascal VOC XML) and ImageSets/Main with its own train, val and test
lists. The first 150 of train train; the first 40 of val choose the epoch and, with the first seed, the learning
rate of the network from scratch; test is touched once a run. Photos are shrunk from 640x480 to 128x96. Writes
ftcourse/results/detection.json and benchmarks/results/detection.md after each run; a run that is already there is
not repeated.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
import torchvision
from PIL import Image
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

import ftcourse as ft
from ftcourse import results
from ftcourse.tasks.detection import Detection, detection_transforms, fcos, mean_average_precision

CLASSES = ("RBC", "WBC", "Platelets")  # red and white blood cells, platelets
SIZE, EPOCHS, BATCH = (96, 128), 6, 8
RATES = {"scratch": (1e-3, 3e-3), "fine-tuned": (1e-3,)}  # the choice favours scratch
WEIGHTS = {"scratch": "none", "fine-tuned": "pocket"}
MOST = {"train": 150, "val": 40}  # the first by name, to keep a run short
NAMES = {"scratch": "random weights, all train", "fine-tuned": "pocket weights, all train"}


class Cells(Dataset):
    def __init__(self, items: list, transform) -> None:
        self.items, self.transform = items, transform

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int):
        return self.transform(*self.items[i])

    def with_transform(self, transform) -> Cells:
        return Cells(self.items, transform)


@dataclass
class Smears:
    train: Cells
    val: Cells
    test: Cells
    classes: tuple[str, ...] = CLASSES


def read(file: Path) -> Smears:
    shrink = v2.Resize(SIZE, antialias=True)
    with zipfile.ZipFile(file) as packed:

        def item(name: str):
            photo = packed.read(f"BCCD/JPEGImages/{name}.jpg")
            pixels = torch.from_numpy(np.array(Image.open(io.BytesIO(photo)).convert("RGB")))
            image = tv_tensors.Image(pixels.permute(2, 0, 1))
            boxes, labels = [], []
            for thing in ElementTree.fromstring(packed.read(f"BCCD/Annotations/{name}.xml")).iter(
                "object"
            ):
                box = [
                    float(thing.findtext(f"bndbox/{k}")) for k in ("xmin", "ymin", "xmax", "ymax")
                ]
                if box[2] > box[0] and box[3] > box[1]:  # one annotation has no width
                    boxes.append(box)
                    labels.append(1 + CLASSES.index(thing.findtext("name")))
            target = {
                "boxes": tv_tensors.BoundingBoxes(
                    torch.tensor(boxes).reshape(-1, 4),
                    format="XYXY",
                    canvas_size=tuple(image.shape[1:]),
                ),
                "labels": torch.tensor(labels),
            }
            return shrink(image, target)

        parts = []
        for part in ("train", "val", "test"):
            names = packed.read(f"BCCD/ImageSets/Main/{part}.txt").decode().split()
            parts.append([item(name) for name in sorted(names)[: MOST.get(part)]])
    still = detection_transforms()
    return Smears(
        Cells(parts[0], detection_transforms(True)), Cells(parts[1], still), Cells(parts[2], still)
    )


def run(data: Smears, arm: str, lr: float, seed: int) -> dict:
    torch.manual_seed(seed)
    model = fcos(ft.load_backbone("resnet18", weights=WEIGHTS[arm]), len(CLASSES) + 1, size=SIZE[0])
    task = Detection()
    stage = ft.Stage("all", epochs=EPOCHS, lr=lr, head_lr=3e-3)
    start = time.process_time()
    history = ft.finetune(
        model, data, stage, task=task, batch_size=BATCH, seed=seed, progress=False, preflight=False
    )
    seconds = time.process_time() - start
    found, truth = ft.predict(model, data.test, task=task)
    result = mean_average_precision(found, truth, extended_summary=True)
    columns = [result["classes"].tolist().index(k + 1) for k in range(len(CLASSES))]
    precision = result["precision"][0, :, columns, 0, -1]  # at IoU 0.5: (101 recalls, classes)
    return {
        "arm": arm, "lr": lr, "seed": seed, "val_map": round(history.best["val_map"], 4),
        "map": round(result["map"].item(), 4), "map_50": round(result["map_50"].item(), 4),
        "map_50_class": {c: round(precision[:, k].mean().item(), 4) for k, c in enumerate(CLASSES)},
        "precision": {
            c: [round(v, 3) for v in precision[::4, k].tolist()] for k, c in enumerate(CLASSES)
        },
        "curve": [round(r["val_map_50"], 4) for r in history.epochs],
        "best_epoch": history.best["epoch"], "cpu_seconds": round(seconds, 1),
    }  # fmt: skip


def summary(runs: list[dict], seeds: list[int]) -> dict:
    """Each arm with the learning rate that its first seed's validation score chose."""
    found = {}
    for arm in WEIGHTS:
        first = [r for r in runs if r["arm"] == arm and r["seed"] == seeds[0]]
        if not first:
            continue
        lr = max(first, key=lambda r: r["val_map"])["lr"]
        mine = [r for r in runs if r["arm"] == arm and r["lr"] == lr]
        found[arm] = {
            "what": NAMES[arm], "lr": lr, "seeds": [r["seed"] for r in mine],
            "map": [r["map"] for r in mine], "map_50": [r["map_50"] for r in mine],
            "map_50_class": {
                c: round(statistics.mean(r["map_50_class"][c] for r in mine), 4) for c in CLASSES
            },
            "precision": {  # at recall 0, 0.04, ... 1; mean over the seeds
                c: [
                    round(statistics.mean(v), 3)
                    for v in zip(*(r["precision"][c] for r in mine), strict=True)
                ]
                for c in CLASSES
            },
            "cpu_seconds": round(statistics.median(r["cpu_seconds"] for r in mine), 1),
        }  # fmt: skip
    return found


def table(found: dict) -> str:
    lines = ["| what | mAP, mean (min to max) | mAP at IoU 0.5 | RBC | WBC | Platelets | CPU s |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for row in found.values():
        values, half = [100 * v for v in row["map"]], [100 * v for v in row["map_50"]]
        per_class = " | ".join(f"{100 * row['map_50_class'][c]:.0f} %" for c in CLASSES)
        lines.append(
            f"| {row['what']}, lr {row['lr']:g} | {statistics.mean(values):.1f} % ({min(values):.1f} to "
            f"{max(values):.1f}) | {statistics.mean(half):.1f} % ({min(half):.1f} to {max(half):.1f}) "
            f"| {per_class} | {row['cpu_seconds']:.0f} |"
        )
    return "\n".join(lines)


def write(runs: list[dict], seeds: list[int], counts: dict) -> str:
    found = summary(runs, seeds)
    content = {
        "command": "python benchmarks/detection.py bccd.zip",
        "seeds": seeds,
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__},
        "setting": {"size": SIZE, "epochs": EPOCHS, "batch_size": BATCH, "photos": counts},
        "summary": found,
        "runs": runs,
    }
    results.path("detection").write_text(json.dumps(content, indent=1) + "\n")
    text = (
        f"# BCCD blood cells: FCOS on ResNet-18, {EPOCHS} epochs at {SIZE[1]}x{SIZE[0]} pixels\n\n"
        f"{table(found)}\n\n{counts['train']} photos to train on, {counts['val']} to choose the epoch "
        f"and, from scratch, the learning rate (of {', '.join(f'{r:g}' for r in RATES['scratch'])}), "
        f"{counts['test']} to test; seeds {', '.join(map(str, seeds))}. The classes' numbers are average "
        f"precision at IoU 0.5. CPU seconds: one thread, training with validation. Made by "
        f"`{content['command']}` with torch {torch.__version__}.\n"
    )
    (Path(__file__).parent / "results" / "detection.md").write_text(text)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("photos", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--most", type=int, default=100, help="stop after so many new runs")
    a = parser.parse_args()
    torch.set_num_threads(1)
    data = read(a.photos)
    counts = {name: len(getattr(data, name)) for name in ("train", "val", "test")}
    file = results.path("detection")
    runs = json.loads(file.read_text())["runs"] if file.exists() else []
    left = a.most
    for seed in a.seeds:
        for arm in WEIGHTS:
            rates = RATES[arm]
            if seed != a.seeds[0]:
                rates = (summary(runs, a.seeds)[arm]["lr"],)
            for lr in rates:
                if (arm, lr, seed) in {(r["arm"], r["lr"], r["seed"]) for r in runs} or not left:
                    continue
                left -= 1
                runs.append(run(data, arm, lr, seed))
                print({k: v for k, v in runs[-1].items() if k != "precision"}, flush=True)
                write(runs, a.seeds, counts)
    print(write(runs, a.seeds, counts))


if __name__ == "__main__":
    main()
