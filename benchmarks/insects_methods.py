"""Which method of fine-tuning wins on Pocket Insects, by photos a class; and does it on real photos?

    python benchmarks/insects_methods.py                              # insects: two classes and six
    python benchmarks/insects_methods.py --photos hymenoptera.zip     # the same methods on real ants and bees
    python benchmarks/insects_methods.py --figure                     # docs/images/insects_methods.png

Linear probe, last block, full fine-tuning and training from scratch, with the same number of epochs each, in bfloat16 autocast on one thread. The seed
chooses the training photos (insects: a set of its own for train, val and test), the head and the order. Runs that are in
the results file already are not repeated. Writes benchmarks/results/insects_methods.json and .md, or photos_methods.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import tempfile
import time
import zipfile
from pathlib import Path

import torch
import torchvision
from torchvision.transforms._presets import ImageClassification

import ftcourse as ft
from ftcourse.data import train_transforms
from ftcourse.pocket.insects import CLASSES

RESULTS = Path(__file__).parent / "results"
FIGURE = Path(__file__).parent.parent / "docs" / "images" / "insects_methods.png"
SIZE = 128  # pixels that the network sees: the default of the course
METHODS = ("scratch", "linear probe", "last block", "full")
PER_CLASS = (20, 100)
T95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}  # Student's t for the mean of n runs


def epochs_for(per_class: int) -> int:
    """The same for each method."""
    return 10 if per_class == 100 else 20


def stages(method: str, epochs: int) -> list[ft.Stage]:
    if method == "linear probe":
        return [ft.Stage("head", epochs, lr=1e-2)]
    if method == "last block":
        return [ft.Stage("layer4", epochs, lr=3e-4, head_lr=3e-3)]
    if method == "scratch":
        return [ft.Stage("all", epochs, lr=1e-3)]
    first = epochs // 5  # head first, then all of it: LP-FT, https://arxiv.org/abs/2202.10054
    return [
        ft.Stage("head", first, lr=1e-2),
        ft.Stage("all", epochs - first, lr=5e-4, head_lr=1e-3),
    ]


def insects(classes: int, per_class: int, seed: int) -> ft.Data:
    names = CLASSES if classes == 6 else ("ants", "bees")
    return ft.load_data(
        "pocket-insects",
        classes=names,
        per_class=per_class,
        test_per_class=100,
        seed=seed,
        progress=False,
    )


def photos(folder: Path, per_class: int, seed: int) -> ft.Data:
    """Real photos: `per_class` of each class to train on, drawn by the seed; test is the folder's val/."""
    data = ft.load_data(folder, seed=seed, audit=False)
    rng, keep = random.Random(seed), []
    for label in range(len(data.classes)):
        mine = [i for i, t in enumerate(data.train.targets) if t == label]
        keep += rng.sample(mine, min(per_class, len(mine)))
    data.train = data.train.subset(sorted(keep))
    return data


def run(data: ft.Data, method: str, per_class: int, seed: int) -> dict:
    look = ImageClassification(crop_size=SIZE, resize_size=SIZE)
    data = data.with_transforms(train_transforms(SIZE), look)
    torch.manual_seed(seed)
    model = ft.load_backbone("resnet18", weights=None if method == "scratch" else "pocket")
    ft.replace_head(model, len(data.classes))
    model = model.to(memory_format=torch.channels_last)
    epochs = epochs_for(per_class)
    start = time.perf_counter()
    history = ft.finetune(
        model, data, stages(method, epochs), seed=seed, batch_size=16 if per_class < 50 else 32,
        progress=False, preflight=False, device="cpu", bf16=True,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    test = ft.evaluate(model, data.test)
    return {
        "classes": len(data.classes), "per_class": per_class, "method": method, "seed": seed, "epochs": epochs,
        "accuracy": round(test["accuracy"], 4), "val_accuracy": round(history.best["val_accuracy"], 4),
        "train_photos": len(data.train), "test_photos": len(data.test), "seconds": round(seconds, 1),
    }  # fmt: skip


def summary(runs: list[dict]) -> list[dict]:
    rows = []
    for classes, per_class in sorted({(r["classes"], r["per_class"]) for r in runs}):
        for method in METHODS:
            mine = [
                r
                for r in runs
                if (r["classes"], r["per_class"], r["method"]) == (classes, per_class, method)
            ]
            if mine:
                values = [r["accuracy"] for r in mine]
                half = (
                    T95.get(len(values), 0)
                    * (statistics.stdev(values) if len(values) > 1 else 0)
                    / len(values) ** 0.5
                )
                rows.append(
                    {"classes": classes, "per_class": per_class, "method": method, "seeds": len(values),
                     "mean": round(statistics.mean(values), 4), "interval95": round(half, 4),
                     "seconds": round(statistics.median(r["seconds"] for r in mine), 1)}
                )  # fmt: skip
    return rows


def table(rows: list[dict]) -> str:
    lines = [
        "| classes | photos a class | method | seeds | test accuracy, mean ± 95 % interval | seconds, median |"
    ]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    for r in rows:
        lines.append(
            f"| {r['classes']} | {r['per_class']} | {r['method']} | {r['seeds']} "
            f"| {100 * r['mean']:.1f} ± {100 * r['interval95']:.1f} % | {r['seconds']:.0f} |"
        )
    return "\n".join(lines)


def write(file: Path, runs: list[dict], command: str) -> None:
    runs.sort(key=lambda r: (r["classes"], r["per_class"], METHODS.index(r["method"]), r["seed"]))
    rows = summary(runs)
    result = {
        "command": command,
        "seeds": sorted({r["seed"] for r in runs}),
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__, "ftcourse": ft.__version__},
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, CPU",
        "size": SIZE, "summary": rows, "runs": runs,
    }  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + "\n")
    what = "Pocket Insects" if "insects" in file.stem else "Ants and bees, real photos"
    text = f"# {what}: methods of fine-tuning at {SIZE} pixels\n\n{table(rows)}\n\nMade by `{command}` with torch "
    file.with_suffix(".md").write_text(f"{text}{torch.__version__} on {result['machine']}.\n")


