"""Milliseconds a photo of the pieces that make up each row of `speed.py`: they say what ratio is possible.

    python benchmarks/speed_pieces.py            # two threads; writes results/speed_pieces.json

Each piece is timed seven times in turn with the others, on the same 32 photos; the median is kept.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from speed import make_photos, weights_file
from speed_programs import Job, evaluation, network
from torch import nn
from torchvision import datasets

from ftcourse.data.photos import read_pixels
from ftcourse.data.transforms import eval_transforms
from ftcourse.training.frozen_prefix import cut_model

RESULTS = Path(__file__).parent / "results" / "speed_pieces.json"
N = 32  # photos, a batch


def pieces(root: Path) -> dict[str, Callable[[], object]]:
    photos = datasets.ImageFolder(root / "train", evaluation())
    files = [path for path, _ in photos.samples[:N]]
    ours = eval_transforms(224)
    x = torch.stack([photos[i][0] for i in range(N)])
    last = x.contiguous(memory_format=torch.channels_last)
    y = torch.arange(N) % 2

    def model(work: str, tuned: bool = False) -> nn.Module:
        return network(Job(root, weights_file(root), work, 1, tuned=tuned)).train()

    def steps(net: nn.Module, inputs: torch.Tensor) -> Callable[[], None]:
        return lambda: F.cross_entropy(net(inputs), y).backward()

    def forward(net: Callable, inputs: torch.Tensor) -> Callable[[], object]:
        return torch.no_grad()(lambda: net(inputs))

    def prefix(work: str) -> Callable[[torch.Tensor], torch.Tensor]:
        net = model(work, tuned=True)
        return cut_model(net).prefix(net)

    net = model("layer4", tuned=True)
    prefix_head, prefix_layer4 = prefix("head"), prefix("layer4")
    features = prefix_layer4(last)
    return {
        "decode and transform, as the peers": lambda: [photos[i] for i in range(N)],
        "decode once and transform, as ftcourse": lambda: [
            ours(torch.from_numpy(read_pixels(f, 256)).permute(2, 0, 1)) for f in files
        ],
        "forward, as the tutorial validates": forward(model("head").eval(), x),
        "training step of the head, as the tutorial": steps(model("head"), x),
        "the same, tuned (head)": steps(model("head", tuned=True), x),
        "frozen part up to the head, as ftcourse": lambda: prefix_head(last),
        "training step of layer4 and head, as the tutorial": steps(model("layer4"), x),
        "the same, tuned (layer4)": steps(model("layer4", tuned=True), x),
        "frozen part up to layer4, as ftcourse": lambda: prefix_layer4(last),
        "training step behind it, as ftcourse": steps(cut_model(net).rest(net), features),
        "training step of all layers, as the tutorial": steps(model("all"), x),
        "the same, in channels_last": steps(model("all", tuned=True), last),
    }


def matrix_product() -> float:
    """GFLOP/s of a float32 matrix product of 2048: what the machine can do at best."""
    a = torch.randn(2048, 2048)
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - start)
    return round(2 * 2048**3 / min(seconds) / 1e9)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    threads = parser.parse_args().threads
    torch.set_num_threads(threads)
    root = make_photos(Path(tempfile.gettempdir()) / "ftcourse-bench" / "photos400", 400, 48)
    todo = pieces(root)
    times: dict[str, list[float]] = {name: [] for name in todo}
    for _ in range(7):
        for name, run in todo.items():
            start = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - start) / N * 1e3)
    found = {name: round(statistics.median(some[1:]), 2) for name, some in times.items()}
    note: dict[str, object] = {
        "command": "python benchmarks/speed_pieces.py",
        "torch": torch.__version__,
    }
    note |= {"threads": threads, "gflops_of_a_matrix_product": matrix_product()}
    note |= {"unit": "ms a photo", "pieces": found}
    RESULTS.write_text(json.dumps(note, indent=1) + "\n")
    print(note["gflops_of_a_matrix_product"], "GFLOP/s in a matrix product")
    for name, ms in found.items():
        print(f"{ms:6.1f}  {name}")


if __name__ == "__main__":
    main()
