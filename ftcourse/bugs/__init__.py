"""Nine programs that train without an error and are wrong, for lesson 12.

Each is the one sound program, `sound.py`, with a few lines changed; so each has a sound twin, and the
changed lines are the whole difference::

    photos = bugs.photos()
    case = bugs.run("E", photos)        # set up and trained: case.model, case.optimizer, case.data, case.curves
    twin = bugs.run("E", photos, fixed=True)
    bugs.show("E")                      # what is different, line by line
"""

from __future__ import annotations

import difflib
import linecache
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ftcourse.data.loading import load_data
from ftcourse.data.splits import Data

__all__ = ["CASES", "Case", "Program", "photos", "run", "show", "source", "start"]

SOUND = Path(__file__).with_name("sound.py")
Changes = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Case:
    """One mistake.

    Args:
        name: what is wrong, in words.
        changes: the lines of the sound program that are wrong, as pairs (sound, wrong).
        setting: lines that are different, but not wrong: the sound twin has them, too.
    """

    name: str
    changes: Changes
    setting: Changes = ()


_DATA = "    data = photos.with_transforms(preprocess, preprocess)\n"
_HEAD = "    model.fc = nn.Linear(model.fc.in_features, 2)\n"
_TRAINED = (
    "    trained = [p for p in model.parameters() if p.requires_grad]\n"
    "    optimizer = torch.optim.AdamW(trained, lr=5e-4)\n"
)

CASES: dict[str, Case] = {
    "A": Case(
        "train and validation number the classes differently",
        (
            (
                _DATA,
                _DATA + "    for split in (data.train, data.val):\n"
                "        names = [split.classes[t] for t in split.targets]\n"
                "        number = {name: i for i, name in enumerate(dict.fromkeys(names))}\n"
                "        split.targets = [number[name] for name in names]\n",
            ),
        ),
    ),
    "B": Case(
        "photos of the validation split are in the training split",
        (
            (
                _DATA,
                _DATA
                + "    twice = 2 * list(range(len(data.train)))  # few photos: use each twice\n"
                "    data.val = data.train.subset(twice[-40:])\n"
                "    data.train = data.train.subset(twice[:-40])\n",
            ),
        ),
    ),
    "C": Case(
        "the inputs are not scaled as the weights expect",
        (
            (
                "from torch.utils.data import DataLoader\n",
                "from torch.utils.data import DataLoader\nfrom torchvision.transforms import v2\n",
            ),
            (
                "    preprocess = ft.ResNet18_Pocket_Weights.DEFAULT"
                ".transforms(crop_size=64, resize_size=73)\n",
                "    preprocess = v2.Compose(\n"
                "        [\n"
                "            v2.Resize(73),\n"
                "            v2.CenterCrop(64),\n"
                "            v2.ToDtype(torch.float32),\n"
                "            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),\n"
                "        ]\n"
                "    )\n",
            ),
        ),
    ),
    "D": Case(
        "softmax before cross-entropy",
        (
            (
                _HEAD,
                "    head = nn.Linear(model.fc.in_features, 2)\n"
                "    model.fc = nn.Sequential(head, nn.Softmax(dim=1))\n",
            ),
        ),
    ),
    "E": Case(
        "the head is frozen",
        (
            (
                '    model = ft.load_backbone("resnet18")\n',
                '    model = ft.load_backbone("resnet18")\n' + _HEAD,
            ),
            (
                f"        p.requires_grad = True\n{_HEAD}",
                "        p.requires_grad = True\n    model.fc.requires_grad = True\n",
            ),
        ),
    ),
    "F": Case(
        "the optimizer holds the old head",
        (
            (
                f"{_HEAD}\n{_TRAINED}",
                f"    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)\n{_HEAD}\n",
            ),
        ),
    ),
    "G": Case(
        "the learning rate is far too high for pre-trained weights",
        (("lr=5e-4", "lr=1e-2"),),
        setting=(
            ("    for p in model.layer4.parameters():\n", "    for p in model.parameters():\n"),
        ),
    ),
    "H": Case(
        "BatchNorm of the frozen layers drifts",
        (("    ft.train_mode(model)\n", "    model.train()\n"),),
    ),
    "I": Case("validation runs in train mode", (("    model.eval()\n", ""),)),
}


def source(letter: str | None = None, fixed: bool = False) -> str:
    """The text of a program; without a letter that of the sound one.

    Raises:
        ValueError: there is no such program.
    """
    text = SOUND.read_text(encoding="utf-8")
    if letter is None:
        return text
    if letter not in CASES:
        raise ValueError(f"no program {letter!r}; there are {', '.join(CASES)}")
    case = CASES[letter]
    return _change(_change(text, case.setting), () if fixed else case.changes)


def _change(text: str, changes: Changes) -> str:
    for old, new in changes:
        if text.count(old) != 1:
            raise ValueError(f"{SOUND.name} has {text.count(old)} times what is to change: {old!r}")
        text = text.replace(old, new)
    return text


def show(letter: str | None = None) -> None:
    """Print the sound program; with a letter what that one has in its place (- sound, + wrong)."""
    if letter is None:
        print(source())
        return
    twin, wrong = (source(letter, fixed).splitlines() for fixed in (True, False))
    lines = list(difflib.unified_diff(twin, wrong, n=2, lineterm=""))[2:]
    print("\n".join("   ..." if line.startswith("@@") else line for line in lines))


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

    def train(self, model: Any = None) -> Any:
        """One epoch, as the program does it."""
        return self.train_one_epoch(model or self.model, self.optimizer, self.data)

    def moved(self, prefix: str) -> bool:
        """Has any parameter or statistic whose name starts so changed since the start?"""
        now = self.model.state_dict()
        return any(
            not torch.equal(v, self.before[k]) for k, v in now.items() if k.startswith(prefix)
        )


def start(letter: str | None, photos: Data, *, fixed: bool = False, seed: int = 0) -> Program:
    """Set a program up, without training it; `fixed` for its sound twin."""
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