def figure() -> None:
    """Accuracy of each method by photos a class; panels: two classes, six, and real photos where measured."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = []
    for name, title in (("insects", "Pocket Insects"), ("photos", "real photos")):
        file = RESULTS / f"{name}_methods.json"
        if file.exists():
            rows = json.loads(file.read_text())["summary"]
            panels += [
                (f"{title}, {c} classes", [r for r in rows if r["classes"] == c])
                for c in sorted({r["classes"] for r in rows})
            ]
    drawn, axes = plt.subplots(
        1, len(panels), figsize=(3.6 * len(panels), 3.4), sharey=True, squeeze=False
    )
    for ax, (title, rows) in zip(axes[0], panels, strict=True):
        for k, method in enumerate(METHODS):
            mine = [r for r in rows if r["method"] == method]
            at = [i + 0.06 * (k - 1.5) for i in range(len(mine))]
            ax.errorbar(
                at,
                [100 * r["mean"] for r in mine],
                [100 * r["interval95"] for r in mine],
                marker="o",
                capsize=3,
                label=method,
            )
        sizes = sorted({r["per_class"] for r in rows})
        ax.set_xticks(range(len(sizes)), [str(s) for s in sizes])
        ax.set_xlabel("photos a class")
        ax.set_title(title, fontsize=10)
        ax.axhline(100 / rows[0]["classes"], color="0.7", linewidth=1, linestyle=":")
        ax.grid(alpha=0.3)
    axes[0][0].set_ylabel("test accuracy, %")
    axes[0][-1].legend(fontsize=8)
    drawn.tight_layout()
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(FIGURE, dpi=120)
    print(FIGURE.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, help="a folder or a zip with train/ and val/")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 6], choices=[2, 6])
    parser.add_argument("--per-class", type=int, nargs="+", default=[20, 100], choices=PER_CLASS)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--out", type=Path, help="results file, for trials")
    parser.add_argument(
        "--figure", action="store_true", help="draw the figure from the results files"
    )
    a = parser.parse_args()
    torch.set_num_threads(1)  # two runs side by side are faster than one on two threads
    if a.figure:
        return figure()
    file = a.out or RESULTS / ("photos_methods.json" if a.photos else "insects_methods.json")
    command = "python benchmarks/insects_methods.py" + (
        " --photos hymenoptera.zip" if a.photos else ""
    )
    runs = json.loads(file.read_text())["runs"] if file.exists() else []
    done = {(r["classes"], r["per_class"], r["method"], r["seed"]) for r in runs}
    with tempfile.TemporaryDirectory() as unpacked:
        folder = a.photos
        if folder and folder.suffix == ".zip":
            zipfile.ZipFile(folder).extractall(unpacked)
            folder = next(p.parent for p in sorted(Path(unpacked).rglob("train")) if p.is_dir())
        for seed in a.seeds:
            for classes in [2] if a.photos else a.classes:
                for per_class in a.per_class:
                    todo = [m for m in a.methods if (classes, per_class, m, seed) not in done]
                    if todo:
                        data = (
                            photos(folder, per_class, seed)
                            if a.photos
                            else insects(classes, per_class, seed)
                        )
                    for method in todo:
                        runs.append(run(data, method, per_class, seed))
                        print(runs[-1], flush=True)
                        write(file, runs, command)
    print(table(summary(runs)))
    return None


if __name__ == "__main__":
    os.environ.setdefault("TQDM_DISABLE", "1")
    main()
