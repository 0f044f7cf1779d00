"""Lesson 01's questions, proven with right answers written differently and typical wrong ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import assert_right, assert_worked_answer_is_right, assert_wrong
from torchvision.models import ResNet50_Weights
from torchvision.transforms import v2

from ftcourse.exercises import lesson01 as check
from ftcourse.models.pocket import ResNet18_Pocket_Weights

POCKET = ResNet18_Pocket_Weights.DEFAULT
P = POCKET.transforms()
MEAN, STD = (torch.tensor(v).view(3, 1, 1) for v in (P.mean, P.std))


def cropped(photo):
    photo = v2.functional.resize(photo, P.resize_size)
    return np.array(v2.functional.center_crop(photo, P.crop_size))


def scaled(photo):
    return torch.from_numpy(cropped(photo)).permute(2, 0, 1) / 255


def by_hand(photo, weights):
    t = weights.transforms()
    steps = [v2.Resize(t.resize_size), v2.CenterCrop(t.crop_size), v2.PILToTensor()]
    steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(t.mean, t.std)]
    return v2.Compose(steps)(photo)[None]


@pytest.mark.parametrize(
    "attempt",
    [
        lambda photo, weights: weights.transforms()(photo)[None],
        lambda photo, weights: torch.stack([weights.transforms()(photo)]),
        by_hand,
    ],
)
def test_1_1_takes_any_right_way_to_prepare(attempt, capsys):
    assert_right(check.prepare, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (lambda photo, weights: weights.transforms()(photo), "unsqueeze(0)"),
        (lambda photo, weights: P(photo)[None], "as these very weights expect"),
        (lambda photo, weights: v2.functional.pil_to_tensor(photo)[None] / 255, "these very"),
        (
            lambda photo, weights: (
                by_hand(photo, weights) * torch.tensor(weights.transforms().std).view(3, 1, 1)
                + torch.tensor(weights.transforms().mean).view(3, 1, 1)
            ),
            "leave the normalisation to weights.transforms()",
        ),
        (lambda photo, weights: None, "return"),
        (lambda photo, weights: photo, "two steps"),
    ],
)
def test_1_1_tells_wrong_ways_apart(attempt, hint, capsys):
    assert_wrong(check.prepare, attempt, hint, capsys)


@pytest.mark.parametrize(
    "attempt",
    [
        (256, 10, 10),
        [256, 10, 10],
        torch.Size([1, 256, 10, 10]),
        "256 x 10 x 10",
        np.array([256, 10, 10]),
    ],
)
def test_1_2_takes_a_shape_in_any_notation(attempt, capsys):
    assert_right(check.layer3_shape, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        ((256, 20, 20), "the stem halves twice"),
        ((256, 40, 40), "layer2 and layer3"),
        ((512, 5, 5), "one stage back"),
        ((128, 20, 20), "one stage further"),
        ((10, 10, 256), "channels first"),
        ((512, 10, 10), "64 in layer1"),
        ((256,), "(channels, height, width)"),
        (256, "read the table"),
        ("ten", "read the table"),
        ((3, 7, 7), "read the table"),
    ],
)
def test_1_2_tells_wrong_shapes_apart(attempt, hint, capsys):
    assert_wrong(check.layer3_shape, attempt, hint, capsys)


def with_numpy(logits, categories):
    p = np.exp(logits.numpy() - logits.max().item())
    p = p / p.sum()
    return [[categories[i], float(p[i])] for i in np.argsort(-p)[:5]]


def with_sorted(logits, categories):
    p = torch.softmax(logits, -1)
    return sorted(zip(categories, p, strict=True), key=lambda pair: -pair[1])[:5]


def with_a_dictionary(logits, categories):
    p, i = logits.softmax(0).sort(descending=True)
    return {categories[k]: v.item() for k, v in zip(i[:5], p[:5], strict=True)}


@pytest.mark.parametrize("attempt", [with_numpy, with_sorted, with_a_dictionary])
def test_1_3_takes_any_right_top_five(attempt, capsys):
    assert_right(check.top5, attempt, capsys)


def pick(p, categories, k=5, largest=True):
    values, indices = p.topk(k, largest=largest)
    return [(categories[i], v.item()) for i, v in zip(indices, values, strict=True)]


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (lambda z, c: pick(z, c), "softmax over the classes turns them"),
        (lambda z, c: pick(z.sigmoid(), c), "softmax over the classes turns them"),
        (
            lambda z, c: [
                (c[i], v.item())
                for i, v in zip(z.topk(5).indices, z.topk(5).values.softmax(0), strict=True)
            ],
            "over all classes first",
        ),
        (lambda z, c: pick(z.softmax(0), c)[::-1], "largest first"),
        (lambda z, c: pick(z.softmax(0), c, largest=False), "five largest"),
        (lambda z, c: pick(z.softmax(0), c, k=3), "topk(5)"),
        (lambda z, c: [(i.item(), 0.1) for i in z.topk(5).indices], "categories[i]"),
        (lambda z, c: [c[i] for i in z.topk(5).indices], "list of pairs"),
        (lambda z, c: print("shown, not returned", end=""), "return"),
        (lambda z, c: pick(z.softmax(1), c), "three steps"),
    ],
)
def test_1_3_tells_wrong_top_fives_apart(attempt, hint, capsys):
    assert_wrong(check.top5, attempt, hint, capsys)


@pytest.mark.parametrize("attempt", ["c", "C", "(c)"])
def test_1_4_takes_the_letter_in_any_notation(attempt, capsys):
    assert_right(check.dahlia, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [("a", "numbers, not a dahlia"), ("b", "outputs of the head"), ("d", "softmax sum to")],
)
def test_1_4_answers_each_wrong_option(attempt, hint, capsys):
    assert_wrong(check.dahlia, attempt, hint, capsys)


def with_transforms(photo):
    steps = [v2.Resize(P.resize_size), v2.CenterCrop(P.crop_size), v2.PILToTensor()]
    steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(P.mean, P.std)]
    return v2.Compose(steps)(photo)


@pytest.mark.parametrize(
    "attempt",
    [
        P,
        with_transforms,
        lambda photo: (scaled(photo) - MEAN) / STD,
        lambda photo: (scaled(photo) * 255 - 255 * MEAN) / (255 * STD),
        lambda photo: P(photo)[None],
    ],
)
def test_1_5_takes_any_right_repair(attempt, capsys):
    assert_right(check.repair, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (lambda photo: (255 * scaled(photo) - MEAN) / STD, "between 0 and 1"),
        (scaled, "is half of it"),
        (lambda photo: (255 * scaled(photo) - MEAN) / STD / 255, "first divide by 255"),
        (lambda photo: (scaled(photo) - 0.5) / 0.5, "preprocess.mean"),
        (lambda photo: (scaled(photo).flip(0) - MEAN) / STD, "RGB"),
        (lambda photo: torch.from_numpy(cropped(photo)) / 255, "permute(2, 0, 1)"),
        (lambda photo: v2.functional.pil_to_tensor(photo) / 255, "keep them"),
        (lambda photo: np.zeros(3), "smallest and largest"),
    ],
)
def test_1_5_tells_wrong_repairs_apart(attempt, hint, capsys):
    assert_wrong(check.repair, attempt, hint, capsys)


def test_the_worked_answers_are_right(capsys):
    names = {"v2": v2, "torch": torch, "np": np, "preprocess": P}
    for exercise in (check.prepare, check.layer3_shape, check.top5, check.dahlia, check.repair):
        assert_worked_answer_is_right(exercise, capsys, **names)


def test_the_two_weights_of_1_1_differ_in_size():
    t = ResNet50_Weights.IMAGENET1K_V2.transforms()
    assert (t.resize_size, t.crop_size) != (P.resize_size, P.crop_size)
