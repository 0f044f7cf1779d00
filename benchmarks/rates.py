"""Does the learning-rate finder name a rate that is good in a short run? Finder against sweep, over seeds.

    python benchmarks/rates.py               # what lesson 07 reads
    python benchmarks/rates.py --seeds 0     # a trial: one seed

Ants and bees of Pocket Insects at 64 pixels, 60 a class to train on, batches of 16, AdamW without weight decay.
"head": a new head on a frozen body. "all": every layer, from a head that was fitted on the frozen body. For each
seed (photos, head and order) the finder of the package suggests a rate, and each rate of a ladder trains for two
epochs (16 steps, warm-up and cosine) and is judged by the loss on 200 other photos. For all layers the finder is
also asked from a new head. Writes ftcourse/results/rates.json, on one thread.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import time
from pathlib import Path
from typing import Any

import torch
from methods import compact, versions
from overfitting import insects
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

import ftcourse as ft
from ftcourse import results

LADDERS = {
    "head": [1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1],
    "all": [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2],
}
BATCH, EPOCHS = 16, 2


def stage(train: str, lr: float) -> ft.Stage:
    return ft.Stage(train, epochs=EPOCHS, lr=lr, weight_decay=0.0, augment=False)


def new(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return ft.replace_head(ft.load_backbone("resnet18"), 2)


def fit_head(model: nn.Module, plain: Any) -> nn.Module:
    """100 steps of Adam on the features of all training photos: lesson 08's fitted head."""
    body = nn.Sequential(*list(model.children())[:-1], nn.Flatten()).eval()
    with torch.no_grad():
        features = body(torch.stack([image for image, _ in plain]))
    optimizer = torch.optim.Adam(model.fc.parameters(), lr=1e-2)
    for _ in range(100):
        loss = F.cross_entropy(model.fc(features), torch.tensor(plain.targets))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def after(start: nn.Module, plain: Any, chosen: ft.Stage, seed: int) -> nn.Module:
    """The model after a short run of the stage."""
    model = copy.deepcopy(start)
    optimizer = ft.make_optimizer(ft.apply_stage(model, chosen), chosen)
    loader = DataLoader(plain, batch_size=BATCH, shuffle=True)
    scheduler = ft.make_scheduler(optimizer, chosen, steps_per_epoch=len(loader))
    torch.manual_seed(seed)
    for _ in range(chosen.epochs):
        ft.train_one_epoch(model, loader, optimizer, scheduler=scheduler)
    return model


def one(train: str, seed: int) -> dict[str, Any]:
    begun, data = time.perf_counter(), insects(seed)
    plain = data.train.with_transform(data.val.transform)
    start = new(seed) if train == "head" else fit_head(new(seed), plain)
    found = ft.lr_finder(start, data, stage(train, 1e-3), seed=seed, batch_size=BATCH)
    other = None  # the same layers from a new head
    if train == "all":
        other = ft.lr_finder(new(seed), data, stage(train, 1e-3), seed=seed, batch_size=BATCH)
    at_start = ft.evaluate(start, data.test)
    sweep = [
        ft.evaluate(after(start, plain, stage(train, lr), seed), data.test) for lr in LADDERS[train]
    ]
    losses = [round(s["loss"], 4) for s in sweep]
    return {
        "train": train, "seed": seed, "suggestion": found.suggestion, "last_rate": found.rates[-1],
        "from_a_new_head": other.suggestion if other else None,
        "first": round(found.smoothed[0], 3), "lowest": round(min(found.smoothed), 3),
        "rates": LADDERS[train], "losses": losses, "accuracies": [round(s["accuracy"], 4) for s in sweep],
        "best": LADDERS[train][losses.index(min(losses))],
        "start_loss": round(at_start["loss"], 4), "start_accuracy": round(at_start["accuracy"], 4),
        "seconds": round(time.perf_counter() - begun, 1),
    }  # fmt: skip


def write(file: Path, command: str, runs: list[dict[str, Any]]) -> None:
    content = {
        "command": command,
        "seeds": sorted({r["seed"] for r in runs}),
        "versions": versions(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, CPU",
        "runs": runs,
    }
    file.write_text(compact(content))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--out", type=Path, default=results.path("rates"))
    a = parser.parse_args()
    torch.set_num_threads(1)
    runs = json.loads(a.out.read_text())["runs"] if a.out.exists() else []
    done = {(r["train"], r["seed"]) for r in runs}
    for seed in a.seeds:
        for train in LADDERS:
            if (train, seed) not in done:
                runs.append(one(train, seed))
                print(runs[-1], flush=True)
                runs.sort(key=lambda r: (r["train"], r["seed"]))
                write(a.out, "python benchmarks/rates.py", runs)


if __name__ == "__main__":
    main()
