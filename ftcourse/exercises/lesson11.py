"""Questions of lesson 11, semantic_segmentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as V

from ftcourse.exercises import Choice, Function, Value, Wrong

# ------------------------------------------------------------------------ 11.1 nothing_found

TEST_PIXELS = (813_265, 101_489, 191_166)  # background, ants, bees in the 120 test masks


def _close(attempt: Any, value: Any) -> bool:
    """Equal within half a per cent; three numbers in order, where three are asked for."""
    try:
        a = torch.as_tensor(attempt, dtype=torch.float64).flatten()
        b = torch.as_tensor(value, dtype=torch.float64).flatten()
    except (TypeError, ValueError):
        return False
    return a.shape == b.shape and bool(((a - b).abs() < 0.005).all())


_SHARE = TEST_PIXELS[0] / sum(TEST_PIXELS)

nothing_found = Value(
    number="11.1",
    name="nothing_found",
    reference=(_SHARE, _SHARE / 3),
    why="It is right on each background pixel, 74 %. Its IoU is 0.74 for the background and 0 for ants and "
    "bees, 0.25 on average: that number says what the model is worth.",
    hints=(
        "pixel accuracy: on which pixels is this model right, and how many are they of all?",
        "IoU of the background: the intersection is the true background, and the union is every pixel. For ants "
        "and bees the intersection is empty, so two of the three numbers are 0.",
    ),
    worked="accuracy = 813_265 / (813_265 + 101_489 + 191_166)\nanswer = (accuracy, accuracy / 3)",
    same=_close,
    mistakes=(
        (
            lambda a: _close(a, _SHARE),
            Wrong("that is one number", "two are asked for: (pixel accuracy, mean IoU)."),
        ),
        (
            lambda a: _close(a, (_SHARE, _SHARE)),
            Wrong(
                "the mean IoU is over three classes, and two of them get 0",
                "divide by all three classes, also by those that the model never names.",
            ),
        ),
        (
            lambda a: _close(a, (_SHARE, 1 / 3)),
            Wrong(
                "the IoU of the background is not 1",
                "the model also calls all animals background: the union is larger than the intersection.",
            ),
        ),
        (
            lambda a: _close(a, (_SHARE / 3, _SHARE)),
            Wrong("the two numbers are the other way round", "(pixel accuracy, mean IoU)."),
        ),
        (
            lambda a: _close(a, (1 / 3, _SHARE / 3)),
            Wrong(
                "the accuracy is over pixels, not over classes",
                "73.5 % of the pixels are background, and on those it is right.",
            ),
        ),
        (
            lambda a: _close(torch.as_tensor(a, dtype=torch.float64) / 100, (_SHARE, _SHARE / 3)),
            Wrong("the numbers are right, in per cent", "give fractions, between 0 and 1."),
        ),
    ),
)

# ---------------------------------------------------------------------------------- 11.2 iou


def _iou(predicted: Tensor, truth: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    known = truth != ignore_index
    values = []
    for k in range(num_classes):
        found, there = (predicted == k) & known, (truth == k) & known
        values.append((found & there).sum() / (found | there).sum())
    return torch.stack(values)


def _judge_iou(attempt: Callable) -> Wrong | None:
    for name, predicted, truth, classes in _mask_pairs():
        before = predicted.clone(), truth.clone()
        answer = attempt(predicted, truth, classes)
        if answer is None:
            return Wrong("your function returns nothing", "end it with `return`.")
        if not (torch.equal(before[0], predicted) and torch.equal(before[1], truth)):
            return Wrong("it changes the masks it was given", "make new tensors instead.")
        try:
            found = torch.as_tensor(answer, dtype=torch.float64).detach().flatten()
        except (TypeError, ValueError):
            found = torch.stack([torch.as_tensor(v) for v in answer]).double()
        wanted = _iou(predicted, truth, classes).double()
        if found.shape != wanted.shape:
            return Wrong(
                f"it returns {found.numel()} numbers for {classes} classes",
                "one IoU a class, the background's too.",
            )
        if wrong := _wrong_iou(name, found, wanted, predicted, truth):
            return wrong
    return None


def _wrong_iou(
    name: str, found: Tensor, wanted: Tensor, predicted: Tensor, truth: Tensor
) -> Wrong | None:
    here = ~wanted.isnan()
    if torch.allclose(found[here], wanted[here], atol=1e-4):
        return None  # what a class without any pixel gets is free
    both = torch.stack([(predicted == k).sum() + (truth == k).sum() for k in range(len(wanted))])
    dice = (
        torch.stack([2 * ((predicted == k) & (truth == k)).sum() for k in range(len(wanted))])
        / both
    )
    recall = torch.stack(
        [((predicted == k) & (truth == k)).sum() / (truth == k).sum() for k in range(len(wanted))]
    )
    seen = f"for {name} it gives {[round(v, 3) for v in found.tolist()]}"
    if name == "masks with void pixels":
        return Wrong(
            f"{seen}, and right is {[round(v, 3) for v in wanted.tolist()]}: void pixels count",
            "leave out the pixels whose truth is ignore_index first, of both masks.",
        )
    if torch.allclose(found[here], dice[here].double(), atol=1e-3):
        return Wrong(
            f"{seen}: that is the Dice score, with the shared pixels counted twice below",
            "the union counts a pixel once: |A| + |B| - |A and B|.",
        )
    if torch.allclose(found[here], recall[here].double(), atol=1e-3):
        return Wrong(
            f"{seen}: that is the share of the truth that was found",
            "pixels called k that are not k must count as well: divide by the union.",
        )
    return Wrong(f"{seen}, and right is {[round(v, 3) for v in wanted.tolist()]}")


def _mask_pairs() -> list[tuple[str, Tensor, Tensor, int]]:
    truth = torch.zeros(2, 8, 8, dtype=torch.int64)
    truth[0, 2:6, 2:6], truth[1, 0:3, 0:8] = 1, 2
    predicted = torch.zeros_like(truth)
    predicted[0, 3:7, 2:7], predicted[1, 1:5, 0:6] = 1, 2
    void = truth.clone()
    void[0, 2, 2:6], void[1, 4:, 3:] = 255, 255
    return [
        ("one mask", predicted[0], truth[0], 2),
        ("a batch of masks", predicted, truth, 3),
        ("masks with void pixels", predicted, void, 3),
    ]


iou = Function(
    number="11.2",
    name="iou",
    reference=_iou,
    why="For each class the pixels that both masks give it, over the pixels that at least one gives it.",
    hints=(
        "for a class k, predicted == k and truth == k are two sets of pixels. & is their intersection, | their "
        "union.",
        "known = truth != ignore_index; for each k: found = (predicted == k) & known, "
        "there = (truth == k) & known, and (found & there).sum() / (found | there).sum().",
    ),
    worked=(
        "def iou(predicted, truth, num_classes, ignore_index=255):\n"
        "    known = truth != ignore_index\n"
        "    values = []\n"
        "    for k in range(num_classes):\n"
        "        found, there = (predicted == k) & known, (truth == k) & known\n"
        "        values.append((found & there).sum() / (found | there).sum())\n"
        "    return torch.stack(values)"
    ),
    judge=_judge_iou,
)

# ------------------------------------------------------------------------------ 11.3 map_size

map_size = Value(
    number="11.3",
    name="map_size",
    reference=(3, 3),
    why="Five halvings divide the side by 32: 96 / 32 = 3. Each of the 9 places speaks for 32 x 32 pixels.",
    hints=(
        "the stem halves the side twice (conv1 and the pooling), and layer2, layer3 and layer4 once each.",
        "five halvings: 96, 48, 24, 12, 6, ...",
    ),
    worked="size = (96 // 32, 96 // 32)",
    mistakes=(
        (
            (6, 6),
            Wrong(
                "(6, 6) is what layer3 gives", "one more halving: layer4 has a stride of 2, too."
            ),
        ),
        (
            (4, 4),
            Wrong("(4, 4) would be right for 128 pixels", "these photos are 96 pixels wide."),
        ),
        (
            (7, 7),
            Wrong("(7, 7) is the map of a 224 pixel photo", "the map shrinks with the photo."),
        ),
        (
            (12, 12),
            Wrong("(12, 12) is what layer2 gives", "two more halvings: layer3 and layer4."),
        ),
        (
            (1, 1),
            Wrong(
                "(1, 1) is left after the average over all places",
                "the question is what comes before `avgpool`: the map of layer4.",
            ),
        ),
    ),
)

# ------------------------------------------------------------------------------- 11.4 enlarge


def _enlarge(image: Tensor, mask: Tensor, size: int) -> tuple[Tensor, Tensor]:
    image = V.resize(image, [size, size], interpolation=InterpolationMode.BILINEAR)
    mask = V.resize(mask[None], [size, size], interpolation=InterpolationMode.NEAREST)[0]
    return image, mask


def _judge_enlarge(attempt: Callable) -> Wrong | None:
    image = torch.zeros(3, 16, 16)
    mask = torch.zeros(16, 16, dtype=torch.int64)
    mask[3:11, 5:13] = 2
    image[:, 3:11, 5:13] = 1.0
    answer = attempt(image.clone(), mask.clone(), 40)
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        return Wrong(f"it returns {type(answer).__name__}", "return image, mask.")
    big, moved = answer
    if tuple(big.shape) != (3, 40, 40) or tuple(moved.shape) != (40, 40):
        return Wrong(
            f"image and mask come back as {tuple(big.shape)} and {tuple(moved.shape)}",
            "(3, size, size) and (size, size) are asked for.",
        )
    values = sorted(moved.unique().tolist())
    if any(v not in (0, 2) for v in values):
        return Wrong(
            f"a mask of the classes 0 and 2 comes back with the values {[round(v, 2) for v in values[:5]]}",
            "class numbers cannot be averaged: half-way between background and bee is no ant. Take the nearest "
            "pixel.",
        )
    if moved.dtype.is_floating_point:
        return Wrong(
            "the mask comes back as floats", "keep it int64: cross-entropy takes class numbers."
        )
    hit, seen = moved == 2, big[0] > 0.5
    if (hit & seen).sum() / (hit | seen).sum() < 0.85:
        return Wrong(
            "the mask no longer lies on its animal",
            "change only how the mask's values are chosen, and treat both the same otherwise.",
        )
    if len(big.unique()) <= 2:
        return Wrong(
            "the photo has become blocky: it has the nearest pixels now as well",
            "leave the photo's interpolation bilinear; only the mask needs another one.",
        )
    return None


enlarge = Function(
    number="11.4",
    name="enlarge",
    reference=_enlarge,
    why="A mask holds names, not amounts: it takes the nearest pixel's. transforms.v2 does so for a "
    "tv_tensors.Mask.",
    hints=(
        "print sorted(mask.unique().tolist()) before and after. Which class was not there?",
        "V.resize(mask[None], ..., interpolation=InterpolationMode.NEAREST); or wrap it: tv_tensors.Mask(mask).",
    ),
    worked=(
        "def enlarge(image, mask, size):\n"
        "    image = V.resize(image, [size, size], interpolation=InterpolationMode.BILINEAR)\n"
        "    mask = V.resize(mask[None], [size, size], interpolation=InterpolationMode.NEAREST)\n"
        "    return image, mask[0]"
    ),
    judge=_judge_enlarge,
)

# ------------------------------------------------------------------------------ 11.5 read_bars

read_bars = Choice(
    number="11.5",
    name="read_bars",
    reference="b, d",
    why="Sky, road and buildings have most of the pixels, so accuracy hardly sees the poles; mean IoU counts each "
    "class alike. And what is a pixel or two wide is missed, whatever the weights.",
    hints=(
        "compare the two numbers in the title with the bars on the right. Which classes have them?",
        "how many pixels has a pole, and how far can pixel accuracy fall if all of them are missed?",
    ),
    worked='answer = "b, d"',
    options={
        "a": Wrong(
            "the two numbers in the title differ by far",
            "look at the shortest bars: who pays for them, accuracy or mean IoU?",
        ),
        "b": None,
        "c": Wrong(
            "the bars show that they do: both pre-trained networks are ahead in nearly every class",
            "compare the three colours, class by class.",
        ),
        "d": None,
    },
)
