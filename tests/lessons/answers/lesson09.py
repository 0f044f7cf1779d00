"""Answers to the questions of lesson 09."""

from __future__ import annotations

import math
import random

import numpy as np
import torch
from torch.nn import functional as F
from torchvision.transforms import v2

from answers.lesson08 import written
from ftcourse.data.transforms import train_transforms

NAMES = {"torch": torch, "F": F, "math": math, "v2": v2}

# ------------------------------------------------------------------------------------------ 9.3


def with_eye(images, targets, share, classes):
    goals = torch.eye(classes)[targets]
    return torch.lerp(images.roll(1, 0), images, share), torch.lerp(goals.roll(1, 0), goals, share)


def in_a_loop(images, targets, share, classes):
    mixed, goals = [], []
    for i in range(len(images)):
        mixed.append(share * images[i] + (1 - share) * images[i - 1])
        row = [0.0] * classes
        row[targets[i]] += share
        row[targets[i - 1]] += 1 - share
        goals.append(row)
    return [torch.stack(mixed), torch.tensor(goals)]


def with_torchvision(images, targets, share, classes):
    mixer = v2.MixUp(num_classes=classes)
    mixer._dist = torch.distributions.Uniform(share, share + 1e-9, validate_args=False)
    return mixer(images, targets)


def by_index(images, targets, share, classes):
    before = torch.arange(len(images)) - 1
    goals = torch.zeros(len(images), classes).scatter_(1, targets[:, None], 1.0)
    return (
        share * images + (1 - share) * images[before],
        share * goals + (1 - share) * goals[before],
    )


def in_numpy(images, targets, share, classes):
    x, goals = images.numpy(), np.eye(classes)[targets.numpy()]
    return (
        share * x + (1 - share) * np.roll(x, 1, axis=0),
        share * goals + (1 - share) * np.roll(goals, 1, axis=0),
    )


def with_a_helper(images, targets, share, classes):
    def mix(x):
        return x * share + torch.cat([x[-1:], x[:-1]]) * (1 - share)

    return mix(images), mix(F.one_hot(targets, num_classes=classes))


def mixed_images(images, share):
    return share * images + (1 - share) * images.roll(1, 0)


def with_goals(goals_of):
    """Right images, and other targets."""

    def attempt(images, targets, share, classes):
        goals = F.one_hot(targets, classes).float()
        return mixed_images(images, share), goals_of(goals, share)

    return attempt


def class_numbers(images, targets, share, classes):
    return mixed_images(images, share), share * targets + (1 - share) * targets.roll(1, 0)


def exchanged(images, targets, share, classes):
    return in_numpy(images, targets, 1 - share, classes)


def the_next(images, targets, share, classes):
    goals = F.one_hot(targets, classes).float()
    return (
        share * images + (1 - share) * images.roll(-1, 0),
        share * goals + (1 - share) * goals.roll(-1, 0),
    )


def plain_sum(images, targets, share, classes):
    goals = F.one_hot(targets, classes).float()
    return images + images.roll(1, 0), goals + goals.roll(1, 0)


def in_place(images, targets, share, classes):
    before = images.roll(1, 0)
    images.mul_(share).add_((1 - share) * before)
    return images, with_eye(images, targets, share, classes)[1]


def images_left(images, targets, share, classes):
    return images, with_eye(images, targets, share, classes)[1]


def halves(images, targets, share, classes):
    return in_numpy(images, targets, 0.5, classes)


def sideways(images, targets, share, classes):
    """roll without a dimension rolls everything through."""
    return (
        share * images + (1 - share) * images.roll(1),
        with_eye(images, targets, share, classes)[1],
    )


def turned(images, targets, share, classes):
    mixed = share * images + (1 - share) * images.flip(0)
    return mixed, with_eye(images, targets, share, classes)[1]


def classes_that_occur(images, targets, share, classes):
    goals = F.one_hot(targets).float()
    return mixed_images(images, share), mixed_images(goals, share)


def rolled_through(images, targets, share, classes):
    goals = F.one_hot(targets, classes).float()
    return (
        share * images + (1 - share) * images.roll(1),
        share * goals + (1 - share) * goals.roll(1),
    )


def two_classes(images, targets, share, classes):
    return with_eye(images, targets, share, 2)


def small_photos(images, targets, share, classes):
    return with_eye(images[..., :2, :2], targets, share, classes)


