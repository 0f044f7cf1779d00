"""What is wrong with each program: the lines of the sound one that are changed.

`CASES` are the twelve of lesson 12. `UNSEEN` are programs in which `ft.preflight` finds nothing, for each of their
steps is one that a sound program may make as well.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from ftcourse.bugs.shown import Diff

__all__ = ["CASES", "UNSEEN", "Case", "diff", "source"]

SOUND = Path(__file__).with_name("sound.py")
Changes = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Case:
    """One mistake.

    Args:
        name: what is wrong, in words.
        changes: the lines of the sound program that are wrong, as pairs (sound, wrong).
        setting: lines that are different, but not wrong: such a program has a sound twin of its own.
        twin: that twin, in a word or two.
    """

    name: str
    changes: Changes
    setting: Changes = ()
    twin: str = "sound"


_DATA = "    data = photos.with_transforms(preprocess, preprocess)\n"
_HEAD = "    model.fc = nn.Linear(model.fc.in_features, 2)\n"
_TRAINED = (
    "    trained = [p for p in model.parameters() if p.requires_grad]\n"
    "    optimizer = torch.optim.AdamW(trained, lr=5e-4, fused=True)  # fused: faster, the same steps\n"
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
                f"    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, fused=True)\n{_HEAD}\n",
            ),
        ),
    ),
    "G": Case(
        "the learning rate is far too high for pre-trained weights",
        (("lr=5e-4", "lr=1e-2"),),
        setting=(
            ("    for p in model.layer4.parameters():\n", "    for p in model.parameters():\n"),
        ),
        twin="sound, all layers train",
    ),
    "H": Case(
        "BatchNorm of the frozen layers drifts",
        (("    ft.train_mode(model)\n", "    model.train()\n"),),
    ),
    "I": Case("validation runs in train mode", (("    model.eval()\n", ""),)),
    "J": Case(
        "the pre-trained weights are never loaded",
        (
            (
                '    model = ft.load_backbone("resnet18")\n',
                '    model = ft.load_backbone("resnet18", weights=None)\n'
                '    saved = ft.load_backbone("resnet18").state_dict()\n'
                '    saved = {f"module.{k}": v for k, v in saved.items()}  # as nn.DataParallel names them\n'
                "    model.load_state_dict(saved, strict=False)\n",
            ),
        ),
    ),
    "K": Case(
        "validation photos have their channels in another order",
        (
            (
                _DATA,
                "\n"
                "    def read_by_opencv(image):\n"
                "        return preprocess(image.flip(0))  # OpenCV gives blue, green, red\n\n"
                "    data = photos.with_transforms(preprocess, read_by_opencv)\n",
            ),
        ),
    ),
    "L": Case(
        "the gradients are cleared between backward and step",
        (
            (
                "        optimizer.zero_grad()\n        loss.backward()\n",
                "        loss.backward()\n        optimizer.zero_grad()\n",
            ),
        ),
    ),
}

UNSEEN: dict[str, Case] = {
    "M": Case(
        "the validation photos are trained on as well",
        (
            (
                "    for images, targets in DataLoader(data.train, batch_size=20, shuffle=True):\n",
                "    photos = data.train + data.val\n"
                "    for images, targets in DataLoader(photos, batch_size=20, shuffle=True):\n",
            ),
            (
                "    return total / len(data.train), right / len(data.train)\n",
                "    return total / len(photos), right / len(photos)\n",
            ),
        ),
    ),
    "N": Case(
        "after the first validation nobody goes back to train mode",
        (("    ft.train_mode(model)\n", ""),),
    ),
    "O": Case(
        "each step of an epoch sees the same batch",
        (
            (
                "    for images, targets in DataLoader(data.train, batch_size=20, shuffle=True):\n",
                "    images, targets = next(iter(DataLoader(data.train, batch_size=20, shuffle=True)))\n"
                "    for _ in range(len(data.train) // 20):\n",
            ),
        ),
    ),
    "P": Case(
        "the sign of the loss",
        (
            (
                "        loss = loss_fn(logits, targets)\n",
                "        loss = -loss_fn(logits, targets)\n",
            ),
        ),
    ),
    "Q": Case(
        "gradients are clipped before they are unscaled",
        (
            (
                "    loss_fn = nn.CrossEntropyLoss()\n",
                "    loss_fn = nn.CrossEntropyLoss()\n"
                '    scaler = torch.amp.GradScaler("cpu")  # it multiplies the loss by 65,536\n',
            ),
            (
                "        loss.backward()\n        optimizer.step()\n",
                "        scaler.scale(loss).backward()\n"
                "        nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
                "        scaler.step(optimizer)\n"
                "        scaler.update()\n",
            ),
        ),
    ),
    "R": Case(
        "the weights are never loaded, and all layers train",
        (
            (
                '    model = ft.load_backbone("resnet18")\n',
                '    model = ft.load_backbone("resnet18", weights=None)\n',
            ),
            ("        p.requires_grad = False\n", "        p.requires_grad = True\n"),
        ),
    ),
}


def source(letter: str | None = None, fixed: bool = False) -> str:
    """The text of a program; without a letter that of the sound one; `fixed` for a program's sound twin.

    Raises:
        ValueError: there is no such program.
    """
    text = SOUND.read_text(encoding="utf-8")
    if letter is None:
        return text
    known = CASES | UNSEEN
    if letter not in known:
        raise ValueError(f"no program {letter!r}; there are {', '.join(known)}")
    case = known[letter]
    for old, new in case.setting + (() if fixed else case.changes):
        if text.count(old) != 1:
            raise ValueError(f"{SOUND.name} has {text.count(old)} times what is to change: {old!r}")
        text = text.replace(old, new)
    return text


def diff(letter: str) -> Diff:
    """What a program has in place of lines of its sound twin."""
    sound, wrong = (source(letter, fixed).splitlines() for fixed in (True, False))
    lines = list(difflib.unified_diff(sound, wrong, n=2, lineterm=""))[2:]
    return Diff(
        f"Program {letter}",
        (CASES | UNSEEN)[letter].twin,
        letter,
        ["..." if x.startswith("@@") else x for x in lines],
    )
