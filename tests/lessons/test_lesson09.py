"""What lesson 09's questions say of their curves and of label smoothing is so."""

from __future__ import annotations

import torch
from helpers import assert_right
from torch.nn import functional as F

from ftcourse.exercises import lesson09 as check


def test_9_1_the_curves_are_what_the_answer_says():
    curves = check.typical_curves()
    late = {k: {n: v[-5:].mean() - v[8:13].mean() for n, v in c.items()} for k, c in curves.items()}
    assert late["A"]["val_loss"] > 0.2 and abs(late["A"]["val_accuracy"]) < 0.05
    assert late["B"]["val_loss"] > 0.2 and late["B"]["val_accuracy"] < -0.05
    assert late["C"]["val_loss"] < -0.1 and late["C"]["train_loss"] < -0.1
    assert (curves["D"]["val_accuracy"] > curves["D"]["train_accuracy"])[5:].all()
    assert all((v >= 0).all() and (v <= 1.02).all() for c in curves.values() for v in c.values())


def test_9_2_is_what_torch_computes(capsys):
    difference = torch.linspace(0, 8, 4001)
    logits = torch.stack([difference, torch.zeros_like(difference)], 1)
    ant = torch.zeros(len(difference), dtype=torch.int64)
    losses = F.cross_entropy(logits, ant, label_smoothing=0.1, reduction="none")
    assert_right(check.smoothed_loss, losses.min().item(), capsys)
