"""Questions of lesson 09, overfitting."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

from ftcourse.data.transforms import MEAN, STD, train_transforms
from ftcourse.exercises import Choice, Draw, Exercise, Formula, Value, Wrong
from ftcourse.exercises.gives import tensor, tuple_of
from ftcourse.exercises.match import Match
from ftcourse.exercises.words import article, short, stops_with
from ftcourse.exercises.written import untouched

# ----------------------------------------------------------------------------- 9.1 read_curves

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
    number="9.1",
    name="read_curves",
    reference=_CURVES,
    why="A: as many right answers as ever, but the wrong ones are given with more and more "
    "confidence, and the loss counts that. B: the accuracy itself goes down. C: both curves still "
    "improve, side by side. D: every validation photo right and training photos wrong: either the "
    "validation photos are the easier ones, or they have been seen. Look at how the splits were made.",
    hints=(
        "for each panel: does the gap between the curves open, and does validation get worse in "
        "accuracy, or in loss only?",
        "sort them: no gap yet; a gap the wrong way round; and two with a gap, of which one loses "
        "accuracy.",
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

# --------------------------------------------------------------------------- 9.2 smoothed_loss


def _entropy(p: float) -> float:
    """The cross-entropy of (p, 1 - p) with itself, in nats."""
    return float(-(p * np.log(p) + (1 - p) * np.log(1 - p)))


_SUMMED = "the loss is summed over both classes, each weighted with its target."

smoothed_loss = Value(
    number="9.2",
    name="smoothed_loss",
    reference=_entropy(0.95),
    why="The target is (0.95, 0.05): 0.1 is shared out among both classes, the right one included. "
    "The best answer is the target itself, and its cross-entropy is its entropy, 0.199. A training "
    "loss of 0.2 is the floor here, not a failure.",
    hints=(
        "0.1 of the target is shared out evenly among all classes, the right one included. What is "
        "the target then, and which answer comes closest?",
        "no answer comes closer than the target itself. What is its cross-entropy with itself, over both "
        "classes?",
    ),
    worked="guess = -0.95 * math.log(0.95) - 0.05 * math.log(0.05)",
    mistakes=(
        (0.0, Wrong("0 is the floor without smoothing", "the target is no longer a single one.")),
        (
            _entropy(0.9),
            Wrong(
                "that is the entropy of (0.9, 0.1)",
                "the right class gets its share of the 0.1, too: 0.9 + 0.05.",
            ),
        ),
        (-float(np.log(0.9)), Wrong("that is -log 0.9", _SUMMED)),
        (
            -float(np.log(0.95)),
            Wrong("that is -log 0.95, without the other class", _SUMMED),
        ),
        (
            -0.95 * float(np.log(0.95)),
            Wrong("that is the part of the right class", _SUMMED),
        ),
        (
            float(np.log(2)),
            Wrong(
                "that is log 2, the loss of somebody who knows nothing",
                "the best answer is the target itself.",
            ),
        ),
        (
            _entropy(0.95) / float(np.log(2)),
            Wrong("that is in bits", "PyTorch uses the natural logarithm."),
        ),
        (
            _entropy(0.95) / float(np.log(10)),
            Wrong("that is with log10", "PyTorch uses the natural logarithm."),
        ),
        (
            _entropy(0.95) / 2,
            Wrong("that is half of it", "the loss is summed over both classes, not averaged."),
        ),
        (-_entropy(0.95), Wrong("the sign is turned", "a cross-entropy is never negative.")),
        (
            lambda a: 0.19 <= a < 0.2,
            Wrong("that is near, and not rounded as it should be", "round at the end only."),
        ),
    ),
)

# ----------------------------------------------------------------------------------- 9.3 mixup


def _mixup(images: Tensor, targets: Tensor, share: float, classes: int) -> tuple[Tensor, Tensor]:
    wanted = F.one_hot(targets, classes).float()
    mixed = share * images + (1 - share) * images.roll(1, 0)
    return mixed, share * wanted + (1 - share) * wanted.roll(1, 0)


def _one_by_one(
    images: Tensor, targets: Tensor, share: float, classes: int
) -> tuple[Tensor, Tensor]:
    """The same photo by photo."""
    goals = torch.zeros(len(images), classes)
    for i, (own, before) in enumerate(zip(targets.tolist(), targets.roll(1).tolist(), strict=True)):
        goals[i, own] += share
        goals[i, before] += 1 - share
    return torch.stack([images[i - 1].lerp(x, share) for i, x in enumerate(images)]), goals


def _photos(draw: Draw) -> Iterator[tuple[Tensor, Tensor, float, int]]:
    """Batches and photos of several sizes, more and fewer classes than photos; one never occurs; all shares."""
    for count, classes, share in (
        (4, 2, 0.7), (5, 3, 1.0), (3, 7, 0.4), (6, 2, 0.0), (2, 4, 0.5), (1, 3, draw.real(0.1, 0.9)),
    ):  # fmt: skip
        targets = draw.integers(0, classes - 1, count) if classes > 2 else torch.arange(count) % 2
        size = draw.whole(2, 5), draw.whole(6, 9)
        yield draw.normal(count, 3, *size), targets, share, classes


def _mixed(
    images: Callable[[Tensor, float], Tensor] = lambda x, share: x.lerp(x.roll(1, 0), 1 - share),
    goals: Callable[[Tensor, float], Tensor] = lambda x, share: x.lerp(x.roll(1, 0), 1 - share),
) -> Callable:
    """MixUp of which one part may be mixed in another way."""

    def mix(photos: Tensor, targets: Tensor, share: float, classes: int) -> tuple[Tensor, Tensor]:
        return images(photos, share), goals(F.one_hot(targets, classes).float(), share)

    return mix


def _next(x: Tensor, share: float) -> Tensor:
    return x.lerp(x.roll(-1, 0), 1 - share)


def _itself(x: Tensor, share: float) -> Tensor:
    return x


def _through(x: Tensor, share: float) -> Tensor:
    return x.lerp(x.roll(1), 1 - share)


def _halves(x: Tensor, share: float) -> Tensor:
    return (x + x.roll(1, 0)) / 2


def _exchanged(x: Tensor, share: float) -> Tensor:
    return x.lerp(x.roll(1, 0), share)


def _class_numbers(
    images: Tensor, targets: Tensor, share: float, classes: int
) -> tuple[Tensor, Tensor]:
    numbers = targets.float()
    return _mixup(images, targets, share, classes)[0], numbers.lerp(numbers.roll(1), 1 - share)


_ROLL = "without a dimension, roll(1) moves single numbers: roll(1, 0) moves whole photos."

mixup = Formula(
    number="9.3",
    name="mixup",
    reference=_mixup,
    why="Images and targets are mixed in the same way, and each row of the targets still sums to 1.",
    hints=(
        "the same formula twice: once for the images, once for the one-hot targets.",
        "share of what is there, and the rest of what roll(1, 0) puts into its place.",
    ),
    worked=(
        "def mixup(images, targets, share, classes):\n"
        "    goals = F.one_hot(targets, classes).float()\n"
        "    mixed = share * images + (1 - share) * images.roll(1, 0)\n"
        "    return mixed, share * goals + (1 - share) * goals.roll(1, 0)"
    ),
    gives=tuple_of(tensor(), tensor(), hint="end with `return mixed_images, mixed_targets`."),
    cases=_photos,
    second=_one_by_one,
    describe=lambda x, t, share, classes: (
        f"for {len(x)} photos, {classes} classes, share={share:.2g}"
    ),
    mistakes=(
        (
            _mixed(goals=_itself),
            Wrong(
                "the images are mixed, and the targets are not",
                "a photo that is 0.7 ant and 0.3 bee has the target 0.7 ant and 0.3 bee.",
            ),
        ),
        (
            _mixed(images=_itself),
            Wrong("the targets are mixed, and the images are not", "the same formula for both."),
        ),
        (
            _mixed(_exchanged, _exchanged),
            Wrong("share and 1 - share are exchanged", "share belongs to the photo itself."),
        ),
        (
            _mixed(goals=_exchanged),
            Wrong("share and 1 - share are exchanged in the targets", "as in the images."),
        ),
        (
            _mixed(images=_exchanged),
            Wrong("share and 1 - share are exchanged in the images", "as in the targets."),
        ),
        (
            _mixed(_next, _next),
            Wrong(
                "each photo is mixed with the one after it",
                "roll(1, 0) puts the photo before each photo into its place.",
            ),
        ),
        (
            _mixed(goals=_next),
            Wrong("the targets are mixed with those of the next photo", "roll(1, 0), as above."),
        ),
        (
            _mixed(lambda x, share: x + x.roll(1, 0), lambda x, share: x + x.roll(1, 0)),
            Wrong("it adds two whole photos", "share of the one, 1 - share of the other."),
        ),
        (_mixed(_halves, _halves), Wrong("it mixes half and half", "share is an argument.")),
        (
            _mixed(goals=_halves),
            Wrong("the targets are mixed half and half", "by the very formula of the images."),
        ),
        (
            _class_numbers,
            Wrong(
                "the targets are mixtures of class numbers",
                "a mixture of classes needs a number for each class: F.one_hot(targets, classes).",
            ),
        ),
        (
            _mixed(lambda x, share: x.lerp(x.flip(0), 1 - share)),
            Wrong("the images are mixed with the batch turned round", "roll(1, 0), not flip."),
        ),
        (_mixed(_through, _through), Wrong("roll has moved single numbers", _ROLL)),
        (_mixed(images=_through), Wrong("in the images, roll has moved single numbers", _ROLL)),
        (_mixed(goals=_through), Wrong("in the targets, roll has moved single numbers", _ROLL)),
        (
            lambda x, t, share, classes: _mixup(x, t, share, int(t.max()) + 1),
            Wrong(
                "the targets have too few columns where the last class does not occur in the batch",
                "one_hot takes the number of classes as well.",
            ),
        ),
        (
            lambda *given: (_mixup(*given)[0], _mixup(*given)[1].argmax(1).float()),
            Wrong("the targets are one number a photo", "leave the rows of shares as they are."),
        ),
        (
            lambda *given: _mixup(*given)[::-1],
            Wrong("the targets come first", "return the images, then the targets."),
        ),
    ),
)

# -------------------------------------------------------------------------------- 9.4 find_bugs

find_bugs = Choice(
    number="9.4",
    name="find_bugs",
    reference="b, d",
    why="b augments the validation photos: whoever judges by them judges by other photos in each epoch. "
    "d looks at the test split after each epoch, and not at the validation split at all: the epoch is "
    "chosen by the test, and its score is no longer an honest one.",
    hints=(
        "go through the lines with two questions: what may be random, and which split may decide?",
        "some photos must be the same in each epoch, and one split must not decide anything.",
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
            "e is fine: the weights that were best are the ones to keep",
            "best by which measure, on which split?",
        ),
        "f": Wrong(
            "f is fine: patience is a choice, and 5 a usual one",
            "what is `score` measured on?",
        ),
    },
)

# -------------------------------------------------------------------------------- 9.5 treatment

_TREATMENT: dict[str, Any] = {"gap": "b", "confidence": "c", "no gap": "a", "customers": "d"}

treatment = Match(
    number="9.5",
    name="treatment",
    reference=_TREATMENT,
    why="Gap: what helped most here, by far, was more photos. Confidence: the ranking is right and "
    "the probabilities are not. No gap: the network has not learnt the training photos yet, so there "
    "is nothing to regularise. Customers: the validation photos are like the training photos; what "
    "is missing are photos like the customers'.",
    hints=(
        "is there a gap between training and validation at all? Between validation and use?",
        "no gap: nothing to regularise. Use worse than validation: look at the photos.",
    ),
    worked='answer = {"gap": "b", "confidence": "c", "no gap": "a", "customers": "d"}',
    letters="abcd",
    tells={
        ("no gap", "b"): Wrong(
            "training and validation are equally poor: this is not overfitting",
            "what does a network need that has not even learnt its training photos?",
        ),
        ("gap", "c"): Wrong(
            "a temperature changes no answer, and here many answers are wrong",
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

# ----------------------------------------------------------------------------- 9.6 augmentation

_SIDE, _PARTS, _ENOUGH, _DRAWN = 64, 8, 0.9, 24


def _scene(seed: int) -> tuple[Image.Image, list[Image.Image]]:
    """A drawn photo, 96 pixels, with a dark animal on it; and copies that lack one part of the animal each."""
    rng, side = np.random.default_rng(seed), 96
    y, x = np.mgrid[:side, :side] / side
    ground = np.kron(rng.integers(90, 190, (8, 8, 3)), np.ones((side // 8, side // 8, 1)))
    turn, (down, right) = rng.uniform(0, np.pi), rng.uniform(0.38, 0.62, 2)
    along = ((x - right) * np.cos(turn) + (y - down) * np.sin(turn)) / 0.4
    across = ((y - down) * np.cos(turn) - (x - right) * np.sin(turn)) / 0.18
    inside = along**2 + across**2 < 1
    ground[inside] = (40, 30, 50)
    # two rows of parts, from one end of the animal to the other
    part = np.clip((along + 1) * _PARTS / 4, 0, _PARTS // 2 - 1).astype(int) * 2 + (across > 0)
    lacking = []
    for k in range(_PARTS):
        copy = ground.copy()
        copy[inside & (part == k)] = 255
        lacking.append(Image.fromarray(copy.astype(np.uint8)))
    return Image.fromarray(ground.astype(np.uint8)), lacking


def _drawn(transform: Callable, photo: Image.Image, seed: int) -> Tensor:
    """One draw; the same seed gives the same draw, whichever library the numbers come from."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    return transform(photo)


