"""Processor seconds that a small run of `finetune` takes, with and without preflight, as JSON.

    python benchmarks/preflight_cost.py

`benchmarks/preflight.py --cost` calls it on two versions of the package, with the path of each. 150 drawn insects
of five kinds at 64 pixels to train on and 100 to validate on, two epochs, one thread.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
import warnings

import torch

import ftcourse as ft

CLASSES = ("ants", "butterflies", "ladybirds", "spiders", "bees")


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    preprocess = ft.ResNet18_Pocket_Weights.DEFAULT.transforms(crop_size=64, resize_size=73)
    data = ft.load_data("pocket-insects", classes=CLASSES, transform=preprocess, progress=False)
    data.train = data.train.subset(range(150))
    seconds = {}
    for train in ("head", "head", "layer4"):  # the first warms up
        for preflight in (False, True):
            torch.manual_seed(0)
            model = ft.load_backbone("resnet18", num_classes=len(CLASSES))
            stage = ft.Stage(train, epochs=2, lr=5e-4)
            start = time.process_time()
            with contextlib.redirect_stdout(io.StringIO()):
                ft.finetune(
                    model, data, stage, batch_size=16, device="cpu", progress=False, preflight=preflight
                )  # fmt: skip
            seconds[f"{train}, {'with' if preflight else 'without'}"] = time.process_time() - start
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
