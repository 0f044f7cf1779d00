"""What a training step of each method costs a photo: processor time, memory and FLOPs; and by input size.

    python benchmarks/compute.py

A process of its own for each row, so that its peak memory is its own: ResNet-18, float32, one thread, batches of
32 photos, 64 drawn insects in memory. One epoch warms up, then the best of three counts, in processor time, which
other work on the machine disturbs less than the clock; validation is not in it. "Computed once" keeps the output
of the frozen part and trains on that; its first pass is listed apart. Writes ftcourse/results/compute.json and
benchmarks/results/compute.md. Peak memory needs Linux or macOS.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import ftcourse as ft
from ftcourse import results

PHOTOS, BATCH = 64, 32
METHODS = {"linear probe": "head", "last block": "layer4", "all": "all"}
ROWS = [
    *[(method, 64, False) for method in METHODS],
    *[(method, 64, True) for method in ("linear probe", "last block")],
    *[("all", pixels, False) for pixels in (96, 128, 224)],
]


def parts(model: nn.Module, train: str) -> tuple[nn.Module, nn.Module]:
    """The frozen part of a ResNet and what trains."""
    layers = list(model.children())
    cut = {"all": 0, "layer4": 7, "head": 9}[
        train
    ]  # conv1, bn1, relu, maxpool, layer1 to 4, avgpool
    head = [*layers[max(cut, 0) : 9], nn.Flatten(), layers[9]]
    return nn.Sequential(*layers[:cut]), nn.Sequential(*head)


def measure(method: str, pixels: int, once: bool) -> dict[str, Any]:
    """One row, in this process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images, targets = photos(pixels)
    model = ft.replace_head(ft.load_backbone("resnet18"), 2)
    stage = ft.Stage(METHODS[method])
    ft.apply_stage(model, stage)
    frozen, trains = parts(model, stage.label)
    optimizer = ft.make_optimizer(model, stage)
    step = training(frozen if not once else nn.Identity(), trains, optimizer)
    before = peak_mb()
    first = 0.0
    if once:
        start = time.process_time()
        frozen.eval()
        with torch.no_grad():
            images = torch.cat([frozen(images[i : i + BATCH]) for i in range(0, PHOTOS, BATCH)])
        first = time.process_time() - start
    with FlopCounterMode(display=False) as counter:
        step(images[:BATCH], targets[:BATCH])
    seconds = []
    for _ in range(4):
        start = time.process_time()
        for i in range(0, PHOTOS, BATCH):
            step(images[i : i + BATCH], targets[i : i + BATCH])
        seconds.append(time.process_time() - start)
    return {
        "method": method, "computed_once": once, "pixels": pixels,
        "ms_a_photo": round(1000 * min(seconds[1:]) / PHOTOS, 3),
        "first_pass_ms_a_photo": round(1000 * first / PHOTOS, 3),
        "gflop_a_photo": round(counter.get_total_flops() / BATCH / 1e9, 5),
        "peak_mb": round(peak_mb()), "peak_mb_before_training": round(before),
    }  # fmt: skip


def photos(pixels: int) -> tuple[Tensor, Tensor]:
    """The photos as a batch, ready for the network: the cost of reading them is not in the row."""
    data = ft.load_data(
        "pocket-insects", classes=("ants", "bees"), size=128, per_class=PHOTOS // 2, progress=False
    )
    preset = ft.ResNet18_Pocket_Weights.DEFAULT.transforms(crop_size=pixels, resize_size=pixels)
    split = data.train.with_transform(preset)
    return torch.stack([split[i][0] for i in range(PHOTOS)]), torch.tensor(split.targets)


def training(
    frozen: nn.Module, trains: nn.Module, optimizer: torch.optim.Optimizer
) -> Callable[[Tensor, Tensor], None]:
    frozen.eval()  # BatchNorm of what is frozen rests
    trains.train()

    def step(images: Tensor, targets: Tensor) -> None:
        loss = nn.functional.cross_entropy(trains(frozen(images)), targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def peak_mb() -> float:
    """The largest memory that this process has held so far, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def table(rows: list[dict[str, Any]]) -> str:
    head = "| method | computed once | pixels | GFLOP a photo | ms a photo "
    lines = [head + "| first pass, ms | peak MB |", "| --- " * 7 + "|"]
    for r in rows:
        cells = [r["method"], "yes" if r["computed_once"] else "", r["pixels"]]
        cells += [f"{r['gflop_a_photo']:.3f}", f"{r['ms_a_photo']:.2f}"]
        cells += [f"{r['first_pass_ms_a_photo']:.1f}", r["peak_mb"]]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--row", type=int, help="measure this row here and print it as JSON")
    row = parser.parse_args().row
    if row is not None:
        print(json.dumps(measure(*ROWS[row])))
        return
    rows = []
    for i in range(len(ROWS)):
        command = [sys.executable, __file__, "--row", str(i)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
    found = {"command": "python benchmarks/compute.py", "seeds": [0], "versions": versions}
    found |= {"machine": f"{platform.machine()}, 1 thread, CPU, processor time"}
    found |= {"photos": PHOTOS, "batch": BATCH, "model": "resnet18, float32", "rows": rows}
    results.path("compute").write_text(json.dumps(found, indent=1) + "\n")
    text = f"# What a training step costs, for one photo\n\n{table(rows)}\n\n"
    text += f"Made by `{found['command']}` with torch "
    text += f"{torch.__version__} on {found['machine']}: {PHOTOS} photos, batches of {BATCH}, "
    text += "the best of three epochs.\n"
    (Path(__file__).parent / "results" / "compute.md").write_text(text)
    print(table(rows))


if __name__ == "__main__":
    main()
