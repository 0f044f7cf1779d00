"""Lesson 07's questions, proven with right answers written differently and typical wrong ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers import assert_right, assert_worked_answer_is_right, assert_wrong, said
from torch.nn import functional as F
from torchvision.transforms import v2

from ftcourse.exercises import lesson07 as check

CURVES = {
    "stop earlier": "B",
    "train on": "C",
    "over-confident": "A",
    "do not believe it": "D",
}


@pytest.mark.parametrize("attempt", [CURVES, {k: v.lower() for k, v in CURVES.items()}])
def test_7_1_takes_the_letters_in_any_case(attempt, capsys):
    assert_right(check.read_curves, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        ({**CURVES, "stop earlier": "A", "over-confident": "B"}, "loses accuracy as well"),
        ({**CURVES, "train on": "D", "do not believe it": "C"}, "side by side"),
        ({**CURVES, "do not believe it": "A", "over-confident": "D"}, "and perfect"),
        ({**CURVES, "stop earlier": "C"}, "falls on"),
        ({**CURVES, "over-confident": "B"}, "different stories"),
        ({**CURVES, "over-confident": None}, "from a to d"),
        ("b, c, a, d", "a letter for each"),
        ({"B": "stop earlier"}, "keep the names"),
    ],
)
def test_7_1_tells_wrong_readings_apart(attempt, hint, capsys):
    assert_wrong(check.read_curves, attempt, hint, capsys)


def test_7_1_left_blank_is_not_attempted(capsys):
    assert "not attempted" in said(check.read_curves, dict.fromkeys(CURVES), capsys)


def test_7_1_the_curves_are_what_the_answer_says():
    curves = check.typical_curves()
    late = {k: {n: v[-5:].mean() - v[8:13].mean() for n, v in c.items()} for k, c in curves.items()}
    assert late["A"]["val_loss"] > 0.2 and abs(late["A"]["val_accuracy"]) < 0.05
    assert late["B"]["val_loss"] > 0.2 and late["B"]["val_accuracy"] < -0.05
    assert late["C"]["val_loss"] < -0.1 and late["C"]["train_loss"] < -0.1
    assert (curves["D"]["val_accuracy"] > curves["D"]["train_accuracy"])[5:].all()
    assert all((v >= 0).all() and (v <= 1.02).all() for c in curves.values() for v in c.values())


@pytest.mark.parametrize("attempt", [0.1985, 0.2, torch.tensor(0.1985), np.float64(0.199)])
def test_7_2_takes_the_floor_to_two_decimals(attempt, capsys):
    assert_right(check.smoothed_loss, attempt, capsys)


def test_7_2_is_what_torch_computes(capsys):
    difference = torch.linspace(0, 8, 4001)
    logits = torch.stack([difference, torch.zeros_like(difference)], 1)
    ant = torch.zeros(len(difference), dtype=torch.int64)
    losses = F.cross_entropy(logits, ant, label_smoothing=0.1, reduction="none")
    assert_right(check.smoothed_loss, losses.min().item(), capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (0, "no longer a single one"),
        (-0.9 * math.log(0.9) - 0.1 * math.log(0.1), "0.9 + 0.05"),
        (-math.log(0.9), "summed over both classes"),
        (-math.log(0.95), "summed over both classes"),
        (math.log(2), "the target itself"),
        (0.5, "shared out evenly"),
        ("low", "shared out evenly"),
    ],
)
def test_7_2_tells_wrong_floors_apart(attempt, hint, capsys):
    assert_wrong(check.smoothed_loss, attempt, hint, capsys)


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


@pytest.mark.parametrize("attempt", [with_eye, in_a_loop, with_torchvision])
def test_7_3_takes_any_way_to_mix(attempt, capsys):
    assert_right(check.mixup, attempt, capsys)


def mixed_images(images, share):
    return share * images + (1 - share) * images.roll(1, 0)


def targets_left(images, targets, share, classes):
    return mixed_images(images, share), F.one_hot(targets, classes)


def class_numbers(images, targets, share, classes):
    return mixed_images(images, share), share * targets + (1 - share) * targets.roll(1, 0)


def exchanged(images, targets, share, classes):
    return check.mixup.reference(images, targets, 1 - share, classes)


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
    images.mul_(share).add_((1 - share) * images.roll(1, 0))
    return images, F.one_hot(targets, classes)


def other_targets(images, targets, share, classes):
    goals = F.one_hot(targets, classes).float()
    return mixed_images(images, share), 0.5 * goals + 0.5 * goals.roll(1, 0)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        (targets_left, "0.7 ant and 0.3 bee"),
        (class_numbers, "F.one_hot"),
        (exchanged, "belongs to the photo itself"),
        (the_next, "the photo before"),
        (plain_sum, "the photo before"),
        (in_place, "make new tensors"),
        (other_targets, "by the very formula"),
        (lambda images, *rest: images, "return mixed_images, mixed_targets"),
        (lambda images, targets, share, classes: None, "return mixed_images, mixed_targets"),
        (lambda images, targets: (images, targets), "the same formula twice"),
    ],
)
def test_7_3_tells_wrong_mixtures_apart(attempt, hint, capsys):
    assert_wrong(check.mixup, attempt, hint, capsys)


@pytest.mark.parametrize("attempt", ["b, d", "DB", ["b", "d"], {"d", "b"}])
def test_7_4_takes_the_letters_in_any_order(attempt, capsys):
    assert_right(check.find_bugs, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        ("a, b", "must look the same"),
        ("b, c, d", "wrong split"),
        ("b, d, e", "measured on"),
        ("d, f", "on which split"),
        ("b", "two questions"),
        ("x", "a letter in quotes"),
    ],
)
def test_7_4_tells_wrong_lines_apart(attempt, hint, capsys):
    assert_wrong(check.find_bugs, attempt, hint, capsys)


TREATMENT = {"gap": "b", "confidence": "c", "no gap": "a", "customers": "d"}


@pytest.mark.parametrize("attempt", [TREATMENT, {k: v.upper() for k, v in TREATMENT.items()}])
def test_7_5_takes_the_letters_in_any_case(attempt, capsys):
    assert_right(check.treatment, attempt, capsys)


@pytest.mark.parametrize(
    ("attempt", "hint"),
    [
        ({**TREATMENT, "no gap": "b"}, "not even learnt"),
        ({**TREATMENT, "no gap": "c"}, "not even learnt"),
        ({**TREATMENT, "gap": "c"}, "stood out"),
        ({**TREATMENT, "gap": "a"}, "stood out"),
        ({**TREATMENT, "customers": "b"}, "look like"),
        ({**TREATMENT, "customers": "c"}, "look like"),
        ({**TREATMENT, "confidence": "a"}, "0 and 1"),
        ({**TREATMENT, "confidence": None}, "from a to d"),
    ],
)
def test_7_5_tells_wrong_treatments_apart(attempt, hint, capsys):
    assert_wrong(check.treatment, attempt, hint, capsys)


def test_the_worked_answers_are_right(capsys):
    for exercise in (
        check.read_curves,
        check.smoothed_loss,
        check.mixup,
        check.find_bugs,
        check.treatment,
    ):
        assert_worked_answer_is_right(exercise, capsys, math=math, F=F)