def any_other(images, targets, share, classes):
    """As in the paper, with a partner by lot."""
    goals, other = F.one_hot(targets, classes).float(), torch.randperm(len(images))
    return (
        share * images + (1 - share) * images[other],
        share * goals + (1 - share) * goals[other],
    )


def larger_share(images, targets, share, classes):
    """So that the photo itself stays to be seen."""
    return with_eye(images, targets, max(share, 1 - share), classes)


CURVES = {
    "stop earlier": "B",
    "train on": "C",
    "over-confident": "A",
    "do not believe it": "D",
}
TREATMENT = {"gap": "b", "confidence": "c", "no gap": "a", "customers": "d"}

# ------------------------------------------------------------------------------------------ 9.6

TAIL = [
    v2.ToDtype(torch.float32, scale=True),
    v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
]
WHOLE = [v2.ToImage(), v2.Resize((64, 64))]
FLIPS = [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]


def by_hand_with_pil(photo):
    """Without torchvision: turned by quarters, mirrored, lighter or darker."""
    photo = photo.convert("RGB").resize((64, 64)).rotate(90 * random.randrange(4))
    x = np.asarray(photo, dtype=np.float32) / 255
    x = x[:, ::-1] if random.random() < 0.5 else x
    x = x * np.random.uniform(0.6, 1.4) + np.random.uniform(-0.1, 0.1)
    return torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1))).float()


def noise_alone(photo):
    return torch.randn(3, 64, 64)


TRANSFORMS = [
    v2.Compose(
        [
            v2.ToImage(),
            v2.RandomResizedCrop(64, scale=(0.9, 1.0)),
            *FLIPS,
            v2.ColorJitter(0.4, 0.4, 0.4),
            *TAIL,
        ]
    ),
    v2.Compose(
        [*WHOLE, v2.RandomAffine(20, scale=(0.8, 1.0)), *FLIPS, v2.ColorJitter(0.5, 0.5), *TAIL]
    ),
    v2.Compose([*WHOLE, v2.RandAugment(), v2.RandomHorizontalFlip(), *TAIL]),
    v2.Compose(
        [
            v2.ToImage(),
            v2.RandomResizedCrop(64, scale=(0.8, 1.0)),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(0.5, 0.5, 0.5),
            v2.RandomRotation(20),
            TAIL[0],
        ]
    ),
    by_hand_with_pil,
    lambda photo: v2.functional.to_dtype(
        v2.Compose([*FLIPS, v2.ColorJitter(0.6, 0.5)])(
            v2.functional.to_image(photo.resize((64, 64)))
        ).as_subclass(torch.Tensor),
        torch.float32,
        scale=True,
    ),
]

RIGHT = {
    "read_curves": written(CURVES),
    "smoothed_loss": [0.1985, 0.2, torch.tensor(0.1985), np.float64(0.199), "0.199", "20 %"],
    "mixup": [with_eye, in_a_loop, with_torchvision, by_index, in_numpy, with_a_helper],
    "find_bugs": ["b, d", "DB", ["b", "d"], {"d", "b"}, "b and d", "b & d"],
    "treatment": written(TREATMENT),
    "augmentation": TRANSFORMS,
}

