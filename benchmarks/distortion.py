"""How far the features move in the first steps of training all layers, under a random and under a fitted head.

    python benchmarks/distortion.py     # some minutes of one thread

Ants and bees of Pocket Insects at 64 pixels, resnet18 with pocket weights. A seed draws 48 of the 120 training
photos, the random head and the order. The fitted head has had 100 steps of Adam (rate 0.01) on the frozen
features. Then 30 steps on batches of 16, all layers, BatchNorm in eval mode: SGD (rate 0.01, momentum 0.9), and
AdamW (rate 1e-4 for all but the head, 1e-2 for a random head and 1e-3 for a fitted one; no weight decay). After 0,
1, 3, 10 and 30 steps:

    moved            of the 120 test photos of ants and bees: ||f - f0|| / ||f0||, mean; f0 are the features before
    moved_others     the same of 120 test photos of the four other kinds of insects
    others           accuracy on these of a head for the four kinds that was fitted on the features before
    train, test      accuracy of the network on its 48 photos and on the 120

Kumar et al. 2022, https://arxiv.org/abs/2202.10054, call this movement feature distortion. Writes
ftcourse/results/distortion.json and benchmarks/results/distortion.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import ftcourse as ft
from ftcourse import results

TABLE = Path(__file__).parent / "results" / "distortion.md"
SEEDS = (0, 1, 2, 3, 4)
AFTER = (0, 1, 3, 10, 30)
OPTIMIZERS = ("SGD", "AdamW")
PAIR = ("ants", "bees")
MEASURED = ("moved", "moved_others", "others", "train", "test")


def photos(split: Any, kinds: list[int]) -> tuple[Tensor, Tensor]:
    rows = [i for i, t in enumerate(split.targets) if t in kinds]
    images = torch.stack([split[i][0] for i in rows])
    return images, torch.tensor([kinds.index(split.targets[i]) for i in rows])


@torch.no_grad()
def features(model: nn.Module, images: Tensor) -> Tensor:
    body = nn.Sequential(*list(model.children())[:-1], nn.Flatten())
    return torch.cat([body(part) for part in images.split(60)])


def fitted(f: Tensor, targets: Tensor, classes: int) -> nn.Linear:
    head = nn.Linear(f.shape[1], classes)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(head(f), targets).backward()
        optimizer.step()
    return head


def accuracy(head: nn.Module, f: Tensor, targets: Tensor) -> float:
    with torch.no_grad():
        return round(float((head(f).argmax(1) == targets).float().mean()), 4)


def distance(now: Tensor, before: Tensor) -> float:
    return round(float(((now - before).norm(dim=1) / before.norm(dim=1)).mean()), 4)


class Experiment:
    """The photos, and what the pre-trained network makes of them."""

    def __init__(self) -> None:
        data = ft.load_data("pocket-insects", size=64, progress=False)
        pair = [data.classes.index(name) for name in PAIR]
        rest = [k for k in range(len(data.classes)) if k not in pair]
        plain = data.train.with_transform(data.val.transform)
        self.train, self.test = photos(plain, pair), photos(data.test, pair)
        images, targets = photos(data.test, rest)
        self.others = images[::2], targets[::2]
        before = ft.load_backbone("resnet18")
        self.before = {name: features(before, x) for name, (x, _) in self.sets().items()}
        torch.manual_seed(0)
        images, targets = photos(plain, rest)
        self.other_head = fitted(features(before, images), targets, len(rest))

    def sets(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {"train": self.train, "test": self.test, "others": self.others}

    def run(self, optimizer_name: str, head: str, seed: int) -> dict[str, Any]:
        g = torch.Generator().manual_seed(seed)
        rows = torch.randperm(len(self.train[0]), generator=g)[:48]
        x, t = self.train[0][rows], self.train[1][rows]
        torch.manual_seed(seed)
        model = ft.replace_head(ft.load_backbone("resnet18"), 2)
        if head == "fitted":
            model.fc = fitted(self.before["train"][rows], t, 2)
        optimizer = make(optimizer_name, model, head)
        found: dict[str, list[float]] = {name: [] for name in MEASURED}
        for step in range(max(AFTER) + 1):
            if step in AFTER:
                self.look(model, rows, found)
            batch = torch.randperm(48, generator=g)[:16]
            optimizer.zero_grad()
            F.cross_entropy(model(x[batch]), t[batch]).backward()
            optimizer.step()
        return {"optimizer": optimizer_name, "head": head, "seed": seed, **found}

    def look(self, model: Any, rows: Tensor, found: dict[str, list[float]]) -> None:
        test, others = features(model, self.test[0]), features(model, self.others[0])
        mine = features(model, self.train[0][rows])
        found["moved"].append(distance(test, self.before["test"]))
        found["moved_others"].append(distance(others, self.before["others"]))
        found["others"].append(accuracy(self.other_head, others, self.others[1]))
        found["train"].append(accuracy(model.fc, mine, self.train[1][rows]))
        found["test"].append(accuracy(model.fc, test, self.test[1]))


def make(name: str, model: Any, head: str) -> torch.optim.Optimizer:
    if name == "SGD":
        return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    theta = [p for n, p in model.named_parameters() if not n.startswith("fc.")]
    groups = [
        {"params": theta, "lr": 1e-4},
        {"params": list(model.fc.parameters()), "lr": 1e-2 if head == "random" else 1e-3},
    ]
    return torch.optim.AdamW(groups, weight_decay=0.0)


def summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean over the seeds of each number, with the lowest and the highest."""
    rows = []
    for optimizer in OPTIMIZERS:
        for head in ("random", "fitted"):
            of = [r for r in runs if (r["optimizer"], r["head"]) == (optimizer, head)]
            row: dict[str, Any] = {"optimizer": optimizer, "head": head}
            for name in MEASURED:
                values = list(zip(*(r[name] for r in of), strict=True))
                row[name] = [round(statistics.mean(v), 4) for v in values]
                row[f"{name}_range"] = [[min(v), max(v)] for v in values]
            rows.append(row)
    return rows


def table(found: dict[str, Any]) -> str:
    lines = [
        "# How far the features move under a random and under a fitted head",
        "",
        f"`{found['command']}`, seeds {found['seeds']}, {found['versions']}; one CPU thread.",
        "What was done and what the columns say: the first lines of `benchmarks/distortion.py`.",
        "Mean over the seeds (lowest to highest).",
        "",
        "| optimizer | head | steps | features moved | of other kinds | other kinds right | train | test |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in found["summary"]:
        for k, steps in enumerate(AFTER):
            cells = [
                f"{row[name][k]:.2f} ({row[f'{name}_range'][k][0]:.2f} to {row[f'{name}_range'][k][1]:.2f})"
                for name in MEASURED
            ]
            lines.append(f"| {row['optimizer']} | {row['head']} | {steps} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    torch.set_num_threads(1)
    start, experiment = time.process_time(), Experiment()
    runs = [
        experiment.run(optimizer, head, seed)
        for seed in SEEDS
        for optimizer in OPTIMIZERS
        for head in ("random", "fitted")
    ]
    found = {
        "command": "python benchmarks/distortion.py",
        "seeds": list(SEEDS),
        "after": list(AFTER),
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__},
        "cpu_seconds": round(time.process_time() - start, 1),
        "summary": summary(runs),
        "runs": runs,
    }
    results.path("distortion").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    TABLE.write_text(table(found), encoding="utf-8")


if __name__ == "__main__":
    main()
