"""Blood cells (BCCD, 3 classes) with boxes: a pre-trained backbone against random weights.

    python benchmarks/detection.py bccd.zip

The zip holds BCCD/JPEGImages, Annotations (Pascal VOC XML) and ImageSets/Main with its own train, val and test
lists. The first 150 of train train; the first 40 of val choose the epoch and, with the first seed, the learning
rate; test is touched once a run. Photos are shrunk from 640x480 to 128x96. Writes ftcourse/results/detection.json
and benchmarks/results/detection.md after each run; a run that is already there is not repeated.
"""

from __future__ import annotations

import io
import statistics
import time
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from photos import Benchmark, Photos, Splits, class_means, percent
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

import ftcourse as ft
from ftcourse.tasks.detection import Detection, detection_transforms, fcos, mean_average_precision

CLASSES = ("RBC", "WBC", "Platelets")  # red and white blood cells, platelets
SIZE, EPOCHS, BATCH = (96, 128), 8, 8
RATES = {"scratch": (1e-3, 3e-3), "fine-tuned": (1e-3,)}  # the choice favours scratch
WEIGHTS = {"scratch": "none", "fine-tuned": "pocket"}
MOST = {"train": 150, "val": 40}  # the first by name, to keep a run short
NAMES = {"scratch": "random weights, all train", "fine-tuned": "pocket weights, all train"}


def read(file: Path, size: tuple[int, int] = SIZE) -> Splits:
    shrink = v2.Resize(size, antialias=True)
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
    return Splits(
        Photos(parts[0], detection_transforms(True)),
        Photos(parts[1], still),
        Photos(parts[2], still),
        CLASSES,
    )


def run(data: Splits, arm: str, lr: float, seed: int, side: int = SIZE[0]) -> dict:
    torch.manual_seed(seed)
    model = fcos(ft.load_backbone("resnet18", weights=WEIGHTS[arm]), len(CLASSES) + 1, size=side)
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


def row(runs: list[dict]) -> dict:
    return {
        "map": [r["map"] for r in runs],
        "map_50": [r["map_50"] for r in runs],
        "map_50_class": class_means(runs, "map_50_class"),
        "precision": {  # at recall 0, 0.04, ... 1; mean over the seeds
            c: [
                round(statistics.mean(v), 3)
                for v in zip(*(r["precision"][c] for r in runs), strict=True)
            ]
            for c in CLASSES
        },
    }


def table(found: dict) -> str:
    lines = ["| what | mAP, mean (min to max) | mAP at IoU 0.5 | RBC | WBC | Platelets | CPU s |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for row in found.values():
        per_class = " | ".join(f"{100 * row['map_50_class'][c]:.0f} %" for c in CLASSES)
        lines.append(
            f"| {row['what']}, lr {row['lr']:g} | {percent(row['map'])} | {percent(row['map_50'])} "
            f"| {per_class} | {row['cpu_seconds']:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    Benchmark(
        name="detection",
        title=f"BCCD blood cells: FCOS on ResNet-18, {EPOCHS} epochs at {SIZE[1]}x{SIZE[0]} pixels",
        file="bccd.zip",
        arms=NAMES,
        rates=RATES,
        setting={"size": SIZE, "epochs": EPOCHS, "batch_size": BATCH},
        chosen_by="val_map",
        read=read,
        run=run,
        row=row,
        table=table,
    ).main(__doc__ or "")
