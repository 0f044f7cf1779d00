"""Street scenes (CamVid, 11 classes): pre-trained against scratch, frozen against fine-tuned.

    python benchmarks/segmentation.py camvid_240x180.zip

The zip holds train/ and val/ with images/*.jpg and masks/*.png, 240x180 pixels; 11 in a mask means void. val/ is
the test split here, touched once a run. Of train/ every second frame is used: the last fifth of each of its three
drives chooses the epoch and, with the first seed, the learning rate of the network from scratch; the others train.
Photos are shrunk to 128x96. Writes ftcourse/results/segmentation.json and benchmarks/results/segmentation.md after
each run; a run that is already there is not repeated.
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

import numpy as np
import torch
import torchvision
from PIL import Image
from torch.utils.data import Dataset
from torchvision import tv_tensors

import ftcourse as ft
from ftcourse import results
from ftcourse.tasks.segmentation import IGNORE, Segmentation, segmentation_transforms, unet

CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian",
    "cyclist",
)  # fmt: skip
SIZE, EPOCHS, BATCH = (96, 128), 6, 16
ARMS = {"scratch": ("none", "all"), "frozen": ("pocket", "head"), "fine-tuned": ("pocket", "all")}
RATES = {"scratch": (1e-3, 3e-3), "frozen": (3e-3,), "fine-tuned": (1e-3,)}  # favours scratch
NAMES = {
    "scratch": "random weights, all train",
    "frozen": "pocket weights, decoder trains",
    "fine-tuned": "pocket weights, all train",
}


class Scenes(Dataset):
    def __init__(self, pairs: list, transform) -> None:
        self.pairs, self.transform = pairs, transform

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, i: int):
        return self.transform(*self.pairs[i])

    def with_transform(self, transform) -> Scenes:
        return Scenes(self.pairs, transform)


@dataclass
class Streets:
    train: Scenes
    val: Scenes
    test: Scenes
    classes: tuple[str, ...] = CLASSES


def read(file: Path) -> Streets:
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
    return Streets(Scenes(parts[0], moved), Scenes(parts[1], still), Scenes(parts[2], still))


def run(data: Streets, arm: str, lr: float, seed: int) -> dict:
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


def summary(runs: list[dict], seeds: list[int]) -> dict:
    """Each arm with the learning rate that its first seed's validation score chose."""
    found = {}
    for arm in ARMS:
        first = [r for r in runs if r["arm"] == arm and r["seed"] == seeds[0]]
        if not first:
            continue
        lr = max(first, key=lambda r: r["val_miou"])["lr"]
        mine = [r for r in runs if r["arm"] == arm and r["lr"] == lr]
        found[arm] = {
            "what": NAMES[arm], "lr": lr, "seeds": [r["seed"] for r in mine],
            "miou": [r["miou"] for r in mine], "accuracy": [r["accuracy"] for r in mine],
            "iou": {c: round(statistics.mean(r["iou"][c] for r in mine), 4) for c in CLASSES},
            "cpu_seconds": round(statistics.median(r["cpu_seconds"] for r in mine), 1),
        }  # fmt: skip
    return found


def table(found: dict) -> str:
    lines = ["| what | mean IoU, mean (min to max) | pixel accuracy | poles | cars | CPU seconds |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for row in found.values():
        miou = [100 * v for v in row["miou"]]
        lines.append(
            f"| {row['what']}, lr {row['lr']:g} | {statistics.mean(miou):.1f} % ({min(miou):.1f} to "
            f"{max(miou):.1f}) | {100 * statistics.mean(row['accuracy']):.1f} % "
            f"| {100 * row['iou']['pole']:.0f} % | {100 * row['iou']['car']:.0f} % "
            f"| {row['cpu_seconds']:.0f} |"
        )
    return "\n".join(lines)


def write(runs: list[dict], seeds: list[int], counts: dict) -> str:
    found = summary(runs, seeds)
    content = {
        "command": "python benchmarks/segmentation.py camvid_240x180.zip",
        "seeds": seeds,
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__},
        "setting": {"size": SIZE, "epochs": EPOCHS, "batch_size": BATCH, "photos": counts},
        "summary": found,
        "runs": runs,
    }
    results.path("segmentation").write_text(json.dumps(content, indent=1) + "\n")
    text = (
        f"# CamVid, 11 classes: a U-Net on ResNet-18, {EPOCHS} epochs at {SIZE[1]}x{SIZE[0]} pixels\n\n"
        f"{table(found)}\n\n{counts['train']} photos to train on, {counts['val']} to choose the epoch "
        f"and, from scratch, the learning rate (of {', '.join(f'{r:g}' for r in RATES['scratch'])}), "
        f"{counts['test']} to test; seeds {', '.join(map(str, seeds))}. CPU seconds: one thread, training "
        f"with validation. Made by `{content['command']}` with torch {torch.__version__}.\n"
    )
    (Path(__file__).parent / "results" / "segmentation.md").write_text(text)
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
    file = results.path("segmentation")
    runs = json.loads(file.read_text())["runs"] if file.exists() else []
    left = a.most
    for seed in a.seeds:
        for arm in ARMS:
            rates = RATES[arm]
            if seed != a.seeds[0]:
                rates = (summary(runs, a.seeds)[arm]["lr"],)
            for lr in rates:
                if (arm, lr, seed) in {(r["arm"], r["lr"], r["seed"]) for r in runs} or not left:
                    continue
                left -= 1
                runs.append(run(data, arm, lr, seed))
                print(runs[-1], flush=True)
                write(runs, a.seeds, counts)
    print(write(runs, a.seeds, counts))


if __name__ == "__main__":
    main()
