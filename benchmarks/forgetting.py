"""What does a network forget while it is fine-tuned, and what keeps it? Over seeds.

    python benchmarks/forgetting.py               # what lesson 08 reads
    python benchmarks/forgetting.py --seeds 0     # a trial: one seed

Ants and bees of Pocket Insects at 64 pixels, 60 a class to train on, batches of 16. "kept" is the share of 48
pieces of three real photos that the old head, on the body after training, gives the class that it gave before.
"accuracy" is that of the new head on 200 other insects. The seed chooses photos, head and order.

- first steps: 12 steps of AdamW at 1e-4 on all layers with BatchNorm in eval mode, from a random head and from
  one that was fitted on the frozen body.
- treatments: from the fitted head two epochs (16 steps) of AdamW with warm-up and cosine, one thing changed at a
  time.
- line: the networks between the fitted head and "all", by the share of the new weights.

Writes ftcourse/results/forgetting.json, on one thread.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from overfitting import insects
from rates import fit_head, new, write
from torch import Tensor, nn
from torch.nn import functional as F

import ftcourse as ft
from ftcourse import results
from ftcourse.exercises import samples

BATCH, EPOCHS = 16, 2
FULL = ft.Stage("all", epochs=EPOCHS, lr=3e-4)
TENTH = ft.Stage("all", epochs=EPOCHS, lr=3e-5, head_lr=3e-4)
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def train(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    optimizer: torch.optim.Optimizer,
    steps: int,
    seed: int,
    scheduler: Any = None,
    statistics_move: bool = True,
    penalty: Callable[[nn.Module], Tensor] | None = None,
) -> nn.Module:
    """Lesson 08's loop."""
    order, queue = torch.Generator().manual_seed(seed), []
    for _ in range(steps):
        if len(queue) < BATCH:
            queue = torch.randperm(len(images), generator=order).tolist()
        batch, queue = queue[:BATCH], queue[BATCH:]
        ft.train_mode(model) if statistics_move else model.eval()
        loss = F.cross_entropy(model(images[batch]), targets[batch])
        if penalty is not None:
            loss = loss + penalty(model)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return model.eval()


def l2_sp(pretrained: nn.Module) -> Callable[[nn.Module], Tensor]:
    origin = {k: p.detach() for k, p in pretrained.named_parameters() if not k.startswith("fc.")}
    return lambda model: sum(
        (p - origin[k]).square().sum() for k, p in model.named_parameters() if k in origin
    )


class Old:
    """The old head, and what it said of the pieces before."""

    def __init__(self) -> None:
        self.network = ft.load_backbone("resnet18")
        preprocess = ft.weights_of(self.network).transforms(crop_size=64, resize_size=73)
        pieces, _ = samples.pieces(samples.sample_photos(), 16, seed=0)
        self.photos = torch.stack([preprocess(piece) for piece in pieces])
        self.before = self.answers(self.network)

    @torch.inference_mode()
    def answers(self, model: nn.Module) -> Tensor:
        body = copy.deepcopy(model).eval()
        body.fc = self.network.fc
        return body(self.photos).argmax(1)

    def kept(self, model: nn.Module) -> float:
        return round((self.answers(model) == self.before).float().mean().item(), 4)


def one(seed: int) -> list[dict[str, Any]]:
    data, old = insects(seed), Old()
    plain = data.train.with_transform(data.val.transform)
    images = torch.stack([image for image, _ in plain])
    targets = torch.tensor(plain.targets)
    start = fit_head(new(seed), plain)
    rows: list[dict[str, Any]] = []

    def note(kind: str, name: str, model: nn.Module) -> None:
        found = ft.evaluate(model, data.test)
        accuracy, loss = round(found["accuracy"], 4), round(found["loss"], 4)
        row = {"kind": kind, "name": name, "seed": seed, "kept": old.kept(model)}
        rows.append({**row, "accuracy": accuracy, "loss": loss})
        print(rows[-1], flush=True)

    for name, first in (("random head", new(seed)), ("fitted head", copy.deepcopy(start))):
        optimizer = torch.optim.AdamW(first.parameters(), lr=1e-4)
        train(first, images, targets, optimizer, 12, seed, statistics_move=False)
        note("first steps", name, first)
    still, pull = {"statistics_move": False}, l2_sp(old.network)
    treatments: dict[str, tuple[ft.Stage, dict[str, Any]]] = {
        "all": (FULL, {}),
        "a tenth of the rate": (TENTH, {}),
        "layer4 and head": (ft.Stage("layer4", epochs=EPOCHS, lr=3e-4), {}),
        "statistics kept": (FULL, still),
        "statistics kept, L2-SP": (FULL, {**still, "penalty": pull}),
        "statistics kept, a tenth": (TENTH, still),
    }
    note("treatments", "head alone", start)
    after = start
    for name, (stage, options) in treatments.items():
        model = copy.deepcopy(start)
        optimizer = ft.make_optimizer(ft.apply_stage(model, stage), stage)
        scheduler = ft.make_scheduler(optimizer, stage, steps_per_epoch=8)
        train(model, images, targets, optimizer, 8 * EPOCHS, seed, scheduler, **options)
        note("treatments", name, model)
        after = model if name == "all" else after
    mixture, states = copy.deepcopy(start), (start.state_dict(), after.state_dict())
    for share in SHARES:
        state = {k: (1 - share) * states[0][k] + share * states[1][k] for k in states[0]}
        mixture.load_state_dict(state)
        note("line", str(share), mixture)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--out", type=Path, default=results.path("forgetting"))
    a = parser.parse_args()
    torch.set_num_threads(1)
    runs = json.loads(a.out.read_text())["runs"] if a.out.exists() else []
    for seed in a.seeds:
        if seed not in {r["seed"] for r in runs}:
            runs += one(seed)
            write(a.out, "python benchmarks/forgetting.py", runs)


if __name__ == "__main__":
    main()
