"""Where do treatments of overfitting help? Two places, beside the short runs of overfitting.py.

    python benchmarks/overfitting_regimes.py                     # what lesson 07 reads
    python benchmarks/overfitting_regimes.py --regime head       # one of the two
    python benchmarks/overfitting_regimes.py --minutes 5         # begin no run after so long; run again to go on

"head": only the head trains, on frozen features of 20 photos a class, and to its very end (logistic regression by
LBFGS: the loss cannot fall further, however long one trains). "none" has next to no weight decay (C=1e4 in
scikit-learn). Augmentation and MixUp are eight variants of each photo, drawn once, beside the photo itself.
"scratch": a ResNet-18 from random weights, 60 photos a class at 32 pixels, 40 epochs, AdamW without weight decay.
The seed chooses the photos of all splits, and of "scratch" the weights and the order; each treatment is compared
with "none" on the same photos. The test has 200 other photos. How many treatments are looked at stands in `looks`.
Runs in the results file are not repeated. Writes ftcourse/results/overfitting_regimes.json, on one thread.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from methods import compact, versions
from scipy.stats import t, ttest_1samp
from sklearn.linear_model import LogisticRegression

import ftcourse as ft
from ftcourse import results
from ftcourse.data.transforms import train_transforms

PIXELS = {"head": 64, "scratch": 32}
PER_CLASS = {"head": 20, "scratch": 60}
SEEDS = {"head": range(20), "scratch": range(5)}
VARIANTS, EPOCHS = 8, 40
SCRATCH = ft.Stage("all", EPOCHS, lr=1e-3, weight_decay=0.0, augment=False)

TREATMENTS: dict[str, tuple[str, ...]] = {
    "head": ("none", "weight decay", "augmentation", "MixUp"),
    "scratch": ("none", "augmentation", "MixUp"),
}


def insects(regime: str, seed: int) -> ft.Data:
    return ft.load_data(
        "pocket-insects", classes=("ants", "bees"), per_class=PER_CLASS[regime], val_per_class=20,
        test_per_class=100, seed=seed, size=PIXELS[regime], progress=False,
    )  # fmt: skip


def head(seed: int) -> list[dict[str, Any]]:
    """All treatments of one seed: they share the features."""
    data = insects("head", seed)
    backbone = ft.load_backbone("resnet18").eval()
    backbone.fc = torch.nn.Identity()
    plain = data.train.with_transform(data.val.transform)
    varied = data.train.with_transform(train_transforms(PIXELS["head"]))
    torch.manual_seed(seed)

    def features(images: list[torch.Tensor]) -> np.ndarray:
        with torch.no_grad():
            return torch.cat([backbone(torch.stack(images[i : i + 40])) for i in range(0, len(images), 40)]).numpy()

    photos, y = [plain[i][0] for i in range(len(plain))], np.array(plain.targets)
    x = features(photos)
    test, goals = (v.numpy() for v in ft.predict(backbone, data.test))
    new, new_y, weights = [x], [y], [np.ones(len(y))]
    mixed, mixed_y, shares = [x], [y], [np.ones(len(y))]
    for _ in range(VARIANTS):
        new.append(features([varied[i][0] for i in range(len(varied))]))
        new_y.append(y)
        weights.append(np.ones(len(y)))
        # MixUp's share is uniform in torchvision (alpha=1); a mixed target is two rows with weights
        order, share = torch.randperm(len(y)).numpy(), torch.rand(len(y))
        pairs = [s * photos[i] + (1 - s) * photos[j] for i, (j, s) in enumerate(zip(order, share, strict=True))]
        both = features(pairs)
        mixed += [both, both]
        mixed_y += [y, y[order]]
        shares += [share.numpy(), 1 - share.numpy()]
    sets = {
        "none": (x, y, None, 1e4), "weight decay": (x, y, None, 1e-2),
        "augmentation": (np.concatenate(new), np.concatenate(new_y), np.concatenate(weights), 1e4),
        "MixUp": (np.concatenate(mixed), np.concatenate(mixed_y), np.concatenate(shares), 1e4),
    }  # fmt: skip
    rows = []
    for treatment in TREATMENTS["head"]:
        inputs, targets, weight, c = sets[treatment]
        middle, spread = inputs.mean(0), inputs.std(0) + 1e-6
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it may stop at max_iter
            fitted = LogisticRegression(C=c, max_iter=2000).fit((inputs - middle) / spread, targets, weight)
        p = fitted.predict_proba((test - middle) / spread)[np.arange(len(goals)), goals]
        rows.append({
            "regime": "head", "treatment": treatment, "seed": seed, "photos": len(y),
            "train_accuracy": round(float(fitted.score((x - middle) / spread, y)), 4),
            "accuracy": round(float((p > 0.5).mean()), 4),
            "loss": round(float(-np.log(np.clip(p, 1e-12, 1)).mean()), 4),
            "seconds": round(time.perf_counter() - start, 1),
        })  # fmt: skip
    return rows


def scratch(treatment: str, data: ft.Data, seed: int) -> dict[str, Any]:
    stage = replace(SCRATCH, augment=treatment == "augmentation")
    options = {"mix": "mixup"} if treatment == "MixUp" else {}
    torch.manual_seed(seed)
    model = ft.replace_head(ft.load_backbone("resnet18", weights=None), len(data.classes))
    last: dict[str, float] = {}

    def look(history: ft.History) -> None:
        if len(history.epochs) == stage.epochs:
            last.update(ft.evaluate(model, data.test))

    start = time.perf_counter()
    history = ft.finetune(
        model, data, stage, seed=seed, batch_size=16, device="cpu", progress=False, preflight=False,
        on_epoch=look, **options,
    )  # fmt: skip
    seconds, best = time.perf_counter() - start, ft.evaluate(model, data.test)
    return {
        "regime": "scratch", "treatment": treatment, "seed": seed, "photos": len(data.train),
        "train_accuracy": round(history.epochs[-1]["train_accuracy"], 4),
        "accuracy": round(last["accuracy"], 4), "loss": round(last["loss"], 4),
        "best_accuracy": round(best["accuracy"], 4), "best_epoch": history.best["epoch"],
        "train_loss_by_epoch": [round(v, 3) for v in history.column("train_loss")],
        "seconds": round(seconds, 1),
    }  # fmt: skip


def interval(values: list[float]) -> tuple[float, float | None]:
    """Mean, and half of its 95 % interval by Student's t."""
    n = len(values)
    half = float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5) if n > 1 else None
    return round(float(np.mean(values)), 4), None if half is None else round(half, 4)


def summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a treatment; gains are paired differences to "none", `p` is that of the t-test, not corrected."""
    rows = []
    for regime, treatments in TREATMENTS.items():
        none = {r["seed"]: r for r in runs if (r["regime"], r["treatment"]) == (regime, "none")}
        for treatment in treatments:
            mine = [r for r in runs if (r["regime"], r["treatment"]) == (regime, treatment)]
            mine = [r for r in mine if r["seed"] in none]
            if not mine:
                continue
            row: dict[str, Any] = {"regime": regime, "treatment": treatment, "seeds": len(mine)}
            for key in ("accuracy", "loss"):
                gains = [r[key] - none[r["seed"]][key] for r in mine]
                row[key], row[f"{key}_gain"] = interval([r[key] for r in mine]), interval(gains)
                tested = len(gains) > 1 and treatment != "none"
                row[f"{key}_p"] = float(f"{ttest_1samp(gains, 0).pvalue:.2g}") if tested else None
            row["train_accuracy"] = round(float(np.mean([r["train_accuracy"] for r in mine])), 3)
            rows.append(row)
    return rows


def write(file: Path, runs: list[dict[str, Any]]) -> None:
    runs.sort(key=lambda r: (r["regime"], TREATMENTS[r["regime"]].index(r["treatment"]), r["seed"]))
    content = {
        "command": "python benchmarks/overfitting_regimes.py",
        "seeds": sorted({r["seed"] for r in runs}),
        "versions": versions(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} thread, CPU",
        "test_photos": 200,
        "looks": sum(len(treatments) - 1 for treatments in TREATMENTS.values()),
        "summary": summary(runs),
        "runs": runs,
    }
    file.write_text(compact(content))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--regime", nargs="+", default=list(TREATMENTS), choices=TREATMENTS)
    parser.add_argument("--seeds", type=int, nargs="+", help="default: 0 to 19 (head), 0 to 4 (scratch)")
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--out", type=Path, default=results.path("overfitting_regimes"))
    a = parser.parse_args()
    torch.set_num_threads(1)
    stop = time.monotonic() + 60 * a.minutes
    runs = json.loads(a.out.read_text())["runs"] if a.out.exists() else []
    for regime in a.regime:
        for seed in a.seeds or SEEDS[regime]:
            done = {r["treatment"] for r in runs if (r["regime"], r["seed"]) == (regime, seed)}
            left = [treatment for treatment in TREATMENTS[regime] if treatment not in done]
            if not left or time.monotonic() > stop:
                continue
            if regime == "head":
                runs += head(seed)
                write(a.out, runs)
                continue
            data = insects(regime, seed)
            for treatment in left:
                if time.monotonic() < stop:
                    runs.append(scratch(treatment, data, seed))
                    write(a.out, runs)
    for row in summary(runs):
        print(row)


if __name__ == "__main__":
    main()