WRONG = {
    "read_curves": [
        ({**CURVES, "stop earlier": "A", "over-confident": "B"}, "loses accuracy as well"),
        ({**CURVES, "train on": "D", "do not believe it": "C"}, "side by side"),
        ({**CURVES, "do not believe it": "A", "over-confident": "D"}, "and perfect"),
        ({**CURVES, "stop earlier": "C"}, "falls on"),
        ({**CURVES, "over-confident": "B"}, "different stories"),
        ({**CURVES, "over-confident": None}, "from a to d"),
        ({**CURVES, "over-confident": "E"}, "from a to d"),
        (dict.fromkeys(CURVES, "A"), "loses accuracy as well"),
        ("b, c, a, d", "a letter for each"),
        ({"B": "stop earlier"}, "keep the names"),
        (list(CURVES), "a letter for each"),
    ],
    "smoothed_loss": [
        (0, "no longer a single one"),
        (-0.9 * math.log(0.9) - 0.1 * math.log(0.1), "0.9 + 0.05"),
        (-math.log(0.9), "summed over both classes"),
        (-math.log(0.95), "summed over both classes"),
        (-0.95 * math.log(0.95), "summed over both classes"),
        (math.log(2), "the target itself"),
        (0.286, "natural logarithm"),
        (-0.1985, "never negative"),
        (0.19, "at the end only"),
        (0.198, "at the end only"),
        (0.0862, "natural logarithm"),
        (0.0993, "not averaged"),
        (0.5, "shared out evenly"),
        (0.21, "shared out evenly"),
        ("low", "write one number"),
    ],
    "mixup": [
        (with_goals(lambda goals, share: goals), "0.7 ant and 0.3 bee"),
        (images_left, "the images are not"),
        (class_numbers, "F.one_hot"),
        (exchanged, "belongs to the photo itself"),
        (with_goals(lambda g, share: mixed_images(g, 1 - share)), "exchanged in the targets"),
        (the_next, "the photo before"),
        (plain_sum, "two whole photos"),
        (halves, "half and half"),
        (with_goals(lambda goals, share: mixed_images(goals, 0.5)), "targets are mixed half"),
        (turned, "turned round"),
        (in_place, "it changes images"),
        (sideways, "moves whole photos"),
        (with_goals(lambda g, share: share * g + (1 - share) * g.roll(1)), "in the targets, roll"),
        (rolled_through, "moves whole photos"),
        (classes_that_occur, "the number of classes as well"),
        (with_goals(lambda goals, share: goals.argmax(1)), "the same formula twice"),
        (with_goals(lambda goals, share: mixed_images(goals, share).argmax(1)), "rows of shares"),
        (lambda *given: with_eye(*given)[::-1], "then the targets"),
        (two_classes, "classes"),
        (small_photos, "for 4 photos"),
        (any_other, "the same formula twice"),
        (larger_share, "the same formula twice"),
        (lambda images, *rest: images, "return mixed_images, mixed_targets"),
        (lambda images, targets, share, classes: None, "returns nothing"),
        (lambda images, targets: (images, targets), "the same formula twice"),
    ],
    "find_bugs": [
        ("a, b", "must look the same"),
        ("b, c, d", "wrong split"),
        ("b, d, f", "measured on"),
        ("d, e", "on which split"),
        ("b", "1 more is true"),
        ("d", "1 more is true"),
        ("c", "wrong split"),
        ("a, b, c, d, e, f", "must look the same"),
        ("x", "a letter in quotes"),
        (2, "a letter in quotes"),
        ([], "a letter in quotes"),
    ],
    "treatment": [
        ({**TREATMENT, "no gap": "b"}, "not even learnt"),
        ({**TREATMENT, "no gap": "c"}, "not even learnt"),
        ({**TREATMENT, "gap": "c"}, "stood out"),
        ({**TREATMENT, "gap": "a"}, "stood out"),
        ({**TREATMENT, "customers": "b"}, "look like"),
        ({**TREATMENT, "customers": "c"}, "look like"),
        ({**TREATMENT, "confidence": "a"}, "0 and 1"),
        ({**TREATMENT, "confidence": None}, "from a to d"),
        ({**TREATMENT, "confidence": "f"}, "from a to d"),
        ({"gap": "b"}, "keep the names"),
        ("bcad", "a letter for each"),
    ],
    "augmentation": [
        (train_transforms(64), "Crop less"),
        (v2.Compose([v2.ToImage(), v2.RandomResizedCrop(64), *FLIPS, *TAIL]), "Crop less"),
        (v2.Compose([*WHOLE, *FLIPS, *TAIL, v2.RandomErasing(p=1)]), "lose a part"),
        (v2.Compose([*WHOLE, v2.RandomHorizontalFlip(), *TAIL]), "there is room"),
        (v2.Compose([*WHOLE, v2.ColorJitter(0.1), *TAIL]), "there is room"),
        (v2.Compose([*WHOLE, *TAIL]), "the same"),
        (v2.Compose([v2.ToImage(), *FLIPS, *TAIL]), "the shape (3, 96, 96)"),
        (v2.Compose([*WHOLE, *FLIPS]), "torch.float32"),
        (
            v2.Compose([*WHOLE, *FLIPS, v2.ToDtype(torch.float32), TAIL[1]]),
            "values as large as",
        ),
        (v2.Compose([v2.Resize((64, 64)), *FLIPS]), "expected a tensor"),
        (v2.Compose(TAIL), "stops with"),
        (noise_alone, "whatever is on the photo"),
        (TAIL, "no transform"),
        (0.8, "no transform"),
        (v2.Compose, "no transform"),
    ],
}

EQUIVALENT: dict[str, dict[str, str]] = {}
