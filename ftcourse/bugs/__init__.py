"""Programs that train without an error and are wrong, for lesson 12.

Each is the one sound program, `sound.py`, with a few lines changed; the changed lines are the whole difference::

    photos = bugs.photos()
    case = bugs.run("E", photos)     # set up and trained: case.model, case.optimizer, case.data, case.curves
    sound = bugs.run(None, photos)
    bugs.show("E")                   # what is different, line by line

One of them, G, differs from it by more than its mistake; `fixed=True` gives the twin without the mistake.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ftcourse.bugs.cases import CASES, UNSEEN, Case, diff, source
from ftcourse.bugs.shown import displayed
from ftcourse.data.loading import load_data
from ftcourse.data.splits import Data

__all__ = ["CASES", "UNSEEN", "Case", "Program", "diff", "photos", "run", "show", "source", "start"]


def show(*letters: str) -> None:
    """Show the sound program; with letters what those have in its place, folded in a notebook."""
    for letter in letters:
        displayed(diff(letter))
    if not letters:
        print(source())


@dataclass
class Program:
    """A program that has been set up: its model, optimizer and data, and what it does with them.

    `before` is the model's state at the start; `curves` has one dict an epoch: `loss` and `accuracy` of training,
    `val`, the accuracy on the validation split.
    """

    model: Any
    optimizer: torch.optim.Optimizer
    data: Data
    train_one_epoch: Callable[..., tuple[float, float]]
    validate: Callable[[nn.Module, Any], float]
    before: dict[str, Tensor] = field(repr=False)
    curves: list[dict[str, float]] = field(default_factory=list)

    def train(self, model: Any = None) -> tuple[float, float]:
        """One epoch, as the program does it: the mean loss and the accuracy."""
        return self.train_one_epoch(model or self.model, self.optimizer, self.data)

    def train_on(self, count: int) -> tuple[float, float]:
        """The same on `count` training photos alone, drawn evenly from the split."""
        few = copy(self.data)
        step = len(self.data.train) // count
        few.train = self.data.train.subset(range(0, step * count, step))
        return self.train_one_epoch(self.model, self.optimizer, few)

    def batch(self, name: str = "train", count: int = 16) -> tuple[Tensor, Tensor]:
        """The first photos of a split as the network gets them, float (count, 3, H, W), and their labels."""
        split = getattr(self.data, name)
        images, labels = zip(*(split[i] for i in range(count)), strict=True)
        return torch.stack(images), torch.tensor(labels)

    def moved(self, prefix: str = "") -> float:
        """How far the weights whose names start so have moved since the start, ‖w - w₀‖ / ‖w₀‖."""
        return _distance(dict(self.model.named_parameters()), self.before, prefix)

    def statistics_moved(self, prefix: str = "") -> float:
        """The same of BatchNorm's running means and variances."""
        return _distance(dict(self.model.named_buffers()), self.before, prefix)


def _distance(now: dict[str, Tensor], before: dict[str, Tensor], prefix: str) -> float:
    names = [k for k, v in now.items() if k.startswith(prefix) and v.is_floating_point()]
    way = sum((now[k].detach() - before[k]).double().square().sum().item() for k in names)
    size = sum(before[k].double().square().sum().item() for k in names)
    return (way / max(size, 1e-30)) ** 0.5


def start(letter: str | None, photos: Data, *, fixed: bool = False, seed: int = 0) -> Program:
    """Set a program up, without training it: without a letter the sound one, `fixed` for the twin of one."""
    name = f"<program {letter or 'sound'}{' fixed' * fixed}>"
    text = source(letter, fixed)
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    names: dict[str, Any] = {"__name__": name}
    code = compile(text, name, "exec")
    exec(code, names)  # nosec B102 # a text of this package: sound.py, with one of our edits
    torch.manual_seed(seed)
    model, optimizer, data = names["setup"](photos)
    before = {k: v.detach().clone() for k, v in model.state_dict().items()}
    return Program(model, optimizer, data, names["train_one_epoch"], names["validate"], before)


def run(
    letter: str | None, photos: Data, *, epochs: int = 3, fixed: bool = False, seed: int = 0
) -> Program:
    """Set a program up and train it, with validation after each epoch."""
    program = start(letter, photos, fixed=fixed, seed=seed)
    for _ in range(epochs):
        loss, accuracy = program.train()
        val = program.validate(program.model, program.data.val)
        program.curves.append({"loss": loss, "accuracy": accuracy, "val": val})
    return program


def photos(train: int = 80) -> Data:
    """Ants and bees: 80 to train on, 40 for validation (the bees first), 120 to test on."""
    data = load_data("pocket-insects", classes=("ants", "bees"), progress=False)
    bees_first = sorted(range(len(data.val)), key=lambda i: -data.val.targets[i])
    data.train, data.val = data.train.subset(range(train)), data.val.subset(bees_first)
    return data
