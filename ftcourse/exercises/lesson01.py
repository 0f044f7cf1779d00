"""Questions of lesson 01, load_a_pretrained_resnet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.models import ResNet50_Weights

from ftcourse.exercises import Choice, Function, Value, Wrong, same_value
from ftcourse.models.pocket import ResNet18_Pocket_Weights

_POCKET = ResNet18_Pocket_Weights.DEFAULT
_PREPROCESS = _POCKET.transforms()


def _photo(seed: int, width: int = 200, height: int = 150) -> Image.Image:
    """A colourful picture without sharp edges, so that two ways of resizing agree on it."""
    values = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)


def _not_a_tensor(answer: Any) -> Wrong | None:
    if answer is None:
        return Wrong("your function returns nothing", "end it with `return ...`.")
    if not isinstance(answer, torch.Tensor):
        return Wrong(f"it returns {type(answer).__name__}, and the network takes a tensor")
    return None


# ---------------------------------------------------------------------------------- 1.1 prepare


def _prepare(photo: Image.Image, weights: Any) -> torch.Tensor:
    return weights.transforms()(photo).unsqueeze(0)


def _judge_prepare(attempt: Callable) -> Wrong | None:
    for weights in (_POCKET, ResNet50_Weights.IMAGENET1K_V2):
        photo = _photo(1)
        expected = _prepare(photo, weights)
        answer = attempt(photo, weights)
        if wrong := _not_a_tensor(answer):
            return wrong
        if answer.shape == expected.shape[1:]:
            return Wrong(
                f"the shape is {tuple(answer.shape)}: one photo, not a batch",
                "the network takes batches: add a dimension of length one in front, "
                "with unsqueeze(0).",
            )
        if answer.shape != expected.shape:
            return Wrong(
                f"the shape is {tuple(answer.shape)}, expected {tuple(expected.shape)} "
                f"for {weights}",
                "weights.transforms() returns one function that resizes, crops and normalises as "
                "these very weights expect; call it on the photo.",
            )
        if not torch.allclose(answer.float(), expected, atol=1e-3):
            return Wrong(
                f"the values run from {answer.min():.2f} to {answer.max():.2f}, "
                f"expected {expected.min():.2f} to {expected.max():.2f}",
                "leave the normalisation to weights.transforms(); it holds mean and std.",
            )
    return None


prepare = Function(
    number="1.1",
    name="prepare",
    reference=_prepare,
    why="The weights bring their own transforms, so it works for any weights, not only for these.",
    hints=(
        "two steps: make the tensor with the transforms of these weights, then make it a batch.",
        "weights.transforms() gives a function; call it on the photo, then .unsqueeze(0).",
    ),
    worked=(
        "def prepare(photo, weights):\n"
        "    preprocess = weights.transforms()\n"
        "    return preprocess(photo).unsqueeze(0)"
    ),
    judge=_judge_prepare,
)


# ----------------------------------------------------------------------------- 1.2 layer3_shape


def _same_shape(a: Any, b: Any) -> bool:
    """Equal shapes, with or without the batch dimension of one."""
    if isinstance(a, str):
        a = [int(part) for part in a.replace("x", ",").strip("()[] ").split(",")]
    a = tuple(a)
    return same_value(a[1:] if len(a) == len(b) + 1 and a[0] == 1 else a, b)


layer3_shape = Value(
    number="1.2",
    name="layer3_shape",
    reference=(256, 10, 10),
    why="The stem halves twice, layer2 and layer3 once each: 160 / 2 / 2 / 2 / 2 = 10. "
    "layer3 has 256 channels.",
    hints=(
        "read the table of the last cell from the top: which rows halve height and width?",
        "the stem divides by 4, layer1 by 1, layer2 by 2, layer3 by 2; channels double each time.",
    ),
    worked="guess = (256, 10, 10)   # 160 / (4 * 1 * 2 * 2) = 10",
    same=_same_shape,
    mistakes=(
        ((256, 20, 20), Wrong("20 is one halving short", "the stem halves twice: conv1, maxpool.")),
        ((256, 40, 40), Wrong("40 is two halvings short", "layer2 and layer3 halve as well.")),
        ((128, 20, 20), Wrong("that is what leaves layer2", "go one stage further.")),
        ((512, 5, 5), Wrong("that is what leaves layer4", "go one stage back.")),
        (
            (10, 10, 256),
            Wrong("the numbers are right, their order is not", "PyTorch puts channels first."),
        ),
        (
            lambda a: len(tuple(a)) == 3 and tuple(a)[1:] == (10, 10),
            Wrong("10 x 10 is right, the channels are not", "64 in layer1, doubling each stage."),
        ),
        (
            lambda a: len(tuple(a)) != 3,
            Wrong("a shape has three numbers here", "write (channels, height, width)."),
        ),
    ),
)


# ------------------------------------------------------------------------------------- 1.3 top5


def _top5(logits: torch.Tensor, categories: list[str]) -> list[tuple[str, float]]:
    probabilities = logits.softmax(dim=0)
    values, indices = probabilities.topk(5)
    return [(categories[i], p.item()) for i, p in zip(indices.tolist(), values, strict=True)]


def _judge_top5(attempt: Callable) -> Wrong | None:
    logits = torch.tensor([0.5, 3.0, -1.0, 2.0, 4.0, 1.0, 2.5, -3.0])
    categories = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen"]
    answer = attempt(logits.clone(), list(categories))
    if answer is None:
        return Wrong("your function returns nothing", "end it with `return ...`.")
    pairs = list(answer.items()) if isinstance(answer, Mapping) else list(answer)
    if len(pairs) != 5:
        return Wrong(f"it returns {len(pairs)} entries, expected 5", "topk(5) gives five.")
    if not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
        return Wrong(
            "the entries are not pairs", "return a list of pairs: [(name, probability), ...]."
        )
    expected = _top5(logits, categories)
    names, values = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if not all(isinstance(name, str) for name in names):
        return Wrong(
            f"the first name is {names[0]!r}", "use the index to look the name up: categories[i]."
        )
    return _judge_top5_values(names, [float(v) for v in values], expected)


def _judge_top5_values(
    names: list[str], values: list[float], expected: list[tuple[str, float]]
) -> Wrong | None:
    right_names, right_values = [name for name, _ in expected], [value for _, value in expected]
    if set(names) == set(right_names) and names != right_names:
        return Wrong(f"the best comes last or in between: {names}", "sort, the largest first.")
    if names != right_names:
        return Wrong(
            f"for eight made-up scores it picks {names}, expected {right_names}",
            "take the five largest: topk(5) returns values and indices, in this order.",
        )
    if same_value(values, right_values):
        return None
    if abs(sum(values) - 1) < 1e-3:
        return Wrong(
            "the five sum to exactly one, as if the other classes did not exist",
            "softmax over all classes first, then pick five.",
        )
    return Wrong(
        f"the first value is {values[0]:.3f}, expected {right_values[0]:.3f}",
        "these are scores (logits); softmax over the classes turns them into probabilities.",
    )


top5 = Function(
    number="1.3",
    name="top5",
    reference=_top5,
    why="Softmax first, over all classes; then the five largest, with their names.",
    hints=(
        "three steps: scores to probabilities, the five largest, their names.",
        "p = logits.softmax(dim=0); values, indices = p.topk(5); then categories[i] for each.",
    ),
    worked=(
        "def top5(logits, categories):\n"
        "    values, indices = logits.softmax(dim=0).topk(5)\n"
        "    return [(categories[i], p.item()) for i, p in zip(indices, values)]"
    ),
    judge=_judge_top5,
)


# ----------------------------------------------------------------------------------- 1.4 dahlia


dahlia = Choice(
    number="1.4",
    name="dahlia",
    reference="c",
    why="Softmax shares 100 % among the 200 classes it knows; 'none of these' is not among them. "
    "A dahlia must become something else, and nothing in the output says so.",
    hints=(
        "what do the probabilities of the 200 classes sum to, whatever the photo shows?",
        "softmax always sums to one: the 100 % must go to classes that exist.",
    ),
    worked='answer = "c"',
    options={
        "a": Wrong(
            "no error comes: any tensor of the right shape passes through the network",
            "the network sees numbers, not a dahlia; what do its outputs sum to?",
        ),
        "b": Wrong(
            "there is no such output: the head has one for each of its 200 classes and no other",
            "count the outputs of the head, and what softmax does to them.",
        ),
        "c": None,
        "d": Wrong(
            "probabilities near zero for all 200 classes would not sum to one",
            "what do the outputs of softmax sum to?",
        ),
    },
)


# ----------------------------------------------------------------------------------- 1.5 repair


def _repair(photo: Image.Image) -> torch.Tensor:
    return _PREPROCESS(photo)


def _judge_repair(attempt: Callable) -> Wrong | None:
    photo = _photo(2)
    expected, answer = _repair(photo), attempt(photo)
    if wrong := _not_a_tensor(answer):
        return wrong
    if answer.shape == expected.permute(1, 2, 0).shape:
        return Wrong(
            f"the shape is {tuple(answer.shape)}", "channels come first: permute(2, 0, 1)."
        )
    if answer.shape == (1, *expected.shape):
        answer = answer[0]
    if answer.shape != expected.shape:
        return Wrong(
            f"the shape is {tuple(answer.shape)}, expected {tuple(expected.shape)}",
            "resizing and cropping were right in the first version; keep them.",
        )
    return _judge_repair_values(answer.float(), expected)


def _judge_repair_values(answer: torch.Tensor, expected: torch.Tensor) -> Wrong | None:
    if torch.allclose(answer, expected, atol=0.1):
        return None
    seen = f"the values run from {answer.min():.2f} to {answer.max():.2f}"
    seen += f", those of weights.transforms() from {expected.min():.2f} to {expected.max():.2f}"
    if torch.allclose(answer.flip(0), expected, atol=1.0):
        return Wrong("red and blue have changed places", "PIL gives RGB; do not reorder channels.")
    if answer.abs().max() > 20:
        return Wrong(seen, "mean and std are for values between 0 and 1; the photo has 0 to 255.")
    if answer.min() >= 0 and answer.max() <= 1.01:
        return Wrong(seen, "dividing by 255 is half of it; subtract mean and divide by std, too.")
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (_PREPROCESS.mean, _PREPROCESS.std))
    if torch.allclose(answer, expected + mean / std * 254 / 255, atol=0.1):  # divided at the end
        return Wrong(seen, "order matters: first divide by 255, then subtract mean.")
    return Wrong(seen, "mean and std are those of the weights: preprocess.mean, preprocess.std.")


repair = Function(
    number="1.5",
    name="repair",
    reference=_repair,
    why="Mean and std are given for values from 0 to 1, so the division by 255 comes first. "
    "Calling weights.transforms() leaves nothing to get wrong.",
    hints=(
        "print the smallest and largest value of the tensor, and of preprocess(photo).",
        "mean 0.485 belongs to values between 0 and 1, and a photo holds 0 to 255.",
    ),
    worked=(
        "def repair(photo):\n"
        "    photo = v2.functional.resize(photo, preprocess.resize_size)\n"
        "    photo = v2.functional.center_crop(photo, preprocess.crop_size)\n"
        "    x = torch.from_numpy(np.array(photo)).permute(2, 0, 1) / 255   # the missing step\n"
        "    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (preprocess.mean, preprocess.std))\n"
        "    return (x - mean) / std"
    ),
    judge=_judge_repair,
)
