"""Which method of fine-tuning wins, by photos a class: on Pocket Insects, and on real photos?

    python benchmarks/methods.py --choose                    # the learning rates, on photos not used later; then
    python benchmarks/methods.py --choose --photos FILE      # the same on real photos (hymenoptera.zip)
    python benchmarks/methods.py                             # Pocket Insects: ants and bees; six classes
    python benchmarks/methods.py --photos FILE               # the same methods on real ants and bees

Five methods with the same photos, epochs, batches and augmentation each: from scratch, linear probe, last block,
all at once, and LP-FT (head first, then all). About 50 steps are few for training from scratch, so it has a
sixth curve of 400 steps, at the sizes of LONG_SIZES, with its losses by epoch in the results. The learning rate of
each method is chosen once, on photos of seeds that the benchmark does not use. The seed chooses the photos (of
insects a set of its own, in each split), the head and the order. Runs in the results file are not repeated;
several processes may fill it. One thread each.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import random
import statistics
import tempfile
import time
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torchvision
from torchvision.transforms._presets import ImageClassification

import ftcourse as ft
from ftcourse import results
from ftcourse.data.insects import CLASSES
from ftcourse.data.transforms import train_transforms

RESULTS = Path(__file__).parent / "results"
# Pixels that the network sees: those of the weights' pre-training, at a quarter of the cost of the course's 128.
# At 128 the methods were compared at 20 and 100 photos a class; those runs are in the results, with their size.
PIXELS = 64
SIZES = (5, 10, 20, 50, 100, 200)
# Photos a class: epochs, with batches of 16. Each run makes 45 to 56 steps, so that a curve over the photos shows
# what photos are worth, and not what more computing is worth.
EPOCHS = {5: 50, 10: 25, 20: 15, 50: 8, 100: 4, 200: 2}
BATCH = 16
# Student's t for the mean of n runs
T95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}

STOP = math.inf  # the moment after which no run begins

Recipe = dict[str, Any]  # what a Stage is given besides its epochs

# Of each method the candidates that `--choose` tries; `chosen` has the better one on average over both data sets.
CANDIDATES: dict[str, list[Recipe]] = {
    "scratch": [{"lr": lr} for lr in (3e-4, 1e-3, 3e-3)],
    "linear probe": [{"lr": lr} for lr in (3e-3, 1e-2, 3e-2)],
    "last block": [{"lr": lr, "head_lr": 3e-3} for lr in (1e-4, 3e-4, 1e-3)],
    "all": [
        {"lr": 1e-4, "head_lr": 1e-3},
        {"lr": 3e-4, "head_lr": 1e-3},
        {"lr": 5e-4, "head_lr": 1e-3, "layer_decay": 0.7},
    ],
    "LP-FT": [
        {"lr": 1e-4, "head_lr": 1e-3},
        {"lr": 5e-4, "head_lr": 1e-3},
        {"lr": 5e-4, "head_lr": 1e-3, "layer_decay": 0.7},
    ],
}
METHODS = tuple(CANDIDATES)
# From scratch for longer, with the recipe of "scratch": the budget stands in the method's name.
LONG = {"scratch, 400 steps": 400}
LONG_SIZES = (50, 200)
TRAINS = {"linear probe": "head", "last block": "layer4"}  # the others train all
CHOICE = [(20, 1000)]  # photos a class and seed of the runs for `--choose`


def epochs_of(method: str, per_class: int, photos: int) -> int:
    """Those of the table, or as many as make the steps of a long method."""
    if method not in LONG:
        return EPOCHS[per_class]
    return round(LONG[method] / math.ceil(photos / BATCH))


def stages(method: str, epochs: int, recipe: Recipe) -> list[ft.Stage]:
    main = ft.Stage(TRAINS.get(method, "all"), epochs, **recipe)
    if method != "LP-FT":
        return [main]
    # a fifth of the epochs for the head: https://arxiv.org/abs/2202.10054
    first = max(1, epochs // 5)
    return [ft.Stage("head", first, lr=1e-2), replace(main, epochs=epochs - first)]


def insects(classes: int, per_class: int, seed: int) -> ft.Data:
    """Insects, with as many to validate with as to train on, at most 20 a class."""
    return ft.load_data(
        "pocket-insects",
        classes=CLASSES if classes == 6 else ("ants", "bees"),
        per_class=per_class,
        val_per_class=min(20, per_class),
        test_per_class=100,
        seed=seed,
        progress=False,
    )


def photos(folder: Path, per_class: int, seed: int, spare: bool = False) -> ft.Data:
    """Real photos: `per_class` of each class to train on, drawn by the seed; test is the folder's val/.

    Validation photos are 15 % of train/, or as many as there are to train on. With `spare`, the photos of train/
    that are left over take the place of the test photos, which are not looked at then.
    """
    data = decoded(folder, seed)
    rng, every = random.Random(seed), data.train
    train, val = draw(every, per_class, rng), draw(data.val, per_class, rng)
    rest = sorted(set(range(len(every))) - set(train))
    test = every.subset(rest).with_transform(data.val.transform) if spare else data.test
    return replace(data, train=every.subset(train), val=data.val.subset(val), test=test)


@cache
def decoded(folder: Path, seed: int) -> ft.Data:
    return ft.load_data(folder, seed=seed, size=PIXELS, audit=False)


def draw(split: Any, per_class: int, rng: random.Random) -> list[int]:
    """Positions of `per_class` photos of each class, or of all where there are fewer."""
    keep: list[int] = []
    for label in range(len(split.classes)):
        mine = [i for i, t in enumerate(split.targets) if t == label]
        keep += rng.sample(mine, min(per_class, len(mine)))
    return sorted(keep)


def run(
    data: ft.Data, method: str, per_class: int, seed: int, recipe: Recipe, augment: bool = True
) -> dict[str, Any]:
    """One training run, judged on the test split: a row of the results."""
    look = ImageClassification(crop_size=PIXELS, resize_size=PIXELS)
    data = data.with_transforms(train_transforms(PIXELS) if augment else look, look)
    torch.manual_seed(seed)
    model = ft.load_backbone("resnet18", weights=None if "scratch" in method else "pocket")
    ft.replace_head(model, len(data.classes))
    model = model.to(memory_format=torch.channels_last)
    epochs = epochs_of(method, per_class, len(data.train))
    more: dict[str, Any] = {}

    def look_at_last(history: ft.History) -> None:
        """Before `finetune` goes back to the best epoch's weights: what the last ones reach."""
        if method in LONG and len(history.epochs) == epochs:
            found = ft.evaluate(model, data.test)
            more["last"], more["last_loss"] = (round(found[k], 4) for k in ("accuracy", "loss"))
            more["train_accuracy"] = round(history.epochs[-1]["train_accuracy"], 4)
            for name in ("train_loss", "val_loss", "val_accuracy"):
                more[f"{name}_by_epoch"] = [round(v, 3) for v in history.column(name)]

    start = time.perf_counter()
    history = ft.finetune(
        model, data, stages(method, epochs, recipe), seed=seed, batch_size=BATCH,
        progress=False, preflight=False, device="cpu", on_epoch=look_at_last,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    return more | {
        "recipe": recipe, "precision": "float32", "epochs": epochs, "batch": BATCH,
        "accuracy": round(ft.evaluate(model, data.test)["accuracy"], 4),
        "val_accuracy": round(history.best["val_accuracy"], 4), "train_photos": len(data.train),
        "val_photos": len(data.val), "test_photos": len(data.test), "seconds": round(seconds, 1),
    }  # fmt: skip


KEY = ("data", "pixels", "classes", "per_class", "method", "seed", "recipe")


def key(row: dict[str, Any]) -> str:
    return json.dumps([row[name] for name in KEY], sort_keys=True)


def versions() -> dict[str, str]:
    return {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "ftcourse": ft.__version__,
    }


def read(file: Path) -> list[dict[str, Any]]:
    return json.loads(file.read_text())["runs"] if file.exists() else []


def add(file: Path, row: dict[str, Any], head: dict[str, Any]) -> None:
    """Put a run into the results file, beside those that other processes have written meanwhile."""
    rows = {key(r): r for r in [*read(file), row]}
    write(file, list(rows.values()), head)


def write(file: Path, runs: list[dict[str, Any]], head: dict[str, Any]) -> None:
    """The results file: a `summary` of the runs with two classes at `PIXELS`, `other` ones, and all `runs`."""
    order = ("pixels", "classes", "per_class")
    runs.sort(
        key=lambda r: (*(r[name] for name in order), [*METHODS, *LONG].index(r["method"]), key(r))
    )
    rows = summary(runs)
    result = {**head, "seeds": sorted({r["seed"] for r in runs}), "versions": versions()}
    result["machine"] = f"{platform.machine()}, {torch.get_num_threads()} thread, CPU"
    result["summary"] = [r for r in rows if (r["pixels"], r["classes"]) == (PIXELS, 2)]
    result |= {"other": [r for r in rows if r not in result["summary"]], "runs": runs}
    part = file.with_suffix(f".{os.getpid()}.part")
    part.write_text(compact(result))
    part.replace(file)


def summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and 95 % interval of the test accuracy over seeds, by classes, photos a class and method."""
    cells: dict[tuple, list[dict[str, Any]]] = {}
    for r in runs:
        recipe = json.dumps(r["recipe"], sort_keys=True)
        cells.setdefault(
            (r["pixels"], r["classes"], r["per_class"], r["method"], recipe), []
        ).append(r)
    rows = []
    for (pixels, classes, per_class, method, recipe), mine in cells.items():
        mean, half = interval([r["accuracy"] for r in mine])
        row = {"pixels": pixels, "classes": classes, "per_class": per_class, "method": method}
        row |= {"recipe": json.loads(recipe), "seeds": len(mine), "mean": round(mean, 4)}
        rows.append(row | {"interval95": round(half, 4) if math.isfinite(half) else None})
    return rows


def interval(values: list[float]) -> tuple[float, float]:
    """Mean, and half of its 95 % interval by Student's t (nan for a single value)."""
    n = len(values)
    half = T95[n] * statistics.stdev(values) / n**0.5 if n > 1 else math.nan
    return statistics.mean(values), half


def compact(result: dict[str, Any]) -> str:
    """JSON with one line a row of a table."""
    parts = []
    for name, value in result.items():
        text = json.dumps(value)
        if name in ("summary", "other", "runs"):
            text = "[\n  " + ",\n  ".join(json.dumps(row) for row in value) + "\n ]"
        parts.append(f' "{name}": {text}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def load(folder: Path | None, classes: int, per_class: int, seed: int, spare: bool) -> ft.Data:
    return photos(folder, per_class, seed, spare) if folder else insects(classes, per_class, seed)


def choose(folder: Path | None) -> None:
    """Try each candidate on photos that the benchmark does not test on."""
    jobs = [(2, n, seed, m, r) for n, seed in CHOICE for m in METHODS for r in CANDIDATES[m]]
    work(
        RESULTS / "methods_recipes.json",
        jobs,
        folder,
        "python benchmarks/methods.py --choose",
        True,
    )


@cache
def chosen(method: str) -> Recipe:
    """The candidate with the best mean accuracy on insects and real photos; the first of equals."""
    method = "scratch" if method in LONG else method
    rows = [r for r in read(RESULTS / "methods_recipes.json") if r["method"] == method]

    def score(recipe: Recipe) -> float:
        by_data = [
            [r["accuracy"] for r in rows if r["data"] == data and r["recipe"] == recipe]
            for data in ("insects", "photos")
        ]
        return statistics.mean(statistics.mean(v) for v in by_data if v) if rows else 0.0

    return max(CANDIDATES[method], key=score)


def measure(
    folder: Path | None, classes: int, seeds: list[int], sizes: list[int], methods: list[str]
) -> None:
    """The benchmark itself, a whole seed after the other."""
    name = "photos" if folder else "insects"
    if folder:
        sizes = [n for n in sizes if n <= 100]  # more than that is not there
    jobs = [
        (classes, n, seed, m, chosen(m)) for seed in seeds for n in sizes for m in methods
        if m not in LONG or (n in LONG_SIZES and classes == 2 and not folder)
    ]  # fmt: skip
    command = "python benchmarks/methods.py" + (" --photos hymenoptera.zip" if folder else "")
    work(results.path(f"methods_{name}"), jobs, folder, command)


def work(file: Path, jobs: list, folder: Path | None, command: str, spare: bool = False) -> None:
    """Do the jobs that are not in the file yet."""
    loaded: tuple = ()
    for classes, per_class, seed, method, recipe in jobs:
        row = {"data": "photos" if folder else "insects", "pixels": PIXELS, "classes": classes}
        row |= {"per_class": per_class, "method": method, "seed": seed, "recipe": recipe}
        if key(row) in {key(r) for r in read(file)} or time.monotonic() > STOP:
            continue
        if loaded[:3] != (classes, per_class, seed):
            loaded = (classes, per_class, seed, load(folder, classes, per_class, seed, spare))
        row |= run(loaded[3], method, per_class, seed, recipe)
        print(row, flush=True)
        add(file, row, {"command": command})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, help="a folder or a zip with train/ and val/")
    parser.add_argument("--choose", action="store_true", help="try the learning rates")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--classes", type=int, default=2, choices=(2, 6), help="of the insects")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="begin no run after so long"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), choices=SIZES)
    every = [*METHODS, *LONG]
    parser.add_argument("--methods", nargs="+", default=every, choices=every)
    a = parser.parse_args()
    global STOP
    STOP = time.monotonic() + 60 * a.minutes
    torch.set_num_threads(1)  # two runs side by side are faster than one on two threads
    with tempfile.TemporaryDirectory() as unpacked:
        folder = a.photos
        if folder and folder.suffix == ".zip":
            zipfile.ZipFile(folder).extractall(unpacked)
            folder = next(p.parent for p in sorted(Path(unpacked).rglob("train")) if p.is_dir())
        if a.choose:
            choose(folder)
        else:
            measure(folder, a.classes, a.seeds, a.sizes, a.methods)


if __name__ == "__main__":
    os.environ.setdefault("TQDM_DISABLE", "1")
    main()
