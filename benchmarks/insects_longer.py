"""A segmenter and a detector that work: lessons 13 and 14 trained longer, on more drawn insects, kept with their answers.

    python benchmarks/insects_longer.py

The networks, losses and rates are those of the lessons; only the number of photos, the epochs and, of the detector,
the side to which photos are enlarged are larger. The validation split chooses the epoch, the test split is touched
once a run. Of the first seed the answers for the first four test photos are kept, masks as runs of equal pixels, so
that a lesson draws the photos again and shows what this run found, without weights. Writes
ftcourse/results/insects_longer.json and benchmarks/results/insects_longer.md after each run; a run that is already
there is not repeated (`--most 1`: stop after one).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor

import ftcourse as ft
from ftcourse import results
from ftcourse.tasks.detection import Detection, detection_transforms, fcos
from ftcourse.tasks.segmentation import Segmentation, segmentation_transforms, unet

NAME, CLASSES, SHOWN = "insects_longer", ("ants", "bees"), 4
# of the head's first weights and of the order of the photos; the photos are the same
SEEDS = (0, 1, 2)
RATES = {"lr": 1e-3, "head_lr": 3e-3}
SETTINGS: dict[str, dict[str, Any]] = {
    "masks": {"per_class": 200, "epochs": 10, "batch_size": 16, "size": 96},
    "boxes": {"per_class": 180, "epochs": 8, "batch_size": 8, "size": 128},
}
# as the lessons load them, but for the number of photos to train on
LOADED: dict[str, dict[str, Any]] = {
    "masks": {},
    "boxes": {"scene": True, "val_per_class": 20, "test_per_class": 30},
}


def photos(task: str) -> ft.Data:
    """The splits, before any transform."""
    return ft.load_data(
        "pocket-insects", classes=CLASSES, per_class=SETTINGS[task]["per_class"],
        **LOADED[task], progress=False,
    )  # fmt: skip


def runs_of(mask: Tensor) -> dict[str, list[int]]:
    """A mask (H, W) as runs of equal pixels, row by row; `repeat_interleave` makes it a mask again."""
    values, lengths = torch.unique_consecutive(mask.flatten(), return_counts=True)
    return {"values": values.tolist(), "lengths": lengths.tolist()}


def checksums(data: ft.Data) -> list[int]:
    """Of the pixels of the shown photos: a lesson that draws them again sees that they are the same."""
    return [zlib.crc32(data.test.images[i].numpy().tobytes()) for i in range(SHOWN)]


def of_masks(data: ft.Data, seed: int) -> tuple[dict, list]:
    size = SETTINGS["masks"]["size"]
    still = segmentation_transforms(size)
    splits = {
        name: getattr(data, name)
        .with_target("semantic")
        .with_transform(segmentation_transforms(size, train=True) if name == "train" else still)
        for name in ("train", "val", "test")
    }
    data, task = replace(data, **splits), Segmentation(len(CLASSES) + 1)
    torch.manual_seed(seed)
    model = unet(ft.load_backbone("resnet18"), len(CLASSES) + 1)
    how = trained(model, data, task, "masks", seed)
    test = ft.evaluate(model, data.test, task=task)
    found = {
        "seed": seed, "miou": round(test["miou"], 4), "accuracy": round(test["accuracy"], 4),
        "iou": [round(test[f"iou_{k}"], 4) for k in range(len(CLASSES) + 1)],
    }  # fmt: skip
    predicted, _ = ft.predict(model, data.test.subset(range(SHOWN)), task=task)
    return found | how, [runs_of(mask) for mask in predicted]


def of_boxes(data: ft.Data, seed: int) -> tuple[dict, list]:
    data, task = (
        data.with_transforms(detection_transforms(True), detection_transforms()),
        Detection(),
    )
    torch.manual_seed(seed)
    model = fcos(ft.load_backbone("resnet18"), len(CLASSES) + 1, size=SETTINGS["boxes"]["size"])
    how = trained(model, data, task, "boxes", seed)
    test = ft.evaluate(model, data.test, task=task)
    scores = {k: round(test[k], 4) for k in ("map", "map_50", "map_1", "map_2")}
    shown, _ = ft.predict(model, data.test.subset(range(SHOWN)), task=task)
    return {"seed": seed} | scores | how, [
        {
            "boxes": [[round(v, 1) for v in box] for box in one["boxes"].tolist()],
            "labels": one["labels"].tolist(),
            "scores": [round(v, 3) for v in one["scores"].tolist()],
        }
        for one in shown
    ]


def trained(model: Any, data: ft.Data, task: Any, name: str, seed: int) -> dict:
    s = SETTINGS[name]
    start = time.process_time()
    history = ft.finetune(
        model, data, ft.Stage("all", epochs=s["epochs"], **RATES), task=task, seed=seed,
        batch_size=s["batch_size"], progress=False, preflight=False,
    )  # fmt: skip
    score = f"val_{task.score}"
    return {
        "curve": [round(r[score], 4) for r in history.epochs],
        "best_epoch": history.best["epoch"], "cpu_seconds": round(time.process_time() - start, 1),
    }  # fmt: skip


def spread(values: list[float]) -> str:
    low, high = min(values), max(values)
    return f"{statistics.mean(values):.2f} ({low:.2f} to {high:.2f})"


def page(content: dict[str, Any]) -> str:
    """The table of benchmarks/results/insects_longer.md."""
    lines = [
        "# Drawn ants and bees: a segmenter and a detector, trained longer than in their lessons",
        "",
    ]
    lines += [
        "| what | photos, epochs | score on test, mean (min to max) | by class | CPU seconds |"
    ]
    lines += ["| --- | --- | --- | --- | --- |"]
    words = {
        "masks": ("U-Net on ResNet-18", "mean IoU"),
        "boxes": ("FCOS on ResNet-18", "mAP at IoU 0.5"),
    }
    for name, (what, score) in words.items():
        part = content["tasks"].get(name)
        if not part:
            continue
        runs, s = part["runs"], part["setting"]
        if name == "masks":
            named = zip(
                ("background", *CLASSES), zip(*(r["iou"] for r in runs), strict=True), strict=True
            )
            classes = ", ".join(f"{c} {statistics.mean(v):.2f}" for c, v in named)
            scores = f"{score} {spread([r['miou'] for r in runs])}; pixel accuracy {spread([r['accuracy'] for r in runs])}"
        else:
            classes = ", ".join(
                f"{c} {statistics.mean(r[f'map_{k + 1}'] for r in runs):.2f} (mAP)"
                for k, c in enumerate(CLASSES)
            )
            scores = f"{score} {spread([r['map_50'] for r in runs])}; mAP {spread([r['map'] for r in runs])}"
        seconds = statistics.median(r["cpu_seconds"] for r in runs)
        lines += [
            f"| {what} | {s['photos']['train']}, {s['epochs']} | {scores} | {classes} | {seconds:.0f} |"
        ]
    counts = "; ".join(
        f"{name}: {p['setting']['photos']['val']} photos choose the epoch, {p['setting']['photos']['test']} test, "
        f"seeds {', '.join(str(r['seed']) for r in p['runs'])}"
        for name, p in content["tasks"].items()
    )
    lines += ["", f"{counts}. All layers train, the backbone with {RATES['lr']:g}, what is new with "
              f"{RATES['head_lr']:g}. CPU seconds: one thread. Made by `{content['command']}` with torch "
              f"{content['versions']['torch']}.", ""]  # fmt: skip
    return "\n".join(lines)


def write(content: dict[str, Any]) -> None:
    """Long lists stay on one line each: the file is for reading as well."""
    results.path(NAME).write_text(
        json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8"
    )
    (Path(__file__).parent / "results" / f"{NAME}.md").write_text(page(content), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=tuple(SETTINGS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--most", type=int, default=100, help="stop after so many new runs")
    a = parser.parse_args()
    torch.set_num_threads(1)
    file, left = results.path(NAME), a.most
    content = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"tasks": {}}
    for name, run in (("masks", of_masks), ("boxes", of_boxes)):
        if a.only not in (None, name):
            continue
        data = photos(name)
        counts = {part: len(getattr(data, part)) for part in ("train", "val", "test")}
        part = content["tasks"].setdefault(name, {"runs": []})
        part["setting"] = SETTINGS[name] | RATES | {"photos": counts}
        for seed in a.seeds:
            if not left or seed in {r["seed"] for r in part["runs"]}:
                continue
            left -= 1
            found, shown = run(data, seed)
            part["runs"].append(found)
            if seed == a.seeds[0]:
                part["shown"] = {
                    "seed": seed,
                    "photos": list(range(SHOWN)),
                    "crc32": checksums(data),
                    "found": shown,
                }
            content |= {
                "command": f"python benchmarks/{NAME}.py", "seeds": list(SEEDS),
                "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__},
            }  # fmt: skip
            write(content)
            print(name, found, flush=True)


if __name__ == "__main__":
    main()