def _variety(draws: list[Tensor]) -> float:
    """Mean difference of neighbouring draws, in units of their standard deviation."""
    x = torch.stack(draws).double()
    return float((x[1:] - x[:-1]).abs().mean() / x.std().clamp_min(1e-9))


@cache
def _usual_variety() -> float:
    """That of the course's own training transform."""
    usual = train_transforms(_SIDE)
    return float(np.mean([
        _variety([_drawn(usual, _scene(s)[0], seed) for seed in range(_DRAWN)]) for s in range(3)
    ]))  # fmt: skip


def _whole(transform: Callable, photo: Image.Image, lacking: list[Image.Image], seed: int) -> float:
    """The share of the animal's parts that can be seen: without them the draw would look otherwise."""
    full = _drawn(transform, photo, seed)
    bar = 0.2 * float(full.max() - full.min())
    seen = [(_drawn(transform, copy, seed) - full).abs().max() > bar for copy in lacking]
    return float(np.mean(seen))


@dataclass
class Augmentation(Exercise):
    """A training transform, judged by what it does to drawn photos."""

    def _verdict(self, attempt: Any) -> bool | Wrong | None:
        if untouched(attempt):
            return None
        if not callable(attempt) or isinstance(attempt, type):
            return Wrong(
                f"{short(attempt)} is no transform",
                "put the steps into v2.Compose([...]); it is called with a photo.",
            )
        if wrong := self._wrong_kind(attempt):
            return wrong
        varieties, animals = [], []
        for s in range(3):
            photo, lacking = _scene(s)
            varieties.append(_variety([_drawn(attempt, photo, seed) for seed in range(_DRAWN)]))
            animals += [_whole(attempt, photo, lacking, seed) for seed in range(20)]
        cut = float(np.mean([share < _ENOUGH for share in animals]))
        variety = float(np.mean(varieties)) / _usual_variety()
        if variety < 0.02:
            return Wrong("all draws look the same", "take something random.")
        told = (
            f"two draws differ {variety:.2f} times as much as those of train_transforms(64), and "
            f"{100 * cut:.0f} of 100 draws lose a part of the animal"
        )
        if cut > 0.02:
            return Wrong(told, "what takes the parts away? Crop less, and vary something else.")
        if variety < 1:
            return Wrong(told, "no animal is lost, so there is room: colour, turns, mirroring.")
        return True

    def _wrong_kind(self, attempt: Callable) -> Wrong | None:
        """What one draw shows."""
        photo = _scene(0)[0]
        try:
            draw = _drawn(attempt, photo, 0)
        except Exception as err:
            return Wrong(stops_with(err, attempt), "try it: my_augmentation(data.train.image(0)).")
        if not isinstance(draw, Tensor):
            return Wrong(
                f"it gives {article(type(draw).__name__)}, expected a tensor",
                "begin with v2.ToImage(), end with v2.ToDtype(torch.float32, scale=True).",
            )
        if tuple(draw.shape) != (3, _SIDE, _SIDE):
            return Wrong(
                f"it gives the shape {tuple(draw.shape)}, expected (3, {_SIDE}, {_SIDE})",
                "a crop or v2.Resize((64, 64)) among the steps sees to that.",
            )
        if draw.dtype != torch.float32:
            return Wrong(
                f"it gives {draw.dtype}, expected torch.float32",
                "v2.ToDtype(torch.float32, scale=True) is missing.",
            )
        largest = float(draw.abs().max())
        if not largest <= 10:
            return Wrong(
                f"it gives values as large as {largest:.0f}, and the network is used to -3 to 3",
                "0 to 255 becomes 0 to 1 by v2.ToDtype(torch.float32, scale=True), before Normalize.",
            )
        copies = [_drawn(attempt, lacking, 0) for lacking in _scene(0)[1]]
        if not any((copy - draw).abs().max() > 1e-3 for copy in copies):
            return Wrong(
                "it gives the same, whatever is on the photo", "a variant of the photo is wanted."
            )
        return None

    def _right(self, attempt: Any) -> Any:
        return attempt


augmentation = Augmentation(
    number="9.6",
    name="augmentation",
    reference=v2.Compose(
        [
            v2.ToImage(),
            v2.RandomResizedCrop(_SIDE, scale=(0.85, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(MEAN), list(STD)),
        ]
    ),
    why="More variety, and the animal is still there: small crops were the part that could make the label "
    "untrue. Whether it helps is another question, which only runs over several seeds can answer.",
    hints=(
        "the widget above shows what each slider does: which of them cuts the animal, and which never can?",
        "keep at least 80 % of the area in each crop, and make up for it: stronger colours, turns, flips.",
    ),
    worked=(
        "my_augmentation = v2.Compose([\n"
        "    v2.ToImage(),\n"
        "    v2.RandomResizedCrop(64, scale=(0.85, 1.0)),\n"
        "    v2.RandomHorizontalFlip(),\n"
        "    v2.RandomVerticalFlip(),\n"
        "    v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4),\n"
        "    v2.ToDtype(torch.float32, scale=True),\n"
        "    v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),\n"
        "])"
    ),
)
