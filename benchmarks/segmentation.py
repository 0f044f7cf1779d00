"""Street scenes (CamVid, 11 classes): pre-trained against scratch, frozen against fine-tuned.

    python benchmarks/segmentation.py camvid_240x180.zip

The zip holds train/ and val/ with images/*.jpg and masks/*.png, 240x180 pixels; 11 in a mask means void. val/ is
the test split here, touched once a run. Of train/ every second frame is used: the last fifth of each of its three
drives chooses the epoch and, with the first seed, the learning rate; the others train. Photos are shrunk to
128x96. Writes ftcourse/results/segmentation.json and benchmarks/results/segmentation.md after each run; a run that
is already there is not repeated.
"""

from __future__ import annotations

import io
import statistics
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
from photos import Benchmark, Photos, Splits, class_means, percent
from PIL import Image
from torchvision import tv_tensors

import ftcourse as ft
from ftcourse.tasks.segmentation import IGNORE, Segmentation, segmentation_transforms, unet

CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian",
    "cyclist",
)  # fmt: skip
SIZE, EPOCHS, BATCH = (96, 128), 16, 16
ARMS = {"scratch": ("none", "all"), "frozen": ("pocket", "head"), "fine-tuned": ("pocket", "all")}
RATES = {"scratch": (1e-3, 3e-3), "frozen": (3e-3,), "fine-tuned": (1e-3, 3e-4)}
NAMES = {
    "scratch": "random weights, all train",
    "frozen": "pocket weights, decoder trains",
    "fine-tuned": "pocket weights, all train",
}


def read(file: Path) -> Splits:
    with zipfile.ZipFile(file) as packed:
        names = sorted(n for n in packed.namelist() if "/images/" in n and n.endswith(".jpg"))

        def pair(name: str):
            photo = Image.open(io.BytesIO(packed.read(name))).convert("RGB")
            mask_name = name.replace("/images/", "/masks/").replace(".jpg", ".png")
            mask = np.array(Image.open(io.BytesIO(packed.read(mask_name)))).astype(np.int64)
            mask[mask >= len(CLASSES)] = IGNORE
            pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1)
            return tv_tensors.Image(pixels), tv_tensors.Mask(torch.from_numpy(mask))

        drives: dict[str, list[str]] = {}
        for name in names:
            if name.startswith("train/"):
                drives.setdefault(name.split("/")[-1].rpartition("_")[0], []).append(name)
        train = [n for drive in drives.values() for n in drive[: -(len(drive) // 5)]]
        val = [n for drive in drives.values() for n in drive[-(len(drive) // 5) :]]
        train, val = train[::2], val[::2]  # neighbouring frames are nearly the same
        test = [n for n in names if n.startswith("val/")]
        moved, still = segmentation_transforms(SIZE, True, degrees=5), segmentation_transforms(SIZE)
        parts = [[pair(n) for n in part] for part in (train, val, test)]
    return Splits(
        Photos(parts[0], moved), Photos(parts[1], still), Photos(parts[2], still), CLASSES
    )


def run(data: Splits, arm: str, lr: float, seed: int) -> dict:
    weights, train = ARMS[arm]
    torch.manual_seed(seed)
    model = unet(ft.load_backbone("resnet18", weights=weights), len(CLASSES))
    task = Segmentation(len(CLASSES))
    stage = ft.Stage(train, epochs=EPOCHS, lr=lr, head_lr=3e-3)
    start = time.process_time()
    history = ft.finetune(
        model, data, stage, task=task, batch_size=BATCH, seed=seed, progress=False, preflight=False
    )
    seconds = time.process_time() - start
    test = ft.evaluate(model, data.test, task=task)
    return {
        "arm": arm, "lr": lr, "seed": seed, "val_miou": round(history.best["val_miou"], 4),
        "miou": round(test["miou"], 4), "accuracy": round(test["accuracy"], 4),
        "iou": {c: round(test.get(f"iou_{i}", 0.0), 4) for i, c in enumerate(CLASSES)},
        "best_epoch": history.best["epoch"], "cpu_seconds": round(seconds, 1),
    }  # fmt: skip


def row(runs: list[dict]) -> dict:
    return {
        "miou": [r["miou"] for r in runs],
        "accuracy": [r["accuracy"] for r in runs],
        "iou": class_means(runs, "iou"),
    }


def table(found: dict) -> str:
    lines = ["| what | mean IoU, mean (min to max) | pixel accuracy | poles | cars | CPU seconds |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for row in found.values():
        lines.append(
            f"| {row['what']}, lr {row['lr']:g} | {percent(row['miou'])} "
            f"| {100 * statistics.mean(row['accuracy']):.1f} % | {100 * row['iou']['pole']:.0f} % "
            f"| {100 * row['iou']['car']:.0f} % | {row['cpu_seconds']:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    Benchmark(
        name="segmentation",
        title=f"CamVid, 11 classes: a U-Net on ResNet-18, {EPOCHS} epochs at {SIZE[1]}x{SIZE[0]} pixels",
        file="camvid_240x180.zip",
        arms=NAMES,
        rates=RATES,
        setting={"size": SIZE, "epochs": EPOCHS, "batch_size": BATCH},
        chosen_by="val_miou",
        read=read,
        run=run,
        row=row,
        table=table,
    ).main(__doc__ or "")
