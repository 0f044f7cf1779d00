"""Which treatment of overfitting helps, on 20 photos a class? One at a time, with the same budget.

    python benchmarks/overfitting.py                     # what lesson 09 reads
    python benchmarks/overfitting.py --seeds 0           # a trial: one seed

Ants and bees of Pocket Insects at 64 pixels; all layers train for 20 epochs with AdamW, without augmentation
and without weight decay: that is "none". Each treatment changes one thing. The seed chooses the photos of all
splits, the head and the order, so that a treatment is compared with "none" on the same photos (a paired
difference). "last" are the weights after the last epoch, "best" those with the best validation accuracy, which
`ft.finetune` keeps. Runs that are in the results file already are not repeated. Writes
ftcourse/results/overfitting.json, on one thread.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from methods import compact, interval, versions

import ftcourse as ft
from ftcourse import results

SIZE, PER_CLASS, MORE, EPOCHS = 64, 20, 60, 20
NONE = ft.Stage("all", EPOCHS, lr=5e-4, weight_decay=0.0, augment=False)

# name -> (the stage, what finetune gets besides)
TREATMENTS: dict[str, tuple[ft.Stage, dict[str, Any]]] = {
    "none": (NONE, {}),
    "augmentation": (replace(NONE, augment=True), {}),
    "weight decay 0.3": (replace(NONE, weight_decay=0.3), {}),
    "label smoothing 0.1": (NONE, {"label_smoothing": 0.1}),
    "MixUp": (NONE, {"mix": "mixup"}),
    "CutMix": (NONE, {"mix": "cutmix"}),
    "only layer4 and head": (replace(NONE, train="layer4"), {}),
    "only the head": (replace(NONE, train="head", lr=1e-2), {}),
    "three times the photos": (replace(NONE, epochs=round(EPOCHS * PER_CLASS / MORE)), {}),
}


def insects(seed: int) -> ft.Data:
    return ft.load_data(
        "pocket-insects", classes=("ants", "bees"), per_class=MORE, test_per_class=100, seed=seed,
        size=SIZE, progress=False,
    )  # fmt: skip


def run(data: ft.Data, treatment: str, seed: int) -> dict[str, Any]:
    stage, options = TREATMENTS[treatment]
    if treatment != "three times the photos":
        data = replace(data, train=data.train.subset(range(PER_CLASS * len(data.classes))))
    torch.manual_seed(seed)
    model = ft.replace_head(ft.load_backbone("resnet18"), len(data.classes))
    last: dict[str, float] = {}

    def look(history: ft.History) -> None:
        """Before `finetune` goes back to the best weights, measure those of the last epoch."""
        last.update(ft.evaluate(model, data.test))

    start = time.perf_counter()
    history = ft.finetune(
        model, data, stage, seed=seed, batch_size=16, device="cpu", progress=False, preflight=False,
        on_epoch=lambda h: look(h) if len(h.epochs) == stage.epochs else None, **options,
    )  # fmt: skip
    seconds, best = time.perf_counter() - start, ft.evaluate(model, data.test)
    last = last or best  # stopped early: the weights in hand are the best ones
    curves = {name: [round(v, 3) for v in history.column(name)] for name in CURVES}
    return {
        "treatment": treatment, "seed": seed, "photos": len(data.train), "epochs": len(history.epochs),
        "last": round(last["accuracy"], 4), "last_loss": round(last["loss"], 4),
        "best": round(best["accuracy"], 4), "best_loss": round(best["loss"], 4),
        "best_epoch": history.best["epoch"], "seconds": round(seconds, 1), **curves,
    }  # fmt: skip


CURVES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")


def mean_and_interval(values: list[float]) -> list[float | None]:
    """Mean and half the width of its 95 % interval (Student's t); None for a single value."""
    mean, half = interval(values)
    return [round(mean, 4), round(half, 4) if math.isfinite(half) else None]


def summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a treatment; `*_gain` is the paired difference to "none"."""
    none = {r["seed"]: r for r in runs if r["treatment"] == "none"}
    rows = []
    for treatment in TREATMENTS:
        mine = [r for r in runs if r["treatment"] == treatment and r["seed"] in none]
        if not mine:
            continue
        row: dict[str, Any] = {"treatment": treatment, "seeds": len(mine)}
        for key in ("last", "best", "last_loss", "best_loss"):
            row[key] = mean_and_interval([r[key] for r in mine])
            gains = [r[key] - none[r["seed"]][key] for r in mine]
            row[f"{key}_gain"] = mean_and_interval(gains)
        row["train_accuracy"] = round(statistics.mean(r["train_accuracy"][-1] for r in mine), 3)
        row["epochs"] = round(statistics.mean(r["epochs"] for r in mine), 1)
        row["seconds"] = round(statistics.median(r["seconds"] for r in mine), 1)
        rows.append(row)
    return rows


def write(file: Path, runs: list[dict[str, Any]]) -> None:
    runs.sort(key=lambda r: (list(TREATMENTS).index(r["treatment"]), r["seed"]))
    content = {
        "command": "python benchmarks/overfitting.py",
        "seeds": sorted({r["seed"] for r in runs}),
        "versions": versions(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, CPU",
        "size": SIZE,
        "photos_a_class": PER_CLASS,
        "test_photos": 200,
        "summary": summary(runs),
        "runs": runs,
    }
    file.write_text(compact(content))


def table(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'treatment':<28}{'last':>14}{'gain':>16}{'best':>14}{'loss, last':>16}  epochs"]
    for r in rows:
        pairs = (r[k] for k in ("last", "last_gain", "best", "last_loss"))
        (last, a), (gain, b), (best, c), (loss, d) = ((m, h or 0.0) for m, h in pairs)
        lines.append(
            f"{r['treatment']:<28}{100 * last:>6.1f} ± {100 * a:<5.1f}{100 * gain:>8.1f} ± {100 * b:<5.1f}"
            f"{100 * best:>6.1f} ± {100 * c:<5.1f}{loss:>8.2f} ± {d:<5.2f}{r['epochs']:>8}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--treatments", nargs="+", default=list(TREATMENTS), choices=TREATMENTS)
    parser.add_argument("--out", type=Path, default=results.path("overfitting"))
    a = parser.parse_args()
    torch.set_num_threads(1)
    runs = json.loads(a.out.read_text())["runs"] if a.out.exists() else []
    runs = [r for r in runs if r["treatment"] in TREATMENTS]
    done = {(r["treatment"], r["seed"]) for r in runs}
    for seed in a.seeds:
        data = insects(seed)
        for treatment in a.treatments:
            if (treatment, seed) not in done:
                runs.append(run(data, treatment, seed))
                shown = {k: v for k, v in runs[-1].items() if k not in CURVES}
                print(shown, flush=True)
                write(a.out, runs)
    print(table(summary(runs)))


if __name__ == "__main__":
    main()
