"""Lesson 11's questions, proven with right answers written differently and typical wrong ones."""

from __future__ import annotations

import pytest
import torch
from helpers import assert_right, assert_worked_answer_is_right, assert_wrong
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_jaccard_index
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as V

from ftcourse.exercises import lesson11 as check


@pytest.mark.parametrize("attempt", [(0.735, 0.245), [0.7354, 0.2451], torch.tensor([0.74, 0.25])])
def test_11_1_takes_the_two_numbers(attempt, capsys):
    assert_right(check.nothing_found, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (0.735, "pixel accuracy, mean IoU"),
        ((0.735, 0.735), "all three classes"),
        ((0.735, 1 / 3), "calls all animals background"),
        ((0.245, 0.735), "(pixel accuracy, mean IoU)"),
        ((73.5, 24.5), "between 0 and 1"),
        ((1 / 3, 0.245), "73.5 %"),
        ((0.5, 0.5), "how many are they of all"),
        ("most", "how many are they of all"),
    ],
)
def test_11_1_tells_wrong_numbers_apart(attempt, hint, capsys):
    assert_wrong(check.nothing_found, attempt, hint, capsys)


def by_torchmetrics(predicted, truth, num_classes, ignore_index=255):
    return multiclass_jaccard_index(
        predicted, truth, num_classes, average="none", ignore_index=ignore_index
    )


def by_counting(predicted, truth, num_classes, ignore_index=255):
    keep = truth != ignore_index
    p, t = predicted[keep], truth[keep]
    table = torch.bincount(t * num_classes + p, minlength=num_classes**2)
    table = table.reshape(num_classes, num_classes)
    shared = table.diagonal()
    return (shared / (table.sum(0) + table.sum(1) - shared)).tolist()


def by_one_hot(predicted, truth, num_classes, ignore_index=255):
    keep = truth != ignore_index
    a = F.one_hot(predicted[keep], num_classes).bool()
    b = F.one_hot(truth[keep], num_classes).bool()
    return (a & b).sum(0) / (a | b).sum(0)


@pytest.mark.parametrize("attempt", [by_torchmetrics, by_counting, by_one_hot])
def test_11_2_takes_any_intersection_over_union(attempt, capsys):
    assert_right(check.iou, attempt, capsys)


def dice(predicted, truth, num_classes, ignore_index=255):
    keep = truth != ignore_index
    p, t = predicted[keep], truth[keep]
    ks = range(num_classes)
    return [2 * ((p == k) & (t == k)).sum() / ((p == k).sum() + (t == k).sum()) for k in ks]


def recall(predicted, truth, num_classes, ignore_index=255):
    keep = truth != ignore_index
    p, t = predicted[keep], truth[keep]
    return [((p == k) & (t == k)).sum() / (t == k).sum() for k in range(num_classes)]


def void_counts(predicted, truth, num_classes, ignore_index=255):
    ks = range(num_classes)
    return [
        ((predicted == k) & (truth == k)).sum() / ((predicted == k) | (truth == k)).sum()
        for k in ks
    ]


def without_background(predicted, truth, num_classes, ignore_index=255):
    return by_counting(predicted, truth, num_classes)[1:]


def mean_at_once(predicted, truth, num_classes, ignore_index=255):
    return by_one_hot(predicted, truth, num_classes).mean()


def changes_its_input(predicted, truth, num_classes, ignore_index=255):
    predicted[truth == ignore_index] = ignore_index
    return by_one_hot(predicted, truth, num_classes)


def accuracy(predicted, truth, num_classes, ignore_index=255):
    return [(predicted == truth).float().mean()] * num_classes


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (dice, "counts a pixel once"),
        (recall, "divide by the union"),
        (void_counts, "truth is ignore_index"),
        (without_background, "the background's too"),
        (mean_at_once, "one IoU a class"),
        (lambda p, t, n: None, "end it with `return`"),
        (accuracy, "& is their intersection"),
    ],
)
def test_11_2_tells_wrong_scores_apart(attempt, hint, capsys):
    assert_wrong(check.iou, attempt, hint, capsys)


def test_11_2_takes_care_of_the_masks_it_hands_out(capsys):
    def spoils(predicted, truth, num_classes, ignore_index=255):
        found = by_counting(predicted, truth, num_classes)
        truth[truth == 1] = 0
        return found

    assert_wrong(check.iou, spoils, "make new tensors", capsys)


@pytest.mark.parametrize("attempt", [(3, 3), [3, 3], torch.tensor([3, 3]), (96 // 32, 96 // 32)])
def test_11_3_takes_the_size(attempt, capsys):
    assert_right(check.map_size, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        ((6, 6), "stride of 2"),
        ((7, 7), "shrinks with the photo"),
        ((1, 1), "before `avgpool`"),
        ((4, 4), "96 pixels wide"),
        ((12, 12), "two more halvings"),
        (3, "halves the side twice"),
    ],
)
def test_11_3_tells_wrong_sizes_apart(attempt, hint, capsys):
    assert_wrong(check.map_size, attempt, hint, capsys)


def by_tv_tensors(image, mask, size):
    pair = v2.Resize((size, size))(tv_tensors.Image(image), tv_tensors.Mask(mask))
    return pair[0], pair[1]


def by_interpolate(image, mask, size):
    big = F.interpolate(image[None], (size, size), mode="bilinear")[0]
    moved = F.interpolate(mask[None, None].float(), (size, size), mode="nearest")[0, 0].long()
    return big, moved


@pytest.mark.parametrize("attempt", [by_tv_tensors, by_interpolate])
def test_11_4_takes_any_way_that_keeps_the_classes(attempt, capsys):
    assert_right(check.enlarge, attempt, capsys)


def as_found(image, mask, size):
    return V.resize(image, [size, size]), V.resize(mask[None], [size, size])[0]


def as_float(image, mask, size):
    big, moved = by_interpolate(image, mask, size)
    return big, moved.float()


def both_nearest(image, mask, size):
    nearest = InterpolationMode.NEAREST
    big = V.resize(image, [size, size], interpolation=nearest)
    return big, V.resize(mask[None], [size, size], interpolation=nearest)[0]


def cropped(image, mask, size):
    big, _ = by_interpolate(image, mask, size)
    out = torch.zeros(size, size, dtype=torch.int64)
    out[:16, :16] = mask
    return big, out


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (as_found, "cannot be averaged"),
        (as_float, "keep it int64"),
        (both_nearest, "only the mask"),
        (cropped, "treat both the same"),
        (lambda image, mask, size: image, "return image, mask"),
        (lambda image, mask, size: (image, mask), "(size, size)"),
    ],
)
def test_11_4_tells_wrong_masks_apart(attempt, hint, capsys):
    assert_wrong(check.enlarge, attempt, hint, capsys)


@pytest.mark.parametrize("attempt", ["b, d", "DB", ["b", "d"]])
def test_11_5_takes_the_letters_in_any_order(attempt, capsys):
    assert_right(check.read_bars, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        ("a", "shortest bars"),
        ("b, c, d", "three colours"),
        ("b", "bars on the right"),
        ("x", "a letter"),
    ],
)
def test_11_5_answers_each_wrong_option(attempt, hint, capsys):
    assert_wrong(check.read_bars, attempt, hint, capsys)


def test_the_worked_answers_are_right(capsys):
    names = {"torch": torch, "V": V, "InterpolationMode": InterpolationMode}
    for exercise in (
        check.map_size,
        check.nothing_found,
        check.iou,
        check.enlarge,
        check.read_bars,
    ):
        assert_worked_answer_is_right(exercise, capsys, **names)
