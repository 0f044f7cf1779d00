"""Questions of lesson 07, overfitting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ftcourse.exercises import Choice, Function, Value, Wrong
from ftcourse.exercises.match import Match

# ----------------------------------------------------------------------------- 7.1 read_curves

_CURVES = {"stop earlier": "B", "train on": "C", "over-confident": "A", "do not believe it": "D"}


def typical_curves(epochs: int = 30) -> dict[str, dict[str, np.ndarray]]:
    """Four typical courses of training, drawn by formula and not measured, by letter.

    Each has `train_loss`, `val_loss`, `train_accuracy` and `val_accuracy`, one value an epoch.
    """
    t = np.arange(1, epochs + 1)
    fast, slow = np.exp(-t / 4), np.exp(-t / 25)
    rise = np.clip(t - 8, 0, None)
    ripple = 0.012 * np.sin(2.1 * t)
    learnt = {"train_loss": 0.02 + 0.67 * fast, "train_accuracy": 1 - 0.48 * fast}
    return {
        "A": {
            **learnt,
            "val_loss": 0.36 + 0.33 * fast + 0.02 * rise + ripple,
            "val_accuracy": 0.86 - 0.34 * fast + ripple,
        },
        "B": {
            **learnt,
            "val_loss": 0.40 + 0.29 * fast + 0.02 * rise + ripple,
            "val_accuracy": 0.84 - 0.32 * fast - 0.007 * rise + ripple,
        },
        "C": {
            "train_loss": 0.15 + 0.54 * slow,
            "train_accuracy": 0.95 - 0.43 * slow,
            "val_loss": 0.18 + 0.52 * slow + ripple,
            "val_accuracy": 0.93 - 0.42 * slow + ripple,
        },
        "D": {
            "train_loss": 0.28 + 0.41 * fast,
            "train_accuracy": 0.88 - 0.36 * fast,
            "val_loss": 0.02 + 0.66 * fast,
            "val_accuracy": np.minimum(1.0, 1.005 - 0.48 * fast),
        },
    }


read_curves = Match(
    number="7.1",
    name="read_curves",
    reference=_CURVES,
    why="A: as many right answers as ever, but the wrong ones are given with more and more "
    "confidence, and the loss counts that. B: the accuracy itself goes down. C: both curves still "
    "improve, side by side. D: every validation photo right and training photos wrong: look for "
    "copies of training photos in the validation split.",
    hints=(
        "for each panel: does the gap between the curves open, and does validation get worse in "
        "accuracy, or in loss only?",
        "one has no gap yet, one has a gap the wrong way round; of the other two, one loses "
        "accuracy and one does not.",
    ),
    worked=(
        'answer = {\n    "stop earlier": "B",\n    "train on": "C",\n'
        '    "over-confident": "A",\n    "do not believe it": "D",\n}'
    ),
    letters="abcd",
    tells={
        ("stop earlier", "a"): Wrong(
            "in A the validation accuracy stays; only the loss rises",
            "which panel loses accuracy as well?",
        ),
        "train on": Wrong(
            "the run that is not at its end is another one",
            "in which panel do both curves still improve, side by side?",
        ),
        "do not believe it": Wrong(
            "the suspicious run is another one",
            "where is validation better than training, and perfect?",
        ),
        "stop earlier": Wrong(
            "the run that gets worse in validation accuracy is another one",
            "which panel loses accuracy while the training loss falls on?",
        ),
        "over-confident": Wrong(
            "the run with the same accuracy and a growing loss is another one",
            "where do loss and accuracy of validation tell different stories?",
        ),
    },
)

# --------------------------------------------------------------------------- 7.2 smoothed_loss

_LOWEST = -(0.95 * np.log(0.95) + 0.05 * np.log(0.05))

smoothed_loss = Value(
    number="7.2",
    name="smoothed_loss",
    reference=float(_LOWEST),
    why="The target is (0.95, 0.05): 0.1 is shared out among both classes, the right one included. "
    "The best answer is the target itself, and its cross-entropy is its entropy, 0.199. A training "
    "loss of 0.2 is the floor here, not a failure.",
    hints=(
        "0.1 of the target is shared out evenly among all classes, the right one included. What is "
        "the target then, and which answer comes closest?",
        "the target is (0.95, 0.05), and so is the best answer: -0.95 log 0.95 - 0.05 log 0.05.",
    ),
    worked="guess = -0.95 * math.log(0.95) - 0.05 * math.log(0.05)",
    same=lambda a, b: bool(np.isclose(float(a), b, atol=0.006)),
    mistakes=(
        (0.0, Wrong("0 is the floor without smoothing", "the target is no longer a single one.")),
        (
            0.325,
            Wrong(
                "that is the entropy of (0.9, 0.1)",
                "the right class gets its share of the 0.1, too: 0.9 + 0.05.",
            ),
        ),
        (
            0.105,
            Wrong(
                "that is -log 0.9",
                "the loss is summed over both classes, each weighted with its target.",
            ),
        ),
        (
            0.051,
            Wrong(
                "that is -log 0.95, the part of the right class",
                "the loss is summed over both classes, each weighted with its target.",
            ),
        ),
        (
            0.693,
            Wrong(
                "that is log 2, the loss of somebody who knows nothing",
                "the best answer is the target itself.",
            ),
        ),
    ),
)

# ----------------------------------------------------------------------------------- 7.3 mixup


def _mixup(images: Tensor, targets: Tensor, share: float, classes: int) -> tuple[Tensor, Tensor]:
    wanted = F.one_hot(targets, classes).float()
    mixed = share * images + (1 - share) * images.roll(1, 0)
    return mixed, share * wanted + (1 - share) * wanted.roll(1, 0)


def _judge_mixup(attempt: Callable) -> Wrong | None:
    for share, classes in ((0.7, 2), (1.0, 3), (0.4, 3)):
        images, targets = torch.rand(4, 3, 5, 5), torch.tensor([0, 1, 1, 0])
        kept, labels = images.clone(), targets.clone()
        answer = attempt(images, targets, share, classes)
        if not isinstance(answer, tuple | list) or len(answer) != 2:
            return Wrong(
                "it does not return two things", "end with `return mixed_images, mixed_targets`."
            )
        if not torch.equal(images, kept) or not torch.equal(targets, labels):
            return Wrong(
                "the images it is given are changed in place",
                "make new tensors: the photo before is still needed as a partner.",
            )
        mixed, goals = (torch.as_tensor(part).float() for part in answer)
        right, wanted = _mixup(images, targets, share, classes)
        if wrong := _wrong_images(mixed, images, right, share):
            return wrong
        if wrong := _wrong_goals(goals, targets, wanted, share):
            return wrong
    return None


def _wrong_images(mixed: Tensor, images: Tensor, right: Tensor, share: float) -> Wrong | None:
    if mixed.shape != images.shape:
        return Wrong(
            f"the images come back in shape {tuple(mixed.shape)}, not {tuple(images.shape)}",
            "each photo is mixed with one other; the shape stays.",
        )
    if torch.allclose(mixed, right, atol=1e-6):
        return None
    if torch.allclose(mixed, images.roll(1, 0) + images - right, atol=1e-6):
        return Wrong("share and 1 - share are exchanged", "share belongs to the photo itself.")
    if torch.allclose(mixed, share * images + (1 - share) * images.roll(-1, 0), atol=1e-6):
        return Wrong(
            "each photo is mixed with the one after it",
            "roll(1, 0) puts the photo before each photo into its place.",
        )
    return Wrong(
        "the mixed images are not share x photo + (1 - share) x the photo before it",
        "images.roll(1, 0) has at each place the photo before.",
    )


def _wrong_goals(goals: Tensor, targets: Tensor, wanted: Tensor, share: float) -> Wrong | None:
    if goals.shape != wanted.shape:
        return Wrong(
            f"the targets come back in shape {tuple(goals.shape)}, not {tuple(wanted.shape)}",
            "a mixture of classes needs a number for each class: F.one_hot(targets, classes).",
        )
    if torch.allclose(goals, wanted, atol=1e-6):
        return None
    if torch.allclose(goals, F.one_hot(targets, goals.shape[1]).float()):
        return Wrong(
            "the images are mixed, and the targets are not",
            "a photo that is 0.7 ant and 0.3 bee has the target 0.7 ant and 0.3 bee.",
        )
    return Wrong(
        f"for share={share:g} the targets are not mixed as the images are",
        "mix the one-hot targets by the very formula of the images.",
    )


mixup = Function(
    number="7.3",
    name="mixup",
    reference=_mixup,
    why="Images and targets are mixed in the same way, and each row of the targets still sums to 1.",
    hints=(
        "the same formula twice: once for the images, once for the one-hot targets.",
        "share * images + (1 - share) * images.roll(1, 0); the targets as F.one_hot(targets, "
        "classes).float() in the same way.",
    ),
    worked=(
        "def mixup(images, targets, share, classes):\n"
        "    goals = F.one_hot(targets, classes).float()\n"
        "    mixed = share * images + (1 - share) * images.roll(1, 0)\n"
        "    return mixed, share * goals + (1 - share) * goals.roll(1, 0)"
    ),
    judge=_judge_mixup,
)

# -------------------------------------------------------------------------------- 7.4 find_bugs

find_bugs = Choice(
    number="7.4",
    name="find_bugs",
    reference="b, d",
    why="b augments the validation photos, so that the judge sees other photos each epoch, and the "
    "score is noisy and too low. d looks at the test split after each epoch: the epoch is chosen by "
    "it, and its score is no longer an honest one.",
    hints=(
        "go through the lines with two questions: what may be random, and which split may decide?",
        "only training photos are augmented; only validation decides when to stop.",
    ),
    worked='answer = "b, d"',
    options={
        "a": Wrong(
            "a is fine: training photos are augmented",
            "which photos must look the same in each epoch?",
        ),
        "b": None,
        "c": Wrong(
            "c is fine: it is a usual weight decay", "which line lets the wrong split decide?"
        ),
        "d": None,
        "e": Wrong(
            "e is fine: patience is a choice, and 5 a usual one",
            "what is `score` measured on?",
        ),
        "f": Wrong(
            "f is fine: the weights that were best are the ones to keep",
            "best by which measure, on which split?",
        ),
    },
)

# -------------------------------------------------------------------------------- 7.5 treatment

_TREATMENT: dict[str, Any] = {"gap": "b", "confidence": "c", "no gap": "a", "customers": "d"}

treatment = Match(
    number="7.5",
    name="treatment",
    reference=_TREATMENT,
    why="Gap: what helped most here, by far, was more photos. Confidence: the ranking is right and "
    "the probabilities are not. No gap: the network has not learnt the training photos yet, so there "
    "is nothing to regularise. Customers: the validation photos are like the training photos; what "
    "is missing are photos like the customers'.",
    hints=(
        "is there a gap between training and validation at all? Between validation and use?",
        "a is for a network that learns too little, d for one that learnt from the wrong photos.",
    ),
    worked='answer = {"gap": "b", "confidence": "c", "no gap": "a", "customers": "d"}',
    letters="abcd",
    tells={
        ("no gap", "b"): Wrong(
            "training and validation are equally poor: this is not overfitting",
            "what does a network need that has not even learnt its training photos?",
        ),
        ("gap", "c"): Wrong(
            "smoothing made no difference in accuracy in the table above",
            "which row of the table stood out?",
        ),
        ("customers", "b"): Wrong(
            "more of the same photos have the same background",
            "what do the new photos have to look like?",
        ),
        ("customers", "c"): Wrong(
            "no regulariser knows which pixels are the animal",
            "what do the new photos have to look like?",
        ),
        "gap": Wrong(
            "the training photos are learnt by heart, and validation is far below",
            "which row of the table stood out?",
        ),
        "confidence": Wrong(
            "the accuracy is fine; the probabilities are too sure",
            "which plan keeps probabilities from going to 0 and 1?",
        ),
        "no gap": Wrong(
            "training and validation are equally poor: this is not overfitting",
            "what does a network need that has not even learnt its training photos?",
        ),
        "customers": Wrong(
            "validation is fine and use is poor: the validation photos are not like those in use",
            "what do the new photos have to look like?",
        ),
    },
)
