"""A small fine-tuning program by hand whose parts can be exchanged; the bench plants mistakes in it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

import ftcourse as ft
from ftcourse.data.splits import Data

CLASSES = ("ants", "butterflies", "ladybirds", "spiders", "bees")
SIZE, BATCH = 64, 10


@functools.cache
def insects() -> Data:
    """Five kinds of insects at 64 pixels: 150 to train on, 100 for validation, 100 to test on."""
    preprocess = ft.ResNet18_Pocket_Weights.DEFAULT.transforms(crop_size=SIZE, resize_size=73)
    data = ft.load_data("pocket-insects", classes=CLASSES, transform=preprocess, progress=False)
    data.train, data.test = data.train.subset(range(150)), data.test.subset(range(100))
    return data


def photos(**splits: Any) -> Data:
    """A copy of the data, with other splits."""
    data = insects()
    parts = {"train": data.train, "val": data.val, "test": data.test} | splits
    return Data(data.classes, **parts)


class Changed(Dataset):
    """The items of a split, put through a function of (image, label, number)."""

    def __init__(self, split: Any, change: Callable[[Tensor, int, int], Any]) -> None:
        self.split, self.change = split, change
        for name in ("targets", "classes"):
            if hasattr(split, name):
                setattr(self, name, getattr(split, name))

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, i: int) -> Any:
        image, label = self.split[i]
        return self.change(image, label, i)


def network(
    classes: int = 5, weights: Any = "pocket", trains: Sequence[str] = ("layer4", "head")
) -> Any:
    torch.manual_seed(0)
    model = ft.load_backbone("resnet18", weights=weights, num_classes=classes)
    ft.unfreeze(ft.freeze(model), *trains)
    return ft.train_mode(model)


def adamw(model: nn.Module, lr: float = 5e-4) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)


def sgd(model: nn.Module, lr: float = 1e-2, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=lr, **options)


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(outputs, labels)


def as_they_are(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return x, y


@dataclass
class Program:
    """The parts of a training program. `order` is that of z: zero_grad, f: forward, b: backward, s: step,
    c: the schedule; those behind a "|" come after the loop over batches."""

    model: Any = field(default_factory=network)
    data: Any = field(default_factory=photos)
    optimizer: Any = None
    scheduler: Any = None
    order: str = "zfbs"
    mode: Callable[[Any], Any] = ft.train_mode
    batch: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = as_they_are
    forward: Callable[[Any, Tensor], Any] = lambda model, x: model(x)
    loss: Callable[[Any, Tensor], Tensor] = cross_entropy
    scaled: Callable[[Tensor], Tensor] = lambda loss: loss
    after_backward: Callable[[Any], Any] = lambda model: None
    every: int = 1
    epochs: int | None = None
    inside: int = 1  # epochs within the training function
    shuffle: bool = True
    batch_size: int = BATCH
    judge: Callable[..., Any] | None = None
    judged: Callable[[Tensor], Tensor] = lambda x: x
    judged_split: Any = None
    judged_mode: Callable[[Any], Any] = lambda model: model.eval()
    drop_last: bool = False
    average: str = "photos"

    def __post_init__(self) -> None:
        if self.optimizer is None:
            self.optimizer = adamw(self.model)

    def train(self, model: Any) -> None:
        """The training function."""
        for _ in range(self.inside):
            self.mode(model)
            inside, _, behind = self.order.partition("|")
            self.kept: list[Tensor] = []
            loader = DataLoader(self.data.train, self.batch_size, shuffle=self.shuffle)
            for i, (x, y) in enumerate(loader):
                for letter in inside:
                    self._do(letter, model, *self.batch(x, y), i)
            for letter in behind:
                self._do(letter, model, x, y, self.every - 1)

    def _do(self, letter: str, model: Any, x: Tensor, y: Tensor, i: int) -> None:
        whole = i % self.every == self.every - 1
        if letter == "f":
            self.kept.append(self.scaled(self.loss(self.forward(model, x), y)))
        elif letter == "b":
            loss = self.kept.pop()
            while "b" not in self.order.partition("|")[0] and self.kept:
                loss = loss + self.kept.pop()
            loss.backward()
            self.after_backward(model)
        elif letter == "z" and (self.every == 1 or i % self.every == 0):
            self.optimizer.zero_grad()
        elif letter == "s" and whole:
            self.optimizer.step()
        elif letter == "c" and whole:
            self.scheduler.step()

    @torch.no_grad()
    def evaluate(self, model: Any) -> Any:
        """The validation function."""
        if self.judge is not None:
            return self.judge(model)
        self.judged_mode(model)
        split = self.data.val if self.judged_split is None else self.judged_split
        right, seen, shares = 0, 0, []
        for x, y in DataLoader(split, 32, drop_last=self.drop_last):
            hits = (model(self.judged(x)).argmax(1) == y).sum().item()
            right, seen = right + hits, seen + len(y)
            shares.append(hits / len(y))
        return right / seen if self.average == "photos" else sum(shares) / len(shares)

    def findings(self) -> list[Any]:
        return ft.preflight(
            self.model, self.data, optimizer=self.optimizer, train=self.train, evaluate=self.evaluate,
            batch_size=self.batch_size, epochs=self.epochs,
        )  # fmt: skip


def few(split: Any, n: int) -> Subset:
    return Subset(split, range(n))
