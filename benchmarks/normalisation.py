"""What a wrong normalisation costs: accuracy of the pocket resnet18 on Tiny ImageNet's validation photos.

    python benchmarks/normalisation.py tiny_imagenet_64.zip

writes ftcourse/models/pocket/normalisation.json, which lesson 01 reads. The archive has val/WNID/*.webp (or
.JPEG); ten photos of each of the 200 classes are used, the first by name.
"""

from __future__ import annotations

import argparse
import io
import json
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

import ftcourse as ft
from ftcourse.models.pocket import ResNet18_Pocket_Weights

TARGET = Path(ft.__file__).parent / "models" / "pocket" / "normalisation.json"
WEIGHTS = ResNet18_Pocket_Weights.DEFAULT


def photos(archive: Path, per_class: int) -> tuple[Tensor, Tensor]:
    """Photos (N, 3, S, S) float32 from 0 to 1, resized and cropped as the weights expect, and labels."""
    preprocess, names = WEIGHTS.transforms(), defaultdict(list)
    with zipfile.ZipFile(archive) as z:
        for name in sorted(n for n in z.namelist() if "val/" in n and n[-1] != "/"):
            names[Path(name).parent.name].append(name)
        images, labels = [], []
        for label, wnid in enumerate(WEIGHTS.meta["wnids"]):
            for name in names[wnid][:per_class]:
                photo = Image.open(io.BytesIO(z.read(name))).convert("RGB")
                photo = F.center_crop(F.resize(photo, preprocess.resize_size), preprocess.crop_size)
                images.append(F.to_dtype(F.pil_to_tensor(photo), torch.float32, scale=True))
                labels.append(label)
    return torch.stack(images), torch.tensor(labels)


def variants() -> dict[str, Callable[[Tensor], Tensor]]:
    """The right way, and five wrong ones that raise no error; x is (N, 3, S, S), from 0 to 1."""
    preprocess = WEIGHTS.transforms()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (preprocess.mean, preprocess.std))
    return {
        "as the weights expect": lambda x: (x - mean) / std,
        "mean 0.5, std 0.5": lambda x: (x - 0.5) / 0.5,
        "red and blue swapped": lambda x: (x.flip(1) - mean) / std,
        "0 to 1, no mean and std": lambda x: x,
        "normalised twice": lambda x: ((x - mean) / std - mean) / std,
        "not divided by 255": lambda x: (255 * x - mean) / std,
    }


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--per-class", type=int, default=10)
    a = parser.parse_args()
    model, (x, y) = ft.load_backbone("resnet18"), photos(a.archive, a.per_class)
    rows, right = [], None
    for name, normalise in variants().items():
        guess = torch.cat([model(normalise(part)).argmax(1) for part in x.split(100)])
        right = guess if right is None else right
        accuracy = (guess == y).float().mean().item()
        half = 1.96 * (accuracy * (1 - accuracy) / len(y)) ** 0.5  # normal approximation
        row = {"input": name, "accuracy": round(accuracy, 4), "interval95": round(half, 4)}
        row["same_answer"] = round((guess == right).float().mean().item(), 4)
        print(row, flush=True)
        rows.append(row)
    command = "python benchmarks/normalisation.py tiny_imagenet_64.zip"
    content = {"command": command, "photos": len(y), "torch": torch.__version__, "rows": rows}
    TARGET.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
