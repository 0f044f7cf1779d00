"""Lesson 12's questions, proven with right answers written differently and typical wrong ones."""

from __future__ import annotations

import pytest
import torch
from helpers import assert_right, assert_worked_answer_is_right, assert_wrong
from torchvision import ops, tv_tensors
from torchvision.transforms.v2 import functional as V

from ftcourse.exercises import lesson12 as check


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def by_torchvision(a, b):
    return ops.box_iou(a[None], b[None])


def with_clamp(a, b):
    size = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).clamp(min=0)
    return size.prod() / (area(a) + area(b) - size.prod())


def by_painting(a, b):
    canvas = torch.zeros(2, 64, 64, dtype=torch.bool)
    for page, (left, top, right, bottom) in zip(canvas, (a.int(), b.int()), strict=True):
        page[top:bottom, left:right] = True
    return (canvas[0] & canvas[1]).sum() / (canvas[0] | canvas[1]).sum()


@pytest.mark.parametrize("attempt", [by_torchvision, with_clamp, by_painting])
def test_12_1_takes_any_box_iou(attempt, capsys):
    assert_right(check.box_iou, attempt, capsys)


def shared(a, b):
    size = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).clamp(min=0)
    return size.prod()


def unclamped(a, b):
    both = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).prod()
    return both / (area(a) + area(b) - both)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (unclamped, "below 0 must count as 0"),
        (shared, "divide it by the union"),
        (lambda a, b: shared(a, b) / (area(a) + area(b)), "twice"),
        (lambda a, b: shared(a, b) / area(a), "not by one of the boxes"),
        (lambda a, b: shared(a, b) / min(area(a), area(b)), "not by one of the boxes"),
        (lambda a, b: 2 * shared(a, b) / (area(a) + area(b)), "Dice"),
        (lambda a, b: None, "end it with `return`"),
        (lambda a, b: a, "one number"),
        (lambda a, b: 0.5, "the larger left"),
    ],
)
def test_12_1_tells_wrong_scores_apart(attempt, hint, capsys):
    assert_wrong(check.box_iou, attempt, hint, capsys)


@pytest.mark.parametrize("attempt", ["a, c, d", "DCA", ["a", "c", "d"]])
def test_12_2_takes_the_letters_in_any_order(attempt, capsys):
    assert_right(check.survivors, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        ("a, b, d", "the higher score"),
        ("a, b, c, d", "the higher score"),
        ("a, d", "kept before it"),
        ("e", "a letter in quotes"),
    ],
)
def test_12_2_tells_wrong_choices_apart(attempt, hint, capsys):
    assert_wrong(check.survivors, attempt, hint, capsys)


def by_suppressing(boxes, scores, threshold):
    alive, kept = torch.ones(len(boxes), dtype=torch.bool), []
    while alive.any():
        best = torch.where(alive, scores, -torch.inf).argmax()
        kept.append(best)
        alive &= ops.box_iou(boxes[best][None], boxes)[0] <= threshold
        alive[best] = False
    return torch.stack(kept)


def as_a_mask(boxes, scores, threshold):
    mask = torch.zeros(len(boxes), dtype=torch.bool)
    mask[ops.nms(boxes, scores, threshold)] = True
    return mask


@pytest.mark.parametrize("attempt", [ops.nms, by_suppressing, as_a_mask])
def test_12_3_takes_any_suppression(attempt, capsys):
    assert_right(check.nms, attempt, capsys)


def compared_with_all(boxes, scores, threshold):
    over = ops.box_iou(boxes, boxes) > threshold
    better = scores[None] > scores[:, None]
    return (~(over & better).any(1)).nonzero().flatten()


def unsorted(boxes, scores, threshold):
    kept = []
    for i in range(len(boxes)):
        if all(ops.box_iou(boxes[i : i + 1], boxes[k : k + 1]) <= threshold for k in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (compared_with_all, "must not remove others"),
        (unsorted, "by falling score"),
        (lambda b, s, t: ops.nms(b, -s, t), "the best score comes first"),
        (lambda b, s, t: list(range(len(b))), "nothing was removed"),
        (lambda b, s, t: [0], "scores.argsort"),
        (lambda b, s, t: b[ops.nms(b, s, t)], "the positions"),
        (lambda b, s, t: None, "end it with `return`"),
        (lambda b, s, t: ops.nms(b, s, 0.95), "nothing was removed"),
    ],
)
def test_12_3_tells_wrong_suppressions_apart(attempt, hint, capsys):
    assert_wrong(check.nms, attempt, hint, capsys)


def by_tv_tensors(image, boxes):
    wrapped = tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=tuple(image.shape[1:]))
    return V.horizontal_flip(image), V.horizontal_flip(wrapped)


def in_place(image, boxes):
    boxes[:, [0, 2]] = image.shape[-1] - boxes[:, [2, 0]]
    return image.flip(2), boxes


@pytest.mark.parametrize("attempt", [by_tv_tensors, in_place])
def test_12_4_takes_any_mirror(attempt, capsys):
    assert_right(check.flip, attempt, capsys)


def as_found(image, boxes):
    boxes[:, [0, 2]] = image.shape[-1] - boxes[:, [0, 2]]
    return image.flip(-1), boxes


def upside_down(image, boxes):
    boxes[:, [1, 3]] = image.shape[-2] - boxes[:, [3, 1]]
    return image.flip(-1), boxes


def by_height(image, boxes):
    boxes[:, [0, 2]] = image.shape[-2] - boxes[:, [2, 0]]
    return image.flip(-1), boxes


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (as_found, "is the right edge in the mirror"),
        (upside_down, "left and right only"),
        (by_height, "width - old right"),
        (lambda image, boxes: (image.flip(-1), boxes), "width - old right"),
        (lambda image, boxes: (image, boxes), "image.flip as it is"),
        (lambda image, boxes: boxes, "return image, boxes"),
    ],
)
def test_12_4_tells_wrong_mirrors_apart(attempt, hint, capsys):
    assert_wrong(check.flip, attempt, hint, capsys)


@pytest.mark.parametrize("attempt", ["c", "C", "c)"])
def test_12_5_takes_the_letter(attempt, capsys):
    assert_right(check.threshold, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"), [("a", "recall grow"), ("b", "a point on the curve"), ("d", "hides them")]
)
def test_12_5_answers_each_wrong_option(attempt, hint, capsys):
    assert_wrong(check.threshold, attempt, hint, capsys)


def test_the_worked_answers_are_right(capsys):
    assert_worked_answer_is_right(check.box_iou, capsys)
    for exercise in (check.survivors, check.nms, check.flip, check.threshold):
        names = {"torch": torch, "box_iou": check.box_iou.reference}
        assert_worked_answer_is_right(exercise, capsys, **names)
