"""Mistakes planted in what is handed to `finetune`; each says which findings of the run name it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

import ftcourse as ft
from ftcourse.data.transforms import train_transforms
from ftcourse.tasks.detection import Detection, fcos
from ftcourse.tasks.segmentation import IGNORE, Segmentation, fcn
from tests.training.preflight.planted import (
    CHANNELS,
    MIXED_UP,
    NORMALISED,
    NUMBERED,
    OVERLAP,
    folders,
    scaled_by,
    val_with,
)  # fmt: skip
from tests.training.preflight.programs import SIZE, few, insects, network, photos

Make = Callable[[], dict[str, Any]]
PLANTED: dict[str, tuple[Make, set[str]]] = {}
HEAD = ft.Stage("head", epochs=2, lr=1e-2)


def plant(what: str, *names: str) -> Callable[[Make], Make]:
    def keep(make: Make) -> Make:
        assert what not in PLANTED
        PLANTED[what] = make, set(names)
        return make

    return keep


def findings(make: Make) -> list[str]:
    """The names of what a run of `finetune` told."""
    options = {
        "model": network(trains=()),
        "data": photos(),
        "stages": HEAD,
        "batch_size": 16,
    } | make()
    return [f["name"] for f in ft.finetune(progress=False, device="cpu", **options).findings]


@plant("weights=None, the head alone trains", "weights not loaded")
def _() -> dict[str, Any]:
    return {"model": network(weights=None)}


@plant("strict=False with other names", "weights not loaded")
def _() -> dict[str, Any]:
    model = network(weights=None)
    state = {f"module.{k}": v for k, v in ft.load_backbone("resnet18").state_dict().items()}
    model.load_state_dict(state, strict=False)
    return {"model": model}


@plant("the labels of validation reversed", NUMBERED)
def _() -> dict[str, Any]:
    return {"data": val_with(lambda t: 4 - t)}


@plant("two of five classes change places", NUMBERED)
def _() -> dict[str, Any]:
    return {"data": val_with(lambda t: {0: 2, 2: 0}.get(t, t))}


@plant("a class folder is missing in validation", NUMBERED)
def _() -> dict[str, Any]:
    return {"data": folders(train=insects().classes, val=insects().classes[1:])}


@plant("channels turned round in validation", CHANNELS)
def _() -> dict[str, Any]:
    transform = insects().val.transform
    return {"data": insects().with_transforms(transform, lambda x: transform(x.flip(0)))}


@plant("channels turned round in both", CHANNELS)
def _() -> dict[str, Any]:
    transform = insects().val.transform
    return {"data": insects().with_transforms(*2 * [lambda x: transform(x.flip(0))])}


@plant("the random transform in validation too", "validation is random")
def _() -> dict[str, Any]:
    return {"data": insects().with_transforms(*2 * [train_transforms(SIZE)])}


@plant("photos of 32 pixels in validation", "validation photos of another size")
def _() -> dict[str, Any]:
    small = ft.ResNet18_Pocket_Weights.DEFAULT.transforms(crop_size=32, resize_size=36)
    return {"data": insects().with_transforms(insects().train.transform, small)}


@plant("photos from 0 to 1", NORMALISED)
def _() -> dict[str, Any]:
    return {"data": scaled_by(lambda p: p, "train", "val").data}


@plant("the network ends in a softmax", "softmax before cross-entropy")
def _() -> dict[str, Any]:
    model = network(trains=())
    model.fc = nn.Sequential(nn.Linear(512, 5), nn.Softmax(1))
    return {"model": model}


@plant("the network ends in a sigmoid", "activation before the loss")
def _() -> dict[str, Any]:
    model = network(trains=())
    model.fc = nn.Sequential(nn.Linear(512, 5), nn.Sigmoid())
    return {"model": model}


@plant("training photos in the test split", "train and test overlap")
def _() -> dict[str, Any]:
    return {"data": photos(test=insects().train.subset(range(20)))}


@plant("rows shared by TensorDatasets", OVERLAP)
def _() -> dict[str, Any]:
    images = torch.stack([insects().train[i][0] for i in range(120)])
    labels = torch.tensor(insects().train.targets[:120])
    return {
        "data": photos(
            train=TensorDataset(images[:80], labels[:80]),
            val=TensorDataset(images[70:].clone(), labels[70:]),
        )
    }


@plant("the labels of training shuffled", MIXED_UP)
def _() -> dict[str, Any]:
    train = insects().train.subset(range(150))
    random.Random(1).shuffle(train.targets)
    return {"data": photos(train=train)}


@plant("no photo of a class in training", "classes without training photos")
def _() -> dict[str, Any]:
    split = insects().train
    return {"data": photos(train=split.subset([i for i in range(150) if split.targets[i] != 2]))}


@plant("a learning rate of 1e-10", "nothing moves")
def _() -> dict[str, Any]:
    return {"stages": ft.Stage("head", epochs=1, lr=1e-10)}


@plant("a learning rate that throws the weights away", "learning rate too high")
def _() -> dict[str, Any]:
    return {
        "stages": ft.Stage("layer4", epochs=1, lr=3e-2),
        "data": photos(train=few(insects().train, 48)),
    }


@plant("no stage trains the head", "head frozen")
def _() -> dict[str, Any]:
    return {
        "stages": ft.Stage(("layer4",), epochs=1),
        "data": photos(train=few(insects().train, 48)),
    }


class Scenes(Dataset):
    """Photos with targets of another task."""

    def __init__(self, targets: Any, side: int = 64) -> None:
        self.targets_, self.side = targets, side

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> Any:
        g = torch.Generator().manual_seed(i)
        return torch.rand(3, self.side, self.side, generator=g), self.targets_


def boxes(values: list[list[float]], labels: list[int]) -> dict[str, Any]:
    target = {"boxes": torch.tensor(values), "labels": torch.tensor(labels)}
    data = photos(train=Scenes(target, 96), val=Scenes(target, 96), test=None)
    model = fcos(ft.load_backbone("resnet18"), 3)
    return {"model": model, "data": data, "task": Detection(), "stages": ft.Stage("head", epochs=1)}


@plant("boxes from 0 to 1", "boxes not in pixels")
def _() -> dict[str, Any]:
    return boxes([[0.1, 0.1, 0.6, 0.6]], [1])


@plant("boxes outside of their photos", "boxes outside of the photo")
def _() -> dict[str, Any]:
    return boxes([[200.0, 200, 260, 260]], [1])


@plant("labels of boxes from 0", "label out of range")
def _() -> dict[str, Any]:
    return boxes([[10.0, 10, 60, 60]], [0])


def masks(mask: Any) -> dict[str, Any]:
    data = photos(train=Scenes(mask), val=Scenes(mask), test=None)
    model = fcn(ft.load_backbone("resnet18"), 2)
    return {
        "model": model,
        "data": data,
        "task": Segmentation(2),
        "stages": ft.Stage("head", epochs=1),
    }


@plant("masks that are void throughout", "masks of nothing")
def _() -> dict[str, Any]:
    return masks(torch.full((64, 64), IGNORE))


@plant("masks of 0 and 255, where 255 is left out", "masks of one class")
def _() -> dict[str, Any]:
    mask = torch.zeros(64, 64, dtype=torch.int64)
    mask[20:40] = 255
    return masks(mask)
